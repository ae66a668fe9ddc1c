"""The nearest of many candidates, in bounded memory, exactly unless less will do."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.analyses.measures import inverted_lists
from steer_plugin.analyses.measures.cosines import ENTRIES, lengths
from steer_plugin.errors import AnalysisError

WIDEST = 2**14
"""How many candidates a block has at most."""

MANY = 4
"""How many times k candidates a query has in a block before the block's own k-th is asked for."""

MILLION = 1_000_000
WORTHWHILE = 5_000
"""Of fewer queries, searching them all costs less than building lists."""

SAMPLE = 200
"""How many queries recall is measured on."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest candidates of each query, the nearest first.

    Attributes:
        indices: their places among the candidates.
        cosines: in -1..1, to within rounding.
        way: `blocks` of all candidates, or the inverted lists of `faiss`.
        recall: what share of the k nearest is found: 1 by blocks, else measured on 200 queries.
    """

    indices: Int[np.ndarray, "query k"]
    cosines: Float[np.ndarray, "query k"]
    way: Literal["blocks", "faiss"]
    recall: float


@dataclass(frozen=True, eq=False)
class _Side:
    rows: Float[np.ndarray, "row d_model"]
    lengths: Float[np.ndarray, " row"]

    def some(self, chosen: Int[np.ndarray, " chosen"]) -> "_Side":
        return _Side(self.rows[chosen], self.lengths[chosen])

    def units(
        self, chosen: slice | Int[np.ndarray, " chosen"]
    ) -> Float[np.ndarray, "chosen d_model"]:
        wide = self.rows[chosen].astype(np.float64, order="C")
        return np.asarray(wide / self.lengths[chosen, None])


def nearest(
    queries: Float[np.ndarray, "query d_model"],
    candidates: Float[np.ndarray, "candidate d_model"],
    k: int,
    *,
    recall: float = 1,
) -> Nearest:
    """Find the k candidates whose cosines with each query are the largest.

    The cosines are those of float64, and of equal ones, as equal embeddings have, the lower place
    comes first. By default all of the nearest are found: blocks of products in float32 leave out
    only what is farther below the k-th than rounding can bring it, and float64 judges the rest. So
    neither the size of the blocks nor the number of threads changes a digit.

    O(q c d) time; where very many candidates lie within rounding of the k-th, as all do after a
    collapse, tens of times as long. Beside the embeddings one number a row and about 200 MiB,
    however many there are.

    Where less recall will do, FAISS searches a million candidates or more for 5,000 queries or
    more, if it is installed (extra `faiss`). Its inverted file has 1,024 lists, of which so many
    are looked into as reach the recall on 200 queries, drawn with a fixed seed. The candidates are
    held once more, in float32. Of 1,000,000 candidates of 64 dimensions that took 4 to 5 s on one
    core, and 1,000 queries then 0.4 s at a recall of 0.97, against 5.4 s by blocks. FAISS's exact
    search took 5.8 s in the same blocks and 12.8 s at once, so exact searches do without it.

    Args:
        queries: of any length but 0; subtract means first where centred figures are wanted.
        candidates: of any length but 0.
        k: how many to find of each query; all of fewer candidates.
        recall: what share of the k nearest to find at least, in (0, 1].

    Raises:
        AnalysisError: k is below 1, or recall not in (0, 1]; there are no candidates; the sides
            have different dimensions; or an embedding is zero or not finite, named by its row.
    """
    _check(queries, candidates, k, recall)
    asking = _Side(queries, lengths(queries, "query"))
    sought = _Side(candidates, lengths(candidates, "candidate"))
    k = min(k, len(candidates))
    many = len(candidates) >= MILLION and len(queries) >= WORTHWHILE
    if recall < 1 and many and inverted_lists.is_installed():
        return _by_lists(asking, sought, k, recall)
    return _by_blocks(asking, sought, k)


