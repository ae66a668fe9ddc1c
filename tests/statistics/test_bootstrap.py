from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.analyses.statistics.bootstrap import (
    compare,
    compare_controls,
    control_draws,
    interval,
    resamples,
    two_sided_p,
)
from steer_plugin.analyses.statistics.figures import Figures, Weights
from steer_plugin.errors import AnalysisError

Array = np.ndarray[Any, Any]

COUNT = 400
SEEDS, TRIALS = 10, 50
"""Simulations: trials that share a seed share their resamples, and nothing else."""


def means(*columns: Array) -> Figures:
    """Make figures that are the means of some columns of numbers, one number a sentence."""
    numbers = np.stack(columns, axis=1)
    index = pd.DataFrame({"measure": [f"mean {place}" for place in range(len(columns))]})
    return Figures(index, len(numbers), lambda weights: weights @ numbers)


def by_trial(numbers: Array) -> Figures:
    """Make one figure a trial from numbers [sentence, trial]."""
    return means(*numbers.T)


def share_within(frame: pd.DataFrame, name: str, true: float) -> float:
    """Give the share of a frame's intervals that hold the true value."""
    return float(((frame[f"{name}_low"] <= true) & (true <= frame[f"{name}_high"])).mean())


def normal(seed: int, n: int = 40, mean: float = 0.0) -> Array:
    return np.random.default_rng(seed).normal(mean, size=n)


def test_a_frame_gives_each_figure_over_all_sentences() -> None:
    one, two = normal(0), normal(1)
    frame = means(one, two).frame()
    assert list(frame.columns) == ["measure", "value"]
    assert list(frame["measure"]) == ["mean 0", "mean 1"]
    np.testing.assert_allclose(frame["value"], [one.mean(), two.mean()], atol=1e-12)


def test_a_resample_draws_as_many_sentences_as_there_are_with_replacement() -> None:
    drawn = 12 * resamples(12, count=2000, seed=3)
    np.testing.assert_allclose(drawn, drawn.round(), atol=1e-9)
    np.testing.assert_allclose(drawn.sum(1), 12)
    # Each sentence is drawn Binomial(12, 1/12) times.
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.1)
    np.testing.assert_allclose(drawn.var(0), 11 / 12, atol=0.12)


def test_a_seed_settles_the_resamples() -> None:
    np.testing.assert_array_equal(resamples(9, seed=1), resamples(9, seed=1))
    assert (resamples(9, seed=1) != resamples(9, seed=2)).any()
    assert len(resamples(9)) == 1000


@pytest.mark.parametrize(
    ("name", "minuend", "subtrahend"),
    [
        ("change", "post", "pre"),
        ("control_change", "control", "pre"),
        ("advantage", "post", "control"),
    ],
)
@pytest.mark.parametrize("n_controls", [1, 2, 4])
def test_intervals_are_percentiles_over_literally_resampled_sentences_and_controls(
    name: str, minuend: str, subtrahend: str, n_controls: int
) -> None:
    pre, post, *controls = (normal(seed) for seed in range(2 + n_controls))

    def difference(rows: Array, drawn: Array) -> float:
        mean = {
            "pre": pre[rows].mean(),
            "post": post[rows].mean(),
            "control": np.mean([controls[one][rows].mean() for one in drawn]),
        }
        return float(mean[minuend] - mean[subtrahend])

    fewer = max(n_controls - 1, 1)
    replicates = [
        difference(
            np.repeat(np.arange(40), (40 * weights).round().astype(int)),
            np.repeat(np.arange(n_controls), (fewer * shares).round().astype(int)),
        )
        for weights, shares in zip(
            resamples(40, count=COUNT, seed=7),
            control_draws(n_controls, count=COUNT, seed=7),
            strict=True,
        )
    ]
    given_controls = [means(control) for control in controls]
    row = compare(means(pre), means(post), given_controls, count=COUNT, seed=7).iloc[0]
    low, high = np.percentile(replicates, [2.5, 97.5])
    assert row[f"{name}_low"] == pytest.approx(low, abs=1e-12)
    assert row[f"{name}_high"] == pytest.approx(high, abs=1e-12)
    wanted = difference(np.arange(40), np.arange(n_controls))
    assert row[name] == pytest.approx(wanted, abs=1e-12)


