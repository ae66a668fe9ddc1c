"""Sorted units, and what they carry, against numpy and scipy; both branches against one oracle."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.errors import ScoreError
from steer_plugin.responses.unit_chunks import narrowed_labels
from steer_plugin.scores.unit_sort import (
    run_ends,
    run_starts,
    sort_units,
    sorted_values,
    stable_argsort,
)

Array = np.ndarray[Any, Any]

DTYPES = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


@pytest.fixture(params=["numpy", "torch"], autouse=True)
def branch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do everything on the CPU twice: as on a CPU, and as on an accelerator."""
    if request.param == "torch":
        monkeypatch.setattr("steer_plugin.scores.unit_sort.uses_numpy", lambda _tensor: False)


def every_16_bits(dtype: torch.dtype) -> torch.Tensor:
    bits = torch.from_numpy(np.random.default_rng(0).permutation(2**16).astype(np.uint16))
    values = bits.view(torch.int16).view(dtype)
    return values[values.isfinite()]


def assert_sorted(responses: torch.Tensor, carried: Array) -> None:
    keys, with_them = sort_units(responses, torch.from_numpy(carried))
    values = sorted_values(keys, responses.dtype).double().numpy()
    wide = responses.double().numpy().T
    np.testing.assert_array_equal(values, np.sort(wide, axis=1))
    steps = (keys[:, 1:] != keys[:, :-1]).numpy()
    np.testing.assert_array_equal(steps, np.diff(values) != 0)
    # Which of tied responses comes first is left open, so pairs are put in order.
    pairs = np.lexsort((np.broadcast_to(carried, wide.shape), wide))
    given_pairs = np.lexsort((with_them.numpy(), values))
    np.testing.assert_array_equal(
        np.take_along_axis(with_them.numpy(), given_pairs, 1), carried[pairs]
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("held", [None, torch.float32, torch.float64])
@pytest.mark.parametrize("most", [255, 2**16 - 1, 2**16, 2**31 - 1])
def test_every_value_of_16_bits_is_sorted_with_any_number(
    dtype: torch.dtype, held: torch.dtype | None, most: int
) -> None:
    responses = every_16_bits(dtype).unsqueeze(1).to(held or dtype)
    carried = np.random.default_rng(1).integers(0, most, len(responses), endpoint=True)
    carried[7] = most
    assert_sorted(responses, carried)


@st.composite
def units(draw: st.DrawFn) -> tuple[torch.Tensor, Array]:
    dtype = draw(st.sampled_from(list(DTYPES)))
    width = 8 * dtype.itemsize
    bits = st.integers(0, 2**width - 1) | st.sampled_from([0, 1, 2 ** (width - 1)])
    sentences = draw(st.integers(1, 12))
    column = st.lists(bits, min_size=sentences, max_size=sentences)
    drawn = np.array(draw(st.lists(column, min_size=1, max_size=3)), dtype=np.uint64)
    signed = torch.from_numpy(drawn.astype(f"u{dtype.itemsize}").view(f"i{dtype.itemsize}"))
    responses = signed.view(dtype).T
    carried = draw(
        st.lists(st.integers(0, 2**31 - 1), min_size=sentences, max_size=sentences)
        | st.lists(st.integers(0, 5), min_size=sentences, max_size=sentences)
    )
    return responses.where(responses.isfinite(), torch.zeros((), dtype=dtype)), np.array(carried)


@settings(deadline=None, max_examples=100)
@given(units())
def test_values_come_back_sorted_with_what_they_carry(case: tuple[torch.Tensor, Array]) -> None:
    assert_sorted(*case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(dtype: torch.dtype, bad: float) -> None:
    for place in range(5):
        responses = torch.tensor([[3.0, -1.0, 0.0, 2.0, -5.0]] * 2, dtype=dtype).T.contiguous()
        responses[place, 1] = bad
        if np.signbit(bad) and np.isnan(bad):
            responses[place, 1] = -responses[place, 1].abs()
        with pytest.raises(ScoreError, match=f"unit 41 to sentence {place} is {abs(bad)}|-inf"):
            sort_units(responses, torch.arange(5), 40)


@pytest.mark.parametrize(
    ("concepts", "narrow"),
    [
        (2, torch.int8),
        (128, torch.int8),
        (129, torch.int16),
        (2**15, torch.int16),
        (2**15 + 1, torch.int32),
    ],
)
def test_places_are_listed_by_concept(concepts: int, narrow: torch.dtype) -> None:
    labels = np.random.default_rng(2).permutation(np.arange(2 * concepts) % concepts)
    carried = narrowed_labels(torch.from_numpy(labels), concepts)
    assert carried.dtype == narrow
    found = stable_argsort(carried[None])
    np.testing.assert_array_equal(found.numpy()[0], np.argsort(labels, kind="stable"))


@settings(max_examples=50)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=3))
def test_runs_start_and_end_where_values_change(rows: list[list[bool]]) -> None:
    steps = torch.tensor(rows)
    starts, ends = run_starts(steps).numpy(), run_ends(steps).numpy()
    for row, start, end in zip(rows, starts, ends, strict=True):
        run = np.cumsum([0, *row])
        assert start.tolist() == [run.tolist().index(one) for one in run]
        assert end.tolist() == [int(np.flatnonzero(run == one)[-1]) for one in run]
