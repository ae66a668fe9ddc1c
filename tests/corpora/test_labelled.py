"""Texts with labels: every reader, what is refused, and how they are divided."""

import csv
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin import LabelledCorpus, ParallelCorpus
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.corpora.named_corpora import need_parallel, read_corpus
from steer_plugin.corpora.text_forms import KnownTexts
from steer_plugin.errors import CorpusError

from support.hubs import hub_folder
from support.parallel_sentences import jsonl, parquet, write

Writer = Callable[[Path], object]

TEXTS = {
    "toxic": ("You fool.", 'He said "go".', "Ordure\u2028!"),
    "calm": ("Good evening.", "Tea, then?"),
}
LABELS = [label for label, texts in TEXTS.items() for _ in texts]
FLAT = [text for texts in TEXTS.values() for text in texts]
IDS = ["t1", "t2", "t3", "c1", "c2"]
NAMES = ["calm", "toxic"]


def frame(**more: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"text": FLAT, "label": LABELS, **more})


def classes() -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)}
    )
    columns = {"text": FLAT, "label": [NAMES.index(label) for label in LABELS]}
    return datasets.Dataset.from_dict(columns, features=features)


def folders(place: Path) -> Path:
    for label, texts in TEXTS.items():
        for number, text in enumerate(texts):
            write(place / label / f"{number}.txt", text)
    write(place / "README.txt", "No text of a label.")
    write(place / "pictures" / "x.png", "x")
    return place


def selfcond(place: Path, **changes: Any) -> Path:
    """Write a concept as ml-selfcond has them: selfcond/data.py, `ConceptDataset`."""
    content = {
        "concept": "toxic",
        "group": "keyword",
        "sentences": {"positive": TEXTS["toxic"], "negative": TEXTS["calm"]},
        **changes,
    }
    return write(place, json.dumps(content))


