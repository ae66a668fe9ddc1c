"""The judge of what is written about labels, against scikit-learn's naive Bayes."""

from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import MultinomialNB

from steer_plugin import LabelledCorpus
from steer_plugin.analyses.generation.concept_id import ConceptIdentifier, fit_concepts
from steer_plugin.errors import AnalysisError

UNSEEN = ["Why?", "ok lol", "The report is enclosed.", "ΩΩΩ is it?", "x", "\t so\n\nwhat  "]


def reference(corpus: LabelledCorpus, texts: list[str]) -> np.ndarray[Any, Any]:
    """Give scikit-learn's log-probability of each concept and text together, [text, concept]."""

    def padded(given: list[str]) -> list[str]:
        return [f" {' '.join(text.split()).casefold()} " for text in given]

    counter = CountVectorizer(analyzer="char", ngram_range=(1, 4), binary=True, lowercase=False)
    bayes = MultinomialNB(alpha=1, fit_prior=False)
    bayes.fit(counter.fit_transform(padded(list(corpus.texts))), corpus.labels)
    return np.asarray(bayes.predict_joint_log_proba(counter.transform(padded(texts))))


@pytest.fixture(
    params=[
        {"question": 150, "statement": 150},
        {"formal": 60, "casual": 5},
        {"a": 3, "b": 4, "c": 5},
    ]
)
def corpus(request: pytest.FixtureRequest) -> LabelledCorpus:
    sources = {
        label: texts
        for name in ("questions", "registers")
        for label, texts in LabelledCorpus.bundled(name).sentences.items()  # type: ignore[arg-type]
    }
    made_up = {label: [f"{label * n} {n}" for n in range(1, 9)] for label in "abc"}
    return LabelledCorpus.read(
        {label: list((sources | made_up)[label][:n]) for label, n in request.param.items()}
    )


def identified(identify: ConceptIdentifier, texts: list[str]) -> np.ndarray[Any, Any]:
    return np.stack([identify(texts, concept) for concept in identify.concepts], axis=1)


def test_probabilities_are_those_of_scikit_learns_naive_bayes(corpus: LabelledCorpus) -> None:
    texts = [*UNSEEN, *corpus.texts[::7]]

    found = identified(fit_concepts(corpus), texts)

    wanted = softmax(reference(corpus, texts), axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert found.sum(1) == pytest.approx(1)


def test_auroc_is_that_of_scikit_learn_on_texts_that_were_not_learnt(
    corpus: LabelledCorpus,
) -> None:
    finding, judging = corpus.split(seed=1)
    identify = fit_concepts(finding)

    scores = identify.auroc(judging)

    joint = reference(finding, list(judging.texts))
    others = [logsumexp(np.delete(joint, row, 1), axis=1) for row in range(joint.shape[1])]
    given = joint - np.stack(others, axis=1)
    assert scores == pytest.approx(
        {
            concept: roc_auc_score(np.array(judging.labels) == row, given[:, row])
            for row, concept in enumerate(corpus.concepts)
        }
    )


@pytest.mark.parametrize("name", ["questions", "registers"])
def test_the_bundled_concepts_are_told_on_texts_of_other_topics(name: Any) -> None:
    finding, judging = LabelledCorpus.bundled(name).split(seed=0)
    scores = fit_concepts(finding).auroc(judging)
    assert min(scores.values()) > 0.95


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b", "\ufeff \u2800"])
def test_a_text_of_nothing_is_as_likely_of_each(text: str, corpus: LabelledCorpus) -> None:
    identify = fit_concepts(corpus)
    assert identified(identify, [text]) == pytest.approx(1 / len(corpus.concepts))


def test_a_concept_that_was_not_learnt_is_refused_with_those_that_were() -> None:
    identify = fit_concepts(LabelledCorpus.read({"a": ["x"], "b": ["y"]}))
    with pytest.raises(AnalysisError, match="'c' is none of the concepts that were learnt: a, b"):
        identify(["x"], "c")
