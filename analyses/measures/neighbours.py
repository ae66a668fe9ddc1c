"""Who is near whom across languages: mutual nearest translations, and hubs among candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.analyses.measures.cosines import (
    RIVALS,
    TIE,
    Ranking,
    Same,
    Search,
    counts_by_rival,
    searches,
)
from steer_plugin.analyses.measures.unit_vectors import (
    Centring,
    UnitVectors,
    check_target,
    unit_vectors,
)
from steer_plugin.analyses.statistics.figures import (
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

CENTRINGS: tuple[Centring, ...] = ("raw", "language")


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """What a search says of each query and of each candidate.

    Attributes:
        ranking: how the queries' translations come out.
        occurrences: how many queries have the candidate among their k nearest.
        queries: of each neighbour, the query that it is near to.
        nearest: the neighbours, as candidates.
        next: the candidate that is nearest to each query after its neighbours.
    """

    ranking: Ranking
    occurrences: Float[np.ndarray, " sentence"]
    queries: Int[np.ndarray, " neighbour"]
    nearest: Int[np.ndarray, " neighbour"]
    next: Int[np.ndarray, " query"]


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
    so that neither order nor rounding makes a hub. Influences are those of a sentence as a query,
    whose neighbours lose one, and as a candidate, in whose place the next nearest comes.

    For time and memory see `cosines.searches`, beside which there are O(n^2) further steps a pair
    of languages, and k n numbers a pair are kept.

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
    tables = []
    for centring in centrings:
        units = unit_vectors(embeddings, centring)
        neighbourhoods: dict[Pair, Neighbourhood] = {}
        for pair, search in searches(units, same, groups):
            neighbourhoods[pair] = neighbourhood(search, neighbourhoods.get(pair))
        tables.append(neighbours_of(neighbourhoods, units, target, groups))
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
    queries, nearest = np.nonzero(near)
    following = np.where(near, -np.inf, search.cosines).argmax(1)
    block = Neighbourhood(search.ranking, occurrences, queries, nearest, following)
    return block if earlier is None else _followed(earlier, block)


def _followed(earlier: Neighbourhood, later: Neighbourhood) -> Neighbourhood:
    return Neighbourhood(
        earlier.ranking.followed(later.ranking),
        earlier.occurrences + later.occurrences,
        np.concatenate([earlier.queries, later.queries + len(earlier.next)]),
        np.concatenate([earlier.nearest, later.nearest]),
        np.concatenate([earlier.next, later.next]),
    )


def neighbours_of(
    neighbourhoods: Mapping[Pair, Neighbourhood],
    units: UnitVectors,
    target: str | None,
    groups: Groups | None,
) -> Figures:
    """Put what all searches say together, with one centring."""
    numbers = group_numbers(units.shape[0], groups)
    mutual, pairs = list(combinations(units, 2)), list(permutations(units, 2))
    both_ways = [(neighbourhoods[a, b].ranking, neighbourhoods[b, a].ranking) for a, b in mutual]
    parts = {
        "MEXA": (mutual, [_mutual(*rankings) for rankings in both_ways]),
        "antihubs": (pairs, [_antihubs(neighbourhoods[pair], numbers) for pair in pairs]),
        "hubness": (pairs, [_hubness(neighbourhoods[pair], numbers) for pair in pairs]),
    }
    keys: list[Key] = []
    values, gradients = [], []
    for measure, (measured, shares) in parts.items():
        places = groups_of_pairs(measured, target, ordered=measured is pairs)
        keys += [(measure, units.centring, *row) for row in places]
        by_pair = np.array([[share.value for share in shares]])
        values.append(pair_means(by_pair, places)[0])
        scores = np.stack([share.scores for share in shares], axis=1)
        gains = np.stack([share.gains for share in shares], axis=2)
        gradients.append(pair_means(scores - 2 * spread(gains, numbers), places))
    return figures_of(keys, np.concatenate(values), np.concatenate(gradients, axis=2), groups)


@dataclass(frozen=True, eq=False)
class _Share:
    """A figure of one pair of languages, and how it would change without each group.

    Attributes:
        value: the figure.
        scores: what each sentence adds to it.
        gains: how much the sum of the others' scores would gain without each group; over queries
            as in `Ranking.lifts`.
    """

    value: float
    scores: Float[np.ndarray, " sentence"]
    gains: Float[np.ndarray, "2 group"]


def _mutual(there: Ranking, back: Ranking) -> _Share:
    first = there.first & back.first
    # Without this group alone, the translation would come first both ways.
    alone = np.where(there.first, back.rivals, there.rivals)
    helped = (alone >= 0) & (back.first | there.first | (there.rivals == back.rivals))
    rivals = np.where(helped, alone, RIVALS)
    gains = counts_by_rival(rivals, there.groups, there.lifts.shape[1])
    return _Share(float(first.mean()), first.astype(np.float64), gains)


def _antihubs(hood: Neighbourhood, groups: Int[np.ndarray, " sentence"]) -> _Share:
    lonely = hood.occurrences < TIE
    last = ~lonely & (hood.occurrences < 1 + TIE)
    gains = _moved(hood, groups, lost=last.astype(np.float64), won=-lonely.astype(np.float64))
    return _Share(float(lonely.mean()), lonely.astype(np.float64), gains)


def _hubness(hood: Neighbourhood, groups: Int[np.ndarray, " sentence"]) -> _Share:
    off = hood.occurrences - hood.occurrences.mean()
    off[np.abs(off) < TIE] = 0  # what sharing a place leaves is rounding
    second, third = (off**2).mean(), (off**3).mean()
    if not second > 0:
        return _Share(0.0, np.zeros(len(off)), np.zeros((2, groups.max() + 1)))
    value = third / second**1.5
    scores = (off**3 - 3 * second * off) / second**1.5 - 1.5 * value * off**2 / second
    slope = 3 * (off**2 - second) / second**1.5 - 3 * value * off / second
    return _Share(float(value), scores, _moved(hood, groups, lost=-slope, won=slope))


def _moved(
    hood: Neighbourhood,
    groups: Int[np.ndarray, " sentence"],
    *,
    lost: Float[np.ndarray, " sentence"],
    won: Float[np.ndarray, " sentence"],
) -> Float[np.ndarray, "2 group"]:
    """Add up what the candidates of other groups lose and win without each group.

    Args:
        hood: of a pair of languages.
        groups: of the sentences, numbered from 0.
        lost: what it adds to a figure if a candidate is near to one query less.
        won: if it is near to one more.
    """
    query, candidate = groups[hood.queries], groups[hood.nearest]
    following = hood.next[hood.queries]
    apart = query != candidate
    stays = apart & (groups[following] != candidate)
    size = int(groups.max()) + 1
    without_query = np.bincount(query[apart], lost[hood.nearest[apart]], size)
    halves = [stays & (query % 2 == half) for half in (0, 1)]
    without_candidate = [
        np.bincount(candidate[half], won[following[half]], size) for half in halves
    ]
    return np.stack(without_candidate) + without_query / 2