SOURCES: dict[str, Writer] = {
    "mapping": lambda _: {label: list(texts) for label, texts in TEXTS.items()},
    "mapping to arrays": lambda _: {label: np.array(texts) for label, texts in TEXTS.items()},
    "mapping by id": lambda _: (
        {label: dict(zip("abc", texts, strict=False)) for label, texts in TEXTS.items()}
        | {"calm": dict(zip("de", TEXTS["calm"], strict=True))}
    ),
    "mapping of columns": lambda _: frame().to_dict("list"),
    "csv": lambda tmp: write(tmp / "x.csv", frame().to_csv(index=False)),
    "csv with ids": lambda tmp: write(tmp / "x.csv", frame(id=IDS).to_csv(index=False)),
    "tsv": lambda tmp: write(
        tmp / "x.tsv", frame().to_csv(sep="\t", index=False, quoting=csv.QUOTE_ALL)
    ),
    "jsonl": lambda tmp: write(tmp / "x.jsonl", jsonl(frame())),
    "parquet": lambda tmp: parquet(tmp / "x.parquet", frame().astype({"label": "category"})),
    "parquet of sentences": lambda tmp: parquet(
        tmp / "x.parquet", frame().rename(columns={"text": "sentence"})
    ),
    "json": lambda tmp: write(tmp / "x.json", json.dumps(TEXTS)),
    "folder a label": lambda tmp: folders(tmp / "x"),
    "dataset": lambda _: datasets.Dataset.from_pandas(frame()),
    "dataset of classes": lambda _: classes(),
    "dataset dict": lambda _: datasets.DatasetDict({"train": classes()}),
    "streaming dataset": lambda _: datasets.Dataset.from_pandas(frame()).to_iterable_dataset(),
    "streaming dataset of classes": lambda _: classes().to_iterable_dataset(num_shards=2),
    "streaming dataset dict": lambda _: datasets.IterableDatasetDict(
        {"train": classes().to_iterable_dataset()}
    ),
    "a stream without features": lambda _: datasets.IterableDataset.from_generator(
        lambda: ({"label": label, "text": t} for t, label in zip(FLAT, LABELS, strict=True))
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_texts_under_the_same_labels(kind: str, tmp_path: Path) -> None:
    corpus = LabelledCorpus.read(SOURCES[kind](tmp_path), labels=["toxic", "calm"])

    assert isinstance(corpus, Corpus)
    assert corpus.concepts == ("toxic", "calm")
    assert {label: set(texts) for label, texts in corpus.sentences.items()} == {
        label: set(texts) for label, texts in TEXTS.items()
    }
    assert corpus.counts == {"toxic": 3, "calm": 2}
    assert len(set(corpus.ids)) == len(corpus) == 5
    assert corpus.groups is None
    assert corpus.translation_rows() is None
    texts, labels = corpus.labelled()
    assert labels.dtype == np.int64
    assert sorted(zip(texts, labels.tolist(), strict=True)) == sorted(
        zip(FLAT, [0, 0, 0, 1, 1], strict=True)
    )


def test_a_concept_of_ml_selfcond_is_its_positive_sentences_against_the_negative(
    tmp_path: Path,
) -> None:
    corpus = LabelledCorpus.read(selfcond(tmp_path / "toxic-1_04_00__.json"))

    assert corpus.concepts == ("toxic", "background")
    assert corpus.sentences == {"toxic": TEXTS["toxic"], "background": TEXTS["calm"]}


@pytest.mark.parametrize("kind", ["mapping", "txt", "csv", "jsonl without labels"])
def test_one_concept_against_a_background_is_a_corpus_of_two(kind: str, tmp_path: Path) -> None:
    concept = {
        "mapping": lambda: {"toxic": list(TEXTS["toxic"])},
        "txt": lambda: write(tmp_path / "toxic.txt", "\n".join(TEXTS["toxic"]) + "\n"),
        "csv": lambda: write(tmp_path / "x.csv", frame()[:3].to_csv(index=False)),
        "jsonl without labels": lambda: write(
            tmp_path / "toxic.jsonl", jsonl(frame()[:3][["text"]])
        ),
    }[kind]()
    backgrounds = (
        list(TEXTS["calm"]),
        write(tmp_path / "b.txt", "\n".join(TEXTS["calm"])),
        write(tmp_path / "b.csv", frame()[3:].to_csv(index=False)),
        {"any": list(TEXTS["calm"])},
        classes().select([3, 4]).to_iterable_dataset(),
    )
    for background in backgrounds:
        corpus = LabelledCorpus.read(concept, against=background)

        assert corpus.concepts == ("toxic", "background")
        assert corpus.sentences == {"toxic": TEXTS["toxic"], "background": TEXTS["calm"]}


PARALLEL = {
    "wide": {"id": ["1", "2"], "eng_Latn": ["one", "two"], "deu_Latn": ["eins", "zwei"]},
    "long": {
        "id": ["1", "1", "2", "2"],
        "language": ["eng_Latn", "deu_Latn", "deu_Latn", "eng_Latn"],
        "text": ["one", "eins", "zwei", "two"],
    },
}


@pytest.mark.parametrize("form", PARALLEL)
@pytest.mark.parametrize("by", [None, "topic"])
def test_a_streaming_data_set_is_read_as_parallel_sentences_too(form: str, by: str | None) -> None:
    topics = ["a" if i == "1" else "b" for i in PARALLEL[form]["id"]]
    whole = datasets.Dataset.from_dict({**PARALLEL[form], "topic": topics})

    wanted = ParallelCorpus.read(whole, group=by)

    assert wanted.sentences == {"eng_Latn": ("one", "two"), "deu_Latn": ("eins", "zwei")}
    assert wanted.groups == (None if by is None else (0, 1))
    for stream in (
        whole.to_iterable_dataset(),
        whole.to_iterable_dataset(num_shards=2).with_format("numpy"),
        datasets.IterableDataset.from_generator(lambda: iter(whole)),
    ):
        assert ParallelCorpus.read(stream, group=by) == wanted
    several = datasets.IterableDatasetDict({"dev": whole.to_iterable_dataset()})
    assert ParallelCorpus.read(several, split="dev", group=by) == wanted


def test_a_stream_is_read_to_where_its_reader_cut_it() -> None:
    stream = classes().to_iterable_dataset()

    corpus = LabelledCorpus.read(stream.take(4))
    assert corpus.counts == {"toxic": 3, "calm": 1}
    assert LabelledCorpus.read(stream.take(4)) == corpus
    shuffled = LabelledCorpus.read(stream.shuffle(seed=1, buffer_size=5))
    assert Counter(shuffled.sentences["toxic"]) == Counter(TEXTS["toxic"])


def test_a_stream_that_breaks_off_is_an_error() -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "a", "label": "x"}
        raise ConnectionError("the server has gone")

    stream = datasets.IterableDataset.from_generator(rows)
    with pytest.raises(CorpusError, match=r"broke off while it was streamed .*; try again"):
        LabelledCorpus.read(stream)


def test_ids_and_groups_are_those_of_the_columns() -> None:
    table = frame(id=IDS, author=["ann", "ben", "ann", None, None]).to_dict("list")

    corpus = LabelledCorpus.read(table, group="author")

    assert corpus.ids == tuple(IDS)
    assert corpus.groups == (0, 1, 0, 2, 3)


def test_texts_without_a_group_are_of_none_with_those_they_are_told_from() -> None:
    concept = {"text": FLAT[:3], "label": LABELS[:3], "author": [None, "ann", None]}
    background = {"text": FLAT[3:], "label": LABELS[3:], "author": [None, "ann"]}

    corpus = LabelledCorpus.read(concept, against=background, group="author")

    assert corpus.ids == ("1", "2", "3", "background-1", "background-2")
    assert corpus.groups == (0, 1, 2, 3, 1)


@pytest.mark.parametrize("numbers", [[1, 1, 1, 0, 0], np.array([1, 1, 1, 0, 0])])
def test_a_number_is_a_label(numbers: Any) -> None:
    assert LabelledCorpus.read({"text": FLAT, "label": numbers}).concepts == ("1", "0")


def test_the_hash_is_the_sha256_of_the_content_as_json() -> None:
    corpus = LabelledCorpus.read(frame(id=IDS).to_dict("list"))
    content = ["labelled", ["toxic", "calm"], IDS, FLAT, [0, 0, 0, 1, 1]]

    text = json.dumps(content, separators=(",", ":"))

    assert corpus.hash == hashlib.sha256(text.encode()).hexdigest()
    grouped = LabelledCorpus.read(frame(id=IDS, by=list("aabbb")).to_dict("list"), group="by")
    text = json.dumps([*content, [0, 0, 1, 1, 1]], separators=(",", ":"))
    assert grouped.hash == hashlib.sha256(text.encode()).hexdigest()
    assert corpus == LabelledCorpus.read(frame(id=IDS).to_dict("list")) != grouped
    assert hash(corpus) == hash(LabelledCorpus.read(frame(id=IDS).to_dict("list")))
    assert corpus.record == {"hash": corpus.hash, "labels": {"toxic": 3, "calm": 2}}
    assert repr(corpus) == f"LabelledCorpus(5 texts: 3 toxic, 2 calm; hash {corpus.hash[:12]})"


def test_a_text_under_two_labels_is_kept_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        corpus = LabelledCorpus.read({"a": ["Hello", "x"], "b": ["Hel\u00adlo ", "y"]})

    assert len(corpus) == 4
    assert "1 texts stand under several labels, such as 'Hello'" in caplog.text


# What is refused

FAULTS: dict[str, tuple[Writer, str]] = {
    "one label": (
        lambda _: {"toxic": ["a"]},
        r"the mapping: one label only \(toxic\); a concept is told from others, .* in against=",
    ),
    "no texts": (lambda _: {}, "the mapping: no texts"),
    "no text": (
        lambda _: {"a": ["x", ""], "b": ["y"]},
        "the mapping, a, entry 2: the text is missing or empty",
    ),
    "a number as a text": (lambda _: {"a": ["x", 3], "b": ["y"]}, "a, entry 2: the text is of ty"),
    "a string as texts": (lambda _: {"a": "xyz", "b": ["y"]}, "an object of type str for a"),
    "no label": (
        lambda tmp: write(tmp / "x.csv", "text,label\nhello,a\nbye,\n"),
        r"x\.csv, line 3: the label is missing or empty",
    ),
    "an unlabelled class": (
        lambda _: datasets.Dataset.from_dict(
            {"text": ["x", "y"], "label": [0, -1]}, features=classes().features
        ),
        "row 2: the label is -1, none of calm, toxic; remove the rows that have no label",
    ),
    "no label column": (
        lambda tmp: write(tmp / "x.csv", "text,topic\nhello,a\n"),
        r"x\.csv has no column 'label' among text, topic; add one, or say in against=",
    ),
    "no text column": (
        lambda tmp: write(tmp / "x.csv", "review,label\nhello,a\n"),
        r"no column 'text' among review, label",
    ),
    "columns of unequal length": (
        lambda _: {"text": ["a", "b"], "label": ["x"]},
        r"columns of \{'text': 2, 'label': 1\} cells",
    ),
    "an id twice": (
        lambda _: frame(id=["t1", "t2", "t1", "c1", "c2"]).to_dict("list"),
        "entry 3: the id 't1' stands in the mapping, entry 1 already",
    ),
    "a text file alone": (lambda tmp: write(tmp / "x.txt", "a\nb\n"), "has no column 'label'"),
    "broken JSON": (lambda tmp: write(tmp / "x.json", '{"a": ['), r"x\.json: broken JSON"),
    "a list in JSON": (lambda tmp: write(tmp / "x.json", "[1]"), "holds JSON of type list; give"),
    "other sides in JSON": (
        lambda tmp: selfcond(tmp / "x.json", sentences={"for": ["a"], "against": ["b"]}),
        "has for, against in 'sentences'; a concept of ml-selfcond has 'positive' and 'negative'",
    ),
    "a concept called background": (
        lambda tmp: selfcond(tmp / "x.json", concept="background"),
        "the concept is called 'background'",
    ),
    "a folder without texts": (lambda tmp: tmp, "holds no texts; give a folder with a folder for"),
    "an empty file": (
        lambda tmp: write(folders(tmp / "x") / "calm" / "9.txt", "").parent.parent,
        r"9\.txt is empty",
    ),
    "nothing there": (lambda tmp: tmp / "gone.csv", r"gone\.csv is not there"),
    "an unknown suffix": (lambda tmp: write(tmp / "x.xls", "a"), r"unknown suffix '\.xls'"),
    "an object": (lambda _: 3, "cannot read a corpus from an object of type int"),
    "a split of several": (
        lambda _: datasets.IterableDatasetDict(
            {name: classes().to_iterable_dataset() for name in ("train", "test")}
        ),
        "needs a split; give split= one of: train, test",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_an_error_that_names_place_and_remedy(fault: str, tmp_path: Path) -> None:
    source, message = FAULTS[fault]
    given_source = source(tmp_path)
    with pytest.raises(CorpusError, match=message):
        LabelledCorpus.read(given_source)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"labels": "toxic"}, "labels is the string 'toxic'; give a list"),
        ({"labels": ["toxic"]}, "one label only"),
        ({"labels": ["toxic", "rude"]}, "has no rude; choose from: toxic, calm"),
        ({"labels": ["calm", "calm"]}, "labels repeats itself"),
        ({"group": "author"}, "has no column 'author' among id, label, text"),
        ({"split": "train"}, "has no splits"),
    ],
)
def test_bad_choices_are_errors(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        LabelledCorpus.read(TEXTS, **choice)


def test_what_against_cannot_mean_is_an_error() -> None:
    with pytest.raises(CorpusError, match="the label 'background' and others to be told from as"):
        LabelledCorpus.read({"background": ["a"], "b": ["c"]}, against=["d"])
    with pytest.raises(CorpusError, match="does not say what its texts are; give them as a map"):
        LabelledCorpus.read(datasets.Dataset.from_dict({"text": ["a"]}), against=["d"])
    with pytest.raises(CorpusError, match="background, entry 2: the text is missing or empty"):
        LabelledCorpus.read({"a": ["x"]}, against=["d", " "])


# Parts


def counted(**counts: int) -> LabelledCorpus:
    return LabelledCorpus.read(
        {label: [f"{label} text {n}" for n in range(count)] for label, count in counts.items()}
    )


def test_select_take_and_without_keep_texts_with_their_labels() -> None:
    corpus = counted(a=4, b=2, c=3)

    chosen = corpus.select(["c", "a"])
    assert (chosen.concepts, chosen.counts) == (("c", "a"), {"c": 3, "a": 4})
    assert chosen.sentences["c"] == corpus.sentences["c"]
    few = corpus.take(3)
    assert few.counts == {"a": 3, "b": 2, "c": 3}
    assert few.sentences["a"] == corpus.sentences["a"][:3]
    new = corpus.without(KnownTexts.of(["A text 0", "c  text 1"]))
    assert new.counts == {"a": 4, "b": 2, "c": 2}
    with pytest.raises(CorpusError, match="all 2 texts of b are known already"):
        corpus.without(KnownTexts.of(corpus.sentences["b"]))
    for n in (0, 5):
        with pytest.raises(CorpusError, match=f"cannot take {n} texts of each label; .* 1 to 4"):
            corpus.take(n)


@given(
    st.lists(st.integers(2, 15), min_size=2, max_size=4),
    st.integers(0, 10**6),
    st.sampled_from([0.25, 0.5, 0.7]),
)
def test_each_label_is_divided_by_the_share_and_the_order_of_rows_does_not_count(
    counts: list[int], seed: int, share: float
) -> None:
    corpus = counted(**{"abcd"[number]: count for number, count in enumerate(counts)})
    if not all(0 < round(share * count) < count for count in counts):
        with pytest.raises(CorpusError, match=r"leaves one side of \d+ texts of '.' empty"):
            corpus.split(seed, share)
        return

    find, judge = corpus.split(seed, share)

    assert list(find.counts.values()) == [round(share * count) for count in counts]
    assert Counter(find.texts) + Counter(judge.texts) == Counter(corpus.texts)
    order = np.random.default_rng(seed).permutation(len(corpus))
    shuffled = LabelledCorpus.read(
        {
            "id": [corpus.ids[row] for row in order],
            "text": [corpus.texts[row] for row in order],
            "label": [corpus.concepts[corpus.labels[row]] for row in order],
        },
        labels=corpus.concepts,
    )
    assert shuffled.split(seed, share) == (find, judge)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=8, max_size=40))
