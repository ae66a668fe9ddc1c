"""Each language's sentences looked for in each other language, by all centrings at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from typing import Protocol, Self, TypeVar, runtime_checkable

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

AT_ONCE = 2**18
"""Of so many cosines by each centring pairs of languages are searched at once: few sentences take
as long as many do in each step, so that they should take few."""

STEEP = 10
"""From how many times its length by another centring on, of what the last one leaves of a vector,
cosines are made anew. Derived ones have the last one's rounding, 1e-16, times the square of it,
which margins divide by as little as 1e-3; `TIE` is 1e-9."""

Cosines = Float[np.ndarray, "centring pair query sentence"]
Block = tuple[slice, Cosines]
"""Which queries, and their cosines with all candidates by each centring."""


@dataclass(frozen=True, eq=False)
class Search:
    """Sentences of one language looked for among all those of another, of some pairs at once.

    Attributes:
        pairs: (query, candidates).
        cosines: of each query with each candidate.
        translations: what is looked for; a query's place counts on from those of the pairs before.
        near_queries: for each query its largest cosines, descending, k = 10 or all of n.
        near_candidates: for each candidate its largest cosines with all n sentences of the queries'
            language.
        groups: of the queries, numbered from 0.
        candidate_groups: of the candidates.
    """

    pairs: Sequence[Pair]
    cosines: Cosines
    translations: Translations
    near_queries: Float[np.ndarray, "centring pair query near"]
    near_candidates: Float[np.ndarray, "centring pair sentence near"]
    groups: Int[np.ndarray, " query"]
    candidate_groups: Int[np.ndarray, " sentence"]

    @cached_property
    def ranking(self) -> Ranking:
        """How the translations come out by cosine, `*search` being centring and pair."""
        return self.ranking_by(self.cosines)

    def ranking_by(self, scores: Float[np.ndarray, "*search pair query sentence"]) -> Ranking:
        """Say how the translations come out by scores of each query with each candidate."""
        return ranking(scores, self.translations, self.groups, self.candidate_groups)


@dataclass(frozen=True, eq=False)
class _Side:
    """One language's sentences by several centrings, of which one product is made where it can be.

    The unit vectors u of a centring are those v of the last one, scaled and moved: of each sentence
    u = (r v + m) / l, with the lengths r and l of what either centring leaves, and what it
    subtracts less, m.

    Attributes:
        rows: unit vectors by the last centring.
        scales: r / l, of each sentence by each centring.
        nearness: 1 / l.
        moves: m by each centring.
        every: the unit vectors of all languages by each centring.
        language: whose.
    """

    rows: Float[np.ndarray, "sentence d_model"]
    scales: Sequence[Float[np.ndarray, " sentence"]]
    nearness: Sequence[Float[np.ndarray, " sentence"]]
    moves: Sequence[Float[np.ndarray, " d_model"]]
    every: Sequence[UnitVectors]
    language: str

    @classmethod
    def of(cls, every: Sequence[UnitVectors], language: str) -> "_Side":
        """Take a language from the unit vectors of the same embeddings by several centrings."""
        last = every[-1]
        return cls(
            last[language],
            [last.norms[language] / units.norms[language] for units in every],
            [1 / units.norms[language] for units in every],
            [last.centres[language] - units.centres[language] for units in every],
            every,
            language,
        )

    def rows_by(self, place: int) -> Float[np.ndarray, "sentence d_model"]:
        """Give the unit vectors by one of the centrings."""
        return self.every[place][self.language]

    def derives(self, place: int) -> bool:
        """Say whether cosines by the last centring give those by another but for rounding."""
        return bool(self.scales[place].max() < STEEP)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The cosines of two languages by each centring, made anew each time they are gone through."""

    queries: _Side
    candidates: _Side

    def __iter__(self) -> Iterator[Block]:
        here, there = self.queries, self.candidates
        last = len(here.every) - 1
        corrections = {
            place: self._correction(place)
            for place in range(last)
            if here.derives(place) and there.derives(place)
        }
        anew = {
            place: (here.rows_by(place), there.rows_by(place))
            for place in range(last)
            if place not in corrections
        }
        for chosen in row_blocks(len(here.rows), len(there.rows)):
            size = len(here.rows[chosen]), len(there.rows)
            cosines = np.empty((last + 1, 1, *size))
            product = np.matmul(here.rows[chosen], there.rows.T, out=cosines[last, 0])
            for place, (ours, theirs) in corrections.items():
                np.multiply(product, here.scales[place][chosen, None], out=cosines[place, 0])
                cosines[place, 0] *= there.scales[place]
                cosines[place, 0] += ours[chosen] @ theirs
            for place, (rows, others) in anew.items():
                np.matmul(rows[chosen], others.T, out=cosines[place, 0])
            yield chosen, cosines

    def _correction(
        self, place: int
    ) -> tuple[Float[np.ndarray, "query 2"], Float[np.ndarray, "2 candidate"]]:
        """Give two factors of what a centring's moves add to the scaled cosines."""
        here, there = self.queries, self.candidates
        move, other = here.moves[place], there.moves[place]
        along = here.scales[place] * (here.rows @ other)
        along_back = there.scales[place] * (there.rows @ move)
        along_back += move @ other * there.nearness[place]
        return (
            np.stack([along, here.nearness[place]], axis=1),
            np.stack([there.nearness[place], along_back]),
        )


