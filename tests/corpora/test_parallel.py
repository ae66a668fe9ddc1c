import csv
import hashlib
import json
import os
import pickle
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import CorpusError

from support.parallel_sentences import (
    CORPUS,
    IDS,
    LANGUAGES,
    SENTENCES,
    flores_folder,
    jsonl,
    parquet,
    write,
)

Writer = Callable[[Path], object]


def wide() -> pd.DataFrame:
    return pd.DataFrame({"id": IDS, "topic": "talk", **SENTENCES})


def long(by: str = "language") -> pd.DataFrame:
    rows = [(i, c, t) for c in LANGUAGES for i, t in zip(IDS, SENTENCES[c], strict=True)]
    if by == "id":
        rows.sort(key=lambda row: (row[0], LANGUAGES.index(row[1])))
    return pd.DataFrame(rows, columns=["id", "language", "text"])


def tsv(frame: pd.DataFrame, end: str = "\n") -> str:
    rows = [frame.columns, *frame.itertuples(index=False)]
    return "".join("\t".join(row) + end for row in rows)


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(id=frame["id"].astype(int))


# A FLORES-200 folder is read in the order of file names, everything else in its own.
SOURCES: dict[str, Writer] = {
    "tsv wide": lambda tmp: write(tmp / "x.tsv", tsv(wide())),
    "tsv long": lambda tmp: write(tmp / "x.tsv", tsv(long())),
    "tsv with byte order mark": lambda tmp: write(tmp / "x.tsv", tsv(wide()), "utf-8-sig"),
    "tsv with Windows line ends": lambda tmp: write(tmp / "x.tsv", tsv(wide(), "\r\n")),
    "tsv without a last line end": lambda tmp: write(tmp / "x.tsv", tsv(wide())[:-1]),
    "tsv as a string path": lambda tmp: str(write(tmp / "x.tsv", tsv(wide()))),
    "tsv with a suffix in capitals": lambda tmp: write(tmp / "X.TSV", tsv(wide())),
    "tsv that pandas quoted": lambda tmp: write(
        tmp / "x.tsv", wide().to_csv(sep="\t", index=False)
    ),
    "tsv with everything quoted": lambda tmp: write(
        tmp / "x.tsv", numbered(wide()).to_csv(sep="\t", index=False, quoting=csv.QUOTE_ALL)
    ),
    "tsv with all texts quoted": lambda tmp: write(
        tmp / "x.tsv",
        numbered(wide()).to_csv(
            sep="\t", index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n"
        ),
    ),
    "csv wide": lambda tmp: write(tmp / "x.csv", wide().to_csv(index=False)),
    "csv long": lambda tmp: write(tmp / "x.csv", long("id").to_csv(index=False)),
    "csv with everything quoted": lambda tmp: write(
        tmp / "x.csv", wide().to_csv(index=False, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    ),
    "jsonl wide": lambda tmp: write(tmp / "x.jsonl", jsonl(wide())),
    "jsonl long": lambda tmp: write(tmp / "x.jsonl", jsonl(long("id"))),
    "jsonl with integer ids": lambda tmp: write(tmp / "x.jsonl", jsonl(numbered(wide()))),
    "jsonl with byte order mark": lambda tmp: write(tmp / "x.jsonl", jsonl(long()), "utf-8-sig"),
    "parquet wide": lambda tmp: parquet(tmp / "x.parquet", wide()),
    "parquet long": lambda tmp: parquet(tmp / "x.parquet", long("id")),
    "parquet with integer ids": lambda tmp: parquet(tmp / "x.parquet", numbered(long())),
    "parquet with categories": lambda tmp: parquet(
        tmp / "x.parquet", long().astype({"language": "category"})
    ),
    "mapping to lists": lambda _: {c: list(texts) for c, texts in SENTENCES.items()},
    "mapping to arrays": lambda _: {c: np.array(texts) for c, texts in SENTENCES.items()},
    "mapping to series": lambda _: {c: pd.Series(texts) for c, texts in SENTENCES.items()},
    "mapping by id": lambda _: {
        c: dict(zip(IDS, texts, strict=True)) for c, texts in SENTENCES.items()
    },
    "mapping by id in any order": lambda _: {
        c: dict(sorted(zip(map(int, IDS), texts, strict=True), reverse=c != "eng_Latn"))
        for c, texts in SENTENCES.items()
    },
    "dataset wide": lambda _: datasets.Dataset.from_pandas(wide()),
    "dataset long": lambda _: datasets.Dataset.from_pandas(long()),
    "dataset in numpy format": lambda _: datasets.Dataset.from_pandas(numbered(wide())).with_format(
        "numpy"
    ),
    "dataset dict of one split": lambda _: datasets.DatasetDict(
        {"dev": datasets.Dataset.from_pandas(numbered(wide()))}
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_corpus(kind: str, tmp_path: Path) -> None:
    corpus = ParallelCorpus.read(SOURCES[kind](tmp_path))
    assert corpus == CORPUS
    assert hash(corpus) == hash(CORPUS)
    assert corpus.hash == CORPUS.hash
    assert corpus.sentences == SENTENCES
    assert all(type(text) is str for texts in corpus.texts for text in texts)


def test_split_picks_one_of_a_dataset_dict() -> None:
    both = datasets.DatasetDict(
        {name: datasets.Dataset.from_pandas(wide().iloc[rows]) for name, rows in
         {"dev": slice(0, 3), "devtest": slice(3, 4)}.items()}
    )  # fmt: skip
    assert ParallelCorpus.read(both, split="devtest").ids == ("4",)
    assert ParallelCorpus.read(both, split="dev") == CORPUS.take(3)


def test_languages_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    path = SOURCES["tsv wide"](tmp_path)
    corpus = ParallelCorpus.read(path, languages=["jpn_Jpan", "eng_Latn"])
    assert corpus.languages == ("jpn_Jpan", "eng_Latn")
    assert corpus == CORPUS.select(["jpn_Jpan", "eng_Latn"])
    assert corpus != CORPUS.select(["eng_Latn", "jpn_Jpan"])


def test_languages_of_any_name_are_read_when_asked_for(tmp_path: Path) -> None:
    frame = wide().rename(columns={"eng_Latn": "en", "deu_Latn": "sentence_de"})
    path = write(tmp_path / "x.csv", frame.to_csv(index=False))
    corpus = ParallelCorpus.read(path, languages=["sentence_de", "en"])
    assert corpus.texts == (SENTENCES["deu_Latn"], SENTENCES["eng_Latn"])


def test_a_language_may_be_called_id_as_indonesian_is() -> None:
    assert ParallelCorpus.read({"en": ["Yes."], "id": ["Ya."]}).languages == ("en", "id")


def test_a_fault_in_a_language_not_asked_for_is_no_fault(tmp_path: Path) -> None:
    frame = wide()
    frame.loc[2, "deu_Latn"] = " "
    path = write(tmp_path / "x.tsv", tsv(frame))
    assert ParallelCorpus.read(path, languages=["eng_Latn", "fra_Latn"]).ids == IDS
    flores_folder(tmp_path, "dev", nested=True)
    write(tmp_path / "dev" / "deu_Latn.dev", "Zu kurz.\n")
    assert ParallelCorpus.read(tmp_path, languages=["eng_Latn", "fra_Latn"]).ids == IDS


def test_a_language_not_asked_for_adds_no_ids_to_a_long_table(tmp_path: Path) -> None:
    rows = long("id").to_dict("records")
    rows.insert(0, {"id": "0", "language": "jpn_Jpan", "text": "日本語だけ。"})
    path = write(tmp_path / "x.jsonl", jsonl(pd.DataFrame(rows)))
    corpus = ParallelCorpus.read(path, languages=["fra_Latn", "deu_Latn"])
    assert corpus == CORPUS.select(["fra_Latn", "deu_Latn"])
    with pytest.raises(CorpusError, match="line 1: the id '0' has no eng_Latn sentence"):
        ParallelCorpus.read(path)


def test_a_csv_sentence_may_run_over_several_lines_and_rows_keep_their_numbers(
    tmp_path: Path,
) -> None:
    rows = 'id,eng_Latn,deu_Latn\na,"One\ntwo","Eins\nzwei"\nb,Three,Drei\n'
    corpus = ParallelCorpus.read(write(tmp_path / "x.csv", rows))
    assert corpus.sentences["eng_Latn"] == ("One\ntwo", "Three")
    with pytest.raises(CorpusError, match=r"x\.csv, line 6: .*'b'.*x\.csv, line 5"):
        ParallelCorpus.read(write(tmp_path / "x.csv", rows + "b,Four,Vier\n"))


def test_a_tsv_that_is_not_quoted_throughout_keeps_quotation_marks_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = 'id\teng_Latn\tdeu_Latn\na\t"Stop!"\t"Halt!"\nb\t"No", he said.\tNein\n'
    corpus = ParallelCorpus.read(write(tmp_path / "x.tsv", rows))
    assert corpus.sentences["eng_Latn"] == ('"Stop!"', '"No", he said.')
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path / 'x.tsv'}: cells keep the quotation marks that they stand in, such as "
        '"Stop!"; if these are no part of the sentences, write a .csv'
    )


def test_columns_that_are_no_language_are_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = wide().assign(zh=SENTENCES["jpn_Jpan"])
    for source in (
        frame.to_dict("list"),
        frame.set_index("id").to_dict(),
        datasets.Dataset.from_pandas(frame),
    ):
        caplog.clear()
        corpus = ParallelCorpus.read(source)
        assert (corpus.languages, corpus.ids) == (LANGUAGES, IDS)
        assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
            "topic, zh left out, not named like eng_Latn; name all languages to read others"
        ]
        both = ParallelCorpus.read(source, languages=["eng_Latn", "zh"])
        assert both.texts == (SENTENCES["eng_Latn"], SENTENCES["jpn_Jpan"])