def _by_blocks(asking: _Side, sought: _Side, k: int) -> Nearest:
    queries, (count, dimensions) = len(asking.rows), sought.rows.shape
    best = np.full((queries, k), -np.inf)
    places = np.full((queries, k), count)
    width = _width(dimensions)
    height = max(1, min(ENTRIES // width, ENTRIES // dimensions))
    for start in range(0, count, width):
        units = sought.units(slice(start, start + width))
        narrow = units.astype(np.float32)
        for first in range(0, queries, height):
            rows = slice(first, first + height)
            asked = asking.units(rows)
            last = best[rows, -1]
            query, place = _hopeful(asked.astype(np.float32), narrow, last, k)
            found = _cosines(asked, units, query, place)
            # Of equal cosines the earlier place is there already.
            better = found > last[query]
            best[rows], places[rows] = _merged(
                best[rows], places[rows], query[better], found[better], start + place[better]
            )
    return Nearest(places, best, "blocks", 1.0)


def _by_lists(asking: _Side, sought: _Side, k: int, recall: float) -> Nearest:
    """Look into as many lists as the recall takes; into all of them, blocks are quicker."""
    generator = np.random.default_rng(0)
    queries, (count, dimensions) = len(asking.rows), sought.rows.shape
    trained = min(count, inverted_lists.LISTS * inverted_lists.TRAINED_ON)
    drawn = np.sort(generator.choice(count, trained, replace=False))
    index = inverted_lists.empty_lists(sought.units(drawn).astype(np.float32))
    width = _width(dimensions)
    for start in range(0, count, width):
        index.add(sought.units(slice(start, start + width)).astype(np.float32))

    few = asking.some(np.sort(generator.choice(queries, min(SAMPLE, queries), replace=False)))
    last = _by_blocks(few, sought, k).cosines[:, -1:]
    lists, reached = 1, 0.0
    while reached < recall:
        if lists >= inverted_lists.LISTS:
            return _by_blocks(asking, sought, k)
        _, cosines = _looked_up(index, few, sought, k, lists)
        reached = float((cosines >= last).mean())
        lists *= 2
    places, cosines = _looked_up(index, asking, sought, k, lists // 2)
    return Nearest(places, cosines, "faiss", reached)


def _looked_up(
    index: Any, asking: _Side, sought: _Side, k: int, lists: int
) -> tuple[Int[np.ndarray, "query k"], Float[np.ndarray, "query k"]]:
    queries, dimensions = asking.rows.shape
    places = np.empty((queries, k), dtype=np.int64)
    cosines = np.empty((queries, k))
    step = max(1, ENTRIES // (k * dimensions))
    for start in range(0, queries, step):
        rows = slice(start, start + step)
        asked = asking.units(rows)
        found = inverted_lists.probe(index, asked.astype(np.float32), k, lists)
        query = np.repeat(np.arange(len(asked)), k)
        exact = _cosines(asked, sought.units(found.ravel()), query, np.arange(found.size))
        exact = np.where(found < 0, -np.inf, exact.reshape(found.shape))
        order = np.lexsort((found, -exact), axis=1)
        places[rows] = np.take_along_axis(found, order, axis=1)
        cosines[rows] = np.take_along_axis(exact, order, axis=1)
    short = np.flatnonzero(places.min(1, initial=0) < 0)
    whole = _by_blocks(asking.some(short), sought, k)
    places[short], cosines[short] = whole.indices, whole.cosines
    return places, cosines


def _check(
    queries: Float[np.ndarray, "query d_model"],
    candidates: Float[np.ndarray, "candidate d_model"],
    k: int,
    recall: float,
) -> None:
    if k < 1:
        raise AnalysisError(f"{k} nearest candidates are none; ask for at least 1")
    if not 0 < recall <= 1:
        raise AnalysisError(f"a recall of {recall} is no share; give one above 0 and up to 1")
    if not len(candidates):
        raise AnalysisError("there are no candidates to be near to; give at least one")
    if queries.shape[1] != candidates.shape[1]:
        raise AnalysisError(
            f"queries have {queries.shape[1]} dimensions and candidates {candidates.shape[1]}; "
            "embed both with the same model and layer"
        )


def _width(dimensions: int) -> int:
    return max(1, min(WIDEST, ENTRIES // dimensions))


def _error(dimensions: int) -> float:
    """Bound how far a product of unit vectors in float32 is from that in float64.

    n u / (1 - n u) with u = 2^-24 and n = d + 2: each side is rounded once, and then the products
    are summed in any order (Higham 2002, Accuracy and Stability of Numerical Algorithms, section
    3.1). Two more leave room for what float64 rounds, for underflow, and for the comparison.
    """
    share = (dimensions + 4) * 2.0**-24
    return share / (1 - share)


def _hopeful(
    asked: Float[np.ndarray, "query d_model"],
    units: Float[np.ndarray, "candidate d_model"],
    last: Float[np.ndarray, " query"],
    k: int,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Find the pairs that can be above each query's k-th so far; all that are stay in."""
    error = _error(asked.shape[1])
    products = asked @ units.T
    above = products >= (last - error).astype(np.float32)[:, None]
    if np.count_nonzero(above) > MANY * k * len(asked) and k < len(units):
        kth = np.partition(products, -k, axis=1)[:, -k]
        # k candidates of the block are above the lower of the two.
        last = np.maximum(last, kth - error)
        above = products >= (last - error).astype(np.float32)[:, None]
    query, place = np.nonzero(above)
    return query, place


def _cosines(
    asked: Float[np.ndarray, "query d_model"],
    units: Float[np.ndarray, "candidate d_model"],
    query: Int[np.ndarray, " pair"],
    place: Int[np.ndarray, " pair"],
) -> Float[np.ndarray, " pair"]:
    """Multiply pair by pair, so that a cosine depends on nothing but its two vectors."""
    found = np.empty(len(query))
    step = max(1, ENTRIES // units.shape[1])
    for start in range(0, len(query), step):
        chosen = slice(start, start + step)
        found[chosen] = np.vecdot(asked[query[chosen]], units[place[chosen]])
    return found


def _merged(
    best: Float[np.ndarray, "query k"],
    places: Int[np.ndarray, "query k"],
    query: Int[np.ndarray, " pair"],
    found: Float[np.ndarray, " pair"],
    place: Int[np.ndarray, " pair"],
) -> tuple[Float[np.ndarray, "query k"], Int[np.ndarray, "query k"]]:
    """Keep the k best of what was there and what was found."""
    count, k = best.shape
    rows = np.concatenate([np.repeat(np.arange(count), k), query])
    cosines = np.concatenate([best.ravel(), found])
    where = np.concatenate([places.ravel(), place])
    order = np.lexsort((where, -cosines, rows))
    starts = np.searchsorted(rows[order], np.arange(count))
    kept = order[starts[:, None] + np.arange(k)]
    return cosines[kept], where[kept]