def test_controls_are_drawn_with_replacement_one_fewer_than_there_are() -> None:
    drawn = 4 * control_draws(5, count=4000, seed=3)
    np.testing.assert_allclose(drawn, drawn.round(), atol=1e-9)
    np.testing.assert_allclose(drawn.sum(1), 4)
    # Each control is drawn Binomial(4, 1/5) times.
    np.testing.assert_allclose(drawn.mean(0), 0.8, atol=0.06)
    np.testing.assert_allclose(drawn.var(0), 0.64, atol=0.06)
    np.testing.assert_array_equal(control_draws(1, count=3), np.ones((3, 1)))
    np.testing.assert_array_equal(control_draws(9, seed=1), control_draws(9, seed=1))
    assert (control_draws(9, seed=1) != control_draws(9, seed=2)).any()


@pytest.mark.parametrize("controls", [2, 3, 6])
def test_the_mean_of_drawn_controls_spreads_as_that_of_a_new_set_would(controls: int) -> None:
    values = normal(0, n=controls)
    spread = (control_draws(controls, count=40_000) @ values).var()
    assert spread == pytest.approx(values.var(ddof=1) / controls, rel=0.03)


def test_intervals_agree_with_scipys_paired_percentile_bootstrap() -> None:
    pre = np.random.default_rng(0).exponential(size=80)
    post = 0.5 * pre + np.random.default_rng(1).exponential(size=80)
    found = compare(means(pre), means(post), [means(pre)], count=20_000).iloc[0]
    theirs = scipy.stats.bootstrap(  # type: ignore[attr-defined]
        (pre, post),
        lambda a, b, axis: b.mean(axis) - a.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert found["change_low"] == pytest.approx(theirs.low, abs=0.03 * width)
    assert found["change_high"] == pytest.approx(theirs.high, abs=0.03 * width)


def test_the_interval_covers_the_true_change_about_19_times_in_20() -> None:
    covered = []
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        pre = generator.normal(size=(60, TRIALS))
        post = pre + generator.normal(0.3, 0.5, size=pre.shape)
        frame = compare(by_trial(pre), by_trial(post), [by_trial(pre)], count=300, seed=seed)
        covered.append(share_within(frame, "change", 0.3))
    # Of 500 trials; three standard errors are 0.029.
    assert 0.915 <= np.mean(covered) <= 0.975


@pytest.mark.parametrize(
    ("draws", "spread", "least", "most"),
    [
        # Where the draw matters little the interval is rather wide; where it matters most, few
        # draws cannot hold it, and one draw knows nothing of it.
        (8, 0.02, 0.95, 1.0),
        (8, 0.3, 0.82, 0.96),
        (3, 0.3, 0.65, 0.86),
    ],
)
def test_the_interval_covers_what_other_draws_of_the_control_would_give(
    draws: int, spread: float, least: float, most: float
) -> None:
    several, single = [], []
    for seed in range(SEEDS):
        generator = np.random.default_rng((seed, draws))
        pre = generator.normal(size=(50, TRIALS))
        controls = [
            by_trial(
                pre
                + (0.1 + spread * generator.normal(size=TRIALS))
                + generator.normal(0, 0.3, size=pre.shape)
            )
            for _ in range(draws)
        ]
        before = by_trial(pre)
        for held, given_controls in ((several, controls), (single, controls[:1])):
            frame = compare(before, before, given_controls, count=200, seed=seed)
            held.append(share_within(frame, "control_change", 0.1))
    assert least <= np.mean(several) <= most
    if spread == 0.3:
        assert np.mean(single) < 0.4


def test_p_is_below_5_percent_about_1_time_in_20_where_nothing_changed() -> None:
    rejected = []
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        pre = generator.normal(size=(60, TRIALS))
        post = pre + generator.normal(0, 0.5, size=pre.shape)
        frame = compare(by_trial(pre), by_trial(post), [by_trial(pre)], count=300, seed=seed)
        rejected.append((frame["change_p"] < 0.05).mean())
        assert frame["change_p"].equals(frame["advantage_p"].rename("change_p"))
    # Of 500 trials; three standard errors are 0.029.
    assert 0.025 <= np.mean(rejected) <= 0.08


def test_where_nothing_changed_at_all_every_p_is_1_and_every_interval_is_0() -> None:
    same = means(normal(0), 1e6 * normal(1), np.zeros(40), np.full(40, 1e-300))
    for controls in ([same], [same] * 3):
        frame = compare(same, same, controls, count=COUNT)
        assert (frame[["change_p", "advantage_p"]] == 1).all(axis=None)
        for name in ("change", "control_change", "advantage"):
            assert (frame[[name, f"{name}_low", f"{name}_high"]] == 0).all(axis=None)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e8])
