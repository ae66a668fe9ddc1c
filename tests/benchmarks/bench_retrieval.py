"""The nearest candidates by blocks: against one matrix, and as they grow."""

import tracemalloc
from functools import partial
from math import log
from typing import Any

import numpy as np
from contest import Row, medians, times_as_long

from steer_plugin.analyses import nearest

K = 10
COUNT, DIMENSIONS = 4_000, 640
GROWTH = 4
REPEATS = 3

Array = np.ndarray[Any, Any]


def rows() -> list[Row]:
    """Search random embeddings with noisy copies of some of them."""
    queries, candidates = sides(GROWTH * COUNT, DIMENSIONS, COUNT)
    few = candidates[:COUNT]
    seconds = medians(
        {
            "blocks": partial(nearest, queries, few, K),
            "matrix": partial(nearest_of_matrix, queries, few, K),
            "grown": partial(nearest, queries, candidates, K),
        },
        repeats=REPEATS,
    )
    what = f"the {K} nearest for {COUNT:,} queries, {DIMENSIONS}-d"
    grown = f"{what}, {GROWTH * COUNT:,} candidates"
    times = seconds["grown"], seconds["blocks"]
    peaks = (peak(queries, candidates), peak(queries, few))
    return [
        times_as_long(
            f"{what}, {COUNT:,} candidates",
            "one product in float64 and argpartition",
            seconds["blocks"],
            seconds["matrix"],
            "<= 1",
        ),
        *(
            Row(
                grown, f"{COUNT:,}", *times, log(one / other, GROWTH), f"exponent of {name}", target
            )
            for name, (one, other), target in (
                ("time", times, "<= 1.1"),
                ("peak memory", peaks, "<= 0.2"),
            )
        ),
    ]


def sides(count: int, dimensions: int, queries: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(0)
    candidates = generator.standard_normal((count, dimensions), dtype=np.float32)
    copied = candidates[generator.permutation(count)[:queries]]
    return copied + 0.5 * generator.standard_normal(copied.shape, dtype=np.float32), candidates


def nearest_of_matrix(queries: Array, candidates: Array, k: int) -> Array:
    asked, units = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (queries.astype(np.float64), candidates.astype(np.float64))
    )
    cosines = asked @ units.T
    found = np.argpartition(cosines, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(cosines, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def peak(queries: Array, candidates: Array) -> int:
    tracemalloc.start()
    nearest(queries, candidates, K)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most
