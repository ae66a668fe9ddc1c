from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.analyses.statistics.comparison import compare, compare_controls, covariance
from steer_plugin.analyses.statistics.figures import (
    FOLDS,
    Figures,
    figures_of,
    joined,
    weighted_means,
)
from steer_plugin.errors import AnalysisError

Array = np.ndarray[Any, Any]

SEEDS, TRIALS = 10, 100


def means(*columns: Array, groups: Array | None = None) -> Figures:
    """Make figures that are the means of some columns of numbers, one number a sentence."""
    keys = [(f"mean {place}", "raw", "all", "all") for place in range(len(columns))]
    return weighted_means(keys, np.stack(columns, axis=1), groups)


def by_trial(numbers: Array, groups: Array | None = None) -> Figures:
    """Make one figure a trial from numbers [sentence, trial]."""
    return means(*numbers.T, groups=groups)


def share_within(frame: pd.DataFrame, name: str, true: float) -> float:
    """Give the share of a frame's intervals that hold the true value."""
    return float(((frame[f"{name}_low"] <= true) & (true <= frame[f"{name}_high"])).mean())


def normal(seed: int, n: int = 40, mean: float = 0.0) -> Array:
    return np.random.default_rng(seed).normal(mean, size=n)


def test_a_frame_gives_each_figure_over_all_sentences() -> None:
    first, second = normal(0), normal(1)
    frame = means(first, second).frame()
    assert list(frame["measure"]) == ["mean 0", "mean 1"]
    np.testing.assert_allclose(frame["value"], [first.mean(), second.mean()], atol=1e-12)


def test_the_interval_of_a_change_of_means_is_students_for_pairs() -> None:
    pre, post = normal(0), normal(1, mean=0.4)
    row = compare(means(pre), means(post), [means(pre)]).iloc[0]
    wanted = scipy.stats.ttest_rel(post, pre)
    low, high = wanted.confidence_interval()
    assert row["change_low"] == pytest.approx(low, abs=1e-12)
    assert row["change_high"] == pytest.approx(high, abs=1e-12)
    assert row["change_p"] == pytest.approx(wanted.pvalue, rel=1e-9)
    # Of one or two draws of a control nothing is known of another.
    for draws in ([means(pre)], [means(pre)] * 2):
        row = compare(means(pre), means(post), draws).iloc[0]
        assert row[["advantage_low", "advantage_high", "advantage_p"]].isna().all()
        assert row["advantage"] == pytest.approx(row["change"])


def test_of_groups_the_interval_is_that_of_their_means() -> None:
    groups = np.repeat(np.arange(8), 5)
    pre, post = normal(0), normal(1) + np.repeat(normal(2, n=8), 5)
    row = compare(
        means(pre, groups=groups), means(post, groups=groups), [means(pre, groups=groups)]
    ).iloc[0]
    by_group = [numbers.reshape(8, 5).mean(1) for numbers in (pre, post)]
    wanted = scipy.stats.ttest_rel(by_group[1], by_group[0])
    low, high = wanted.confidence_interval()
    assert row["change_low"] == pytest.approx(low, abs=1e-12)
    assert row["change_high"] == pytest.approx(high, abs=1e-12)
    assert (row["sentences"], row["groups"]) == (40, 8)