def test_a_difference_of_rounding_alone_is_no_difference(scale: float) -> None:
    pre = scale * normal(0)
    rounded = pre + 1e-15 * max(scale, 1)
    assert (rounded != pre).any()
    row = compare(means(pre), means(rounded), [means(pre)], count=COUNT).iloc[0]
    assert (row["change"], row["change_low"], row["change_high"], row["change_p"]) == (0, 0, 0, 1)
    shifted = compare(means(pre), means(pre + scale), [means(pre)], count=COUNT).iloc[0]
    assert shifted["change_low"] == pytest.approx(scale)
    assert shifted["change_p"] == pytest.approx(2 / (1 + COUNT))


def test_p_and_interval_agree_on_whether_there_is_a_difference() -> None:
    generator = np.random.default_rng(0)
    replicates = generator.normal(generator.uniform(0, 3, size=500), 1, size=(999, 500))
    low, high = interval(replicates)
    excluded = (low > 0) | (high < 0)
    assert 50 < excluded.sum() < 450
    # At 999 resamples the 25th of them ends the interval, to within what lies between two.
    p = two_sided_p(replicates)
    assert (p[excluded] <= 0.052).all()
    assert (p[~excluded] >= 0.05).all()


NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5]),
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.floats(-1e-6, 1e-6, allow_subnormal=False),
)


@st.composite
def conditions(draw: st.DrawFn) -> list[Array]:
    """Some conditions' numbers, one a sentence, ties and constants among them."""
    shape = (draw(st.integers(3, 6)), draw(st.integers(2, 9)))
    return list(draw(arrays.arrays(np.float64, shape, elements=NUMBERS)))


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(conditions(), st.integers(0, 3))
def test_a_comparison_agrees_with_a_loop_over_resamples_on_any_numbers(
    numbers: list[Array], seed: int
) -> None:
    pre, post, *controls = numbers
    n, count = len(pre), 30
    replicates: dict[str, list[float]] = {"change": [], "control_change": [], "advantage": []}
    for sentences, shares in zip(
        resamples(n, count=count, seed=seed),
        control_draws(len(controls), count=count, seed=seed),
        strict=True,
    ):
        mean = [sum(w * x for w, x in zip(sentences, row, strict=True)) for row in numbers]
        control = sum(s * m for s, m in zip(shares, mean[2:], strict=True))
        for name, one, other in (
            ("change", mean[1], mean[0]),
            ("control_change", control, mean[0]),
            ("advantage", mean[1], control),
        ):
            close = abs(one - other) <= 1e-12 * max(1, abs(one), abs(other))
            replicates[name].append(0.0 if close else one - other)
    frame = compare(
        means(pre), means(post), [means(one) for one in controls], count=count, seed=seed
    )
    row = frame.iloc[0]
    scale = max(1, np.abs(numbers).max())
    for name, values in replicates.items():
        low, high = np.quantile(values, [0.025, 0.975])
        np.testing.assert_allclose(
            [row[f"{name}_low"], row[f"{name}_high"]], [low, high], atol=3e-12 * scale
        )
        if name == "control_change":
            continue
        # A replicate at the very edge of rounding may count as 0 in one sum and not in the other.
        edges = sum(0 < abs(value) <= 3e-12 * scale for value in values)
        tail = min(sum(value <= 0 for value in values), sum(value >= 0 for value in values))
        wanted = min(1, 2 * (1 + tail) / (1 + count))
        assert row[f"{name}_p"] == pytest.approx(wanted, abs=2 * edges / (1 + count) + 1e-12)
    assert row["control_min"] <= row["control"] + 1e-9 * scale
    assert row["control"] <= row["control_max"] + 1e-9 * scale
    assert row["sentences"] == n


def test_conditions_are_paired_by_sentence() -> None:
    pre = 10 * normal(0)
    post = pre + 0.1 * normal(1)
    paired = compare(means(pre), means(post), [means(pre)]).iloc[0]
    shuffled = np.random.default_rng(2).permutation(post)
    unpaired = compare(means(pre), means(shuffled), [means(pre)]).iloc[0]
    assert paired["change"] == pytest.approx(unpaired["change"])
    widths = [row["change_high"] - row["change_low"] for row in (paired, unpaired)]
    assert 20 * widths[0] < widths[1]
    # A control that is the model itself has not changed at all, in no resample.
    assert (paired["control_change_low"], paired["control_change_high"]) == (0, 0)


