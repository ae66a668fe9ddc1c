import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin.corpora.documents import documents_hash, read_documents
from steer_plugin.errors import CorpusError

from support.hubs import hub_folder

DOCUMENTS = {
    "deu_Latn": ("Erster Text.", "Zweiter Text.\u2028Noch einer."),
    "eng_Latn": ("Only one.",),
    "jpn_Jpan": ("これは文章です。", "もう一つ。", "終わり。"),
}
ROWS = [(language, text) for language, texts in DOCUMENTS.items() for text in texts]
COLUMNS = {"language": [row[0] for row in ROWS], "text": [row[1] for row in ROWS]}

Writer = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def folder(home: Path) -> Path:
    for language, texts in DOCUMENTS.items():
        (home / f"{language}.txt").write_text("\n\n \n".join(texts) + "\n", encoding="utf-8")
    return home


def jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path: Path) -> Path:
    pd.DataFrame(COLUMNS).to_parquet(path)
    return path


SOURCES: dict[str, Writer] = {
    "folder": folder,
    "folder as a string": lambda tmp: str(folder(tmp)),
    "jsonl": lambda tmp: jsonl(tmp / "x.jsonl", pd.DataFrame(COLUMNS).to_dict("records")),
    "parquet": lambda tmp: parquet(tmp / "x.parquet"),
    "dataset": lambda _: datasets.Dataset.from_dict(COLUMNS),
    "dataset dict of one split": lambda _: datasets.DatasetDict(
        {"train": datasets.Dataset.from_dict(COLUMNS)}
    ),
    "dataset by name": lambda tmp: hub_folder(tmp, {"default": {"train": COLUMNS}}),
    "dataset by name and split": lambda tmp: (
        hub_folder(
            tmp,
            {"default": {"train": COLUMNS, "test": {"language": ["deu_Latn"], "text": ["Nein."]}}},
        )
        + ":train"
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_documents_of_the_languages_asked_for(
    kind: str, tmp_path: Path
) -> None:
    found = read_documents(SOURCES[kind](tmp_path), ["jpn_Jpan", "deu_Latn"])
    assert found == {language: DOCUMENTS[language] for language in ("jpn_Jpan", "deu_Latn")}
    assert list(found) == ["jpn_Jpan", "deu_Latn"]


LINES = st.lists(st.sampled_from(["", " ", "one", "  two", "\u3000"]), max_size=12)


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n"]))
def test_a_document_is_a_run_of_lines_that_are_not_blank(
    lines: list[str], end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected: list[str] = []
    gap = True
    for line in lines:
        if line.strip():
            expected = [*expected, line] if gap else [*expected[:-1], f"{expected[-1]}\n{line}"]
        gap = not line.strip()
    home = tmp_path_factory.mktemp("texts")
    (home / "deu_Latn.txt").write_bytes("".join(line + end for line in lines).encode())
    if expected:
        assert read_documents(home, ["deu_Latn"]) == {"deu_Latn": tuple(expected)}
    else:
        with pytest.raises(CorpusError, match=r"deu_Latn\.txt (holds blank lines alone|is empty)"):
            read_documents(home, ["deu_Latn"])


def text_file(home: Path, content: bytes) -> Path:
    (home / "deu_Latn.txt").write_bytes(content)
    return home


ROW = {"language": "deu_Latn", "text": "Ja."}
BAD: dict[str, tuple[Writer, str]] = {
    "no such place": (lambda tmp: tmp / "none", "none is not there; give a folder of texts"),
    "a language that a folder lacks": (
        lambda tmp: tmp,
        r"deu_Latn\.txt is not there; write the texts of deu_Latn into it",
    ),
    "latin-1": (
        lambda tmp: text_file(tmp, b"Ja.\n\nSch\xf6n.\n"),
        r"deu_Latn\.txt, line 3: not UTF-8 \(byte 8 of the file, from 0\)",
    ),
    "a language that a table lacks": (
        lambda tmp: jsonl(tmp / "x.jsonl", [{**ROW, "language": "eng_Latn"}]),
        r"x\.jsonl has no documents in deu_Latn; add some",
    ),
    "no text column": (
        lambda tmp: jsonl(tmp / "x.jsonl", [{"language": "deu_Latn", "body": "Ja."}]),
        r"x\.jsonl has no column 'text' among language, body; .*see docs/data\.md",
    ),
    "an empty document": (
        lambda tmp: jsonl(tmp / "x.jsonl", [ROW, {**ROW, "text": " "}]),
        r"x\.jsonl, line 2: the document is missing or empty",
    ),
    "a document that is a number": (
        lambda tmp: jsonl(tmp / "x.jsonl", [{**ROW, "text": 1}]),
        r"x\.jsonl, line 1: the document is of type int",
    ),
    "a language that is missing": (
        lambda tmp: jsonl(tmp / "x.jsonl", [ROW, {"text": "Ja."}]),
        r"x\.jsonl, line 2: the language is missing or empty",
    ),
    "several splits": (
        lambda _: datasets.DatasetDict(
            {split: datasets.Dataset.from_dict(COLUMNS) for split in ("train", "test")}
        ),
        "the dataset needs a split; give split= one of: train, test",
    ),
    "a data set of several configurations": (
        lambda tmp: hub_folder(tmp, {f"20231101.{n:020}": {"train": COLUMNS} for n in range(9)}),
        r"cannot be loaded \(Config name is missing. .{160,176}\); check its name, the network and",
    ),
    "another kind of file": (
        lambda tmp: parquet(tmp / "x.parquet").rename(tmp / "x.arrow"),
        r"x\.arrow has the unknown suffix '\.arrow'; give one of \.tsv",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_documents_are_an_error_that_names_place_and_remedy(fault: str, tmp_path: Path) -> None:
    make, message = BAD[fault]
    with pytest.raises(CorpusError, match=message) as caught:
        read_documents(make(tmp_path), ["deu_Latn"])
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_documents_have_the_same_hash_when_they_are_the_same(
    one: list[str], two: list[str]
) -> None:
    assert (documents_hash(one) == documents_hash(two)) == (one == two)
    assert documents_hash(tuple(one)) == documents_hash(one)
    assert documents_hash([*one, "a", "b"]) != documents_hash([*one, "ab"])
