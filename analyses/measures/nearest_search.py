"""The nearest of many candidates, exactly, in bounded memory."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.analyses.measures.blocks import row_blocks, rows_at_once
from steer_plugin.analyses.measures.cosines import lengths
from steer_plugin.errors import AnalysisError

WIDEST = 2**14
"""How many candidates a block has at most."""

MANY = 4
"""How many times k candidates a query has in a block before the block's own k-th is asked for."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest candidates of each query, the nearest first.

    Attributes:
        indices: their places among the candidates.
        cosines: in -1..1, to within rounding.
    """

    indices: Int[np.ndarray, "query k"]
    cosines: Float[np.ndarray, "query k"]


@dataclass(frozen=True, eq=False)
class _Side:
    rows: Float[np.ndarray, "row d_model"]
    lengths: Float[np.ndarray, " row"]

    def units(self, rows: slice) -> Float[np.ndarray, "chosen d_model"]:
        wide = self.rows[rows].astype(np.float64, order="C")
        return np.asarray(wide / self.lengths[rows, None])


def nearest(
    queries: Float[np.ndarray, "query d_model"],
    candidates: Float[np.ndarray, "candidate d_model"],
    k: int,
) -> Nearest:
    """Find the k candidates whose cosines with each query are the largest.

    The cosines are those of float64, and of equal ones, as equal embeddings have, the lower place
    comes first. All of the nearest are found: blocks of products in float32 leave out only what is
    farther below the k-th than rounding can bring it, and float64 judges the rest. So neither the
    size of the blocks nor the number of threads changes a digit.

    O(q c d) time; where very many candidates lie within rounding of the k-th, as all do after a
    collapse, tens of times as long. Beside the embeddings one number a row and about 200 MiB,
    however many there are.

    Args:
        queries: of any length but 0; subtract means first where centred figures are wanted.
        candidates: of any length but 0.
        k: how many to find of each query; all of fewer candidates.

    Raises:
        AnalysisError: k is below 1; there are no candidates; the sides have different dimensions;
            or an embedding is zero or not finite, named by its row.
    """
    _check(queries, candidates, k)
    asking = _Side(queries, lengths(queries, "query"))
    sought = _Side(candidates, lengths(candidates, "candidate"))
    k = min(k, len(candidates))
    count, dimensions = candidates.shape
    best = np.full((len(queries), k), -np.inf)
    places = np.full((len(queries), k), count)
    width = _width(dimensions)
    for start in range(0, count, width):
        units = sought.units(slice(start, start + width))
        narrow = units.astype(np.float32)
        for rows in row_blocks(len(queries), max(width, dimensions)):
            asked = asking.units(rows)
            last = best[rows, -1]
            query, place = _hopeful(asked.astype(np.float32), narrow, last, k)
            cosines = _cosines(asked, units, query, place)
            # Of equal cosines the earlier place is there already.
            better = cosines > last[query]
            best[rows], places[rows] = _merged(
                best[rows], places[rows], query[better], cosines[better], start + place[better]
            )
    return Nearest(places, best)


def _check(
    queries: Float[np.ndarray, "query d_model"],
    candidates: Float[np.ndarray, "candidate d_model"],
    k: int,
) -> None:
    if k < 1:
        raise AnalysisError(f"{k} nearest candidates are none; ask for at least 1")
    if not len(candidates):
        raise AnalysisError("there are no candidates to be near to; give at least one")
    if queries.shape[1] != candidates.shape[1]:
        raise AnalysisError(
            f"queries have {queries.shape[1]} dimensions and candidates {candidates.shape[1]}; "
            "embed both with the same model and layer"
        )


def _width(dimensions: int) -> int:
    return min(WIDEST, rows_at_once(dimensions))


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
    cosines = np.empty(len(query))
    for chosen in row_blocks(len(query), units.shape[1]):
        cosines[chosen] = np.vecdot(asked[query[chosen]], units[place[chosen]])
    return cosines


def _merged(
    best: Float[np.ndarray, "query k"],
    places: Int[np.ndarray, "query k"],
    query: Int[np.ndarray, " pair"],
    cosines: Float[np.ndarray, " pair"],
    place: Int[np.ndarray, " pair"],
) -> tuple[Float[np.ndarray, "query k"], Int[np.ndarray, "query k"]]:
    """Keep the k best of those so far and of the new pairs."""
    count, k = best.shape
    rows = np.concatenate([np.repeat(np.arange(count), k), query])
    both = np.concatenate([best.ravel(), cosines])
    where = np.concatenate([places.ravel(), place])
    order = np.lexsort((where, -both, rows))
    starts = np.searchsorted(rows[order], np.arange(count))
    kept = order[starts[:, None] + np.arange(k)]
    return both[kept], where[kept]
