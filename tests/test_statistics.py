from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from steer_plugin.analyses.statistics import Figures, Weights, compare, resamples
from steer_plugin.errors import AnalysisError

Array = np.ndarray[Any, Any]

COUNT = 400


def means(*columns: Array) -> Figures:
    """Make figures that are the means of some columns of numbers, one number a sentence."""
    numbers = np.stack(columns, axis=1)
    index = pd.DataFrame({"measure": [f"mean {place}" for place in range(len(columns))]})
    return Figures(index, len(numbers), lambda weights: weights @ numbers)


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
def test_intervals_are_percentiles_over_literally_resampled_sentences(
    name: str, minuend: str, subtrahend: str
) -> None:
    pre, post, first, second = (normal(seed) for seed in range(4))

    def difference(rows: Array) -> float:
        mean = {
            "pre": pre[rows].mean(),
            "post": post[rows].mean(),
            "control": (first[rows].mean() + second[rows].mean()) / 2,
        }
        return float(mean[minuend] - mean[subtrahend])

    replicates = [
        difference(np.repeat(np.arange(40), (40 * weights).round().astype(int)))
        for weights in resamples(40, count=COUNT, seed=7)
    ]
    row = compare(means(pre), means(post), [means(first), means(second)], count=COUNT, seed=7).iloc[
        0
    ]
    low, high = np.percentile(replicates, [2.5, 97.5])
    assert row[f"{name}_low"] == pytest.approx(low, abs=1e-12)
    assert row[f"{name}_high"] == pytest.approx(high, abs=1e-12)
    assert row[name] == pytest.approx(difference(np.arange(40)), abs=1e-12)


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
    covered = 0
    for trial in range(400):
        generator = np.random.default_rng(trial)
        pre = generator.normal(size=60)
        post = pre + generator.normal(0.3, 0.5, size=60)
        row = compare(means(pre), means(post), [means(pre)], count=300, seed=trial).iloc[0]
        covered += row["change_low"] <= 0.3 <= row["change_high"]
    assert 0.92 <= covered / 400 <= 0.975


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
        *("pre", "post", "control", "control_min", "control_max", "n_controls"),
        *(f"{name}{end}" for name in differences for end in ("", "_low", "_high")),
    ]
    assert len(frame) == 2
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
