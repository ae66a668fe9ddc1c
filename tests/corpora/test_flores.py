"""FLORES-200 and FLORES+ in each of their layouts, against the sentences that are written."""

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pytest

from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import CorpusError

from support.hubs import hub_folder
from support.parallel_sentences import (
    CORPUS,
    LANGUAGES,
    SENTENCES,
    flores_folder,
    jsonl,
    parquet,
    write,
)

Writer = Callable[[Path], object]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_flores_folder_is_read_in_the_order_of_its_file_names(
    nested: bool, end: str, tmp_path: Path
) -> None:
    corpus = ParallelCorpus.read(flores_folder(tmp_path, "dev", nested=nested, end=end))
    assert corpus.languages == tuple(sorted(LANGUAGES))
    assert corpus == CORPUS.select(sorted(LANGUAGES))
    assert ParallelCorpus.read(tmp_path, languages=LANGUAGES, split="dev") == CORPUS


@pytest.mark.parametrize("nested", [True, False])
def test_split_picks_one_of_a_flores_folder(nested: bool, tmp_path: Path) -> None:
    flores_folder(tmp_path, "dev", nested=nested)
    home = tmp_path / "devtest" if nested else tmp_path
    write(home / "eng_Latn.devtest", "One.\nTwo.")
    write(home / "deu_Latn.devtest", "Eins.\nZwei.")
    corpus = ParallelCorpus.read(tmp_path, split="devtest")
    assert corpus.sentences == {"deu_Latn": ("Eins.", "Zwei."), "eng_Latn": ("One.", "Two.")}
    assert ParallelCorpus.read(tmp_path, split="dev", languages=LANGUAGES) == CORPUS
    if nested:
        assert ParallelCorpus.read(tmp_path / "devtest") == corpus
    with pytest.raises(CorpusError, match=r"needs a split.*dev, devtest"):
        ParallelCorpus.read(tmp_path)


def test_a_language_that_a_folder_lacks_and_a_split_that_it_lacks_are_errors(
    tmp_path: Path,
) -> None:
    flores_folder(tmp_path, "dev", nested=True)
    with pytest.raises(CorpusError, match="has no ita_Latn; choose from: deu_Latn, eng_Latn"):
        ParallelCorpus.read(tmp_path, languages=["eng_Latn", "ita_Latn"])
    with pytest.raises(CorpusError, match=r"has no split 'test'; give split= one of: dev$"):
        ParallelCorpus.read(tmp_path, split="test")


COPIES = ["deu_Latn (1)", "deu_Latn copy", "Kopie von deu_Latn", "deu_Latn-1", "deu_Latn_2"]


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("layout", ["{}.dev", "dev.{}", "{}.jsonl", "{}.parquet"])
def test_a_copy_of_a_file_is_no_language(copy: str, layout: str, tmp_path: Path) -> None:
    if layout == "{}.dev":
        flores_folder(tmp_path, "dev", nested=True)
    elif layout == "dev.{}":
        plus_archive(tmp_path)
    else:
        plus_tables(tmp_path, layout.removeprefix("{}"))
    home, name = tmp_path / "dev", layout.format(copy)
    (home / name).write_bytes((home / layout.format("deu_Latn")).read_bytes())
    with pytest.raises(CorpusError) as caught:
        ParallelCorpus.read(home)
    assert str(caught.value) == (
        f"{home / name} is named like a copy and would be a language of its own; remove it, or "
        f"rename it to {layout.format('deu_Latn')}"
    )


def test_hidden_files_are_no_languages(tmp_path: Path) -> None:
    flores_folder(tmp_path, "dev", nested=True)
    write(tmp_path / "dev" / "._deu_Latn.dev", "Of a Mac.")
    assert ParallelCorpus.read(tmp_path, languages=LANGUAGES) == CORPUS


def test_a_variety_is_a_language(tmp_path: Path) -> None:
    plus_tables(tmp_path, ".jsonl")
    (tmp_path / "dev" / "deu_Latn.jsonl").rename(tmp_path / "dev" / "deu_Latn_aust1234.jsonl")
    assert "deu_Latn_aust1234" in ParallelCorpus.read(tmp_path).languages


