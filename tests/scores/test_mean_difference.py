"""d' against exact fractions, whatever the size of the numbers."""

import math
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.errors import ScoreError
from steer_plugin.scores.mean_difference import INFINITE, mean_difference

Array = np.ndarray[Any, Any]

TINY = float(np.finfo(np.float32).smallest_subnormal)
HUGE = float(np.finfo(np.float32).max)
NASTY = [0.0, -0.0, TINY, -TINY, 1e-39, 1.0, float(np.nextafter(np.float32(1), 2)), -1.0]
NASTY += [HUGE, -HUGE, 0.1, 1e6]
LONG = Context(prec=60, Emin=-10_000, Emax=10_000)


def moments(values: list[Fraction]) -> tuple[Fraction, Fraction]:
    mean = sum(values, Fraction(0)) / len(values)
    return mean, sum(((value - mean) ** 2 for value in values), Fraction(0)) / len(values)


def exact(unit: Array, positive: Array) -> float:
    """Work out one d' with fractions; what is infinite is infinite."""
    own, rest = (
        moments([Fraction(float(value)) for value in unit[rows]]) for rows in (positive, ~positive)
    )
    difference, variance = own[0] - rest[0], (own[1] + rest[1]) / 2
    if variance == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    square = LONG.divide(*((Decimal(n)) for n in (difference**2 / variance).as_integer_ratio()))
    return math.copysign(float(LONG.sqrt(square)), difference)


def expected(responses: Array, labels: Array) -> Array:
    return np.array(
        [[exact(unit, labels == concept) for unit in responses.T] for concept in np.unique(labels)]
    )


def assert_close(found: Array, wanted: Array) -> None:
    infinite = np.isinf(wanted)
    np.testing.assert_array_equal(found[infinite], np.sign(wanted[infinite]) * INFINITE)
    np.testing.assert_allclose(found[~infinite], wanted[~infinite], rtol=1e-12, atol=1e-12)


@st.composite
def labelled_units(draw: st.DrawFn, values: st.SearchStrategy[float]) -> tuple[Array, Array]:
    concepts = draw(st.integers(2, 4))
    more = draw(st.lists(st.integers(0, concepts - 1), max_size=12))
    labels = draw(st.permutations([*range(concepts), *more]))
    unit = st.lists(values, min_size=len(labels), max_size=len(labels))
    units = draw(st.lists(unit, min_size=1, max_size=3))
    return np.array(units).T, np.array(labels)


SINGLE = st.sampled_from(NASTY) | st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=75)
@given(labelled_units(SINGLE))
def test_it_agrees_with_fractions_on_any_float32(case: tuple[Array, Array]) -> None:
    responses, labels = case[0].astype(np.float32), case[1]
    assert_close(mean_difference(responses, labels), expected(responses, labels))


@settings(deadline=None, max_examples=50)
@given(labelled_units(st.integers(-3, 3).map(float)), st.sampled_from([0.0, 1e8, -1e15, 2.0**52]))
def test_a_huge_offset_costs_no_digits(case: tuple[Array, Array], offset: float) -> None:
    responses, labels = case
    found = mean_difference(responses + offset, labels)
    np.testing.assert_array_equal(found, mean_difference(responses, labels))
    assert_close(found, expected(responses, labels))


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e150, 1e308])
def test_float64_of_any_size_neither_overflows_nor_vanishes(scale: float) -> None:
    labels = np.arange(12) % 3
    steps = np.array([0, 1, 1, -1, 0, 1, 1, 1, 0, -1, 0, -1])
    responses = np.stack([steps * scale, labels * (scale / 2)], axis=1)
    assert_close(mean_difference(responses, labels), expected(responses, labels))


def test_nearly_equal_responses_far_from_zero_keep_their_variance() -> None:
    one = 1.0
    above = float(np.nextafter(one, 2))
    responses = np.array([one, above, above, one, above, above, one, 3.0])[:, None]
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    assert_close(mean_difference(responses, labels), expected(responses, labels))


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_unit_is_exactly_at_chance(constant: float, dtype: Any) -> None:
    responses = np.full((1000, 2), constant, dtype=dtype)
    assert (mean_difference(responses, np.arange(1000) % 7) == 0).all()


def test_equal_means_give_exactly_zero() -> None:
    responses = np.array([[0.1], [0.3], [0.1], [0.3]])
    assert mean_difference(responses, np.array([0, 0, 1, 1])).tolist() == [[0.0], [0.0]]


def test_what_is_told_apart_without_any_variance_sorts_beyond_everything() -> None:
    labels = np.repeat(np.arange(3), 30)
    noise = 1e-3 * np.random.default_rng(0).normal(size=90)
    responses = np.stack([labels == 1, (labels == 1) + noise, 0.1 * (labels > 0)], axis=1)
    found = mean_difference(responses, labels)
    assert found[1, 0] == INFINITE > found[1, 1] > 500
    assert found[0, 2] == -INFINITE
    assert np.isfinite(found).all()


def test_one_sentence_has_a_variance_of_zero() -> None:
    responses = np.array([[5.0], [0.0], [2.0]])
    found = mean_difference(responses, np.array([0, 1, 1]))
    assert found[0, 0] == pytest.approx(4 / math.sqrt((0 + 1) / 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("memory", [1, 2**40])
def test_dtypes_and_chunks_do_not_change_it(dtype: torch.dtype, memory: int) -> None:
    generator = np.random.default_rng(1)
    labels = generator.permutation(np.repeat(np.arange(4), [3, 5, 20, 22]))
    responses = torch.from_numpy(generator.normal(size=(50, 9)) + labels[:, None]).to(dtype)
    found = mean_difference(responses, torch.from_numpy(labels), memory=memory)
    assert found.dtype == np.float64
    assert_close(found, expected(responses.double().numpy(), labels))


@settings(deadline=None, max_examples=50)
@given(labelled_units(SINGLE), st.randoms(use_true_random=False))
def test_it_does_not_depend_on_the_order_of_the_sentences(
    case: tuple[Array, Array], random: Any
) -> None:
    responses, labels = case[0].astype(np.float32), case[1]
    order = np.array(random.sample(range(len(labels)), len(labels)))
    found = mean_difference(responses, labels)
    np.testing.assert_array_equal(mean_difference(responses[order], labels[order]), found)


def test_many_concepts_are_each_set_against_all_others() -> None:
    generator = np.random.default_rng(2)
    labels = generator.permutation(np.arange(160) % 67)
    responses = generator.normal(size=(160, 1)) * 10.0 ** (labels % 7)[:, None]
    assert_close(mean_difference(responses, labels), expected(responses, labels))


@pytest.mark.parametrize("far", range(4))
def test_a_concept_far_away_costs_the_others_no_digits(far: int) -> None:
    labels = np.repeat(np.arange(4), 5)
    responses = (
        1e-3 * np.random.default_rng(3).normal(size=(20, 1)) + 1e13 * (labels == far)[:, None]
    )
    assert_close(mean_difference(responses, labels), expected(responses, labels))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_response_that_is_not_finite_is_named(bad: float) -> None:
    responses = np.zeros((30, 20))
    responses[21, 17] = bad
    with pytest.raises(ScoreError, match=f"unit 17 to sentence 21 is {bad}; "):
        mean_difference(responses, np.arange(30) % 2, memory=1)


@pytest.mark.usefixtures("unchecked")
def test_labels_that_cover_one_concept_are_refused() -> None:
    with pytest.raises(ScoreError, match="only one concept is labelled"):
        mean_difference(np.zeros((3, 1)), np.zeros(3, dtype=int))
