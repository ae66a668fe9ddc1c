from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.nearest_search import nearest
from steer_plugin.errors import AnalysisError

from support import command_line
from support.spaces import Array

LENGTHS = (1.0, 2.0, 3.0, 1e-20, 1e20)


def units(rows: Array) -> Array:
    wide = rows.astype(np.float64)
    return np.array([row / np.sqrt(np.dot(row, row)) for row in wide]).reshape(wide.shape)


def assert_nearest(
    queries: Array, candidates: Array, k: int, found: tuple[Array, Array], atol: float = 1e-12
) -> None:
    """Compare with the whole matrix; equal rows have to stand in their order."""
    indices, cosines = found
    table = units(queries) @ units(candidates).T
    k = min(k, len(candidates))
    assert indices.shape == cosines.shape == (len(queries), k)
    assert cosines.dtype == np.float64
    wanted: Array = -np.sort(-table, axis=1)[:, :k]
    np.testing.assert_allclose(cosines, wanted, atol=atol)
    for row, places in zip(table, indices, strict=True):
        np.testing.assert_allclose(row[places], -np.sort(-row)[:k], atol=atol)
        assert len(set(places)) == k
        for rank, place in enumerate(places):
            twins = np.flatnonzero((candidates == candidates[place]).all(1))
            before = twins[twins < place]
            assert set(before) <= set(places[:rank])
    assert (np.diff(cosines, axis=1) <= 0).all()


def searched(queries: Array, candidates: Array, k: int, entries: int) -> tuple[Array, Array]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
        found = nearest(queries, candidates, k)
    return found.indices, found.cosines


@st.composite
def searches(draw: st.DrawFn) -> tuple[Array, Array, int]:
    d = draw(st.integers(1, 4))
    row = st.lists(st.integers(-2, 2), min_size=d, max_size=d).filter(any)
    pool = st.sampled_from(draw(st.lists(row, min_size=1, max_size=8)))
    scaled = st.builds(
        lambda one, length: [length * x for x in one], pool, st.sampled_from(LENGTHS)
    )
    queries = draw(st.lists(scaled, max_size=6))
    candidates = draw(st.lists(scaled, min_size=1, max_size=20))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return (
        np.array(queries, dtype=np.float64).reshape(-1, d),
        np.array(candidates, dtype=dtype),
        draw(st.integers(1, 25)),
    )


@settings(deadline=None, max_examples=200)
@given(searches(), st.sampled_from([1, 3, 8, 16, 33]))
def test_the_nearest_are_those_of_the_whole_matrix_however_it_is_divided(
    search: tuple[Array, Array, int], entries: int
) -> None:
    found = searched(*search, 2**22)
    assert_nearest(*search, found)
    for one, other in zip(found, searched(*search, entries), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 300), st.sampled_from([1e-9, 1e-8, 1e-7, 1e-5]))
def test_what_float32_cannot_tell_apart_is_in_the_order_of_float64(
    seed: int, d: int, noise: float
) -> None:
    generator = np.random.default_rng(seed)
    point = generator.normal(size=d)
    candidates = point + noise * generator.normal(size=(200, d))
    candidates[generator.integers(0, 200, 20)] = candidates[7]
    queries = point + generator.normal(size=(3, d))
    found = searched(queries, candidates, 9, 2**22)
    assert_nearest(queries, candidates, 9, found, atol=1e-14)
    for entries in (2**8, 2**10, 2**12):
        for one, other in zip(found, searched(queries, candidates, 9, entries), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ["nearest last", "nearest first", "as drawn"])
def test_candidates_may_come_in_any_order(order: str) -> None:
    generator = np.random.default_rng(0)
    queries, candidates = generator.normal(size=(5, 8)), generator.normal(size=(3_000, 8))
    rank = np.argsort(candidates @ queries[0])
    if order != "as drawn":
        candidates = candidates[rank if order == "nearest last" else rank[::-1]]
    for k in (1, 10, 700, 2_999):
        found = searched(queries, candidates, k, 2**14)
        wanted = np.sort(units(queries) @ units(candidates).T, axis=1)[:, ::-1][:, :k]
        np.testing.assert_allclose(found[1], wanted, atol=1e-12)


def test_after_a_collapse_the_first_candidates_are_the_nearest() -> None:
    point = np.random.default_rng(0).normal(size=16)
    found = nearest(np.tile(point, (3, 1)), np.tile(point, (500, 1)), 4)
    assert found.indices.tolist() == [[0, 1, 2, 3]] * 3
    np.testing.assert_allclose(found.cosines, 1, atol=1e-12)


def test_embeddings_in_columns_give_the_same_digits() -> None:
    generator = np.random.default_rng(0)
    queries, candidates = generator.normal(size=(7, 33)), generator.normal(size=(400, 33))
    one = searched(queries, candidates, 5, 2**22)
    other = searched(np.asfortranarray(queries), np.asfortranarray(candidates), 5, 33)
    for here, there in zip(one, other, strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, c: (q, c, 0), "0 nearest candidates are none; ask for at least 1"),
        (
            lambda q, c: (q, c[:0], 1),
            "there are no candidates to be near to; give at least one",
        ),
        (
            lambda q, c: (q[:, :2], c, 1),
            "queries have 2 dimensions and candidates 3; embed both",
        ),
        (lambda q, c: (0 * q, c, 1), "the embedding of query 0 has no direction: it is zero"),
        (lambda q, c: (q, np.diag([1, 0, 1]) @ c, 1), "candidate 1 has no direction"),
        (lambda q, c: (q, np.where(c == c[2], np.inf, c), 1), "candidate 2 has no direction"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    change: Callable[[Array, Array], tuple[Any, ...]], message: str
) -> None:
    generator = np.random.default_rng(0)
    *sides, k = change(generator.normal(size=(3, 3)), generator.normal(size=(3, 3)))
    with pytest.raises(AnalysisError, match=message):
        nearest(*sides, k)


PEAK = """
from pathlib import Path
import numpy as np
from steer_plugin.analyses.measures.nearest_search import nearest
from steer_plugin.analyses.measures.neighbours import neighbour_figures
from steer_plugin.analyses.measures.retrieval import retrieval_figures

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

generator = np.random.default_rng(0)
queries, candidates = generator.normal(size=(2, {n}, 32)).astype(np.float32)
before = peak()
{code}
print(peak() - before)
"""
SIDES = '{"deu_Latn": queries, "eng_Latn": candidates}, target=None, centrings=("raw",)'


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@pytest.mark.parametrize(
    ("code", "n"),
    [
        ("nearest(queries, candidates, 10)", 20_000),
        (f"retrieval_figures({SIDES}); neighbour_figures({SIDES})", 7_000),
    ],
    ids=["nearest", "figures"],
)
def test_memory_is_far_below_that_of_the_whole_matrix(code: str, n: int) -> None:
    ended = command_line.run(code=PEAK.format(code=code, n=n))

    assert ended.code == 0, ended.err
    # The cosines alone would be 3,052 and 374 MiB, and of the latter several arrays are made.
    assert float(ended.out) < 300