@pytest.mark.parametrize("cluster", [1, 5])
def test_the_interval_covers_the_true_change_about_19_times_in_20(cluster: int) -> None:
    covered, alone = [], []
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        pre = generator.normal(size=(60, TRIALS))
        together = np.repeat(generator.normal(size=(60 // cluster, TRIALS)), cluster, axis=0)
        post = pre + 0.3 + 0.5 * together + generator.normal(0, 0.3, size=pre.shape)
        groups = np.arange(60) // cluster
        for held, numbers in ((covered, groups), (alone, None)):
            before = by_trial(pre, numbers)
            held.append(
                share_within(compare(before, by_trial(post, numbers), [before]), "change", 0.3)
            )
    # Of 1,000 trials; three standard errors are 0.021.
    assert 0.929 <= np.mean(covered) <= 0.971
    if cluster == 5:
        assert np.mean(alone) < 0.75


@pytest.mark.parametrize("draws", [3, 4, 8, 16])
@pytest.mark.parametrize("spread", [0.003, 0.03])
def test_one_more_random_draw_is_called_different_about_1_time_in_20(
    draws: int, spread: float
) -> None:
    """Experts that are but a further draw: FAULTS, calibration by `advantage`.

    Args:
        draws: of the control.
        spread: of what draws do on all sentences there are; on those that judge, each differs from
            it by 0.007.
    """
    called, ranked = [], []
    for seed in range(SEEDS):
        generator = np.random.default_rng((seed, draws))
        sentence = 0.3 * generator.normal(size=(200, TRIALS))

        def drawn(sentence: Array = sentence, generator: Any = generator) -> Figures:
            noise = spread * generator.normal(size=TRIALS)
            return by_trial(sentence + noise + 0.1 * generator.normal(size=sentence.shape))

        before = by_trial(sentence)
        frame = compare(before, drawn(), [drawn() for _ in range(draws)])
        called.append(1 - share_within(frame, "advantage", 0))
        ranked.append((frame["control_p"] <= 1 / (draws + 1)).mean())
    # Of 1,000 trials; three standard errors are 0.021.
    assert np.mean(called) <= 0.075
    if spread == 0.03:
        assert np.mean(called) >= 0.025
    assert np.mean(ranked) == pytest.approx(1 / (draws + 1), abs=0.04)


def test_a_further_draw_is_held_about_19_times_in_20() -> None:
    held = []
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        sentence = generator.normal(size=(100, TRIALS))
        moves = 0.1 + 0.2 * generator.normal(size=(6, TRIALS))
        post = by_trial(sentence + 0.5 + 0.3 * generator.normal(size=sentence.shape))
        *draws, further = (
            by_trial(sentence + move + 0.3 * generator.normal(size=sentence.shape))
            for move in moves
        )
        frame = compare(by_trial(sentence), post, draws)
        true = 0.5 - moves[-1]
        inside = (frame["advantage_low"] <= true) & (true <= frame["advantage_high"])
        held.append(inside.mean())
        assert further.values.shape == (TRIALS,)
    assert 0.92 <= np.mean(held) <= 0.975


def test_where_nothing_changed_at_all_every_p_is_1_and_every_interval_is_0() -> None:
    same = means(normal(0), 1e6 * normal(1), np.zeros(40), np.full(40, 1e-300))
    frame = compare(same, same, [same] * 3)
    assert (frame[["change_p", "advantage_p", "control_p"]] == 1).all(axis=None)
    for name in ("change", "control_change", "advantage"):
        ends = frame[[name, f"{name}_low", f"{name}_high"]]
        np.testing.assert_allclose(ends, 0, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e8])
def test_a_difference_of_rounding_alone_is_no_difference(scale: float) -> None:
    pre = scale * normal(0)
    rounded = pre + 1e-15 * max(scale, 1)
    assert (rounded != pre).any()
    row = compare(means(pre), means(rounded), [means(pre)]).iloc[0]
    assert (row["change"], row["change_p"]) == (0, 1)
    shifted = compare(means(pre), means(pre + scale), [means(pre)]).iloc[0]
    assert shifted["change_low"] == pytest.approx(scale)
    assert shifted["change_p"] < 1e-9


NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5]), st.floats(-1e6, 1e6, allow_subnormal=False)
)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(arrays.arrays(np.float64, st.tuples(st.integers(3, 6), st.integers(3, 9)), elements=NUMBERS))
def test_p_and_interval_agree_on_whether_there_is_a_difference(numbers: Array) -> None:
    pre, post, *controls = numbers
    row = compare(means(pre), means(post), [means(control) for control in controls]).iloc[0]
    for name in ("change", "advantage"):
        low, high, p = (row[f"{name}_{end}"] for end in ("low", "high", "p"))
        if np.isnan(p):
            assert np.isnan([low, high]).all()
            assert len(controls) < 3
        elif abs(p - 0.05) > 1e-6:
            assert (low > 0 or high < 0) == (p < 0.05)
    assert row["control_min"] <= row["control"] + 1e-6
    assert 1 / (1 + len(controls)) <= row["control_p"] <= 1


