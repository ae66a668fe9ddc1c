"""Figures before and after an intervention, beside its controls, with what is sure of the changes.

Every figure comes with its influence, what each group of sentences adds to it. Influences of two
conditions subtract as the figures do, which pairs them; the sum of their squares is the variance.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import t as student

from steer_plugin.analyses.statistics.figures import KEYS, Figures, Influence, Values
from steer_plugin.errors import AnalysisError

TAIL = 0.025
"""What a 95% interval leaves out at each end."""

FEWEST_DRAWS = 3
"""Of fewer draws of a control nothing is said of a further one."""

FEW_GROUPS = 10
"""Of so many groups, or fewer, the variance is the jackknife's alone; see `covariance`."""

ROUNDING = 1e-12
"""Two figures that differ by no more than this, or this share of the larger, are the same."""

Columns = dict[str, Values | int]


def compare(before: Figures, after: Figures, controls: Sequence[Figures]) -> pd.DataFrame:
    """Put each figure before and after an intervention beside the draws of one control.

    **Changes.** Intervals are 95% Student's t intervals with the variance of the infinitesimal
    jackknife over groups of sentences, G/(G - 1) times the sum of squared influences, and G - 1
    degrees of freedom (Efron 1982, chapter 6; groups are clusters of sentences, as Cameron and
    Miller 2015, Journal of Human Resources 50, section VI, have it for few of them). All conditions
    have the same sentences, so influences subtract.

    **Against random neurons.** `advantage` is the figure less the mean of the control's draws; its
    interval is for *one further draw*: a prediction interval, whose variance is what draws differ
    by, s^2 (1 + 1/m) less the part of it that sentences make, plus that of sentences, with the
    degrees of freedom of Satterthwaite 1946 (Biometrics 2). Experts that are as good as a draw are
    called better or worse in at most about 5% of cases. `control_p` needs no such assumption: (1 +
    how many draws change as much or more, either way) / (1 + m), two-sided (Phipson and Smyth 2010,
    SAGMB 9). Of fewer than `FEWEST_DRAWS` draws nothing is known of a further one:
    `advantage` is the difference from those very draws, its ends and p are NaN.

    Args:
        before: the figures without an intervention.
        after: the same figures with it.
        controls: the same figures with each draw of the control, at least one.

    Returns:
        One row a figure: the index, then `pre`, `post`, `control` (mean over draws),
        `control_min`, `control_max`, `n_controls`, `sentences` and `groups` (how many the figure is
        over), `change` (post - pre), `control_change` (control - pre, of these very draws) and
        `advantage` (post - control), each with `_low` and `_high`; `change_p` and `advantage_p`,
        two-sided; `control_p`. A difference within `ROUNDING` is 0. Ends, `change_p` and
        `advantage_p` are NaN where a figure has no influence.

    Raises:
        AnalysisError: no controls, or figures that are not the same.
    """
    ((_, columns),) = _against(before, after, {"given": controls})
    return before.index.assign(**columns)


