"""Each language's sentences looked for in each other language, by all centrings at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.analyses.measures.blocks import row_blocks, rows_at_once
from steer_plugin.analyses.measures.cosines import (
    Ranking,
    Same,
    Translations,
    check_same,
    ranking,
    translations,
)
from steer_plugin.analyses.measures.unit_vectors import UnitVectors
from steer_plugin.analyses.statistics.figures import Groups, Pair, group_numbers

NEAREST = 10
"""How many nearest sentences are kept of each."""

Blocks = tuple[slice, list[Float[np.ndarray, "query sentence"]]]
"""Which queries, and their cosines with all candidates by each centring."""


@dataclass(frozen=True, eq=False)
class Search:
    """Sentences of one language looked for among all those of another.

    Attributes:
        cosines: of each query with each candidate.
        translations: what is looked for.
        near_queries: for each query its largest cosines, descending, k = 10 or all of n.
        near_candidates: for each candidate its largest cosines with all n sentences of the queries'
            language.
        groups: of the queries, numbered from 0.
        candidate_groups: of the candidates.
    """

    cosines: Float[np.ndarray, "query sentence"]
    translations: Translations
    near_queries: Float[np.ndarray, "query near"]
    near_candidates: Float[np.ndarray, "sentence near"]
    groups: Int[np.ndarray, " query"]
    candidate_groups: Int[np.ndarray, " sentence"]

    @cached_property
    def ranking(self) -> Ranking:
        """How the translations come out by cosine."""
        return self.ranking_by(self.cosines)

    def ranking_by(self, scores: Float[np.ndarray, "query sentence"]) -> Ranking:
        """Say how the translations come out by a score of each query with each candidate."""
        return ranking(scores, self.translations, self.groups, self.candidate_groups)


@dataclass(frozen=True, eq=False)
class _Side:
    """One language's sentences by several centrings, of which one product is made.

    The unit vectors u of a centring are those v of the last one, scaled and moved: of each sentence
    u = (r v + m) / l, with the lengths r and l of what either centring leaves, and what it
    subtracts less, m.

    Attributes:
        rows: unit vectors by the last centring.
        scales: r / l, of each sentence by each centring.
        nearness: 1 / l.
        moves: m by each centring; None where that is 0.
    """

    rows: Float[np.ndarray, "sentence d_model"]
    scales: Sequence[Float[np.ndarray, " sentence"]]
    nearness: Sequence[Float[np.ndarray, " sentence"]]
    moves: Sequence[Float[np.ndarray, " d_model"] | None]

    @classmethod
    def of(cls, every: Sequence[UnitVectors], language: str) -> "_Side":
        """Take a language from the unit vectors of the same embeddings by several centrings."""
        last = every[-1]
        return cls(
            last[language],
            [last.norms[language] / units.norms[language] for units in every],
            [1 / units.norms[language] for units in every],
            [
                None if units is last else last.centres[language] - units.centres[language]
                for units in every
            ],
        )


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The cosines of two languages by each centring, made anew each time they are gone through."""

    queries: _Side
    candidates: _Side

    def __iter__(self) -> Iterator[Blocks]:
        corrections = [self._correction(place) for place in range(len(self.queries.moves))]
        for chosen in row_blocks(len(self.queries.rows), len(self.candidates.rows)):
            product = self.queries.rows[chosen] @ self.candidates.rows.T
            cosines = []
            for place, correction in enumerate(corrections):
                by_centring = product
                if correction is not None:
                    ours, theirs = correction
                    by_centring = product * self.queries.scales[place][chosen, None]
                    by_centring *= self.candidates.scales[place]
                    by_centring += ours[chosen] @ theirs
                cosines.append(by_centring)
            yield chosen, cosines

    def _correction(
        self, place: int
    ) -> tuple[Float[np.ndarray, "query 2"], Float[np.ndarray, "2 candidate"]] | None:
        """Give two factors of what a centring's moves add to the scaled cosines."""
        here, there = self.queries, self.candidates
        move, other = here.moves[place], there.moves[place]
        if move is None or other is None:
            return None
        along = here.scales[place] * (here.rows @ other)
        along_back = there.scales[place] * (there.rows @ move)
        along_back += move @ other * there.nearness[place]
        return (
            np.stack([along, here.nearness[place]], axis=1),
            np.stack([there.nearness[place], along_back]),
        )


def searches(
    units: UnitVectors, same: Same | None, groups: Groups | None = None
) -> Iterator[tuple[Pair, Search]]:
    """Look for each language's sentences in each other language.

    Where the cosines of a pair fit into a block, which 2,048 sentences do, one product gives both
    ways. Of more sentences a first product, block by block, gives the nearest of both sides, and
    one more a way the blocks of queries. O(n^2 d) time a pair of languages; beside the embeddings
    the unit vectors of two languages, and a few blocks.

    Args:
        units: language -> unit vectors, row i of one a translation of row i of another.
        same: for each language a number a sentence, equal where texts are equal; a candidate whose
            text equals the translation's then counts as the translation. None where all differ.
        groups: a number a sentence, equal where sentences hang together; None where each is one of
            its own.

    Returns:
        The pair (query, candidates) and its search, each ordered pair once, or once a block of
        queries: then all blocks of a pair follow each other, in order.

    Raises:
        AnalysisError: `same` lacks a language or sentences; or see `group_numbers`.
    """
    for _, pair, search in searches_by_centring([units], same, groups):
        yield pair, search