def test_no_group_and_no_text_stands_on_both_sides(rows: list[tuple[int, int]]) -> None:
    table = {
        "text": [f"{row % 7} said" for row in range(len(rows))],
        "label": [("a", "b")[label] for label, _ in rows],
        "by": [str(by) for _, by in rows],
    }
    try:
        sides = LabelledCorpus.read(table, group="by").split()
    except CorpusError as error:
        assert "one label only" in str(error) or "give more groups" in str(error)  # noqa: PT017
        return
    by_id = {str(row + 1): (table["text"][row], table["by"][row]) for row in range(len(rows))}
    seen = [{by_id[i][part] for i in side.ids} for side in sides for part in (0, 1)]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[3]


# As the command line names them


def test_a_file_of_texts_and_labels_is_taken_as_such_and_others_as_before(tmp_path: Path) -> None:
    reviews = write(tmp_path / "reviews.csv", frame().to_csv(index=False))
    assert read_corpus(str(reviews)) == LabelledCorpus.read(reviews)
    assert read_corpus(str(reviews), ["calm", "toxic"]).concepts == ("calm", "toxic")
    place = folders(tmp_path / "x")
    assert read_corpus(str(place)) == LabelledCorpus.read(place)
    concept = selfcond(tmp_path / "c.json")
    assert read_corpus(str(concept)) == LabelledCorpus.read(concept)
    alone = write(tmp_path / "toxic.txt", "a\nb")
    assert read_corpus(str(alone), against=str(reviews)).concepts == ("toxic", "background")
    long = pd.DataFrame(
        {"id": [1, 1], "language": ["eng_Latn", "deu_Latn"], "text": ["a", "b"], "label": ["x"] * 2}
    )
    languages = write(tmp_path / "long.csv", long.to_csv(index=False))
    assert isinstance(read_corpus(str(languages)), ParallelCorpus)
    assert read_corpus("registers").concepts == ("formal", "casual")
    assert read_corpus("questions", ["statement", "question"]).groups is not None


