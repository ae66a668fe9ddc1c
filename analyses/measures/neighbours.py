"""Who is near whom across languages: mutual nearest translations, and hubs among candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from jaxtyping import Bool, Float

from steer_plugin.analyses.measures.cosines import RIVALS, TIE, Ranking, Same, counts_by_rival
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
from steer_plugin.responses.embeddings import Embeddings
from steer_plugin.settings.parts import Measure

CENTRINGS: tuple[Centring, ...] = ("raw", "language")


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """What a search says of each query and of each candidate, by each centring.

    Attributes:
        ranking: how the queries' translations come out.
        occurrences: how many queries have the candidate among their k nearest.
    """

    ranking: Ranking
    occurrences: Float[np.ndarray, "centring sentence"]

    def followed(self, later: "Neighbourhood") -> "Neighbourhood":
        """Put a later block of queries behind these."""
        ranking = self.ranking.followed(later.ranking)
        return Neighbourhood(ranking, self.occurrences + later.occurrences)


def neighbour_figures(
    embeddings: Embeddings,
    *,
    target: str | None,
    centrings: Sequence[Centring] = CENTRINGS,
    same: Same | None = None,
    groups: Groups | None = None,
) -> Figures:
    """Measure mutual nearest translations and hubness between languages.

    - `MEXA`: the share of translations whose cosine is strictly the largest of its row and of its
      column of the matrix of cosines (Kargaran et al. 2024, arXiv 2410.05873, section 3);
    - `hubness`: the skewness, over the candidates, of N_k, the number of queries that have a
      candidate among their k nearest (Radovanovic et al. 2010, JMLR 11), as `scipy.stats.skew`
      defines it; the larger, the more a few candidates are near to all; 0 where all have the same;
    - `antihubs`: the share of candidates that are none of any query's k nearest.

    k is 10, or all of fewer sentences. Candidates that tie for the last places share them evenly,
    so that neither order nor rounding makes a hub. Influences of `MEXA` are those of a sentence as
    a query and as a candidate. `hubness` and `antihubs` have none, and so no interval: which
    candidates are near to many changes with every sentence that is drawn, and no first-order term
    was found that holds.

    For time and memory see `translation_search.searches`, beside which there are O(n^2) further
    steps a pair of languages.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its means out.
        centrings: see `unit_vectors`.
        same: for each language a number a sentence, equal where texts are equal (`same_texts`), so
            that a copy of the translation does not compete with it in `MEXA`; as a neighbour it
            counts. None where all texts differ.
        groups: a number a sentence, equal where sentences hang together; None where each is one of
            its own.

    Returns:
        Figures with the keys `measure`, `centring`, `query`, `candidates`; the mean over all pairs
        is `all`, `all`. `target`, `others` is the mean over the pairs of the target with each
        other language; for `hubness` and `antihubs` the queries are the target's.

    Raises:
        AnalysisError: the target is none of the languages; `same` lacks a language or sentences; or
            see `unit_vectors`.
    """
    check_target(embeddings, target)
    every = by_centring(embeddings, centrings)
    near: dict[Pair, Neighbourhood] = {}
    for search in searches([*every.values()], same, groups):
        add_blocks(near, neighbourhoods(search))
    tables = neighbours_of(near, every, target, groups)
    return joined([tables[centring] for centring in centrings])


def neighbourhoods(search: Search) -> dict[Pair, Neighbourhood]:
    """Say whose translation comes first, and count the queries that each candidate is near to."""
    last = search.near_queries[..., -1:]
    k = search.near_queries.shape[-1]
    near = search.cosines >= last - TIE
    occurrences = near.sum(-2).astype(np.float64)
    tied = near.sum(-1) > k
    for at in zip(*np.nonzero(tied.any(-1)), strict=True):
        rows = tied[at]
        sure = search.cosines[at][rows] > last[at][rows] + TIE
        maybe = near[at][rows] & ~sure
        share = (k - sure.sum(1)) / maybe.sum(1)
        occurrences[at] -= (1 - share) @ maybe
    return {
        pair: Neighbourhood(search.ranking.of(place), occurrences[:, place])
        for place, pair in enumerate(search.pairs)
    }


def neighbours_of(
    near: Mapping[Pair, Neighbourhood],
    every: Mapping[Centring, UnitVectors],
    target: str | None,
    groups: Groups | None,
) -> dict[Centring, Figures]:
    """Put what all searches say together, centring by centring."""
    units = next(iter(every.values()))
    sentences, _ = units.shape
    numbers = group_numbers(sentences, groups)
    mutual, pairs = list(combinations(units, 2)), list(permutations(units, 2))
    places = groups_of_pairs(mutual, target, ordered=False)
    ordered = groups_of_pairs(pairs, target, ordered=True)
    both = [_both_ways(near[a, b].ranking, near[b, a].ranking) for a, b in mutual]
    first, gained = (np.stack(parts, axis=-1) for parts in zip(*both, strict=True))
    # How candidates are shared out among neighbours has no first order that holds.
    unsure = np.full((FOLDS, sentences, 2 * len(ordered)), np.nan)
    tables = {}
    for place, centring in enumerate(every):
        scores = first[place].astype(np.float64)
        gradient = scores - FOLDS * spread(gained[place], numbers)
        occurrences = [near[pair].occurrences[place] for pair in pairs]
        hubs = np.array(
            [[measure(row) for row in occurrences] for measure in (_hubness, _antihubs)]
        )
        values = [pair_means(scores, places).mean(0), *pair_means(hubs, ordered)]
        keys: list[Key] = [
            (measure, centring, *row)
            for measure in ("MEXA", "hubness", "antihubs")
            for row in places
        ]
        gradients = np.concatenate([pair_means(gradient, places), unsure], axis=2)
        tables[centring] = figures_of(keys, np.concatenate(values), gradients, groups)
    return tables


def _both_ways(
    there: Ranking, back: Ranking
) -> tuple[Bool[np.ndarray, "centring query"], Float[np.ndarray, "centring fold group"]]:
    """Say whose translation comes first both ways, and for how many more without each group."""
    first = there.first & back.first
    alone = np.where(there.first, back.rivals, there.rivals)
    helped = (alone >= 0) & (back.first | there.first | (there.rivals == back.rivals))
    rivals = np.where(helped, alone, RIVALS)
    return first, counts_by_rival(rivals, there.groups, there.lifts.shape[-1])


def _hubness(occurrences: Float[np.ndarray, " sentence"]) -> float:
    off = occurrences - occurrences.mean()
    off[np.abs(off) < TIE] = 0  # what sharing a place leaves is rounding
    variance = (off**2).mean()
    return float((off**3).mean() / variance**1.5) if variance > 0 else 0.0


def _antihubs(occurrences: Float[np.ndarray, " sentence"]) -> float:
    return float((occurrences < TIE).mean())


NEIGHBOURS = Measure(neighbour_figures, same=True, usual=True)
