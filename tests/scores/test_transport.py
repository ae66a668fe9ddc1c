"""Linear-AcT's lines against numpy, scipy, a naive loop, and what is known in closed form."""

import math
import time
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.errors import ScoreError
from steer_plugin.scores.transport import Transport, linear_transport

Array = np.ndarray[Any, Any]

FEWER = settings(deadline=None, max_examples=50)


def _sample(sentences: st.SearchStrategy[int], elements: st.SearchStrategy[float]) -> Any:
    return sentences.flatmap(lambda n: arrays.arrays(np.float64, (n, 2), elements=elements))


few = st.integers(1, 12)
# Ties and constants as well as numbers of any size.
ordinary = st.one_of(st.floats(-100, 100), st.integers(-2, 2).map(float))
any_size = st.one_of(ordinary, st.floats(-1e30, 1e30), st.floats(-1e-30, 1e-30))


def _naive(source: list[float], target: list[float]) -> tuple[float, float]:
    """Repeat both samples until they are of one length, pair them in order, and fit the pairs."""
    length = math.lcm(len(source), len(target))
    pairs = list(
        zip(
            (h for h in sorted(source) for _ in range(length // len(source))),
            (h for h in sorted(target) for _ in range(length // len(target))),
            strict=True,
        )
    )
    mean_x = math.fsum(x for x, _ in pairs) / length
    mean_y = math.fsum(y for _, y in pairs) / length
    variance = math.fsum((x - mean_x) ** 2 for x, _ in pairs)
    if max(source) == min(source):
        return 1.0, mean_y - mean_x
    gain = math.fsum((x - mean_x) * (y - mean_y) for x, y in pairs) / variance
    return gain, mean_y - gain * mean_x


def _spreads(sample: Array) -> bool:
    """Whether the variance of each unit can be worked out in the plain way."""
    spread = np.ptp(sample, axis=0)
    return bool((spread > 1e-6 * np.abs(sample).max(0)).all() and (spread > 1e-100).all())


@FEWER
@given(source=_sample(few, ordinary), target=_sample(few, ordinary))
@example(source=np.zeros((3, 2)), target=np.array([[1.0, -2.0]]))
def test_a_line_is_what_a_loop_over_pairs_of_equal_rank_gives(source: Array, target: Array) -> None:
    constant = np.ptp(source, axis=0) == 0
    assume(_spreads(source[:, ~constant]) if not constant.all() else True)

    found = linear_transport(source, target)

    for unit in range(2):
        gain, offset = _naive(source[:, unit].tolist(), target[:, unit].tolist())
        scale = 1 + np.abs(target[:, unit]).max()
        assert found.gain[unit] == pytest.approx(gain, rel=1e-7, abs=1e-9)
        reach = 1 + gain * np.abs(source[:, unit]).max()
        assert found.offset[unit] == pytest.approx(offset, rel=1e-7, abs=1e-9 * scale * reach)
    np.testing.assert_array_equal(found.low, source.min(0))
    np.testing.assert_array_equal(found.high, source.max(0))


@pytest.mark.parametrize(("sources", "targets"), [(40, 40), (60, 20), (20, 60), (35, 21), (7, 1)])
def test_a_line_is_that_of_numpy_and_of_scipy(sources: int, targets: int) -> None:
    generator = np.random.default_rng(sources)
    source = generator.gamma(2.0, size=(sources, 5))
    target = generator.normal(3.0, 2.0, size=(targets, 5))

    found = linear_transport(source, target)

    length = math.lcm(sources, targets)
    for unit in range(5):
        x = np.repeat(np.sort(source[:, unit]), length // sources)
        y = np.repeat(np.sort(target[:, unit]), length // targets)
        line = (found.gain[unit], found.offset[unit])
        assert line == pytest.approx(np.polyfit(x, y, 1))
        fitted = scipy.stats.linregress(x, y)
        assert line == pytest.approx((fitted.slope, fitted.intercept))


@FEWER
@given(
    source=_sample(st.integers(2, 12), ordinary),
    gain=st.floats(1e-3, 1e3),
    offset=st.floats(-1e3, 1e3),
    repeats=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 9),
)
def test_a_target_that_is_a_rising_line_of_the_source_is_met_exactly(
    source: Array, gain: float, offset: float, repeats: tuple[int, int], seed: int
) -> None:
    assume(_spreads(source))
    target = gain * source + offset
    shuffled = np.random.default_rng(seed).permutation(np.tile(target, (repeats[0], 1)))

    found = linear_transport(np.tile(source, (repeats[1], 1)), shuffled)

    # The target itself is rounded, which a small spread of the source turns into more.
    rounding = 1e-13 * np.abs(target).max() / np.ptp(source, axis=0)
    assert (np.abs(found.gain - gain) <= rounding + 1e-9 * gain).all()
    error = np.abs(found.gain * source + found.offset - target)
    assert error.max() <= 1e-11 * (1 + np.abs(target).max() + gain * np.abs(source).max())


def test_between_gaussians_the_gain_is_the_ratio_of_deviations() -> None:
    ranks = scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000)[:, None]

    found = linear_transport(1.0 + 2.0 * ranks, -3.0 + 0.5 * ranks[::2])

    # Every other quantile, so only nearly.
    np.testing.assert_allclose(found.gain, 0.25, rtol=1e-3)
    np.testing.assert_allclose(found.offset, -3.25, rtol=1e-3)


@FEWER
@given(source=_sample(few, any_size), target=_sample(few, any_size))
def test_the_mean_of_the_source_goes_to_the_mean_of_the_target_and_order_is_kept(
    source: Array, target: Array
) -> None:
    try:
        found = linear_transport(source, target)
    except ScoreError:
        assert (np.ptp(source, axis=0) < 1e-280).any()
        return

    carried = found.gain * source.mean(0) + found.offset
    size = np.abs(source).max(0)
    reach = np.abs(target).max(0) + found.gain * size
    # The smallest numbers have fewer digits: a gain among them is known to one step of theirs.
    step = np.finfo(float).smallest_subnormal
    rounding = 1e-12 * reach + step * (size + 1)
    assert (np.abs(carried - target.mean(0)) <= rounding).all()
    assert (found.gain >= 0).all()


@FEWER
@given(level=st.floats(-1e6, 1e6), target=_sample(few, ordinary), sentences=few)
def test_a_constant_source_is_shifted_by_the_difference_of_means(
    level: float, target: Array, sentences: int
) -> None:
    found = linear_transport(np.full((sentences, 2), level), target)

    assert found.gain.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(found.offset, target.mean(0) - level, rtol=1e-9, atol=1e-9)
    assert found.low.tolist() == found.high.tolist() == [level] * 2


@FEWER
@given(source=_sample(st.integers(2, 9), ordinary), level=ordinary, targets=few)
def test_a_constant_target_is_met_from_anywhere(source: Array, level: float, targets: int) -> None:
    assume(_spreads(source))

    found = linear_transport(source, np.full((targets, 2), level))

    assert found.gain.tolist() == [0.0, 0.0]
    assert found.offset.tolist() == [level, level]


@pytest.mark.parametrize("magnitude", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("distance", [0.0, 1e5])
def test_neither_a_large_mean_nor_a_tiny_or_huge_spread_costs_precision(
    magnitude: float, distance: float
) -> None:
    ranks = np.linspace(0, 1, 64)[:, None] ** 2

    found = linear_transport(magnitude * (distance + ranks), 3.0 * (distance + ranks))

    assert found.gain * magnitude == pytest.approx(3.0, rel=1e-9)
    assert found.offset == pytest.approx(0.0, abs=1e-8 * (1 + distance))


def test_float32_responses_are_fitted_in_float64() -> None:
    generator = np.random.default_rng(0)
    source = (1e4 + generator.normal(size=(500, 3))).astype(np.float32)
    target = (1e4 + 2 * generator.normal(size=(500, 3))).astype(np.float32)

    found = linear_transport(source, target)

    wide = linear_transport(source.astype(np.float64), target.astype(np.float64))
    for name in ("gain", "offset", "low", "high"):
        assert getattr(found, name).dtype == np.float64
        np.testing.assert_array_equal(getattr(found, name), getattr(wide, name))


def test_units_do_not_depend_on_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    source, target = generator.normal(size=(30, 17)), generator.normal(size=(12, 17))
    whole = linear_transport(source, target)

    monkeypatch.setattr("steer_plugin.scores.transport.CHUNK", 100)
    parts = linear_transport(source, target)
    single = [linear_transport(source[:, [unit]], target[:, [unit]]) for unit in range(17)]

    for name in ("gain", "offset", "low", "high"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
        alone = np.concatenate([getattr(one, name) for one in single])
        np.testing.assert_array_equal(alone, getattr(whole, name))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ((0, 2), (3, 2), r"the source has shape \(0, 2\), the target \(3, 2\); give at least one"),
        ((3, 2), (0, 2), r"the source has shape \(3, 2\), the target \(0, 2\); give at least one"),
        ((3, 2), (3, 4), r"the source has shape \(3, 2\), the target \(3, 4\); .* the same units"),
    ],
)
def test_samples_that_do_not_go_together_are_refused(
    source: tuple[int, int], target: tuple[int, int], message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        linear_transport(np.zeros(source), np.zeros(target))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_response_that_is_not_finite_is_named_by_unit(side: int, bad: float) -> None:
    samples = [np.random.default_rng(0).normal(size=(9, 5)) for _ in range(2)]
    samples[side][4, 3] = bad

    with pytest.raises(ScoreError, match="unit 3 has no line from source to target: a response is"):
        linear_transport(*samples)


def test_a_line_too_steep_for_a_number_is_refused() -> None:
    source = np.array([[0.0], [5e-324]])

    with pytest.raises(ScoreError, match=r"unit 0 has no line .* the source hardly varies"):
        linear_transport(source, np.array([[0.0], [1.0]]))


def test_an_eighth_of_a_model_of_36864_units_is_fitted_in_a_second() -> None:
    generator = np.random.default_rng(0)
    source = generator.standard_normal((1000, 4_608), dtype=np.float32)
    target = source[:200] * 2 + 1
    started = time.process_time()

    line = linear_transport(source, target)

    assert time.process_time() - started < 10 / 8
    assert isinstance(line, Transport)
    assert line.gain.shape == (4_608,)
