"""Cross-lingual retrieval: does a sentence find its translation among all others?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from steer_plugin.analyses.measures.blocks import row_blocks
from steer_plugin.analyses.measures.cosines import (
    Same,
    Translations,
    ahead,
    lengths,
    translations,
)
from steer_plugin.analyses.measures.translation_search import Search, add_blocks, searches
from steer_plugin.analyses.measures.unit_vectors import (
    Centring,
    UnitVectors,
    by_centring,
    check_target,
)
from steer_plugin.analyses.statistics.figures import (
    FOLDS,
    Figures,
    Groups,
    Key,
    Pair,
    figures_of,
    group_numbers,
    groups_of_pairs,
    joined,
    pair_means,
    spread,
)
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings
from steer_plugin.settings.parts import Measure

CENTRINGS: tuple[Centring, ...] = ("raw", "language")

CSLS_NEAREST = 10
MARGIN_NEAREST = 4
FLOOR = 1e-3
"""The least that a margin divides by."""

MEASURES = ("top-1", "MRR", "top-1 CSLS", "top-1 margin")
BY_PAIR = ("top-1", "MRR")


@dataclass(frozen=True, eq=False)
class SearchOutcomes:
    """What the searches of a pair of languages come to, by each centring and each of `MEASURES`.

    Attributes:
        scores: of each query, in [0, 1].
        gains: how much the sum of scores would gain without each group's candidates; over queries
            as in `Ranking.lifts`.
    """

    scores: Float[np.ndarray, "centring measure query"]
    gains: Float[np.ndarray, "centring measure fold group"]

    def followed(self, later: "SearchOutcomes") -> "SearchOutcomes":
        """Put a later block of queries behind these."""
        scores = np.concatenate([self.scores, later.scores], axis=-1)
        return SearchOutcomes(scores, self.gains + later.gains)


def retrieval_figures(
    embeddings: Embeddings,
    *,
    target: str | None,
    centrings: Sequence[Centring] = CENTRINGS,
    same: Same | None = None,
    groups: Groups | None = None,
) -> Figures:
    """Measure retrieval for every ordered pair of languages: top-1 accuracy and reciprocal rank.

    Each query is compared with all sentences of the other language (Sundar et al. 2025,
    arXiv 2502.15639, section 4). Candidates as similar as the translation, to within rounding,
    count as ahead of it. Influences are those of a sentence as a query and as a candidate: without
    a group of sentences its queries are gone, and others lose their rivals in it. By margins, its
    part in the means r of other sentences is left out.

    - `top-1`, `MRR`: by cosine;
    - `top-1 CSLS`: by 2 cos(x, y) - r(x) - r(y), r being the mean cosine with the 10 nearest of the
      other language (Conneau et al. 2018, arXiv 1710.04087, section 2.3);
    - `top-1 margin`: by the ratio cos(x, y) / ((r(x) + r(y)) / 2) with the 4 nearest (Artetxe and
      Schwenk 2019, arXiv 1811.01136, section 3). A denominator below 0.001, or negative, is taken
      as 0.001: a neighbourhood at right angles or beyond is no yardstick, a negative one would turn
      the order round, and near 0 rounding would decide. So the score keeps the cosine's sign, and
      its order among the candidates to which this happens.

    Of fewer sentences than nearest are asked for, all are. For time and memory see
    `translation_search.searches`, beside which there are O(n^2) further steps a pair of languages.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its mean out.
        centrings: see `unit_vectors`.
        same: for each language a number a sentence, equal where texts are equal (`same_texts`): a
            candidate whose text equals the translation's counts as the translation. None where all
            texts differ.
        groups: a number a sentence, equal where sentences hang together; None where each is one of
            its own.

    Returns:
        Figures with the keys `measure`, `centring`, `query`, `candidates`; the mean over all pairs
        is `all`, `all`, that from the target to each other `target`, `others`. `top-1` and `MRR`
        stand also for each pair.

    Raises:
        AnalysisError: the target is none of the languages; `same` lacks a language or sentences; or
            see `unit_vectors`.
    """
    check_target(embeddings, target)
    every = by_centring(embeddings, centrings)
    outcomes: dict[Pair, SearchOutcomes] = {}
    for search in searches([*every.values()], same, groups):
        add_blocks(outcomes, search_outcomes(search))
    tables = retrieval_of(outcomes, every, target, groups)
    return joined([tables[centring] for centring in centrings])


def retrieval(
    embeddings: Embeddings, *, target: str | None = None, same: Same | None = None
) -> pd.DataFrame:
    """Tabulate `retrieval_figures`, one row a figure, the figure in `value`."""
    return retrieval_figures(embeddings, target=target, same=same).frame()


def search_outcomes(search: Search) -> dict[Pair, SearchOutcomes]:
    """Give what each query's search comes to, by pair of languages."""
    # Half of it, but for r(x), which is the same for all candidates of a query.
    csls = search.cosines - search.near_candidates[..., None, :, :CSLS_NEAREST].mean(-1) / 2
    near, near_back = search.near_queries, search.near_candidates
    halves = [rows[..., :MARGIN_NEAREST].mean(-1) / 2 for rows in (near, near_back)]
    margin = halves[0][..., None] + halves[1][..., None, :]
    np.maximum(margin, FLOOR, out=margin)
    np.divide(search.cosines, margin, out=margin)
    by_cosine = search.ranking
    by_csls, by_margin = search.ranking_by(csls), search.ranking_by(margin)
    ranked = (by_cosine.first, 1 / by_cosine.ranks, by_csls.first, by_margin.first)
    gained = (by_cosine.gains, by_cosine.lifts, by_csls.gains, by_margin.gains)
    scores, gains = np.stack(ranked, axis=2).astype(np.float64), np.stack(gained, axis=2)
    return {
        pair: SearchOutcomes(scores[:, place], gains[:, place])
        for place, pair in enumerate(search.pairs)
    }