def test_what_is_bundled_has_a_background_and_is_one_by_its_name(tmp_path: Path) -> None:
    alone = write(tmp_path / "toxic.txt", "a\nb")

    corpus = read_corpus(str(alone), against="questions")
    bundled = LabelledCorpus.bundled("questions")
    assert Counter(corpus.sentences["background"]) == Counter(bundled.texts)
    corpus = read_corpus("questions", ["question", "background"], against=str(alone))
    assert corpus.sentences["question"] == bundled.sentences["question"]
    assert corpus.sentences["background"] == ("a", "b")


def test_a_reader_keeps_its_groups_beside_a_background(tmp_path: Path) -> None:
    alone = write(tmp_path / "toxic.txt", "a\nb")

    corpus = read_corpus("questions", group="topic", against="registers")
    bundled = LabelledCorpus.bundled("questions")
    other = LabelledCorpus.bundled("registers")

    assert corpus.concepts == ("question", "statement", "background")
    assert corpus.groups is not None
    assert bundled.groups is not None
    assert other.groups is not None
    number = dict(zip(corpus.sentences["question"], corpus.groups, strict=False))
    topic = dict(zip(bundled.texts, bundled.groups, strict=True))
    texts = bundled.sentences["question"]
    for one, two in pairwise(texts):
        assert (number[one] == number[two]) == (topic[one] == topic[two])
    assert len(set(corpus.groups)) == len(set(bundled.groups)) + len(set(other.groups))
    with pytest.raises(CorpusError, match=r"toxic\.txt has no column 'topic' among text"):
        read_corpus("questions", group="topic", against=str(alone))


def test_a_data_set_on_a_hub_is_taken_by_its_columns(tmp_path: Path) -> None:
    name = hub_folder(tmp_path, {"default": {"train": {"text": FLAT, "label": LABELS}}})

    corpus = read_corpus(name)

    assert corpus.record["labels"] == {"toxic": 3, "calm": 2}


def test_what_is_over_translations_says_what_to_give() -> None:
    everyday = ParallelCorpus.everyday()
    assert need_parallel(everyday, "retrieval") is everyday
    with pytest.raises(CorpusError, match=r"retrieval is over translations .* give a parallel"):
        need_parallel(counted(a=2, b=3), "retrieval")


@pytest.mark.usefixtures("unchecked")
def test_only_what_is_bundled_can_be_had_by_name() -> None:
    with pytest.raises(CorpusError, match="'moods' is not bundled; choose one of: questions, reg"):
        LabelledCorpus.bundled("moods")  # type: ignore[arg-type]
