"""Cosines between the sentences of two languages: who is ahead of the translation, who is near."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from steer_plugin.analyses.measures.blocks import row_blocks
from steer_plugin.analyses.measures.unit_vectors import UnitVectors
from steer_plugin.analyses.statistics.figures import FOLDS
from steer_plugin.corpora.bitext import same_texts as same_texts
from steer_plugin.errors import AnalysisError

TIE = 1e-9
"""Cosines, and what is made of them, that differ by less are the same but for rounding."""

NO_RIVAL, RIVALS = -1, -2
"""In place of the group of a query's rivals: none is ahead, or more than one group are."""

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

    def best(
        self, scores: Float[np.ndarray, "*search match"]
    ) -> Float[np.ndarray, "*search query"]:
        """Give the highest of each query's scores with its translations."""
        starts = np.flatnonzero(np.diff(self.queries, prepend=-1))
        return np.asarray(np.maximum.reduceat(scores, starts, axis=-1))

    def of(self, chosen: slice) -> "Translations":
        """Keep those of some queries in a row, with places counted from the first of these."""
        first, last = np.searchsorted(self.queries, [chosen.start, chosen.stop])
        return Translations(self.queries[first:last] - chosen.start, self.candidates[first:last])

    @classmethod
    def of_pairs(cls, by_pair: Sequence["Translations"], sentences: int) -> "Translations":
        """Put those of several pairs of languages behind each other, so many sentences a pair."""
        if len(by_pair) == 1:
            return by_pair[0]
        return cls(
            np.concatenate([pair.queries + sentences * at for at, pair in enumerate(by_pair)]),
            np.concatenate([pair.candidates for pair in by_pair]),
        )


@dataclass(frozen=True, eq=False)
class Ranking:
    """How the translations of queries come out by some scores, and who stands before them.

    Attributes:
        ranks: of each query's translation, from 1, ties counted as ahead of it.
        rivals: the number of the group that all candidates ahead are of, without which the
            translation would come first; `NO_RIVAL` where none is ahead, `RIVALS` where they are of
            several groups, or of the query's own, which would go with it.
        groups: of the queries, numbered from 0.
        lifts: how much the sum of reciprocal ranks would gain without each group's candidates, over
            the queries of other groups, fold by fold (see `Figures`).
    """

    ranks: Int[np.ndarray, "*search query"]
    rivals: Int[np.ndarray, "*search query"]
    groups: Int[np.ndarray, " query"]
    lifts: Float[np.ndarray, "*search fold group"]

    @property
    def first(self) -> Bool[np.ndarray, "*search query"]:
        """Whether each query's translation comes first."""
        return np.asarray(self.ranks == 1)

    @property
    def gains(self) -> Float[np.ndarray, "*search fold group"]:
        """How many more queries would succeed without each group's candidates; as `lifts`."""
        return counts_by_rival(self.rivals, self.groups, self.lifts.shape[-1])

    def of(self, pair: int) -> "Ranking":
        """Keep one of the pairs of languages, by its place, which is the last of `*search`."""
        return Ranking(
            self.ranks[..., pair, :],
            self.rivals[..., pair, :],
            self.groups,
            self.lifts[..., pair, :, :],
        )

    def followed(self, later: "Ranking") -> "Ranking":
        """Put a later block of queries behind these."""
        return Ranking(
            np.concatenate([self.ranks, later.ranks], axis=-1),
            np.concatenate([self.rivals, later.rivals], axis=-1),
            np.concatenate([self.groups, later.groups]),
            self.lifts + later.lifts,
        )


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
    scores: Float[np.ndarray, "*search query candidate"],
    best: Float[np.ndarray, "*search query"],
    answers: Translations,
) -> Int[np.ndarray, "*search query"]:
    """Count the candidates that score as high as the best translation, to within `TIE`.

    Args:
        scores: of each query with each candidate.
        best: the highest score of each query's translations.
        answers: the translations among these candidates, which are not counted.
    """
    return np.asarray(_before(scores, best, answers).sum(-1))


def _before(
    scores: Float[np.ndarray, "*search query candidate"],
    best: Float[np.ndarray, "*search query"],
    answers: Translations,
) -> Bool[np.ndarray, "*search query candidate"]:
    as_high = scores >= best[..., None] - TIE
    as_high[..., answers.queries, answers.candidates] = False
    return np.asarray(as_high)


