"""Figures with their uncertainty: paired bootstrap over sentences, and over draws of a control.

Every figure is a function of weights on sentences. Even weights give the figure itself, resampling
weights give its bootstrap replicates, and the same resamples on two conditions pair them.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.analyses.statistics.figures import Figures, Replicates, Weights
from steer_plugin.errors import AnalysisError

RESAMPLES = 1000
CONFIDENCE = (0.025, 0.975)
ROUNDING = 1e-12
"""Two figures that differ by no more than this, or this share of the larger, are the same."""

ControlWeights = Float[np.ndarray, "resample control"]
Columns = dict[str, Float[np.ndarray, " figure"] | int]


def resamples(sentences: int, *, count: int = RESAMPLES, seed: int = 0) -> Weights:
    """Draw bootstrap weights: sentences with replacement, so many as there are.

    Args:
        sentences: how many to draw from; at least 2.
        count: how many resamples; at least 1.
        seed: of the generator.

    Raises:
        AnalysisError: fewer than two sentences, or no resamples.
    """
    if sentences < 2:
        raise AnalysisError(f"a bootstrap over {sentences} sentence is empty; give at least two")
    if count < 1:
        raise AnalysisError(f"{count} resamples give no interval; draw at least one")
    generator = np.random.default_rng(seed)
    even = np.full(sentences, 1 / sentences)
    return generator.multinomial(sentences, even, size=count) / sentences


def control_draws(controls: int, *, count: int = RESAMPLES, seed: int = 0) -> ControlWeights:
    """Draw bootstrap weights on the draws of a control: with replacement, one fewer than there are.

    One fewer, so that the spread of their mean is that of a new set of draws: m of m would
    understate its variance by (m - 1) / m (Rao and Wu 1988, JASA 83, section 2).

    Args:
        controls: how many draws of the control there are; of one, that one is always drawn.
        count: how many resamples.
        seed: of the generator, which is another than that of `resamples`.
    """
    generator = np.random.default_rng((seed, 1))
    draws = max(controls - 1, 1)
    return generator.multinomial(draws, np.full(controls, 1 / controls), size=count) / draws


def interval(replicates: Replicates) -> Float[np.ndarray, "2 figure"]:
    """Give the 95% percentile interval of each figure (Efron and Tibshirani 1993, chapter 13).

    Returns:
        The low ends, then the high ends. A replicate that is not defined (NaN) says nothing; where
        none is defined both ends are NaN.
    """
    ends = np.full((2, replicates.shape[1]), np.nan)
    defined = ~np.isnan(replicates).all(0)
    ends[:, defined] = np.nanquantile(replicates[:, defined], CONFIDENCE, axis=0)
    return ends


def two_sided_p(replicates: Replicates) -> Float[np.ndarray, " figure"]:
    """Give the two-sided bootstrap p-value of each difference being 0.

    2 (1 + the smaller tail) / (1 + resamples), at most 1, a tail being the replicates at or beyond
    0 on one side (Davison and Hinkley 1997, chapter 4, for the 1 that is added). It is below 0.05
    about where `interval` excludes 0, and a multiple of 2 / (1 + resamples), so never below 0.002
    at 1,000 resamples. Replicates that are not defined (NaN) do not count; without any, p is NaN.
    """
    defined = (~np.isnan(replicates)).sum(0)
    tail = np.minimum((replicates <= 0).sum(0), (replicates >= 0).sum(0))
    return np.where(defined > 0, np.minimum(2 * (1 + tail) / (1 + defined), 1), np.nan)


def compare(
    before: Figures,
    after: Figures,
    controls: Sequence[Figures],
    *,
    count: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Put each figure before and after an intervention beside the draws of one control.

    The intervals are 95% percentile intervals of a paired bootstrap over sentences: each resample
    draws the same sentences in all conditions and all languages. With several controls it also
    draws these (see `control_draws`), so that `control_change` and `advantage` speak of such
    controls, not of just these neurons; sentences and controls are crossed, for which drawing both
    errs on the wide side (Owen 2007, Annals of Applied Statistics 1). An interval cannot reach
    beyond the draws: of m draws that differ by much more than sentences do, it holds the mean of
    all possible ones at most 1 - 2^(1 - m) of the time, 0.75 with three, and in simulations 0.85
    with five and 0.91 with ten. With one control nothing is known of the draw, and the intervals
    are for those very neurons. A resample in which a figure is not defined (NaN) says nothing
    about it.

    Args:
        before: the figures without an intervention.
        after: the same figures with it.
        controls: the same figures with each draw of the control, at least one.
        count: how many resamples.
        seed: of the resamples.

    Returns:
        One row a figure: the index, then `pre`, `post`, `control` (mean over controls),
        `control_min`, `control_max`, `n_controls`, `sentences` (how many the figure is over), and
        `change` (post - pre), `control_change` (control - pre) and `advantage` (post - control),
        each with `_low` and `_high`; `change_p` and `advantage_p`: see `two_sided_p`. A difference
        within `ROUNDING` is 0.

    Raises:
        AnalysisError: no controls, or figures that are not the same.
    """
    ((_, columns, _),) = _against(before, after, {"given": controls}, count, seed)
    return before.index.assign(**columns)