def compare_controls(
    before: Figures,
    after: Figures,
    named: Mapping[str, Sequence[Figures]],
    *,
    single: Collection[str] = (),
) -> pd.DataFrame:
    """Put each figure before and after an intervention beside several controls, each on its own.

    As `compare` does. `share` is what share of the intervention's change a control gives by itself,
    a ratio with the interval of Fieller 1954 (JRSS B 16). Where the interval of the change contains
    0 there is no change to have a share of, and `share` and its ends are NaN.

    Args:
        before: the figures without an intervention.
        after: the same figures with it.
        named: control -> the same figures with each draw of it, at least one.
        single: the controls of which there is but one, such as a shift, so that the difference from
            it has the interval of a difference between two conditions.

    Returns:
        One row a figure and control, control by control: the index, then `control` (its name),
        then as in `compare`, where `control_value` stands for `control` and `n_seeds` for
        `n_controls`, and `share` (control_change / change) with `_low` and `_high`.

    Raises:
        AnalysisError: no controls, or figures that are not the same.
    """
    frames = []
    for name, columns in _against(before, after, named, single):
        share = _share(before, after, named[name])
        frame = before.index.assign(**columns, **share)
        frame = frame.rename(columns={"control": "control_value", "n_controls": "n_seeds"})
        frame.insert(len(KEYS), "control", name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def variance(influence: Influence) -> Values:
    """Give the variance of figures over groups of sentences, from their influence.

    At least a quarter of the jackknife's: where hardly a sentence changes, products of folds may
    come to nothing, or less, though there is something to vary.
    """
    groups = influence.shape[1]
    jackknife = groups / (groups - 1) * (influence.mean(0) ** 2).sum(0)
    return np.asarray(np.maximum(covariance(influence, influence), jackknife / 4))


def covariance(first: Influence, second: Influence) -> Values:
    """Give the covariance of figures over groups of sentences, from their influences.

    The products of few groups are too few to trust, so the jackknife's squares, which err on the
    wide side, count as a share of `FEW_GROUPS` in all groups.
    """
    folds, groups, _ = first.shape
    whole = first.sum(0) * second.sum(0)
    # Of every two folds the product, of none the square.
    crossed = (whole - (first * second).sum(0)) / (folds * (folds - 1))
    jackknife = whole / folds**2
    share = min(1, FEW_GROUPS / groups)
    products = crossed + share * (jackknife - crossed)
    return np.asarray(products.sum(0) * groups / (groups - 1))


def _against(
    before: Figures,
    after: Figures,
    named: Mapping[str, Sequence[Figures]],
    single: Collection[str] = (),
) -> Iterator[tuple[str, Columns]]:
    if not named or not all(named.values()):
        raise AnalysisError("no control was given; a change means nothing beside none")
    for controls in named.values():
        for other in (after, *controls):
            alike = (
                other.sentences == before.sentences
                and other.influence.shape == before.influence.shape
                and other.keys == before.keys
            )
            if not alike:
                raise AnalysisError("the conditions have different figures; measure them alike")
    groups = before.influence.shape[1]
    change = _difference(after.values, before.values)
    for name, controls in named.items():
        values, influence = _mean(controls)
        draws = np.stack([control.values for control in controls])
        moves = np.abs(_difference(draws, before.values))
        as_far = (moves >= np.abs(change) - ROUNDING * (1 + np.abs(change))).sum(0)
        yield (
            name,
            {
                "pre": before.values,
                "post": after.values,
                "control": values,
                "control_min": draws.min(0),
                "control_max": draws.max(0),
                "n_controls": len(controls),
                "sentences": before.sentences,
                "groups": groups,
                **_tested("change", change, after.influence - before.influence),
                **_interval(
                    "control_change",
                    _difference(values, before.values),
                    variance(influence - before.influence),
                    groups - 1,
                ),
                **(
                    _tested(
                        "advantage",
                        _difference(after.values, values),
                        after.influence - influence,
                    )
                    if name in single
                    else _ahead(after, controls)
                ),
                "control_p": np.where(np.isnan(change), np.nan, (1 + as_far) / (1 + len(controls))),
            },
        )


def _mean(controls: Sequence[Figures]) -> tuple[Values, Influence]:
    values = np.mean([control.values for control in controls], axis=0)
    influence = np.mean([control.influence for control in controls], axis=0)
    return np.asarray(values), np.asarray(influence)


def _tested(name: str, difference: Values, influence: Influence) -> Columns:
    spread, freedom = variance(influence), influence.shape[1] - 1
    return {
        **_interval(name, difference, spread, freedom),
        f"{name}_p": _p(difference, spread, freedom),
    }


def _interval(
    name: str, difference: Values, spread: Values, freedom: Values | int
) -> dict[str, Values]:
    half = student.isf(TAIL, freedom) * np.sqrt(spread)
    return {name: difference, f"{name}_low": difference - half, f"{name}_high": difference + half}


def _p(difference: Values, spread: Values, freedom: Values | int) -> Values:
    """Give the two-sided p of a difference being 0; of one that is 0 for sure it is 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0, np.abs(difference) / np.sqrt(spread))
    return np.where(np.isnan(spread), np.nan, 2 * student.sf(ratio, freedom))


def _ahead(after: Figures, controls: Sequence[Figures]) -> Columns:
    """Compare with one further draw of the control; see `compare`."""
    values, influence = _mean(controls)
    difference = _difference(after.values, values)
    m, groups = len(controls), influence.shape[1]
    if m < FEWEST_DRAWS:
        nothing = np.full(len(difference), np.nan)
        ends = dict.fromkeys(("advantage_low", "advantage_high", "advantage_p"), nothing)
        return {"advantage": difference, **ends}
    draws = np.stack([control.values for control in controls])
    between = draws.var(0, ddof=1)
    noise = np.sum([variance(control.influence - influence) for control in controls], axis=0)
    of_draws = np.maximum(between - noise / (m - 1), 0) * (1 + 1 / m)
    shared = variance(after.influence - influence)
    spread = of_draws + shared
    uncertain = (between * (1 + 1 / m)) ** 2 / (m - 1) + shared**2 / (groups - 1)
    freedom = np.divide(
        spread**2, uncertain, out=np.full_like(spread, groups - 1), where=uncertain > 0
    )
    freedom = np.clip(freedom, 1, None)
    return {
        **_interval("advantage", difference, spread, freedom),
        "advantage_p": _p(difference, spread, freedom),
    }


def _difference(
    minuend: Float[np.ndarray, "*rows figure"], subtrahend: Values
) -> Float[np.ndarray, "*rows figure"]:
    difference = minuend - subtrahend
    scale = np.maximum(1, np.maximum(np.abs(minuend), np.abs(subtrahend)))
    return np.where(np.abs(difference) <= ROUNDING * scale, 0, difference)


def _share(before: Figures, after: Figures, controls: Sequence[Figures]) -> dict[str, Values]:
    values, influence = _mean(controls)
    numerator = _difference(values, before.values)
    denominator = _difference(after.values, before.values)
    moves = influence - before.influence, after.influence - before.influence
    square = student.isf(TAIL, influence.shape[1] - 1) ** 2
    above, below = variance(moves[0]), variance(moves[1])
    both = covariance(*moves)
    # The ratios at which (numerator - ratio * denominator) is within its interval of 0.
    quadratic = denominator**2 - square * below
    sure = quadratic > 0
    linear = numerator * denominator - square * both
    constant = numerator**2 - square * above
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(linear**2 - quadratic * constant, 0))
        columns = {
            "share": numerator / denominator,
            "share_low": (linear - root) / quadratic,
            "share_high": (linear + root) / quadratic,
        }
    return {name: np.where(sure, column, np.nan) for name, column in columns.items()}