# FLORES+, which has had three layouts and its own names of the columns.


def flores_plus(language: str, sentences: tuple[str, ...], split: str = "dev") -> pd.DataFrame:
    code, script = language.split("_")
    # In another order than FLORES-200: the ids align them.
    rows = list(zip(range(1, len(sentences) + 1), sentences, strict=True))
    rows = rows[:: 1 if language == "eng_Latn" else -1]
    columns = {"id": [row[0] for row in rows], "text": [row[1] for row in rows]}
    return pd.DataFrame(columns).assign(iso_639_3=code, iso_15924=script, split=split, topic="talk")


def plus_archive(folder: Path) -> Path:
    for language, sentences in SENTENCES.items():
        write(folder / "dev" / f"dev.{language}", "".join(text + "\n" for text in sentences))
    write(folder / "dev" / "dev.README", "Nothing of a language.")
    return folder


def plus_tables(folder: Path, suffix: str) -> Path:
    for language, sentences in SENTENCES.items():
        path = folder / "dev" / f"{language}{suffix}"
        path.parent.mkdir(exist_ok=True)
        frame = flores_plus(language, sentences)
        if suffix == ".jsonl":
            write(path, jsonl(frame))
        else:
            parquet(path, frame)
    write(folder / "dev" / f"other{suffix}", "Nothing of a language.")
    return folder


def plus_hub(folder: Path, text: str = "text") -> str:
    configs: dict[str, dict[str, dict[str, list[object]]]] = {}
    for language, sentences in SENTENCES.items():
        frame = flores_plus(language, sentences).rename(columns={"text": text})
        configs[language] = {"dev": frame.to_dict("list"), "devtest": frame.to_dict("list")}
        configs[f"{language}-eng_Latn"] = {"dev": {"sentence": ["A pair."]}}
    configs["default"] = {"dev": {"sentence": ["All of them."]}}
    return hub_folder(folder, configs)


def plus_all() -> pd.DataFrame:
    return pd.concat([flores_plus(*item) for item in SENTENCES.items()])


PLUS: dict[str, Writer] = {
    "archive": plus_archive,
    "archive, one split": lambda tmp: plus_archive(tmp) / "dev",
    "json lines": lambda tmp: plus_tables(tmp, ".jsonl"),
    "json lines, one split": lambda tmp: plus_tables(tmp, ".jsonl") / "dev",
    "parquet": lambda tmp: plus_tables(tmp, ".parquet"),
    "one table": lambda tmp: parquet(tmp / "x.parquet", plus_all()),
    "data set": lambda _: datasets.Dataset.from_pandas(plus_all()),
    "by name and split": lambda tmp: plus_hub(tmp) + ":dev",
    "of facebook, by name and split": lambda tmp: plus_hub(tmp, "sentence") + ":devtest",
    "all in one, by name": lambda tmp: hub_folder(
        tmp, {"default": {"dev": plus_all().to_dict("list")}}
    ),
}


@pytest.fixture
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize("layout", PLUS)
def test_every_layout_of_flores_plus_gives_the_same_corpus(layout: str, tmp_path: Path) -> None:
    assert ParallelCorpus.read(PLUS[layout](tmp_path), languages=LANGUAGES) == CORPUS


@pytest.mark.parametrize("layout", ["archive", "json lines", "parquet"])
def test_files_beside_those_of_languages_are_none(layout: str, tmp_path: Path) -> None:
    assert ParallelCorpus.read(PLUS[layout](tmp_path)).languages == tuple(sorted(LANGUAGES))


@pytest.mark.usefixtures("_cache")
def test_a_data_set_by_name_has_the_languages_of_its_configurations(tmp_path: Path) -> None:
    source = plus_hub(tmp_path)
    assert ParallelCorpus.read(source, split="dev") == CORPUS
    assert ParallelCorpus.read(f"{source}:dev", split="dev") == CORPUS
    with pytest.raises(
        CorpusError, match=r"^hf:.* has no ita_Latn; choose from: eng_Latn, deu_Latn"
    ):
        ParallelCorpus.read(source, languages=["ita_Latn", "eng_Latn"])