def compare_controls(
    before: Figures,
    after: Figures,
    named: Mapping[str, Sequence[Figures]],
    *,
    count: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Put each figure before and after an intervention beside several controls, each on its own.

    As `compare`, with the same resamples for every control. `share` is what share of the
    intervention's change a control gives by itself, with the percentile interval of that ratio.
    Where the interval of the change contains 0 there is no change to have a share of, and `share`
    and its ends are NaN.

    Args:
        before: the figures without an intervention.
        after: the same figures with it.
        named: control -> the same figures with each draw of it, at least one.
        count: how many resamples.
        seed: of the resamples.

    Returns:
        One row a figure and control, control by control: the index, then `control` (its name),
        then as in `compare`, where `control_value` stands for `control` and `n_seeds` for
        `n_controls`, and `share` (control_change / change) with `_low` and `_high`.

    Raises:
        AnalysisError: no controls, or figures that are not the same.
    """
    frames = []
    for name, columns, differences in _against(before, after, named, count, seed):
        frame = before.index.assign(**columns, **_share(differences))
        frame = frame.rename(columns={"control": "control_value", "n_controls": "n_seeds"})
        frame.insert(len(before.index.columns), "control", name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _against(
    before: Figures,
    after: Figures,
    named: Mapping[str, Sequence[Figures]],
    count: int,
    seed: int,
) -> Iterator[tuple[str, Columns, dict[str, Replicates]]]:
    """Give each control's columns and the replicates of its differences, the figures first."""
    if not named or not all(named.values()):
        raise AnalysisError("no control was given; a change means nothing beside none")
    for controls in named.values():
        for other in (after, *controls):
            if other.sentences != before.sentences or not other.index.equals(before.index):
                raise AnalysisError("the conditions have different figures; measure them alike")
    even = np.full((1, before.sentences), 1 / before.sentences)
    weights = np.concatenate([even, resamples(before.sentences, count=count, seed=seed)])
    pre, post = before.evaluate(weights), after.evaluate(weights)
    for name, controls in named.items():
        control, each = _drawn(controls, weights, seed)
        columns: Columns = {
            "pre": pre[0],
            "post": post[0],
            "control": control[0],
            "control_min": each.min(0),
            "control_max": each.max(0),
            "n_controls": len(controls),
            "sentences": before.sentences,
        }
        differences = {
            "change": _difference(post, pre),
            "control_change": _difference(control, pre),
            "advantage": _difference(post, control),
        }
        for kind, difference in differences.items():
            low, high = interval(difference[1:])
            columns |= {kind: difference[0], f"{kind}_low": low, f"{kind}_high": high}
            if kind != "control_change":
                columns[f"{kind}_p"] = two_sided_p(difference[1:])
        yield name, columns, differences


def _drawn(
    controls: Sequence[Figures], weights: Weights, seed: int
) -> tuple[Replicates, Float[np.ndarray, "control figure"]]:
    """Give the mean of the controls that each resample draws, and each control's figures."""
    even = np.full((1, len(controls)), 1 / len(controls))
    draws = control_draws(len(controls), count=len(weights) - 1, seed=seed)
    means, figures = [], []
    for control, share in zip(controls, np.concatenate([even, draws]).T[:, :, None], strict=True):
        values = control.evaluate(weights)
        figures.append(values[0])
        # A control that is not drawn must not make the mean undefined.
        means.append(np.where(share > 0, share * values, 0))
    return np.sum(means, axis=0), np.stack(figures)


def _difference(minuend: Replicates, subtrahend: Replicates) -> Replicates:
    difference = minuend - subtrahend
    scale = np.maximum(1, np.maximum(np.abs(minuend), np.abs(subtrahend)))
    return np.where(np.abs(difference) <= ROUNDING * scale, 0, difference)


def _share(differences: Mapping[str, Replicates]) -> Columns:
    change = differences["change"]
    low, high = interval(change[1:])
    reliable = (low > 0) | (high < 0)
    share = np.full(change.shape, np.nan)
    np.divide(differences["control_change"], change, out=share, where=reliable & (change != 0))
    low, high = interval(share[1:])
    return {"share": share[0], "share_low": low, "share_high": high}
