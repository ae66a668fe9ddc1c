"""The bundled texts with labels, read by the csv module and judged by tools that are not ours."""

import csv
import re
import unicodedata
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from steer_plugin import LabelledCorpus, ParallelCorpus

DATA = files("steer_plugin.data")
LABELS = {"questions": ["question", "statement"], "registers": ["formal", "casual"]}
TOPICS, EACH = 15, 150


def rows(name: str) -> list[list[str]]:
    lines = DATA.joinpath(f"{name}.tsv").read_text("utf-8").split("\n")[:-1]
    return list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = {name: rows(name) for name in LABELS}
TEXTS = {
    label: [row[3] for row in ROWS[name][1:] if row[2] == label]
    for name, labels in LABELS.items()
    for label in labels
}

each_corpus = pytest.mark.parametrize("name", LABELS)
each_label = pytest.mark.parametrize("label", TEXTS)


def words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’-]\w+)*", text.casefold())


@each_corpus
def test_each_label_has_ten_texts_on_each_topic_and_an_id_for_each(name: str) -> None:
    columns, *texts = ROWS[name]

    assert columns == ["id", "topic", "label", "text"]
    assert all(len(row) == len(columns) and all(map(str.strip, row)) for row in texts)
    counts = Counter((topic, label) for _, topic, label, _ in texts)
    assert len({topic for topic, _ in counts}) == TOPICS
    assert set(counts.values()) == {EACH // TOPICS}
    assert Counter(label for _, _, label, _ in texts) == dict.fromkeys(LABELS[name], EACH)
    assert len({row[0] for row in texts}) == len(texts)
    assert all(row[0].startswith(f"{row[1]}-{row[2]}-") for row in texts)


@each_corpus
def test_a_bundled_corpus_gives_what_the_file_holds(name: Any) -> None:
    _, *texts = ROWS[name]
    corpus = LabelledCorpus.bundled(name)

    assert corpus.concepts == tuple(LABELS[name])
    assert corpus.ids == tuple(row[0] for row in texts)
    assert corpus.texts == tuple(row[3] for row in texts)
    assert [corpus.concepts[label] for label in corpus.labels] == [row[2] for row in texts]
    topics = list(dict.fromkeys(row[1] for row in texts))
    assert corpus.groups == tuple(topics.index(row[1]) for row in texts)
    # The first texts are of as many topics as there are.
    assert len({row[1] for row in texts[: 2 * TOPICS]}) == TOPICS


def test_no_text_stands_twice_under_any_label_or_in_everyday() -> None:
    # Punctuation and case do not make another text.
    seen = {" ".join(words(text)) for text in ParallelCorpus.everyday().sentences["eng_Latn"]}
    for texts in TEXTS.values():
        for text in texts:
            key = " ".join(words(text))
            assert key not in seen, text
            seen.add(key)


@each_label
def test_text_is_in_normal_form_of_latin_letters_without_stray_spaces(label: str) -> None:
    for text in TEXTS[label]:
        assert unicodedata.is_normalized("NFC", text), text
        assert " ".join(text.split()) == text, text
        assert text.isprintable(), text
        letters = filter(str.isalpha, text)
        assert {unicodedata.name(letter).split()[0] for letter in letters} == {"LATIN"}, text


@each_label
def test_texts_are_sentences_and_their_beginnings_no_template(label: str) -> None:
    assert all(4 <= len(words(text)) <= 25 for text in TEXTS[label])
    openings = Counter(tuple(words(text)[:3]) for text in TEXTS[label])
    assert max(openings.values()) <= EACH // 25, openings.most_common(3)


def test_questions_ask_and_statements_do_not() -> None:
    assert all(text.endswith("?") for text in TEXTS["question"])
    assert not any("?" in text for text in TEXTS["statement"])


@each_label
def test_a_language_identifier_agrees(label: str) -> None:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(["en", "de", "fr", "es", "it", "nl", "pt"])
    wrong = [text for text in TEXTS[label] if identifier.classify(text)[0] != "en"]
    assert len(wrong) <= 0.05 * EACH, "\n".join(wrong)
