"""Groups of sentences: where they are read from, and that a split keeps them together."""

import pickle
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import CorpusError

from support.parallel_sentences import (
    IDS,
    LANGUAGES,
    SENTENCES,
    flores_folder,
    jsonl,
    parquet,
    write,
)

TOPICS = ("law", "sea", "law", "art")
GROUPS = (0, 1, 0, 2)
WIDE = pd.DataFrame({"id": IDS, "topic": TOPICS, **SENTENCES})
LONG = pd.DataFrame(
    [
        (i, topic, *language.split("_"), language, text)
        for language in LANGUAGES
        for i, topic, text in zip(IDS, TOPICS, SENTENCES[language], strict=True)
    ],
    columns=["id", "topic", "iso_639_3", "iso_15924", "language", "text"],
)


def metadata(folder: Path, column: str = "topic") -> Path:
    flores_folder(folder, "dev", nested=True)
    rows = "".join(f"{topic}\tnews\n" for topic in TOPICS)
    write(folder / "metadata_dev.tsv", f"{column}\tdomain\n{rows}")
    return folder


def plus_tables(folder: Path, column: str = "topic") -> Path:
    for language, rows in LONG.groupby("language"):
        frame = rows[["id", "topic", "text"]].rename(columns={"topic": column})
        write(folder / "dev" / f"{language}.jsonl", jsonl(frame))
    return folder


NAMED: dict[str, Callable[[Path], object]] = {
    "wide file": lambda tmp: write(tmp / "x.csv", WIDE.to_csv(index=False)),
    "long file": lambda tmp: parquet(tmp / "x.parquet", LONG.drop(columns="iso_639_3")),
    "table of FLORES+": lambda tmp: parquet(tmp / "x.parquet", LONG.drop(columns="language")),
    "tables of FLORES+": plus_tables,
    "FLORES-200": metadata,
    "FLORES-200, one split": lambda tmp: metadata(tmp) / "dev",
    "data set": lambda _: datasets.Dataset.from_pandas(WIDE),
    "mapping": lambda _: WIDE.to_dict("list"),
    "mapping of a long table": lambda _: LONG.to_dict("list"),
    "mapping by id": lambda _: WIDE.set_index("id").to_dict(),
    "mapping of numbers": lambda _: {**WIDE.to_dict("list"), "topic": [7, 5, 7, 6.5]},
    "mapping of languages by other names": lambda _: {
        "en": SENTENCES["eng_Latn"], "de": SENTENCES["deu_Latn"], "topic": TOPICS
    },
}  # fmt: skip


@pytest.mark.parametrize("source", NAMED)
def test_a_named_column_groups_the_sentences(source: str, tmp_path: Path) -> None:
    corpus = ParallelCorpus.read(NAMED[source](tmp_path), group="topic")
    assert corpus.groups == GROUPS
    assert len(corpus) == 4
    assert "topic" not in corpus.languages


