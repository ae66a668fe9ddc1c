"""Which k to take: the Pareto front of language probability against perplexity."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from steer_plugin.analyses.generation.tradeoff import UNSTEERED
from steer_plugin.errors import AnalysisError

TOLERANCE = 1.2
NEEDED = ["probability", "gain", "gain_low", "gain_high", "perplexity", "cost"]


def dominates(
    probability: Float[np.ndarray, " row"], perplexity: Float[np.ndarray, " row"]
) -> Bool[np.ndarray, "row row"]:
    """Say of each row whether it dominates each other: as good in both, better in one.

    Args:
        probability: more is better.
        perplexity: less is better.

    Returns:
        True at [a, b] where a dominates b.
    """
    gains = probability[:, None] - probability
    savings = perplexity[:, None] <= perplexity
    better = (gains > 0) | (perplexity[:, None] < perplexity)
    return np.asarray((gains >= 0) & savings & better)


def recommend(frame: pd.DataFrame, *, tolerance: float = TOLERANCE) -> pd.DataFrame:
    """Recommend a number of experts for each target, or none.

    The rule: of the k on the Pareto front of probability and perplexity, the unsteered model among
    its rivals, whose perplexity is at most `tolerance` times the unsteered one and whose gain has
    an interval above 0, the one with the highest probability; the smallest such k under ties. Where
    no k is left, none is recommended. The paper trades the same two figures without naming a rule
    (Sundar et al. 2025, arXiv 2502.15639, figure 3; PAPER step 7).

    Args:
        frame: as `tradeoff` gives it, of any number of targets; controls do not count.
        tolerance: what a recommended k may cost, as a multiple of the unsteered perplexity, at
            least 1.

    Returns:
        One row a target and k, the unsteered model's k being 0, in the order of the frame:
        `target`, `top_k`, `probability`, `gain`, `gain_low`, `gain_high`, `perplexity`, `cost`,
        `on_front`, `recommended` (at most one a target), and `reason` in words, which for the
        unsteered model says why no k is recommended, or is empty.

    Raises:
        AnalysisError: the tolerance is below 1, a target has no unsteered model or a k twice, or a
            figure is not defined.
    """
    if not tolerance >= 1:
        raise AnalysisError(f"tolerance {tolerance} allows no perplexity; give at least 1")
    rows = frame[frame["condition"].isin([UNSTEERED, "experts"])].reset_index(drop=True)
    if rows[NEEDED].isna().any(axis=None):
        raise AnalysisError("a probability or perplexity is not defined; measure it again")
    judged = [_judge(str(name), of_one, tolerance) for name, of_one in rows.groupby("target")]
    if not judged:
        raise AnalysisError("there is nothing to recommend from; give the frame of tradeoff")
    return pd.concat(judged).loc[rows.index].reset_index(drop=True)


def _judge(target: str, rows: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    if (rows["condition"] == UNSTEERED).sum() != 1 or rows["top_k"].duplicated().any():
        raise AnalysisError(
            f"{target} needs one row for the unsteered model and one for each k; measure it again"
        )
    probability, perplexity = (
        rows[name].to_numpy(np.float64) for name in ("probability", "perplexity")
    )
    beaten = dominates(probability, perplexity)
    on_front = np.asarray(~beaten.any(0))
    allowed = (
        on_front
        & (rows["condition"] != UNSTEERED).to_numpy()
        & (rows["cost"] <= tolerance).to_numpy()
        & (rows["gain_low"] > 0).to_numpy()
    )
    k = [int(units) for units in rows["top_k"]]
    # The highest probability first, then the smallest k.
    order = sorted(range(len(k)), key=lambda row: (-probability[row], k[row]))
    chosen = next((row for row in order if allowed[row]), None)
    records = rows.to_dict("records")
    best = None if chosen is None else records[chosen]
    reasons = []
    for place, row in enumerate(records):
        rival = next((k[better] for better in order if beaten[better, place]), None)
        reasons.append(_reason(row, rival, best, tolerance))
    return rows[["target", "top_k", *NEEDED]].assign(
        on_front=on_front, recommended=[row is best for row in records], reason=reasons
    )


def _reason(row: Any, rival: int | None, best: Any, tolerance: float) -> str:
    """Say why a k is recommended or not, and beside the unsteered model why none is.

    Args:
        row: of the frame.
        rival: the k that dominates it, or None.
        best: the row of the k that is recommended, or None.
        tolerance: of `recommend`.
    """
    if row["condition"] == UNSTEERED:
        none = f"no k on the front costs at most {tolerance:g} times the unsteered perplexity"
        return f"{none} and gains beyond its interval" if best is None else ""
    if rival is not None:
        by = "the unsteered model" if rival == 0 else f"k = {rival}"
        return f"off the front: {by} is no worse in both, and better in one"
    if row["cost"] > tolerance:
        return f"costs {row['cost']:.4g} times the unsteered perplexity, above {tolerance:g}"
    if row["gain_low"] <= 0:
        ends = f"[{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"
        return f"its gain of {row['gain']:+.3f} {ends} is not above 0 beyond its interval"
    if row is best:
        return (
            f"the highest probability on the front at no more than {tolerance:g} times the "
            "unsteered perplexity"
        )
    if row["probability"] == best["probability"]:
        return f"on the front, but k = {best['top_k']} does the same with fewer"
    return f"on the front, but k = {best['top_k']} has a higher probability"
