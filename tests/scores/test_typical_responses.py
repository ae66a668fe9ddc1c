"""Statistics of responses against numpy, one unit and one concept at a time."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.errors import ScoreError
from steer_plugin.scores.transport import linear_transport
from steer_plugin.scores.typical_responses import STEEPEST, typical_responses
from steer_plugin.settings.probe import check_quantiles

Array = np.ndarray[Any, Any]

LEVELS = (0.0, 0.05, 0.31, 1.0)
NAMES = ("q00", "q05", "q31", "q100")
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def lines_of(source: Array, target: Array) -> tuple[Array, Array]:
    """Fit sorted target to sorted source, each repeated to a common length, unit by unit."""
    common = math.lcm(len(source), len(target))
    x = np.repeat(np.sort(source, axis=0), common // len(source), axis=0)
    y = np.repeat(np.sort(target, axis=0), common // len(target), axis=0)
    away, constant = x - x.mean(0), x[0] == x[-1]
    variance = np.where(constant, 1.0, np.square(away).sum(0))
    gain = np.where(constant, 1.0, (away * (y - y.mean(0))).sum(0) / variance)
    return gain, y.mean(0) - gain * x.mean(0)


def expected(responses: Array, labels: Array) -> dict[str, Array]:
    wide, rows = responses.astype(np.float64), []
    for concept in range(max(labels) + 1):
        own, rest = wide[labels == concept], wide[labels != concept]
        gain, offset = lines_of(rest, own)
        rows.append(
            {
                "mean": own.mean(0),
                "off_mean": rest.mean(0),
                "mean_difference": own.mean(0) - rest.mean(0),
                "median": np.median(own, axis=0),
                "act_gain": gain,
                "act_offset": offset,
                "act_low": rest.min(0),
                "act_high": rest.max(0),
                **dict(zip(NAMES, np.quantile(own, LEVELS, axis=0), strict=True)),
            }
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@st.composite
def labelled_units(draw: st.DrawFn) -> tuple[Array, Array]:
    concepts = draw(st.integers(2, 4))
    more = draw(st.lists(st.integers(0, concepts - 1), max_size=15))
    labels = draw(st.permutations([*range(concepts), *more]))
    offset = draw(st.sampled_from([0.0, 100.0]))
    value = st.sampled_from([0.0, 1.0, -1.0, 0.5]) | st.integers(-40, 40).map(lambda n: n / 8)
    unit = st.lists(value, min_size=len(labels), max_size=len(labels))
    units = draw(st.lists(unit, min_size=1, max_size=3))
    return (np.array(units).T + offset).astype(np.float32), np.array(labels)


@settings(deadline=None, max_examples=75)
@given(labelled_units())
def test_each_statistic_is_what_numpy_gives(case: tuple[Array, Array]) -> None:
    responses, labels = case
    wanted = expected(responses, labels)

    for given_ in (responses, responses.astype(np.float64)):
        found = typical_responses(given_, labels, LEVELS, lines=True)
        plain = typical_responses(given_, labels, LEVELS)

        assert list(found) == sorted(wanted)
        for name, values in wanted.items():
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-4, err_msg=name)
        assert list(plain) == [name for name in found if not name.startswith("act_")]
        for name, values in plain.items():
            np.testing.assert_array_equal(values, found[name], err_msg=name)


def exact_line(source: Array, target: Array) -> tuple[Fraction, Fraction, Fraction]:
    """Fit the pairs of equal rank in fractions: gain, offset, and what the offset is made of."""
    common = math.lcm(len(source), len(target))
    x = [Fraction(h) for h in np.repeat(np.sort(source), common // len(source)).tolist()]
    y = [Fraction(h) for h in np.repeat(np.sort(target), common // len(target)).tolist()]
    mean_x, mean_y = sum(x, Fraction(0)) / common, sum(y, Fraction(0)) / common
    variance = sum(((h - mean_x) ** 2 for h in x), Fraction(0))
    together = sum(((a - mean_x) * b for a, b in zip(x, y, strict=True)), Fraction(0))
    gain = together / variance if variance else Fraction(1)
    return gain, mean_y - gain * mean_x, abs(mean_y) + abs(gain * mean_x)


ANY = st.sampled_from([0.0, 1.0, -1.0, SMALLEST, 1e-30, 1e15, -1e15, 1e30]) | st.floats(
    -(2.0**100), 2.0**100, width=32
)


@st.composite
def any_units(draw: st.DrawFn) -> tuple[Array, Array]:
    concepts = draw(st.integers(2, 6))
    more = draw(st.lists(st.integers(0, concepts - 1), max_size=10))
    labels = np.array(draw(st.permutations([*range(concepts), *more])))
    unit = st.lists(ANY, min_size=len(labels), max_size=len(labels))
    far = np.array(draw(st.sampled_from([0.0, 1e4, -1e8, 1e20]))) * (labels == 0)
    return (np.array([draw(unit)]) + far).astype(np.float32).T, labels


@settings(deadline=None, max_examples=150)
@given(any_units())
def test_a_line_is_that_of_fractions_to_the_last_digits_of_a_float32(
    case: tuple[Array, Array],
) -> None:
    responses, labels = case
    found = typical_responses(responses, labels, lines=True)
    wide = responses[:, 0].astype(np.float64)
    for concept in range(labels.max() + 1):
        own, rest = wide[labels == concept], wide[labels != concept]
        gain, offset, size = exact_line(rest, own)
        if max(gain, abs(offset)) >= STEEPEST:
            gain, offset, size = exact_line(rest[:1], own - rest.mean() + rest[0])
        step = 2.0**-24 * (1 + 1e-5)
        assert abs(Fraction(float(found["act_gain"][concept, 0])) - gain) <= step * gain + SMALLEST
        error = abs(Fraction(float(found["act_offset"][concept, 0])) - offset)
        assert error <= step * abs(offset) + 1e-13 * size + SMALLEST
        assert found["act_low"][concept, 0] == rest.min()
        assert found["act_high"][concept, 0] == rest.max()


@settings(deadline=None, max_examples=75)
@given(
    any_units(),
    st.sampled_from([torch.bfloat16, torch.float32, torch.float64]),
    st.randoms(use_true_random=False),
)
def test_nothing_depends_on_the_order_of_the_sentences(
    case: tuple[Array, Array], dtype: torch.dtype, random: Any
) -> None:
    responses, labels = torch.from_numpy(case[0]).to(dtype), case[1]
    order = np.array(random.sample(range(len(labels)), len(labels)))
    shuffled = typical_responses(responses[order], labels[order], lines=True)
    for name, values in typical_responses(responses, labels, lines=True).items():
        np.testing.assert_array_equal(shuffled[name], values, err_msg=name)


@pytest.mark.parametrize("far", [0.0, 30.0, -1e6])
@pytest.mark.parametrize("counts", [[7, 20, 33], [1, 1, 300], [50] * 40])
def test_the_lines_are_those_of_linear_transport(counts: list[int], far: float) -> None:
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    responses = generator.normal(size=(len(labels), 40)) + far * (labels == 1)[:, None]
    found = typical_responses(responses.astype(np.float32), labels, lines=True)
    rounded = responses.astype(np.float32)
    for concept in range(len(counts)):
        wanted = linear_transport(rounded[labels != concept], rounded[labels == concept])
        for name in ("gain", "offset", "low", "high"):
            np.testing.assert_array_max_ulp(
                found[f"act_{name}"][concept], getattr(wanted, name).astype(np.float32), maxulp=1
            )


def test_an_accelerator_would_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    labels = generator.permutation(np.repeat(np.arange(4), [3, 20, 30, 47]))
    responses = generator.normal(size=(100, 30)) + 50 * (labels == 2)[:, None]
    here = typical_responses(responses, labels, lines=True)
    for module in ("unit_sort", "concept_sums"):
        monkeypatch.setattr(f"steer_plugin.scores.{module}.uses_numpy", lambda _tensor: False)
    for name, values in typical_responses(responses, labels, lines=True).items():
        np.testing.assert_allclose(values, here[name], rtol=2e-7, atol=1e-12, err_msg=name)


def test_others_that_do_not_vary_are_moved_by_the_difference_of_means() -> None:
    responses = np.array([[2.0], [4.0], [1.0], [1.0]], dtype=np.float32)
    found = typical_responses(responses, np.array([0, 0, 1, 1]), lines=True)
    assert (found["act_gain"][0, 0], found["act_offset"][0, 0]) == (1.0, 2.0)
    assert (found["act_low"][0, 0], found["act_high"][0, 0]) == (1.0, 1.0)


def test_a_line_that_no_float32_can_say_counts_as_none() -> None:
    responses = np.array([[2.0], [4.0], [0.0], [SMALLEST]], dtype=np.float32)
    found = typical_responses(responses, np.array([0, 0, 1, 1]), lines=True)
    assert (found["act_gain"][0, 0], found["act_offset"][0, 0]) == (1.0, 3.0)


def test_what_is_small_beside_a_concept_is_not_lost_in_the_mean_of_the_others() -> None:
    responses = np.array([[1e20], [1e20], [1.0], [3.0]], dtype=np.float32)
    found = typical_responses(responses, np.array([0, 0, 1, 1]))
    assert found["off_mean"][:, 0].tolist() == [2.0, float(np.float32(1e20))]


@pytest.mark.parametrize("memory", [1, 2**40])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_chunks_of_any_size_give_the_same_bits(dtype: torch.dtype, memory: int) -> None:
    generator = np.random.default_rng(1)
    labels = torch.from_numpy(generator.permutation(np.arange(50) % 4))
    responses = torch.from_numpy(generator.normal(size=(50, 30))).to(dtype)
    found = typical_responses(responses, labels, lines=True, memory=memory)
    wanted = typical_responses(responses.double(), labels, lines=True)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_a_response_that_is_not_finite_is_named(bad: float) -> None:
    responses = np.zeros((10, 8), dtype=np.float32)
    responses[3, 5] = bad
    with pytest.raises(ScoreError, match=f"unit 5 to sentence 3 is {bad}; "):
        typical_responses(responses, np.arange(10) % 2, memory=1)


def test_a_statistic_beyond_a_float32_is_refused() -> None:
    responses = np.array([[3e38], [3e38], [-3e38], [-3e38]], dtype=np.float32)
    with pytest.raises(ScoreError, match="a typical response is larger than a float32"):
        typical_responses(responses, np.array([0, 0, 1, 1]))


def test_numbers_that_are_no_quantiles_are_refused() -> None:
    with pytest.raises(ScoreError, match=r"quantiles are \(0.5, -1\); give numbers from 0 to 1"):
        check_quantiles((0.5, -1))
    with pytest.raises(ScoreError, match="give numbers from 0 to 1"):
        typical_responses(np.zeros((2, 1)), np.arange(2), (float("nan"),))
