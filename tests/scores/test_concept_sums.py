"""Sums by concept and over all others against numpy, in both branches."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.scores.concept_sums import least_of_others, sum_by_concept, sum_over_others

Array = np.ndarray[Any, Any]


@pytest.fixture(params=["numpy", "torch"], autouse=True)
def branch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do everything on the CPU twice: as on a CPU, and as on an accelerator."""
    if request.param == "torch":
        monkeypatch.setattr("steer_plugin.scores.concept_sums.uses_numpy", lambda _tensor: False)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Array, list[int]]:
    counts = draw(st.lists(st.integers(1, 5), min_size=2, max_size=6))
    row = st.lists(st.integers(-(10**6), 10**6), min_size=sum(counts), max_size=sum(counts))
    return np.array(draw(st.lists(row, min_size=1, max_size=3))), counts


@settings(deadline=None, max_examples=40)
@given(grouped())
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_each_concept_is_added_up(dtype: Any, case: tuple[Array, list[int]]) -> None:
    values, counts = case
    found = sum_by_concept(torch.from_numpy(values.astype(dtype)), torch.tensor(counts))
    parts = np.split(values, np.cumsum(counts)[:-1], axis=1)
    np.testing.assert_array_equal(found.numpy(), np.stack([part.sum(1) for part in parts], 1))


def test_whole_numbers_are_added_up_beyond_32_bits() -> None:
    values = torch.full((1, 8), 2**31 - 1, dtype=torch.int32)
    found = sum_by_concept(values, torch.tensor([5, 3]))
    assert found.tolist() == [[5 * (2**31 - 1), 3 * (2**31 - 1)]]


@settings(deadline=None, max_examples=40)
@given(grouped())
def test_others_are_all_but_the_concept_itself(case: tuple[Array, list[int]]) -> None:
    values = case[0].astype(np.float64)
    each = torch.from_numpy(values)
    others = [np.delete(values, concept, 1) for concept in range(values.shape[1])]
    wanted = np.stack([other.sum(1) for other in others], 1)
    np.testing.assert_array_equal(sum_over_others(each).numpy(), wanted)
    least = np.stack([other.min(1) for other in others], 1)
    np.testing.assert_array_equal(least_of_others(each).numpy(), least)


def test_what_is_small_beside_a_concept_is_not_lost_in_the_sum_of_the_others() -> None:
    sums = torch.tensor([[1.0, 1e30, 2.0, 4.0]], dtype=torch.float64)
    assert sum_over_others(sums)[0, 1] == 7.0