def searches_by_centring(
    every: Sequence[UnitVectors], same: Same | None, groups: Groups | None = None
) -> Iterator[tuple[int, Pair, Search]]:
    """Look as `searches` does, by several centrings at the cost of one's products.

    Args:
        every: the unit vectors of the same embeddings by each centring.
        same: see `searches`.
        groups: the same.

    Returns:
        The place of the centring, and what `searches` gives of it.

    Raises:
        AnalysisError: as `searches`.
    """
    units = every[-1]
    sentences, _ = units.shape
    numbers = group_numbers(sentences, groups)
    at_once = sentences <= rows_at_once(sentences)
    answers = _answers(units, same)
    kept = {name: _Side.of(every, name) for name in units} if at_once else {}
    for first, second in combinations(units, 2):
        ours, theirs = (kept.get(name) or _Side.of(every, name) for name in (first, second))
        blocks: Iterable[Blocks] = _Blocks(ours, theirs)
        blocks_back: Iterable[Blocks] = _Blocks(theirs, ours)
        if at_once:
            blocks = list(blocks)
            blocks_back = [(rows, [block.T for block in cosines]) for rows, cosines in blocks]
        near, near_back = _nearest_both(blocks, len(every))
        for pair, answer, products, near_queries, near_candidates in (
            ((first, second), answers[second], blocks, near, near_back),
            ((second, first), answers[first], blocks_back, near_back, near),
        ):
            for chosen, by_centring in products:
                for place, cosines in enumerate(by_centring):
                    yield (
                        place,
                        pair,
                        Search(
                            cosines,
                            answer.of(chosen),
                            near_queries[place][chosen],
                            near_candidates[place],
                            numbers[chosen],
                            numbers,
                        ),
                    )


def rankings_between(
    asked: Sequence[UnitVectors],
    searched: Sequence[UnitVectors],
    same: Same | None,
    groups: Groups | None = None,
) -> Iterator[tuple[Pair, list[Ranking]]]:
    """Look for each language's sentences of one condition in each other language of another.

    O(n^2 d) time an ordered pair of languages, whatever the number of centrings; beside the
    embeddings the unit vectors of two languages, and a block a centring.

    Args:
        asked: the unit vectors of the condition that asks, by each centring, of which the last
            subtracts most: cosines by the others follow from its own.
        searched: those of the one that is searched, of the same languages by the same centrings.
        same: see `searches`.
        groups: the same.

    Returns:
        Each ordered pair (query, candidates), and by each centring how the translations come out.

    Raises:
        AnalysisError: as `searches`.
    """
    numbers = group_numbers(asked[-1].shape[0], groups)
    answers = _answers(searched[-1], same)
    for first in asked[-1]:
        ours = _Side.of(asked, first)
        for second in asked[-1]:
            if second == first:
                continue
            by_block = [
                [
                    ranking(cosines, answers[second].of(chosen), numbers[chosen], numbers)
                    for cosines in by_centring
                ]
                for chosen, by_centring in _Blocks(ours, _Side.of(searched, second))
            ]
            parts = zip(*by_block, strict=True)
            yield (first, second), [reduce(Ranking.followed, blocks) for blocks in parts]


def _answers(units: UnitVectors, same: Same | None) -> dict[str, Translations]:
    """List what counts as the translation in each language that is searched."""
    if same is not None:
        check_same(same, units)
    rows = np.arange(units.shape[0])
    return {
        language: translations(rows, None if same is None else same[language]) for language in units
    }


def _nearest_both(
    blocks: Iterable[Blocks], centrings: int
) -> tuple[
    list[Float[np.ndarray, "sentence near"]],
    list[Float[np.ndarray, "sentence near"]],
]:
    """Give the largest cosines of both sides, by each centring."""
    near: list[list[Float[np.ndarray, "query near"]]] = [[] for _ in range(centrings)]
    back: list[list[Float[np.ndarray, "sentence near"]]] = [[] for _ in range(centrings)]
    for _, by_centring in blocks:
        for place, cosines in enumerate(by_centring):
            near[place].append(_nearest(cosines))
            all_back = np.hstack([*back[place], cosines.T]) if back[place] else cosines.T
            back[place] = [_nearest(all_back)]
    return [np.concatenate(rows) for rows in near], [rows[0] for rows in back]


def _nearest(
    cosines: Float[np.ndarray, "query candidate"],
) -> Float[np.ndarray, "query near"]:
    first = max(0, cosines.shape[1] - NEAREST)
    largest = np.partition(cosines, first, axis=1)[:, first:]
    return np.asarray(np.sort(largest, axis=1)[:, ::-1])