def test_a_table_of_flores_plus_that_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    plus_tables(tmp_path, ".jsonl")
    write(tmp_path / "dev" / "deu_Latn.jsonl", "{")
    chosen = ["eng_Latn", "fra_Latn"]
    assert ParallelCorpus.read(tmp_path, languages=chosen) == CORPUS.select(chosen)
    with pytest.raises(CorpusError, match=r"deu_Latn\.jsonl, line 1: broken JSON"):
        ParallelCorpus.read(tmp_path)


def plus_with(folder: Path, rows: list[dict[str, object]]) -> Path:
    plus_tables(folder, ".jsonl")
    write(folder / "dev" / "deu_Latn.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


ROWS = [{"id": 5 - n, "text": text} for n, text in enumerate(SENTENCES["deu_Latn"], start=1)]
BAD_PLUS: dict[str, tuple[Writer, str]] = {
    "an id that another language lacks": (
        lambda tmp: plus_with(tmp, [*ROWS, {"id": 9, "text": "Neun."}]),
        r"deu_Latn\.jsonl, line 5: the id '9' has no eng_Latn sentence; add it",
    ),
    "an id that it lacks itself": (
        lambda tmp: plus_with(tmp, ROWS[1:]),
        r"eng_Latn\.jsonl, line 4: the id '4' has no deu_Latn sentence; add it",
    ),
    "an id twice": (
        lambda tmp: plus_with(tmp, [*ROWS, ROWS[0]]),
        r"deu_Latn\.jsonl, line 5: the id '4' has a deu_Latn sentence in .*line 1 already",
    ),
    "an empty text": (
        lambda tmp: plus_with(tmp, [*ROWS[:3], {"id": 1, "text": ""}]),
        r"deu_Latn\.jsonl, line 4: the deu_Latn sentence is missing or empty",
    ),
    "no text": (
        lambda tmp: plus_with(tmp, [{"id": 1, "body": "Eins."}]),
        r"deu_Latn\.jsonl has no column 'text' among id, body; give .*; see docs/data\.md",
    ),
    "no id": (
        lambda tmp: plus_with(tmp, [{"text": "Eins."}]),
        r"deu_Latn\.jsonl has no column 'id' among text; give .*; see docs/data\.md",
    ),
    "a code that is missing": (
        lambda _: datasets.Dataset.from_pandas(plus_all().assign(iso_15924=None)),
        "the dataset, row 1: the language is missing or empty",
    ),
    "a hub that cannot be reached": (
        lambda _: "hf:openlanguagedata/flores_plus:dev",
        r"openlanguagedata/flores_plus cannot be loaded \(Couldn't reach .*\); check its name, the",
    ),
    "no name": (lambda _: "hf::dev", "'hf::dev' names no data set; give hf:name or hf:name:split"),
}


@pytest.mark.parametrize("fault", BAD_PLUS)
def test_bad_input_in_the_form_of_flores_plus_is_an_error(fault: str, tmp_path: Path) -> None:
    make, message = BAD_PLUS[fault]
    with pytest.raises(CorpusError, match=message) as caught:
        ParallelCorpus.read(make(tmp_path), languages=["eng_Latn", "deu_Latn"])
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_cache")
def test_a_split_by_name_must_be_there_and_named_once(tmp_path: Path) -> None:
    source = plus_hub(tmp_path)
    with pytest.raises(CorpusError, match=r"\(eng_Latn\) needs a split; .* one of: dev, devtest"):
        ParallelCorpus.read(source)
    with pytest.raises(CorpusError, match=r"\(eng_Latn\) has no split 'test'; give split= one of"):
        ParallelCorpus.read(f"{source}:test")
    with pytest.raises(CorpusError, match=r":dev and split='devtest' name two splits; give one"):
        ParallelCorpus.read(f"{source}:dev", split="devtest")
