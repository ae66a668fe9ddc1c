"""The language of texts, against the bundled corpus and against the identifier itself."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import LanguageIdentifier

from steer_plugin import ParallelCorpus
from steer_plugin.analyses.generation import language_id
from steer_plugin.analyses.generation.language_id import language_probabilities
from steer_plugin.corpora.language_codes import iso_639_1
from steer_plugin.errors import AnalysisError

CORPUS = ParallelCorpus.everyday()


def test_sentences_are_most_probable_in_their_own_language() -> None:
    means = np.array(
        [
            [language_probabilities(texts[:60], language).mean() for language in CORPUS.languages]
            for texts in CORPUS.texts
        ]
    )
    off_diagonal = means[~np.eye(len(means), dtype=bool)]
    assert means.diagonal().min() > 0.5
    assert off_diagonal.max() < 0.05


def test_probabilities_are_those_of_the_identifier_over_all_its_languages() -> None:
    reference = LanguageIdentifier.from_model_file("data/model.npz.xz", norm_probs=True)
    texts = ["Das ist ein Haus.", "x", "the cat", "日本語です", "Привет, мир", "a 1 b 2"]
    for language in CORPUS.languages:
        wanted = [dict(reference.rank(text))[iso_639_1(language)] for text in texts]
        np.testing.assert_array_equal(language_probabilities(texts, language), wanted)
    for text in texts:
        assert sum(dict(reference.rank(text)).values()) == pytest.approx(1, abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(max_size=40), max_size=5))
def test_any_text_has_a_probability_and_one_without_letters_has_none(texts: list[str]) -> None:
    found = language_probabilities(texts, "deu_Latn")
    assert found.shape == (len(texts),)
    assert ((found >= 0) & (found <= 1)).all()
    for text, probability in zip(texts, found, strict=True):
        has_letters = any(unicodedata.category(letter).startswith("L") for letter in text)
        assert (probability > 0) <= has_letters
        # Beside others or alone.
        assert language_probabilities([text], "deu_Latn")[0] == probability


@pytest.mark.parametrize("text", ["", " ", "\n\t", "123 !!!", "… — “”", "١٢٣", "🙂"])
def test_a_text_without_a_letter_is_in_no_language(text: str) -> None:
    for language in CORPUS.languages:
        assert language_probabilities([text], language) == [0.0]


def test_a_language_that_the_identifier_does_not_know_is_refused_with_those_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(language_id, "iso_639_1", lambda language: language[:3])
    with pytest.raises(AnalysisError, match=r"does not know tlh_Latn \(tlh\); .*: ace, af, am, "):
        language_probabilities(["nuqneH"], "tlh_Latn")


def test_the_identifier_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    language_probabilities(["ein Haus"], "deu_Latn")
    monkeypatch.setattr(LanguageIdentifier, "from_model_file", None)
    assert language_probabilities(["ein Haus"], "eng_Latn")[0] < 0.5