def searches(
    every: Sequence[UnitVectors], same: Same | None, groups: Groups | None = None
) -> Iterator[Search]:
    """Look for each language's sentences in each other language, by several centrings at once.

    Where the cosines of a pair fit into a block, which 2,048 sentences do, one product gives both
    ways and all centrings (see `STEEP`); of few sentences many pairs are searched at once. Of more
    sentences a first product, block by block, gives the nearest of both sides, and one more a way
    the blocks of queries. O(n^2 d) time a pair of languages; beside the embeddings the unit vectors
    of all languages, or of two where a pair does not fit into a block, and a block a centring.

    Args:
        every: the unit vectors of the same embeddings by each centring, of which the last subtracts
            most: row i of one language is a translation of row i of another.
        same: for each language a number a sentence, equal where texts are equal; a candidate whose
            text equals the translation's then counts as the translation. None where all differ.
        groups: a number a sentence, equal where sentences hang together; None where each is one of
            its own.

    Returns:
        Each ordered pair (query, candidates) in one search, or in one for each block of queries:
        then all blocks of a pair follow each other, in order.

    Raises:
        AnalysisError: `same` lacks a language or sentences; or see `group_numbers`.
    """
    units = every[-1]
    sentences, _ = units.shape
    numbers = group_numbers(sentences, groups)
    answers = _answers(units, same)
    pairs = list(combinations(units, 2))
    if sentences > rows_at_once(sentences):
        for pair in pairs:
            yield from _by_blocks(every, pair, answers, numbers)
        return
    sides = {name: _Side.of(every, name) for name in units}
    step = max(1, AT_ONCE // sentences**2)
    for start in range(0, len(pairs), step):
        chosen = pairs[start : start + step]
        blocks = [next(iter(_Blocks(sides[a], sides[b])))[1] for a, b in chosen]
        cosines = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
        back = cosines.swapaxes(2, 3)
        near, near_back = _nearest(cosines), _nearest(back)
        for asked, scores, ours, theirs in (
            (chosen, cosines, near, near_back),
            ([(b, a) for a, b in chosen], back, near_back, near),
        ):
            wanted = Translations.of_pairs([answers[searched] for _, searched in asked], sentences)
            yield Search(asked, scores, wanted, ours, theirs, numbers, numbers)


@runtime_checkable  # beartype asks it in the tests
class _Outcome(Protocol):
    def followed(self, later: Self, /) -> Self: ...


_OfPair = TypeVar("_OfPair", bound=_Outcome)


def add_blocks(by_pair: dict[Pair, _OfPair], block: Mapping[Pair, _OfPair]) -> None:
    """Put what a search comes to behind what searches of the queries before came to."""
    for pair, part in block.items():
        by_pair[pair] = by_pair[pair].followed(part) if pair in by_pair else part


def _by_blocks(
    every: Sequence[UnitVectors],
    pair: Pair,
    answers: Mapping[str, Translations],
    groups: Int[np.ndarray, " sentence"],
) -> Iterator[Search]:
    """Search a pair of languages both ways, block by block of queries."""
    first, second = (_Side.of(every, name) for name in pair)
    nearest: list[Float[np.ndarray, "centring pair query near"]] = []
    back: list[Float[np.ndarray, "centring pair sentence near"]] = []
    for _, cosines in _Blocks(first, second):
        nearest.append(_nearest(cosines))
        back = [_nearest(np.concatenate([*back, cosines.swapaxes(2, 3)], axis=3))]
    near, near_back = np.concatenate(nearest, axis=2), back[0]
    for (query, searched), sides, ours, theirs in (
        (pair, (first, second), near, near_back),
        (pair[::-1], (second, first), near_back, near),
    ):
        for chosen, cosines in _Blocks(*sides):
            yield Search(
                [(query, searched)],
                cosines,
                answers[searched].of(chosen),
                ours[:, :, chosen],
                theirs,
                groups[chosen],
                groups,
            )


def rankings_between(
    asked: Sequence[UnitVectors],
    searched: Sequence[UnitVectors],
    same: Same | None,
    groups: Groups | None = None,
) -> Iterator[tuple[Pair, Ranking]]:
    """Look for each language's sentences of one condition in each other language of another.

    O(n^2 d) time an ordered pair of languages, by all centrings (see `STEEP`); beside the
    embeddings the unit vectors of two languages, and a block a centring.

    Args:
        asked: the unit vectors of the condition that asks, by each centring, of which the last
            subtracts most: cosines by the others follow from its own.
        searched: those of the one that is searched, of the same languages by the same centrings.
        same: see `searches`.
        groups: the same.

    Returns:
        Each ordered pair (query, candidates), and how the translations come out by each centring.

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
                ranking(cosines, answers[second].of(chosen), numbers[chosen], numbers)
                for chosen, cosines in _Blocks(ours, _Side.of(searched, second))
            ]
            yield (first, second), reduce(Ranking.followed, by_block).of(0)


def _answers(units: UnitVectors, same: Same | None) -> dict[str, Translations]:
    """List what counts as the translation in each language that is searched."""
    if same is not None:
        check_same(same, units)
    rows = np.arange(units.shape[0])
    return {
        language: translations(rows, None if same is None else same[language]) for language in units
    }


def _nearest(
    cosines: Float[np.ndarray, "centring pair query candidate"],
) -> Float[np.ndarray, "centring pair query near"]:
    first = max(0, cosines.shape[-1] - NEAREST)
    largest = np.partition(cosines, first, axis=-1)[..., first:]
    return np.asarray(np.sort(largest, axis=-1)[..., ::-1])