def retrieval_of(
    outcomes: Mapping[Pair, SearchOutcomes],
    every: Mapping[Centring, UnitVectors],
    target: str | None,
    groups: Groups | None,
) -> dict[Centring, Figures]:
    """Put the outcomes of all searches together, centring by centring."""
    units = next(iter(every.values()))
    pairs = list(permutations(units, 2))
    places = groups_of_pairs(pairs, target, ordered=True)
    numbers = group_numbers(units.shape[0], groups)
    tables = {}
    for place, centring in enumerate(every):
        keys: list[Key] = []
        columns, gradients = [], []
        scored = np.stack([outcomes[pair].scores[place] for pair in pairs], axis=-1)
        gained = np.stack([outcomes[pair].gains[place] for pair in pairs], axis=-1)
        for measure, scores, gains in zip(MEASURES, scored, gained, strict=True):
            gradient = scores - FOLDS * spread(gains, numbers)
            if measure in BY_PAIR:
                keys += [(measure, centring, *pair) for pair in pairs]
                columns.append(scores.mean(0))
                gradients.append(gradient)
            keys += [(measure, centring, *group) for group in places]
            columns.append(pair_means(scores, places).mean(0))
            gradients.append(pair_means(gradient, places))
        values, gradient = np.concatenate(columns), np.concatenate(gradients, axis=2)
        tables[centring] = figures_of(keys, values, gradient, groups)
    return tables


def bitext_ranks(
    queries: Float[np.ndarray, "query d_model"],
    candidates: Float[np.ndarray, "candidate d_model"],
    gold: Int[np.ndarray, " query"],
    same: Int[np.ndarray, " candidate"] | None = None,
) -> Float[np.ndarray, " query"]:
    """Give 1 over the rank, by cosine, of each query's translation among the candidates.

    Candidates as similar as the translation, to within rounding, count as ahead of it. A candidate
    whose text equals the translation's counts as the translation, the nearest of them standing for
    all. O(q c d) time; beside the embeddings the queries in float64 and 128 MiB.

    Args:
        queries: of any length but 0; subtract means first where centred figures are wanted.
        candidates: of any length but 0.
        gold: the place of each query's translation among the candidates.
        same: a number a candidate, equal where texts are equal (`same_texts`); None where all
            differ.

    Returns:
        Reciprocal ranks in [1/c, 1]: their mean is the MRR, the share of 1s is top-1.

    Raises:
        AnalysisError: an embedding is zero or not finite, named by its row; a translation's place
            is none of the candidates'; or `same` is not one number a candidate.
    """
    if len(gold) and not (gold.min() >= 0 and gold.max() < len(candidates)):
        query = int(((gold < 0) | (gold >= len(candidates))).argmax())
        raise AnalysisError(
            f"the translation of query {query} is at {gold[query]}; give a place in "
            f"0..{len(candidates) - 1}"
        )
    if same is not None and len(same) != len(candidates):
        raise AnalysisError(
            f"there are {len(candidates)} candidates, and {len(same)} numbers that say which texts "
            "are equal; give one a candidate, by `same_texts`"
        )
    answers = translations(gold, same)
    long = lengths(candidates, "candidate")
    asked = queries / lengths(queries, "query")[:, None]
    scores = np.empty(len(answers.queries))
    for chosen in row_blocks(len(scores), candidates.shape[1]):
        asking, places = answers.queries[chosen], answers.candidates[chosen]
        cosines = np.einsum("ij,ij->i", asked[asking], candidates[places].astype(np.float64))
        scores[chosen] = cosines / long[places]
    best = answers.best(scores)
    before = np.zeros(len(queries), dtype=np.int64)
    for chunk in row_blocks(len(candidates), max(len(queries), candidates.shape[1])):
        in_chunk = (answers.candidates >= chunk.start) & (answers.candidates < chunk.stop)
        inside = Translations(answers.queries[in_chunk], answers.candidates[in_chunk] - chunk.start)
        before += ahead(asked @ (candidates[chunk] / long[chunk, None]).T, best, inside)
    return np.asarray(1 / (1 + before))


RETRIEVAL = Measure(retrieval_figures, same=True, usual=True)