def test_the_ids_of_a_mapping_are_ids() -> None:
    rows = wide().iloc[::-1]
    assert ParallelCorpus.read(rows.to_dict("list")).ids == IDS[::-1]
    with pytest.raises(CorpusError, match="entry 2: the id '1' stands in the mapping, entry 1 al"):
        ParallelCorpus.read({**wide().to_dict("list"), "id": ["1", "1", "2", "3"]})
    with pytest.raises(CorpusError, match="the mapping has 1 entries in 'id' for the 4 sentences"):
        ParallelCorpus.read({**wide().to_dict("list"), "id": ["1"]})


def test_the_ids_of_a_mapping_by_row_are_ids(caplog: pytest.LogCaptureFixture) -> None:
    """As `frame.to_dict()` gives them, rows by number."""
    frame = wide().drop(columns="topic")
    assert ParallelCorpus.read(frame.iloc[::-1].to_dict()).ids == IDS[::-1]
    assert not caplog.records
    with pytest.raises(CorpusError, match="id 3: the id '1' has a eng_Latn"):
        ParallelCorpus.read(frame.assign(id=["1", "2", "3", "1"]).to_dict())
    with pytest.raises(CorpusError, match="the mapping, eng_Latn, id 3: the id is missing"):
        ParallelCorpus.read({**frame.to_dict(), "id": {0: "1", 1: "2", 2: "3"}})
    assert ParallelCorpus.read({"en": {1: "Yes."}, "id": {1: "Ya."}}).languages == ("en", "id")


