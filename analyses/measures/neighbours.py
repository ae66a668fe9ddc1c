"""Who is near whom across languages: mutual nearest translations, and hubs among candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from steer_plugin.analyses.measures.cosines import TIE, Same, Search, searches
from steer_plugin.analyses.measures.unit_vectors import (
    Centring,
    UnitVectors,
    check_target,
    unit_vectors,
)
from steer_plugin.analyses.statistics.figures import (
    KEYS,
    Figures,
    Pair,
    Replicates,
    Weights,
    group_means,
    groups,
    joined,
    weighted_means,
)
from steer_plugin.responses.embeddings import Embeddings

CENTRINGS: tuple[Centring, ...] = ("raw", "language")


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """What a search says of each query and of each candidate.

    Attributes:
        first: whether the query's translation is strictly the most similar candidate.
        occurrences: how many queries have the candidate among their k nearest.
    """

    first: Bool[np.ndarray, " query"]
    occurrences: Float[np.ndarray, " sentence"]


def neighbour_figures(
    embeddings: Embeddings,
    *,
    target: str | None,
    centrings: Sequence[Centring] = CENTRINGS,
    same: Same | None = None,
) -> Figures:
    """Measure mutual nearest translations and hubness between languages.

    - `MEXA`: the share of translations whose cosine is strictly the largest of its row and of its
      column of the matrix of cosines (Kargaran et al. 2024, arXiv 2410.05873, section 3);
    - `hubness`: the skewness, over the candidates, of N_k, the number of queries that have a
      candidate among their k nearest (Radovanovic et al. 2010, JMLR 11), as `scipy.stats.skew`
      defines it; the larger, the more a few candidates are near to all; 0 where all have the same;
    - `antihubs`: the share of candidates that are none of any query's k nearest.

    k is 10, or all of fewer sentences. Candidates that tie for the last places share them evenly,
    so that neither order nor rounding makes a hub. Resamples draw translations, or candidates with
    the N_k that they have among all queries.

    For time and memory see `cosines.searches`, beside which there are O(n^2) further steps a pair
    of languages. Evaluating takes O(R n) a pair, and what waits is n numbers a pair.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its means out.
        centrings: see `unit_vectors`.
        same: for each language a number a sentence, equal where texts are equal (`same_texts`), so
            that a copy of the translation does not compete with it in `MEXA`; as a neighbour it
            counts. None where all texts differ.

    Returns:
        Figures with the keys `measure`, `centring`, `query`, `candidates`; the mean over all pairs
        is `all`, `all`. `target`, `others` is the mean over the pairs of the target with each
        other language; for `hubness` and `antihubs` the queries are the target's.

    Raises:
        AnalysisError: the target is none of the languages; `same` lacks a language or sentences; or
            see `unit_vectors`.
    """
    check_target(embeddings, target)
    tables = []
    for centring in centrings:
        units = unit_vectors(embeddings, centring)
        neighbourhoods: dict[Pair, Neighbourhood] = {}
        for pair, search in searches(units, same):
            neighbourhoods[pair] = neighbourhood(search, neighbourhoods.get(pair))
        tables.append(neighbours_of(neighbourhoods, units, target))
    return joined(tables)


def neighbourhood(search: Search, earlier: Neighbourhood | None = None) -> Neighbourhood:
    """Say whose translation comes first, and count the queries that each candidate is near to.

    Args:
        search: of all queries, or of a block of them.
        earlier: what the blocks before said of the same candidates.
    """
    last = search.near_queries[:, -1:]
    k = search.near_queries.shape[1]
    near = search.cosines >= last - TIE
    occurrences = near.sum(0).astype(np.float64)
    tied = near.sum(1) > k
    if tied.any():
        sure = search.cosines[tied] > last[tied] + TIE
        maybe = near[tied] & ~sure
        share = (k - sure.sum(1)) / maybe.sum(1)
        occurrences -= (1 - share) @ maybe
    first = search.ranks == 1
    if earlier is None:
        return Neighbourhood(first, occurrences)
    return Neighbourhood(np.concatenate([earlier.first, first]), earlier.occurrences + occurrences)


def neighbours_of(
    neighbourhoods: Mapping[Pair, Neighbourhood], units: UnitVectors, target: str | None
) -> Figures:
    """Put what all searches say together, with one centring."""
    mutual = list(combinations(units, 2))
    both = np.stack(
        [neighbourhoods[a, b].first & neighbourhoods[b, a].first for a, b in mutual], axis=1
    )
    places = groups(mutual, target, ordered=False)
    mexa = group_means(both.astype(np.float64), places)

    pairs = list(permutations(units, 2))
    occurrences = np.stack([neighbourhoods[pair].occurrences for pair in pairs], axis=1)
    places = groups(pairs, target, ordered=True)
    alone = group_means((occurrences < TIE).astype(np.float64), places)

    rows = [(units.centring, *group) for group in places]
    shares = weighted_means(
        [(measure, *row) for measure in ("MEXA", "antihubs") for row in rows],
        np.concatenate([mexa, alone], axis=1),
    )
    return joined([shares, _hubness(occurrences, places, [("hubness", *row) for row in rows])])


def _hubness(
    occurrences: Float[np.ndarray, "sentence pair"],
    places: Mapping[Pair, list[int]],
    keys: Sequence[tuple[str, str, str, str]],
) -> Figures:
    off = occurrences - occurrences.mean(0)
    off[np.abs(off) < TIE] = 0  # what sharing a place leaves is rounding

    def evaluate(weights: Weights) -> Replicates:
        first, second, third = (weights @ off**power for power in (1, 2, 3))
        variance = second - first**2
        skewed = third - 3 * first * second + 2 * first**3
        # A resample of candidates that all have the same N_k leaves a variance of rounding.
        varied = variance > 1e-12 * second
        skewness = np.where(varied, skewed, 0) / np.where(varied, variance, 1) ** 1.5
        return group_means(skewness, places)

    return Figures(pd.DataFrame(keys, columns=KEYS), len(occurrences), evaluate)