def test_conditions_are_paired_by_sentence() -> None:
    pre = 10 * normal(0)
    post = pre + 0.1 * normal(1)
    paired = compare(means(pre), means(post), [means(pre)]).iloc[0]
    shuffled = np.random.default_rng(2).permutation(post)
    unpaired = compare(means(pre), means(shuffled), [means(pre)]).iloc[0]
    assert paired["change"] == pytest.approx(unpaired["change"])
    widths = [row["change_high"] - row["change_low"] for row in (paired, unpaired)]
    assert 20 * widths[0] < widths[1]
    # A control that is the model itself has not changed at all.
    assert (paired["control_change_low"], paired["control_change_high"]) == (0, 0)


def test_a_comparison_lists_every_figure_with_its_controls() -> None:
    pre, post, *drawn = ((normal(seed), normal(seed + 10)) for seed in range(5))
    frame = compare(means(*pre), means(*post), [means(*columns) for columns in drawn])
    assert list(frame.columns) == [
        *("measure", "centring", "query", "candidates"),
        *("pre", "post", "control", "control_min", "control_max", "n_controls"),
        *("sentences", "groups"),
        *("change", "change_low", "change_high", "change_p"),
        *("control_change", "control_change_low", "control_change_high"),
        *("advantage", "advantage_low", "advantage_high", "advantage_p", "control_p"),
    ]
    assert (frame[["sentences", "groups"]] == 40).all(axis=None)
    for place, row in frame.iterrows():
        a, b, *draws = (columns[int(str(place))].mean() for columns in (pre, post, *drawn))
        wanted = [a, b, np.mean(draws), min(draws), max(draws), 3]
        np.testing.assert_allclose(row.iloc[4:10].astype(float), wanted, atol=1e-12)
        assert row["advantage"] == pytest.approx(row["change"] - row["control_change"])
        as_far = sum(abs(control - a) >= abs(b - a) for control in draws)
        assert row["control_p"] == pytest.approx((1 + as_far) / 4)
        for name in ("change", "control_change", "advantage"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_a_figure_without_influence_has_a_change_and_no_interval() -> None:
    mean = means(normal(0))
    unsure = Figures(mean.keys, mean.values, np.full_like(mean.influence, np.nan), 40)
    both = joined([mean, unsure])
    higher = Figures(both.keys, both.values + 1, both.influence, 40)
    frame = compare(both, higher, [both] * 3)
    np.testing.assert_allclose(frame["change"], 1)
    ends = [f"{name}_{end}" for name in ("change", "advantage") for end in ("low", "high", "p")]
    assert frame.loc[0, ends].notna().all()
    assert frame.loc[1, ends].isna().all()


def test_a_change_that_varies_has_an_interval_though_the_products_of_folds_are_none() -> None:
    keys = [("top-1", "raw", "all", "all")]
    gradient = np.zeros((FOLDS, 40, 1))
    gradient[:, 0] = gradient[:, 5] = 1
    # Each is the rival of one query, of another fold than its own hit: products are below 0.
    gradient[1, 0] = gradient[2, 5] = 1 - 2 * FOLDS
    after = figures_of(keys, np.array([0.05]), gradient, None)
    before = weighted_means(keys, np.zeros((40, 1)))
    assert covariance(after.influence, after.influence) < 0
    row = compare(before, after, [before]).iloc[0]
    assert row["change_low"] < row["change"] < row["change_high"]
    assert row["change_p"] > 0.001


def test_a_comparison_needs_a_control() -> None:
    with pytest.raises(AnalysisError, match="no control was given"):
        compare(means(normal(0)), means(normal(1)), [])


@pytest.mark.parametrize(
    "other",
    [
        means(normal(1), normal(2)),
        means(normal(1, n=39)),
        means(normal(1), groups=np.arange(40) // 2),
        replace(means(normal(1)), keys=(("mean 0", "language", "all", "all"),)),
    ],
)
def test_conditions_must_have_the_same_figures(other: Figures) -> None:
    figures = means(normal(0))
    with pytest.raises(AnalysisError, match="the conditions have different figures"):
        compare(figures, other, [figures])
    with pytest.raises(AnalysisError, match="the conditions have different figures"):
        compare(figures, figures, [figures, other])


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        (np.zeros(40, dtype=int), "all 40 sentences are of one group"),
        (np.arange(39), "39 groups were given for 40 sentences"),
    ],
)
def test_groups_that_tell_nothing_are_refused(groups: Array, match: str) -> None:
    with pytest.raises(AnalysisError, match=match):
        means(normal(0), groups=groups)


