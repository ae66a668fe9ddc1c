"""What is said of single pairs of languages: how many gain and how many lose."""

from collections.abc import Sequence

import pandas as pd

from steer_plugin.analyses.report.words.pair_verdicts import (
    RATE,
    rate_is_controlled,
    verdicts,
)
from steer_plugin.analyses.report.words.phrases import listed, several_draws, span
from steer_plugin.corpora.language_codes import language_name

_NAMED = 3


def retrieval_matrix_title(pairs: pd.DataFrame) -> str:
    """Say how many pairs of languages gain and lose top-1; see `pair_verdicts.verdicts`.

    Args:
        pairs: one row a target and an ordered pair.
    """
    return f"Top-1 of {_sizes(pairs)} pairs of languages with experts{_moves(pairs)}"


def from_targets_title(pairs: pd.DataFrame) -> str:
    """Say in how many languages the target's translations are found more often, and less often.

    Args:
        pairs: one row a target and language that is searched.
    """
    sizes = _sizes(pairs)
    where = "the other language" if sizes == "1" else f"each of {sizes} languages"
    return f"From the target to {where} with experts{_moves(pairs)}"


def not_seen_sentence(pairs: pd.DataFrame, not_seen: Sequence[str]) -> str:
    """Say in how many of the languages that were not seen in pre-training more is found; or "".

    Args:
        pairs: as for `from_targets_title`.
        not_seen: codes of languages.
    """
    rows = pairs[pairs["candidates"].isin(not_seen)]
    if rows.empty:
        return ""
    ups = (
        rows.assign(up=verdicts(rows) > 0).groupby("target", sort=False)["up"].agg(["sum", "size"])
    )
    counts = [
        f"{language_name(str(target))} {up} of {n} up"
        for target, up, n in zip(ups.index, ups["sum"], ups["size"], strict=True)
    ]
    if len(counts) > _NAMED:
        counts = [f"{span(ups['sum'], 0)} of {span(ups['size'], 0)} up for {len(ups)} targets"]
    return f"Of languages not seen in pre-training: {listed(counts)}."


def _sizes(pairs: pd.DataFrame) -> str:
    return span(pairs.groupby("target").size(), 0)


def _moves(pairs: pd.DataFrame) -> str:
    """Count by target, or over many targets the fewest and the most."""
    counts = pd.DataFrame(
        _counts(str(target), rows) for target, rows in pairs.groupby("target", sort=False)
    )
    few = len(counts) <= _NAMED
    groups = (
        [counts[counts["target"] == target] for target in counts["target"]] if few else [counts]
    )
    how = f", at a false-discovery rate of {RATE:.0%}" if rate_is_controlled(pairs) else ""
    return f"{how}: {'; '.join(_up_and_down(group) for group in groups)}"


def _counts(target: str, rows: pd.DataFrame) -> dict[str, object]:
    change, control = verdicts(rows), verdicts(rows, "control_change")
    ahead = verdicts(rows, "advantage")
    sure = rows["change_q"] if rate_is_controlled(rows) else rows["change_low"]
    return {
        "target": target,
        "told": bool(sure.notna().any()),
        "by_rate": rate_is_controlled(rows),
        "controlled": several_draws(rows),
        "up": (change > 0).sum(),
        "down": (change < 0).sum(),
        "control_up": (control > 0).sum(),
        "control_down": (control < 0).sum(),
        "ahead": (ahead > 0).sum(),
        "behind": (ahead < 0).sum(),
    }


def _up_and_down(counts: pd.DataFrame) -> str:
    def moved(up: str, down: str) -> str:
        return f"{span(counts[up], 0)} up, {span(counts[down], 0)} down"

    who = language_name(counts["target"].iloc[0]) if len(counts) == 1 else f"{len(counts)} targets"
    if not counts["told"].any():
        return f"{who} too few sentences to tell"
    title = f"{who} {moved('up', 'down')}"
    if not counts["controlled"].all():
        return title
    if counts["by_rate"].all():
        behind = f", behind in {span(counts['behind'], 0)}" if counts["behind"].any() else ""
        return f"{title} (ahead of one more random draw in {span(counts['ahead'], 0)}{behind})"
    return f"{title} (random neurons {moved('control_up', 'control_down')})"