DOCUMENTS: dict[str, Callable[[Path], object]] = {
    "FLORES-200": lambda tmp: metadata(tmp, "URL"),
    "tables of FLORES+": lambda tmp: plus_tables(tmp, "url"),
    "table of FLORES+": lambda tmp: parquet(
        tmp / "x.parquet", LONG.rename(columns={"topic": "url"})
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", DOCUMENTS)
def test_flores_is_grouped_by_its_documents(source: str, tmp_path: Path) -> None:
    assert ParallelCorpus.read(DOCUMENTS[source](tmp_path)).groups == GROUPS


@pytest.mark.parametrize("source", NAMED)
def test_without_a_column_there_are_no_groups(source: str, tmp_path: Path) -> None:
    languages = None if "other names" not in source else ["en", "de"]
    corpus = ParallelCorpus.read(NAMED[source](tmp_path), languages=languages)
    assert corpus.groups is None


@pytest.mark.parametrize("missing", [None, "", " ", float("nan")])
def test_a_sentence_without_an_entry_is_a_group_of_its_own(missing: object) -> None:
    source = {"eng_Latn": list("abcd"), "deu_Latn": list("efgh"), "of": [missing, 1, missing, 1]}
    assert ParallelCorpus.read(source, group="of").groups == (0, 1, 2, 1)


def bad_metadata(folder: Path) -> Path:
    flores_folder(folder, "dev", nested=True)
    write(folder / "metadata_dev.tsv", "URL\nhttps://a.example\n")
    return folder


BAD: dict[str, tuple[Callable[[Path], object], str | None, str]] = {
    "no such column": (NAMED["wide file"], "theme", "no column 'theme' among id, topic, eng_Latn"),
    "no such column in metadata": (metadata, "theme", "no column 'theme' among topic, domain"),
    "no such column in a mapping": (NAMED["mapping"], "theme", "no column 'theme' among id, topic"),
    "no such entry in a mapping by id": (NAMED["mapping by id"], "theme", "no 'theme' among topic"),
    "no column but sentences": (
        lambda tmp: flores_folder(tmp, "dev", nested=True), "topic", "sentences alone and no column"
    ),
    "translations of two groups": (
        NAMED["long file"], "language", "row 5: the language is 'deu_Latn', that of its translation"
    ),
    "metadata of another length": (
        bad_metadata, None, "metadata_dev.tsv has 1 entries in 'URL' for the 4 sentences of"
    ),
    "an entry that is no text": (
        lambda _: {"eng_Latn": ["a"], "deu_Latn": ["b"], "topic": [["law"]]},
        "topic",
        "the mapping, entry 1: the entry in 'topic' is of type list, not text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_column_that_cannot_group_is_an_error(fault: str, tmp_path: Path) -> None:
    make, group, message = BAD[fault]
    with pytest.raises(CorpusError, match=message) as caught:
        ParallelCorpus.read(make(tmp_path), group=group)
    assert "\n" not in str(caught.value)


def test_the_bundled_corpus_is_grouped_by_topic() -> None:
    corpus = ParallelCorpus.everyday()
    topics = [key.rpartition("-")[0] for key in corpus.ids]
    pairs = set(zip(topics, corpus.groups or (), strict=True))
    assert len(pairs) == len(set(topics)) == 20


def test_the_first_sentences_of_the_bundled_corpus_are_of_many_topics() -> None:
    assert len(set(ParallelCorpus.everyday().take(20).groups or ())) == 20


def grouped(groups: list[int], texts: list[int]) -> ParallelCorpus:
    source = {
        "aaa_Latn": [f"a{text}" for text in texts],
        "bbb_Latn": [f"b{row}" for row in range(len(texts))],
        "of": groups,
    }
    return ParallelCorpus.read(source, group="of")


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 30)), min_size=2, max_size=30),
    st.integers(0, 99),
)
def test_no_group_and_no_sentence_stands_on_both_sides(
    rows: list[tuple[int, int]], seed: int
) -> None:
    corpus = grouped(*map(list, zip(*rows, strict=True)))
    try:
        find, judge = corpus.split(seed)
    except CorpusError:
        reject()  # what is together is more than half
    of = dict(zip(corpus.ids, corpus.groups or (), strict=True))
    assert not {of[key] for key in find.ids} & {of[key] for key in judge.ids}
    assert not set(find.texts[0]) & set(judge.texts[0])
    assert len(find) <= round(len(corpus) / 2)
    assert set(find.ids) | set(judge.ids) == set(corpus.ids)
    for side in (find, judge):
        numbers = [of[key] for key in side.ids]
        assert side.groups == tuple(map(list(dict.fromkeys(numbers)).index, numbers))


def test_one_group_alone_cannot_be_split() -> None:
    with pytest.raises(
        CorpusError, match="one side of 4 sentences of 1 groups empty; give more gr"
    ):
        grouped([0, 0, 0, 0], [0, 1, 2, 3]).split()


def test_a_split_does_not_depend_on_the_order_of_rows() -> None:
    frame = pd.DataFrame(
        {
            "id": map(str, range(40)),
            "eng_Latn": [f"a{row}" for row in range(40)],
            "deu_Latn": [f"b{row}" for row in range(40)],
            "of": [row // 4 for row in range(40)],
        }
    )
    shuffled = frame.sample(frac=1, random_state=0)
    one, other = (
        ParallelCorpus.read(table.to_dict("list"), group="of").split(seed=5)
        for table in (frame, shuffled)
    )
    assert one == other


def test_groups_are_kept_by_what_makes_a_corpus_of_another() -> None:
    corpus = ParallelCorpus.read(WIDE.to_dict("list"), group="topic")
    assert corpus.select(["jpn_Jpan", "deu_Latn"]).groups == GROUPS
    assert corpus.take(3).groups == GROUPS[:3]
    assert pickle.loads(pickle.dumps(corpus)) == corpus  # noqa: S301 (our own bytes)


def test_groups_are_part_of_the_content() -> None:
    plain, of_topics = (
        ParallelCorpus.read(WIDE.to_dict("list"), languages=LANGUAGES, group=group)
        for group in (None, "topic")
    )
    assert plain != of_topics
    assert plain.hash != of_topics.hash
    renamed = ParallelCorpus.read({**WIDE.to_dict("list"), "topic": list("xyxz")}, group="topic")
    assert renamed.hash == of_topics.hash
    assert "4 sentences of 3 groups in eng_Latn" in repr(of_topics)