def test_a_comparison_lists_every_figure_with_its_controls() -> None:
    pre, post, one, two = ((normal(seed), normal(seed + 10)) for seed in range(4))
    frame = compare(means(*pre), means(*post), [means(*one), means(*two)])
    differences = ["change", "control_change", "advantage"]
    assert list(frame.columns) == [
        "measure",
        *("pre", "post", "control", "control_min", "control_max", "n_controls", "sentences"),
        *("change", "change_low", "change_high", "change_p"),
        *("control_change", "control_change_low", "control_change_high"),
        *("advantage", "advantage_low", "advantage_high", "advantage_p"),
    ]
    assert len(frame) == 2
    assert (frame["sentences"] == 40).all()
    for place, row in frame.iterrows():
        a, b, c, d = (group[int(str(place))].mean() for group in (pre, post, one, two))
        wanted = [a, b, (c + d) / 2, min(c, d), max(c, d), 2]
        np.testing.assert_allclose(row.iloc[1:7].astype(float), wanted, atol=1e-12)
        assert row["advantage"] == pytest.approx(row["change"] - row["control_change"])
        for name in differences:
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_a_seed_settles_the_intervals() -> None:
    def widths(seed: int) -> list[float]:
        frame = compare(means(normal(0)), means(normal(1)), [means(normal(2))], seed=seed)
        return list(frame["change_high"] - frame["change_low"])

    assert widths(1) == widths(1)
    assert widths(1) != widths(2)