@pytest.mark.parametrize("by_id", [False, True])
def test_what_is_taken_for_languages_where_none_is_coded_is_named(
    by_id: bool, caplog: pytest.LogCaptureFixture
) -> None:
    columns = {"id": ["1", "2"], "en": ["Yes.", "No."], "topic": ["a", "b"]}
    source = {name: dict(enumerate(cells)) for name, cells in columns.items()} if by_id else columns

    assert ParallelCorpus.read(source).languages == ("id", "en", "topic")
    (record,) = caplog.records
    assert record.getMessage() == (
        "the mapping: none of id, en, topic is named like eng_Latn, so all are taken for "
        "languages; name the languages to leave others out"
    )
    caplog.clear()
    assert ParallelCorpus.read(source, languages=["en", "topic"]).languages == ("en", "topic")
    assert not caplog.records


def test_a_module_of_the_user_called_datasets_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(Dataset=len))
    assert ParallelCorpus.read(SENTENCES) == CORPUS


def test_reading_does_not_import_datasets(tmp_path: Path) -> None:
    path = SOURCES["tsv wide"](tmp_path)
    code = (
        "import sys; from steer_plugin.corpora.parallel import ParallelCorpus; "
        f"ParallelCorpus.read({str(path)!r}); sys.exit('datasets' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Each fault: what is written, and what the message says of it. Every message is one line.
def wide_with(language: str, row: int, text: object) -> pd.DataFrame:
    frame = wide().astype(object)
    frame.loc[row, language] = text
    return frame


def bytes_at(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def parquet_twice(path: Path) -> Path:
    names = ["id", "eng_Latn", "deu_Latn", "deu_Latn"]
    pq.write_table(pa.Table.from_arrays([pa.array(["1"])] * 4, names=names), path)
    return path


def truncated(path: Path) -> Path:
    whole = parquet(path, wide()).read_bytes()
    return bytes_at(path, whole[: len(whole) // 2])


def with_latin_1(path: Path) -> Path:
    return bytes_at(path, b"\xef\xbb\xbfid\teng_Latn\tdeu_Latn\n1\tYes.\tJ\xe4.\n")


def short_flores(folder: Path) -> Path:
    flores_folder(folder, "dev", nested=True)
    write(folder / "dev" / "jpn_Jpan.dev", "一\n二\n三\n")
    return folder


def flores_with(folder: Path, language: str, text: str) -> Path:
    flores_folder(folder, "dev", nested=False)
    write(folder / f"{language}.dev", f"Un.\n{text}\nTrois.\nQuatre.\n")
    return folder


ID_FRAME = {"id": ["1", "2"], "eng_Latn": ["One.", "Two."], "deu_Latn": ["Eins.", "Zwei."]}
BAD: dict[str, tuple[Writer, str]] = {
    "unequal lengths in a mapping": (
        lambda _: {"eng_Latn": ["One.", "Two."], "deu_Latn": ["Eins."]},
        "the mapping, deu_Latn ends at entry 1 but the mapping, eng_Latn at entry 2; give every",
    ),
    "unequal lengths in a folder": (
        short_flores,
        "jpn_Jpan.dev ends at line 3 but .*deu_Latn.dev at line 4; give every",
    ),
    "missing translation in a tsv": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide_with("fra_Latn", 2, ""))),
        "x.tsv, line 4: the fra_Latn sentence is missing or empty; fill it in",
    ),
    "missing translation in a parquet file": (
        lambda tmp: parquet(tmp / "x.parquet", wide_with("fra_Latn", 2, None)),
        "x.parquet, row 3: the fra_Latn sentence is missing or empty; fill it in",
    ),
    "missing translation in a dataset": (
        lambda _: datasets.Dataset.from_pandas(wide_with("fra_Latn", 0, None)),
        "the dataset, row 1: the fra_Latn sentence is missing",
    ),
    "missing key in a json line": (
        lambda tmp: write(
            tmp / "x.jsonl", jsonl(wide()) + '{"id": "5", "eng_Latn": "No.", "deu_Latn": "Nein."}'
        ),
        "x.jsonl, line 5: the fra_Latn sentence is missing",
    ),
    "missing row in a long table": (
        lambda tmp: write(tmp / "x.tsv", tsv(long().drop(index=[6]))),
        "x.tsv, line 4: the id '3' has no deu_Latn sentence; add it",
    ),
    "missing id in a mapping by id": (
        lambda _: {"eng_Latn": {"a": "One.", "b": "Two."}, "deu_Latn": {"a": "Eins."}},
        "the mapping, eng_Latn, id 'b': the id 'b' has no deu_Latn sentence; add it",
    ),
    "no id column": (
        lambda tmp: write(tmp / "x.csv", wide().drop(columns="id").to_csv(index=False)),
        "x.csv has no column 'id' among topic, eng_Latn.*; add one",
    ),
    "empty id": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide_with("id", 1, ""))),
        "x.tsv, line 3: the id is missing or empty",
    ),
    "id that is no string": (
        lambda tmp: write(tmp / "x.jsonl", jsonl(wide_with("id", 1, 2.5))),
        "x.jsonl, line 2: the id is of type float, not text",
    ),
    "id that is a truth value": (
        lambda tmp: write(tmp / "x.jsonl", jsonl(wide_with("id", 1, True))),
        "x.jsonl, line 2: the id is of type bool, not text",
    ),
    "duplicate id in a tsv": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide_with("id", 3, "2"))),
        "x.tsv, line 5: the id '2' stands in .*x.tsv, line 3 already; give every row its own",
    ),
    "duplicate id, once as a number": (
        lambda tmp: write(tmp / "x.jsonl", jsonl(wide_with("id", 3, 2))),
        "x.jsonl, line 4: the id '2' stands in .*x.jsonl, line 2 already",
    ),
    "duplicate id in a long table": (
        lambda tmp: parquet(tmp / "x.parquet", pd.concat([long(), long().iloc[5:6]])),
        "x.parquet, row 17: the id '2' has a deu_Latn sentence in .*row 6 already; remove one",
    ),
    "empty line in a folder": (
        lambda tmp: flores_with(tmp, "fra_Latn", ""),
        "fra_Latn.dev, line 2: the fra_Latn sentence is missing or empty; fill it in",
    ),
    "white space only": (
        lambda tmp: write(tmp / "x.jsonl", jsonl(wide_with("jpn_Jpan", 1, " \t\u3000"))),
        "x.jsonl, line 2: the jpn_Jpan sentence is missing or empty",
    ),
    "nothing visible": (
        lambda _: {"eng_Latn": ["One."], "deu_Latn": ["\u200b\ufeff"]},
        "the mapping, deu_Latn, entry 1: the deu_Latn sentence is missing or empty",
    ),
    "latin-1": (
        lambda tmp: with_latin_1(tmp / "x.tsv"),
        r"x.tsv, line 2: not UTF-8 \(byte 32 of the file, from 0\); save the file as UTF-8",
    ),
    "utf-16": (
        lambda tmp: write(tmp / "x.csv", wide().to_csv(index=False), "utf-16"),
        r"x.csv, line 1: not UTF-8 \(byte 0 ",
    ),
    "half a surrogate pair": (
        lambda tmp: write(
            tmp / "x.jsonl", r'{"id": "1", "eng_Latn": "Hi \ud83d!", "deu_Latn": "Hallo!"}'
        ),
        "x.jsonl, line 1: the eng_Latn sentence holds half a surrogate pair at character 4; write",
    ),
    "one language only": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide()[["id", "topic", "eng_Latn"]])),
        r"x.tsv: one language only \(eng_Latn\); a parallel corpus needs at least two",
    ),
    "one language only in a mapping": (
        lambda _: {"eng_Latn": ["One."]},
        r"the mapping: one language only \(eng_Latn\)",
    ),
    "no language at all": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide()[["id", "topic"]])),
        "x.tsv has no column named like eng_Latn among id, topic; rename .* languages=",
    ),
    "file not there": (lambda tmp: tmp / "x.tsv", "x.tsv is not there; give the path"),
    "text in place of a path": (lambda _: "One sentence. " * 400, "cannot be read"),
    "folder of something else": (
        lambda tmp: write(tmp / "readme.md", "Nothing here.").parent,
        "holds no sentences; a FLORES-200 folder holds files such as dev/eng_Latn.dev",
    ),
    "unknown suffix": (
        lambda tmp: write(tmp / "x.xlsx", "?"),
        "x.xlsx has the unknown suffix '.xlsx'; give one of .tsv, .csv, .jsonl, .parquet",
    ),
    "empty tsv": (lambda tmp: write(tmp / "x.tsv", ""), "x.tsv is empty; give a file"),
    "empty parquet file": (lambda tmp: write(tmp / "x.parquet", ""), "x.parquet is empty"),
    "byte order mark only": (lambda tmp: write(tmp / "x.csv", "", "utf-8-sig"), "x.csv is empty"),
    "header only": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide().iloc[:0])),
        "x.tsv has no rows; give at least one",
    ),
    "empty mapping": (lambda _: {}, "the mapping: no language; a parallel"),
    "mapping to empty lists": (
        lambda _: {"eng_Latn": [], "deu_Latn": []},
        "the mapping has no sentences; give at least one",
    ),
    "mapping to empty mappings": (
        lambda _: {"eng_Latn": {}, "deu_Latn": {}},
        "the mapping has no rows",
    ),
    "broken json": (
        lambda tmp: write(tmp / "x.jsonl", jsonl(wide()) + '{"id": "5", "eng_Latn": '),
        r"x.jsonl, line 5: broken JSON \(Expecting value\); write one object a line",
    ),
    "blank json line": (
        lambda tmp: write(tmp / "x.jsonl", "\n" + jsonl(wide())),
        "x.jsonl, line 1: broken JSON",
    ),
    "json that is no object": (
        lambda tmp: write(tmp / "x.jsonl", jsonl(wide()) + '["5", "Five."]'),
        "x.jsonl, line 5: JSON of type list; write one object a line",
    ),
    "json with a key twice": (
        lambda tmp: write(tmp / "x.jsonl", '{"id": "1", "eng_Latn": "One.", "eng_Latn": "Two."}'),
        r"x.jsonl, line 1: broken JSON \(a key stands twice\)",
    ),
    "text called parquet": (
        lambda tmp: write(tmp / "x.parquet", tsv(wide())),
        "x.parquet is no intact parquet file .*; write it anew",
    ),
    "truncated parquet file": (
        lambda tmp: truncated(tmp / "x.parquet"),
        "x.parquet is no intact parquet file",
    ),
    "non-string cell in a json line": (
        lambda tmp: write(tmp / "x.jsonl", jsonl(wide_with("deu_Latn", 1, 7))),
        "x.jsonl, line 2: the deu_Latn sentence is of type int, not text; write it as a string",
    ),
    "non-string column in a parquet file": (
        lambda tmp: parquet(tmp / "x.parquet", wide().assign(deu_Latn=[1.0, 2.0, 3.0, 4.0])),
        "x.parquet, row 1: the deu_Latn sentence is of type float, not text",
    ),
    "non-string entry in a mapping": (
        lambda _: {"eng_Latn": ["One.", "Two."], "deu_Latn": ["Eins.", b"Zwei."]},
        "the mapping, deu_Latn, entry 2: the deu_Latn sentence is of type bytes",
    ),
    "non-string language in a long table": (
        lambda _: datasets.Dataset.from_dict({"id": [1], "language": [1], "text": ["One."]}),
        "the dataset, row 1: the language is of type int",
    ),
    "a string where sentences belong": (
        lambda _: {"eng_Latn": "One.", "deu_Latn": "Eins."},
        "the mapping holds an object of type str for eng_Latn; give a list of sentences",
    ),
    "a number where sentences belong": (
        lambda _: {"eng_Latn": ["One."], "deu_Latn": 1},
        "the mapping holds an object of type int for deu_Latn; give a list of sentences",
    ),
    "lists and mappings mixed": (
        lambda _: {"eng_Latn": ["One."], "deu_Latn": {"1": "Eins."}},
        "the mapping holds an object of type dict for deu_Latn; give a list of sentences",
    ),
    "too many fields": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide()) + "5\ttalk\tOne\tmore\t\tthan\tneeded\n"),
        "x.tsv, line 6: 7 fields where the header has 6; mend or remove the line",
    ),
    "too few fields": (
        lambda tmp: write(tmp / "x.csv", wide().to_csv(index=False) + "5,talk\n"),
        "x.csv, line 6: 2 fields where the header has 6",
    ),
    "blank line in a tsv": (
        lambda tmp: write(tmp / "x.tsv", tsv(wide()) + "\n"),
        "x.tsv, line 6: 0 fields where the header has 6",
    ),
    "open quote in a csv": (
        lambda tmp: write(tmp / "x.csv", 'id,eng_Latn,deu_Latn\n1,One.,Eins.\n2,"Two.,Zwei.\n'),
        "x.csv, line 3: .*; mend the quoting",
    ),
    "a column twice": (
        lambda tmp: write(tmp / "x.csv", "id,eng_Latn,deu_Latn,eng_Latn\n1,One.,Eins.,Uno.\n"),
        "x.csv has two columns 'eng_Latn'; rename or remove one",
    ),
    "a column twice in a parquet file": (
        lambda tmp: parquet_twice(tmp / "x.parquet"),
        "x.parquet has two columns 'deu_Latn'; rename or remove one",
    ),
    "two splits of a dataset dict": (
        lambda _: datasets.DatasetDict(
            {name: datasets.Dataset.from_dict(ID_FRAME) for name in ("dev", "devtest")}
        ),
        "the dataset needs a split; give split= one of: dev, devtest",
    ),
    "something else": (
        lambda _: 42,
        "cannot read a corpus from an object of type int; give a path, a mapping",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_is_an_error_that_names_place_and_remedy(fault: str, tmp_path: Path) -> None:
    make, message = BAD[fault]
    with pytest.raises(CorpusError, match=message) as caught:
        ParallelCorpus.read(make(tmp_path))
    assert "\n" not in str(caught.value)


ARGUMENTS: dict[str, tuple[Mapping[str, object], str]] = {
    "a language that is not there": (
        {"languages": ["eng_Latn", "ita_Latn"]},
        "has no ita_Latn; choose from: .*eng_Latn, deu_Latn, fra_Latn, jpn_Jpan",
    ),
    "one language": ({"languages": ["eng_Latn"]}, r"one language only \(eng_Latn\)"),
    "no language": ({"languages": []}, "no language; a parallel"),
    "a language twice": ({"languages": ["eng_Latn", "eng_Latn"]}, "languages repeats itself"),
    "languages as a string": ({"languages": "eng_Latn"}, "languages is the string 'eng_Latn'"),
    "a split": ({"split": "dev"}, "has no splits to choose 'dev' from; leave split out"),
}


@pytest.mark.parametrize("fault", ARGUMENTS)
@pytest.mark.parametrize("kind", ["tsv wide", "tsv long", "mapping to lists", "dataset wide"])
def test_bad_arguments_are_an_error(fault: str, kind: str, tmp_path: Path) -> None:
    arguments, message = ARGUMENTS[fault]
    with pytest.raises(CorpusError, match=message):
        ParallelCorpus.read(SOURCES[kind](tmp_path), **arguments)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    # A socket is there, but nobody can open it as a file, not even root.
    os.mknod(tmp_path / "x.tsv", stat.S_IFSOCK | 0o600)
    with pytest.raises(CorpusError, match=r"x\.tsv cannot be read \(.+\); give a file"):
        ParallelCorpus.read(tmp_path / "x.tsv")


def test_the_hash_is_the_sha256_of_languages_ids_and_texts_as_json() -> None:
    corpus = ParallelCorpus.read({"eng_Latn": ["Café"], "deu_Latn": ["Kaffee"]})
    content = rb'[["eng_Latn","deu_Latn"],["1"],[["Caf\u00e9"],["Kaffee"]]]'
    assert corpus.hash == hashlib.sha256(content).hexdigest()


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: any(character.isalpha() for character in text)
)
rows_of_text = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=8)


