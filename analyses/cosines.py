"""Cosines between the sentences of two languages: who is ahead of the translation, who is near."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.analyses.figures import Pair
from steer_plugin.analyses.vectors import UnitVectors
from steer_plugin.bitext import same_texts as same_texts
from steer_plugin.errors import AnalysisError

TIE = 1e-9
"""Cosines, and what is made of them, that differ by less are the same but for rounding."""

NEAREST = 10
"""How many nearest sentences are kept of each."""

Same = Mapping[str, Int[np.ndarray, " sentence"]]


@dataclass(frozen=True, eq=False)
class Translations:
    """Which candidates count as the translation of which query.

    Attributes:
        queries: places of queries, ascending, each at least once.
        candidates: for each, the place of a candidate that counts as its translation.
    """

    queries: Int[np.ndarray, " match"]
    candidates: Int[np.ndarray, " match"]

    def best(self, scores: Float[np.ndarray, " match"]) -> Float[np.ndarray, " query"]:
        """Give the highest of each query's scores with its translations."""
        starts = np.flatnonzero(np.diff(self.queries, prepend=-1))
        return np.asarray(np.maximum.reduceat(scores, starts))


@dataclass(frozen=True, eq=False)
class Search:
    """All sentences of one language looked for among those of another.

    Attributes:
        cosines: of each query with each candidate.
        translations: what is looked for.
        near_queries: for each query its largest cosines, descending, k = 10 or all of n.
        near_candidates: for each candidate its largest cosines with queries.
    """

    cosines: Float[np.ndarray, "sentence sentence"]
    translations: Translations
    near_queries: Float[np.ndarray, "sentence near"]
    near_candidates: Float[np.ndarray, "sentence near"]

    @cached_property
    def ranks(self) -> Int[np.ndarray, " sentence"]:
        """The rank of each query's translation by cosine, from 1; see `ranks`."""
        return ranks(self.cosines, self.translations)


def translations(
    gold: Int[np.ndarray, " query"], same: Int[np.ndarray, " candidate"] | None
) -> Translations:
    """List each query's translation and the candidates with the same text.

    Args:
        gold: the place of each query's translation among the candidates.
        same: a number a candidate, equal where texts are equal; None where all differ.
    """
    queries = np.arange(len(gold))
    if same is None:
        return Translations(queries, gold)
    order = np.argsort(same, kind="stable")
    first, last = (np.searchsorted(same[order], same[gold], side) for side in ("left", "right"))
    counts = last - first
    starts = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(starts, counts)
    return Translations(np.repeat(queries, counts), order[np.repeat(first, counts) + within])


def ahead(
    scores: Float[np.ndarray, "query candidate"],
    best: Float[np.ndarray, " query"],
    own: Translations,
) -> Int[np.ndarray, " query"]:
    """Count the candidates that score as high as the best translation, to within `TIE`.

    Args:
        scores: of each query with each candidate.
        best: the highest score of each query's translations.
        own: the translations among these candidates, which are not counted.
    """
    as_high = scores >= best[:, None] - TIE
    as_high[own.queries, own.candidates] = False
    return np.asarray(as_high.sum(1))


def ranks(
    scores: Float[np.ndarray, "query candidate"], own: Translations
) -> Int[np.ndarray, " query"]:
    """Give the rank of each query's translation, from 1, ties counted as ahead of it."""
    return 1 + ahead(scores, own.best(scores[own.queries, own.candidates]), own)


def searches(units: UnitVectors, same: Same | None) -> Iterator[tuple[Pair, Search]]:
    """Look for each language's sentences in each other language, both ways from one product.

    O(n^2 d) time a pair of languages, and as much memory as the unit vectors and a few matrices
    [sentence, sentence].

    Args:
        units: language -> unit vectors, row i of one a translation of row i of another.
        same: for each language a number a sentence, equal where texts are equal; a candidate whose
            text equals the translation's then counts as the translation. None where all differ.

    Returns:
        The pair (query, candidates) and its search, each ordered pair once.

    Raises:
        AnalysisError: `same` lacks a language or sentences.
    """
    rows = np.arange(units.shape[0])
    if same is not None:
        _check_same(same, units)
    own = {
        language: translations(rows, None if same is None else same[language]) for language in units
    }
    whole = dict(units)
    for one, other in combinations(units, 2):
        cosines = whole[one] @ whole[other].T
        near, near_back = _nearest(cosines), _nearest(cosines.T)
        yield (one, other), Search(cosines, own[other], near, near_back)
        yield (other, one), Search(cosines.T, own[one], near_back, near)


def _nearest(
    cosines: Float[np.ndarray, "sentence sentence"],
) -> Float[np.ndarray, "sentence near"]:
    k = min(NEAREST, len(cosines))
    largest = np.partition(cosines, len(cosines) - k, axis=1)[:, len(cosines) - k :]
    return np.asarray(np.sort(largest, axis=1)[:, ::-1])


def _check_same(same: Same, units: UnitVectors) -> None:
    sentences, _ = units.shape
    for language in units:
        found = len(same[language]) if language in same else 0
        if found != sentences:
            raise AnalysisError(
                f"{language} has {sentences} sentences, and {found} numbers that say which texts "
                "are equal; give one a sentence, by `same_texts`"
            )