def test_resamples_in_which_a_figure_is_undefined_say_nothing_about_it() -> None:
    numbers = normal(0)

    def evaluate(weights: Weights) -> Array:
        figures = weights @ numbers[:, None]
        undefined = np.arange(len(figures)) % 2 == 1
        return np.where(undefined[:, None], np.nan, figures)

    figures = Figures(pd.DataFrame({"measure": ["mean"]}), 40, evaluate)
    zero = means(np.zeros(40))
    zero = Figures(figures.index, 40, zero.evaluate)
    row = compare(zero, figures, [zero], count=COUNT, seed=5).iloc[0]
    # The figure itself is the first row, so the replicates at odd places are defined.
    defined = resamples(40, count=COUNT, seed=5)[1::2] @ numbers
    wanted = np.quantile(defined, [0.025, 0.975])
    np.testing.assert_allclose([row["change_low"], row["change_high"]], wanted, atol=1e-12)
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    assert row["change_p"] == pytest.approx(2 * (1 + tail) / (1 + COUNT // 2))


@pytest.mark.parametrize("sentences", [0, 1])
def test_a_bootstrap_needs_two_sentences(sentences: int) -> None:
    with pytest.raises(AnalysisError, match=f"over {sentences} sentence is empty"):
        resamples(sentences)


def test_a_bootstrap_needs_a_resample() -> None:
    with pytest.raises(AnalysisError, match="0 resamples give no interval"):
        compare(means(normal(0)), means(normal(1)), [means(normal(2))], count=0)


def test_a_comparison_needs_a_control() -> None:
    with pytest.raises(AnalysisError, match="no control was given"):
        compare(means(normal(0)), means(normal(1)), [])


@pytest.mark.parametrize("other", [means(normal(1), normal(2)), means(normal(1, n=39))])
def test_conditions_must_have_the_same_figures(other: Figures) -> None:
    figures = means(normal(0))
    with pytest.raises(AnalysisError, match="the conditions have different figures"):
        compare(figures, other, [figures])
    with pytest.raises(AnalysisError, match="the conditions have different figures"):
        compare(figures, figures, [figures, other])


def test_a_figure_that_is_defined_in_no_resample_has_no_interval_and_no_p() -> None:
    numbers = normal(0)
    index = pd.DataFrame({"measure": ["mean", "nothing"]})

    def evaluate(weights: Weights) -> Array:
        mean = weights @ numbers
        return np.stack([mean, np.full(len(mean), np.nan)], axis=1)

    figures = Figures(index, 40, evaluate)
    frame = compare(figures, figures, [figures, figures], count=COUNT)
    ends = ["change_low", "change_high", "change_p", "advantage_p"]
    assert frame.loc[0, ends].tolist() == [0, 0, 1, 1]
    assert frame.loc[1, ends].isna().all()


def test_a_control_that_is_not_drawn_does_not_make_a_resample_undefined() -> None:
    numbers = normal(0)
    zero, defined = means(np.zeros(40)), means(numbers)

    def evaluate(weights: Weights) -> Array:
        even = (weights == weights[:, :1]).all(1)
        return np.where(even, 0, np.nan)[:, None]

    # Defined for the sentences themselves, whose weights are even, and in no resample.
    undefined = Figures(zero.index, 40, evaluate)
    row = compare(zero, zero, [undefined, defined], count=COUNT, seed=2).iloc[0]
    drawn = control_draws(2, count=COUNT, seed=2)[:, 1] == 1
    assert 0 < drawn.sum() < COUNT
    replicates = resamples(40, count=COUNT, seed=2)[drawn] @ numbers
    found = [row["control_change_low"], row["control_change_high"]]
    np.testing.assert_allclose(found, np.quantile(replicates, [0.025, 0.975]), atol=1e-12)
    assert row["control_change"] == pytest.approx(numbers.mean() / 2)


def test_each_named_control_stands_as_it_would_alone() -> None:
    pre, post, *others = ((normal(seed), normal(seed + 10)) for seed in range(6))
    random = [means(*other) for other in others[:3]]
    named = {"random": random, "constant shift": [means(*others[3])]}
    frame = compare_controls(means(*pre), means(*post), named, count=COUNT, seed=3)
    assert list(zip(frame["control"], frame["measure"], strict=True)) == list(
        product(named, ["mean 0", "mean 1"])
    )
    assert list(frame["n_seeds"]) == [3, 3, 1, 1]
    for name, controls in named.items():
        alone = compare(means(*pre), means(*post), controls, count=COUNT, seed=3)
        here = frame[frame["control"] == name].reset_index(drop=True).drop(columns="control")
        here = here.rename(columns={"control_value": "control", "n_seeds": "n_controls"})
        pd.testing.assert_frame_equal(here[list(alone.columns)], alone)
        assert list(here.columns[-3:]) == ["share", "share_low", "share_high"]
    assert list(frame.columns[:2]) == ["measure", "control"]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_share_is_the_ratio_of_the_changes_in_the_same_resamples(sign: int) -> None:
    pre = normal(0)
    post = pre + sign * normal(1, mean=2)
    control = pre + sign * normal(2, mean=0.8)
    named = {"half": [means(control)], "all": [means(post)], "none": [means(pre)]}
    frame = compare_controls(means(pre), means(post), named, count=COUNT, seed=4)
    frame = frame.set_index("control")
    weights = resamples(40, count=COUNT, seed=4)
    ratios = (weights @ (control - pre)) / (weights @ (post - pre))
    half = frame.loc["half"]
    assert half["share"] == pytest.approx((control - pre).mean() / (post - pre).mean())
    np.testing.assert_allclose(
        [half["share_low"], half["share_high"]], np.quantile(ratios, [0.025, 0.975]), atol=1e-12
    )
    ends = ["share", "share_low", "share_high"]
    np.testing.assert_allclose(frame.loc["all", ends].astype(float), 1, atol=1e-12)
    assert (frame.loc["none", ends] == 0).all()


def test_the_interval_of_the_share_covers_the_true_share_about_19_times_in_20() -> None:
    covered = []
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        pre = generator.normal(size=(60, TRIALS))
        change = generator.normal(1, 1, size=pre.shape)
        control = pre + 0.4 * change + generator.normal(0, 0.5, size=pre.shape)
        frame = compare_controls(
            by_trial(pre),
            by_trial(pre + change),
            {"control": [by_trial(control)]},
            count=300,
            seed=seed,
        )
        covered.append(share_within(frame, "share", 0.4))
    # Of 500 trials; three standard errors are 0.029.
    assert 0.915 <= np.mean(covered) <= 0.975


def test_a_change_that_may_be_0_has_no_share() -> None:
    pre = normal(0, n=400)
    unclear = pre + normal(1, n=400)
    assert abs((unclear - pre).mean()) < 0.1
    control = {"control": [means(pre + 1)]}
    for post in (unclear, pre):
        row = compare_controls(means(pre), means(post), control, count=COUNT).iloc[0]
        assert row["change_low"] <= 0 <= row["change_high"]
        assert np.isnan([row["share"], row["share_low"], row["share_high"]]).all()
        assert row["control_change"] == pytest.approx(1)


def test_named_controls_must_be_there_and_have_draws() -> None:
    figures = means(normal(0))
    for named in ({}, {"random": []}, {"random": [figures], "bottom": []}):
        with pytest.raises(AnalysisError, match="no control was given"):
            compare_controls(figures, figures, named)
    with pytest.raises(AnalysisError, match="the conditions have different figures"):
        compare_controls(figures, figures, {"a": [figures], "b": [means(normal(0, n=39))]})