def from_rows(rows: list[tuple[str, str, str]]) -> ParallelCorpus:
    lists = [list(column) for column in zip(*rows, strict=True)]
    return ParallelCorpus.read(dict(zip(LANGUAGES[:3], lists, strict=True)))


@given(rows_of_text, rows_of_text)
def test_equal_hash_means_equal_content(
    some: list[tuple[str, str, str]], others: list[tuple[str, str, str]]
) -> None:
    one, other = from_rows(some), from_rows(others)
    assert (one.hash == other.hash) == (one == other) == (some == others)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 (our own bytes)


@given(rows_of_text)
def test_text_of_any_kind_survives_json_lines(rows: list[tuple[str, str, str]]) -> None:
    corpus = from_rows(rows)
    lines = [
        json.dumps({"id": i, "language": c, "text": t}, ensure_ascii=False)
        for c in corpus.languages
        for i, t in zip(corpus.ids, corpus.sentences[c], strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        assert ParallelCorpus.read(write(Path(folder) / "x.jsonl", "\n".join(lines))) == corpus


def test_order_counts_for_equality_and_hash() -> None:
    swapped = CORPUS.select([*LANGUAGES[1:], LANGUAGES[0]])
    assert swapped != CORPUS
    assert swapped.hash != CORPUS.hash
    assert len({CORPUS, swapped, swapped.select(LANGUAGES)}) == 2


def test_the_text_form_says_what_there_is_without_the_sentences() -> None:
    assert repr(CORPUS) == (
        "ParallelCorpus(4 sentences in eng_Latn, deu_Latn, fra_Latn, jpn_Jpan; "
        f"hash {CORPUS.hash[:12]})"
    )


def test_select_and_take_keep_alignment() -> None:
    part = CORPUS.select(["jpn_Jpan", "deu_Latn"]).take(2)
    assert part.ids == ("1", "2")
    assert len(part) == 2
    assert part.sentences == {
        "jpn_Jpan": SENTENCES["jpn_Jpan"][:2],
        "deu_Latn": SENTENCES["deu_Latn"][:2],
    }
    assert CORPUS.take(4) == CORPUS


@pytest.mark.parametrize("n", [-1, 0, 5])
def test_taking_none_or_more_than_there_are_is_an_error(n: int) -> None:
    with pytest.raises(CorpusError, match=f"cannot take {n} sentences; give a number from 1 to 4"):
        CORPUS.take(n)


@pytest.mark.parametrize("languages", [["eng_Latn"], ["eng_Latn", "ita_Latn"], "eng_Latn"])
def test_selecting_what_is_not_there_or_too_little_is_an_error(languages: list[str]) -> None:
    with pytest.raises(CorpusError):
        CORPUS.select(languages)


def test_labels_number_the_languages_in_their_order() -> None:
    texts, labels = CORPUS.select(["fra_Latn", "eng_Latn"]).labelled()
    assert texts == [*SENTENCES["fra_Latn"], *SENTENCES["eng_Latn"]]
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def counted(n: int) -> ParallelCorpus:
    return ParallelCorpus.read(
        {c: [f"{c} {i}" for i in range(n)] for c in ("aaa_Latn", "bbb_Latn")}
    )


def test_a_split_is_the_order_of_sha256_of_seed_and_id() -> None:
    find, judge = counted(9).split(seed=3, find=1 / 3)
    order = sorted(map(str, range(1, 10)), key=lambda i: hashlib.sha256(f"3:{i}".encode()).digest())
    assert find.ids == tuple(order[:3])
    assert judge.ids == tuple(order[3:])


@given(
    st.integers(2, 40).flatmap(lambda n: st.permutations(range(n))),
    st.integers(0, 10**9),
    st.floats(0.01, 0.99),
)
def test_splits_are_disjoint_complete_and_independent_of_row_order(
    rows: list[int], seed: int, share: float
) -> None:
    n = len(rows)
    corpus = counted(n)
    if not 0 < round(share * n) < n:
        with pytest.raises(CorpusError, match=r"leaves one side of .* sentences empty"):
            corpus.split(seed, share)
        return
    find, judge = corpus.split(seed, share)
    assert len(find) == round(share * n)
    assert set(find.ids) | set(judge.ids) == set(corpus.ids)
    assert not set(find.ids) & set(judge.ids)
    shuffled = ParallelCorpus.read(
        {c: {corpus.ids[row]: corpus.sentences[c][row] for row in rows} for c in corpus.languages}
    )
    assert shuffled.split(seed, share) == (find, judge)
    for side in (find, judge):
        for i, text in zip(side.ids, side.sentences["bbb_Latn"], strict=True):
            assert text == corpus.sentences["bbb_Latn"][int(i) - 1]


def test_another_seed_divides_otherwise_and_the_same_seed_alike() -> None:
    corpus = counted(100)
    assert corpus.split(seed=1) == corpus.split(seed=1)
    assert corpus.split(seed=1)[0] != corpus.split(seed=2)[0]


def reach(pairs: list[tuple[int, int]], start: int) -> frozenset[int]:
    """Walk from one row to all that share a sentence with a row already reached."""
    reached = {start}
    for _ in pairs:
        reached |= {
            i
            for i, (a, b) in enumerate(pairs)
            if any(a == pairs[j][0] or b == pairs[j][1] for j in reached)
        }
    return frozenset(reached)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=2, max_size=24),
    st.integers(0, 99),
)
def test_no_sentence_stands_on_both_sides(pairs: list[tuple[int, int]], seed: int) -> None:
    corpus = ParallelCorpus.read(
        {"aaa_Latn": [f"a{a}" for a, _ in pairs], "bbb_Latn": [f"b{b}" for _, b in pairs]}
    )
    together = {i: reach(pairs, i) for i in range(len(pairs))}
    if all(len(group) > round(len(pairs) / 2) for group in together.values()):
        with pytest.raises(CorpusError, match="without repetitions"):
            corpus.split(seed)
        return
    find, judge = corpus.split(seed)
    assert 1 <= len(find) <= round(len(pairs) / 2)
    assert len(find) + len(judge) == len(corpus)
    for language in corpus.languages:
        assert not set(find.sentences[language]) & set(judge.sentences[language])


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.5, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_an_error(share: float) -> None:
    with pytest.raises(CorpusError, match="above 0 and below 1"):
        CORPUS.split(find=share)


def test_one_sentence_cannot_be_split() -> None:
    with pytest.raises(CorpusError, match="leaves one side of 1 sentences empty"):
        CORPUS.take(1).split()


def test_equal_sentences_of_a_language_have_the_same_number() -> None:
    corpus = ParallelCorpus.read({"eng_Latn": ["a", "b", "a"], "deu_Latn": ["x", "x", "y"]})

    assert {language: rows.tolist() for language, rows in corpus.same.items()} == {
        "eng_Latn": [0, 1, 0],
        "deu_Latn": [0, 0, 1],
    }