def test_each_named_control_stands_as_it_would_alone() -> None:
    pre, post, *others = ((normal(seed), normal(seed + 10)) for seed in range(6))
    random = [means(*other) for other in others[:3]]
    named = {"random": random, "constant shift": [means(*others[3])]}
    frame = compare_controls(means(*pre), means(*post), named)
    assert list(zip(frame["control"], frame["measure"], strict=True)) == list(
        product(named, ["mean 0", "mean 1"])
    )
    assert list(frame["n_seeds"]) == [3, 3, 1, 1]
    for name, controls in named.items():
        alone = compare(means(*pre), means(*post), controls)
        here = frame[frame["control"] == name].reset_index(drop=True).drop(columns="control")
        here = here.rename(columns={"control_value": "control", "n_seeds": "n_controls"})
        pd.testing.assert_frame_equal(here[list(alone.columns)], alone)
        assert list(here.columns[-3:]) == ["share", "share_low", "share_high"]


def test_beside_the_only_one_of_its_kind_the_interval_is_that_of_two_conditions() -> None:
    pre, post, shift = (means(normal(seed)) for seed in range(3))
    row = compare_controls(pre, post, {"shift": [shift]}, single={"shift"}).iloc[0]
    wanted = compare(shift, post, [shift]).iloc[0]
    for end in ("", "_low", "_high", "_p"):
        assert row[f"advantage{end}"] == pytest.approx(wanted[f"change{end}"])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_share_is_the_ratio_of_the_changes(sign: int) -> None:
    pre = normal(0)
    post = pre + sign * normal(1, mean=2)
    control = pre + sign * normal(2, mean=0.8)
    named = {"half": [means(control)], "all": [means(post)], "none": [means(pre)]}
    frame = compare_controls(means(pre), means(post), named).set_index("control")
    half = frame.loc["half"]
    assert half["share"] == pytest.approx((control - pre).mean() / (post - pre).mean())
    assert half["share_low"] < half["share"] < half["share_high"]
    ends = ["share", "share_low", "share_high"]
    np.testing.assert_allclose(frame.loc["all", ends].astype(float), 1, atol=1e-9)
    np.testing.assert_allclose(frame.loc["none", ends].astype(float), 0, atol=1e-12)


def test_the_interval_of_the_share_covers_the_true_share_about_19_times_in_20() -> None:
    covered = []
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        pre = generator.normal(size=(60, TRIALS))
        change = generator.normal(1, 1, size=pre.shape)
        control = pre + 0.4 * change + generator.normal(0, 0.5, size=pre.shape)
        named = {"control": [by_trial(control)]}
        frame = compare_controls(by_trial(pre), by_trial(pre + change), named)
        covered.append(share_within(frame, "share", 0.4))
    # Of 1,000 trials; three standard errors are 0.021.
    assert 0.929 <= np.mean(covered) <= 0.971


def test_a_change_that_may_be_0_has_no_share() -> None:
    pre = normal(0, n=400)
    unclear = pre + normal(1, n=400)
    assert abs((unclear - pre).mean()) < 0.1
    control = {"control": [means(pre + 1)]}
    for post in (unclear, pre):
        row = compare_controls(means(pre), means(post), control).iloc[0]
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


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([("mean", "raw", "all", "all")], "1 keys were given for 2 figures; give one a figure"),
        ([("mean", "raw", "all", "all"), ("mean", "raw", "all")], r"'all'\) is no key of a figure"),
        ([("mean", "raw", "all", "all"), ("mean", "raw", "all", 3)], r"3\) is no key of a figure"),
    ],
)
def test_a_figure_has_one_key_of_four_words(keys: Any, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        weighted_means(keys, np.zeros((4, 2)))