def ranking(
    scores: Float[np.ndarray, "*search pair query candidate"],
    answers: Translations,
    groups: Int[np.ndarray, " query"],
    candidate_groups: Int[np.ndarray, " candidate"],
) -> Ranking:
    """Rank each query's translation, and say which groups of candidates stand before it.

    Args:
        scores: of each query with each candidate, of some pairs of languages.
        answers: the translations among these candidates; a query's place counts on from those of
            the pairs before.
        groups: of the queries, numbered from 0.
        candidate_groups: of the candidates, numbered alike, each number at least once.
    """
    *leading, pairs, queries, size = scores.shape
    shape = (*leading, pairs, queries)
    rows = scores.reshape(*leading, pairs * queries, size)
    best = answers.best(rows[..., answers.queries, answers.candidates])
    before = _before(rows, best, answers)
    ranks = 1 + before.sum(-1)
    # How many of each group are ahead; where groups are sentences, whether that one is.
    alone = np.array_equal(candidate_groups, np.arange(size))
    counts = before if alone else _columns_by_group(before, candidate_groups)
    several = (counts > 0).sum(-1)
    rivals = np.where(several == 0, NO_RIVAL, RIVALS)
    own = np.tile(groups, pairs)
    lone = np.nonzero(several == 1)
    group = counts[lone].argmax(-1)
    rivals[lone] = np.where(group == own[lone[-1]], RIVALS, group)
    folds = (groups % FOLDS == np.arange(FOLDS)[:, None]).astype(np.float64)
    if alone:  # without a sentence that is ahead, a rank moves up by one
        before[..., np.arange(len(own)), own] = False
        gains = 1 / np.maximum(ranks - 1, 1) - 1 / ranks
        weights = folds * gains.reshape(*shape[:-1], 1, queries)
        lifts = weights @ before.reshape(*shape, size).astype(np.float64)
    else:
        gains = 1 / (ranks[..., None] - counts) - 1 / ranks[..., None]
        gains[..., np.arange(len(own)), own] = 0
        lifts = folds @ gains.reshape(*shape, gains.shape[-1])
    return Ranking(ranks.reshape(shape), rivals.reshape(shape), groups, lifts)


def counts_by_rival(
    rivals: Int[np.ndarray, "*search query"], groups: Int[np.ndarray, " query"], size: int
) -> Float[np.ndarray, "*search fold group"]:
    """Count the queries of each fold that each group is the rival of."""
    *shape, queries = rivals.shape
    rows = rivals.reshape(-1, queries)
    searched, places = np.nonzero(rows >= 0)
    cells = (searched * FOLDS + groups[places] % FOLDS) * size + rows[searched, places]
    counts = np.bincount(cells, minlength=len(rows) * FOLDS * size)
    return counts.reshape(*shape, FOLDS, size).astype(np.float64)


def _columns_by_group(
    before: Bool[np.ndarray, "*search query candidate"], groups: Int[np.ndarray, " candidate"]
) -> Int[np.ndarray, "*search query group"]:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.asarray(np.add.reduceat(before[..., order], starts, axis=-1, dtype=np.int32))


def lengths(rows: Float[np.ndarray, "row d_model"], name: str) -> Float[np.ndarray, " row"]:
    """Measure embeddings in float64, in blocks; divided by these they are unit vectors.

    Args:
        rows: embeddings.
        name: what one row is, as the message calls it.

    Raises:
        AnalysisError: an embedding is zero or not finite, named by its row.
    """
    norms = np.zeros(len(rows))
    for chosen in row_blocks(*rows.shape):
        wide = rows[chosen].astype(np.float64, order="C")
        norms[chosen] = np.linalg.norm(wide, axis=1)
    bad = ~((norms > 0) & np.isfinite(norms))
    if bad.any():
        raise AnalysisError(
            f"the embedding of {name} {int(bad.argmax())} has no direction: it is zero or not "
            "finite; check the text and the model's dtype"
        )
    return norms


def check_same(same: Same, units: UnitVectors) -> None:
    """Refuse numbers of equal texts that are not one a sentence.

    Raises:
        AnalysisError: a language has none, or too few or too many.
    """
    sentences, _ = units.shape
    for language in units:
        numbers = len(same[language]) if language in same else 0
        if numbers != sentences:
            raise AnalysisError(
                f"{language} has {sentences} sentences, and {numbers} numbers that say which texts "
                "are equal; give one a sentence, by `same_texts`"
            )
