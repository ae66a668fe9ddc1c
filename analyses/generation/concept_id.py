"""Which concept of a labelled corpus a text is of, as a small classifier has it.

It judges what a model writes when no language identifier can, from texts alone, so that it shares
nothing with the units that are steered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from steer_plugin.corpora.corpus import Corpus
from steer_plugin.corpora.text_forms import normal_form
from steer_plugin.errors import AnalysisError
from steer_plugin.scores.rank_scores import auroc

LONGEST = 4
"""Characters of the longest n-grams."""


@dataclass(frozen=True, eq=False)
class ConceptIdentifier:
    """Naive Bayes over character n-grams, each counted once a text, all concepts as likely.

    Binarised multinomial naive Bayes with add-one smoothing, which does well on snippets (Wang and
    Manning 2012, "Baselines and bigrams"). A language identifier is one of the same kind. An
    `Identifier`: see `language_id`. Made by `fit_concepts`.

    Attributes:
        concepts: that it tells apart.
        columns: for each n-gram, its column in `log_shares`.
        log_shares: the logarithm of each n-gram's share of all those of a concept's texts.
    """

    concepts: tuple[str, ...]
    columns: Mapping[str, int]
    log_shares: Float[np.ndarray, "concept ngram"]

    def __call__(self, texts: Sequence[str], concept: str) -> Float[np.ndarray, " text"]:
        """Give the probability that each text is of a concept.

        A text without any n-gram that it knows is as likely of each.

        Raises:
            AnalysisError: it does not know the concept.
        """
        if concept not in self.concepts:
            raise AnalysisError(
                f"{concept!r} is none of the concepts that were learnt: {', '.join(self.concepts)}"
            )
        row = self.concepts.index(concept)
        return np.array([softmax(self._log_likelihood(text))[row] for text in texts])

    def auroc(self, corpus: Corpus) -> Mapping[str, float]:
        """Say how well its probabilities tell each concept of other texts from the rest.

        Args:
            corpus: texts of the same concepts, which it did not learn from.
        """
        texts, labels = corpus.labelled()
        given = np.stack([self(texts, concept) for concept in corpus.concepts], axis=1)
        return {
            concept: float(score)
            for concept, score in zip(corpus.concepts, np.diag(auroc(given, labels)), strict=True)
        }

    def _log_likelihood(self, text: str) -> Float[np.ndarray, " concept"]:
        known = [self.columns[ngram] for ngram in _ngrams(text) if ngram in self.columns]
        return np.asarray(self.log_shares[:, sorted(known)].sum(1))


def fit_concepts(corpus: Corpus) -> ConceptIdentifier:
    """Learn to tell the concepts of a corpus apart from its texts."""
    by_concept = [[_ngrams(text) for text in texts] for texts in corpus.sentences.values()]
    every = dict.fromkeys(ngram for texts in by_concept for text in texts for ngram in sorted(text))
    columns = {ngram: number for number, ngram in enumerate(every)}
    counts = np.ones((len(by_concept), len(columns)))
    for row, texts in enumerate(by_concept):
        for text in texts:
            counts[row, _places(text, columns)] += 1
    log_shares = np.log(counts / counts.sum(1, keepdims=True))
    return ConceptIdentifier(corpus.concepts, columns, log_shares)


def _places(ngrams: Iterable[str], columns: Mapping[str, int]) -> list[int]:
    return [columns[ngram] for ngram in ngrams]


def _ngrams(text: str) -> set[str]:
    padded = f" {normal_form(text).casefold()} "
    return {
        padded[start : start + length]
        for length in range(1, LONGEST + 1)
        for start in range(len(padded) - length + 1)
    }
