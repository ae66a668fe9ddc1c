"""Which single pairs of languages are called changed, and by which rule.

By their false-discovery rate where it was controlled; results from before that have each pair's own
interval.
"""

import pandas as pd

RATE = 0.05


def rate_is_controlled(pairs: pd.DataFrame) -> bool:
    """Say whether the false-discovery rate over pairs was controlled."""
    return "change_q" in pairs


def verdicts(pairs: pd.DataFrame, difference: str = "change") -> pd.Series:
    """Say which pairs are called up (1) and down (-1); the others are 0.

    Args:
        pairs: rows of single pairs of languages.
        difference: "change", "advantage" or "control_change", which has no rate and goes by each
            pair's own interval.
    """
    if rate_is_controlled(pairs) and f"{difference}_q" in pairs:
        sure = pairs[f"{difference}_q"] < RATE
        up, down = sure & (pairs[difference] > 0), sure & (pairs[difference] < 0)
    else:
        up, down = pairs[f"{difference}_low"] > 0, pairs[f"{difference}_high"] < 0
    return up.astype(int) - down.astype(int)


def verdict_rule(pairs: pd.DataFrame) -> str:
    """Say by which rule a pair is called changed, as the end of a sentence."""
    if rate_is_controlled(pairs):
        return (
            f"at a false-discovery rate of {RATE:.0%} (Benjamini and Hochberg, over all pairs of "
            "languages of a target)"
        )
    return "by each pair's own 95% interval (not corrected for their number)"
