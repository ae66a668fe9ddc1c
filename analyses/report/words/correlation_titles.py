"""What is said of correlations over languages: how many can be told from none."""

import pandas as pd

from steer_plugin.analyses.measures.correlations import CORRELATED, EVERY_TARGET, FEWEST
from steer_plugin.analyses.report.words.phrases import how_many, listed, span


def correlations_title(rows: pd.DataFrame) -> str:
    """Count the correlations whose interval excludes 0, and say over how many languages they are.

    Args:
        rows: of `Results.correlations`, of one distance and one choice of languages.
    """
    known = rows[rows["r"].notna()]
    if known.empty:
        return f"No correlation is defined over {span(rows['n'], 0)} languages"
    if known["r_low"].isna().all():
        return (
            f"Over {span(known['n'], 0)} languages no correlation can be told from none; intervals "
            f"are made from {FEWEST} on"
        )
    single, pooled = _by_target(known)
    first = single if not single.empty else pooled
    sure = first[excludes_0(first)]
    whole = _of(sure, first, "pooled " if single.empty else "")
    title = f"Over {span(first['n'], 0)} languages {whole}{_which(sure, first)}"
    if single.empty or pooled.empty:
        return title
    return f"{title}; with all targets pooled {_count(pooled[excludes_0(pooled)], pooled)}"


def excludes_0(rows: pd.DataFrame) -> pd.Series:
    """Say which correlations have an interval without 0."""
    return (rows["r_low"] > 0) | (rows["r_high"] < 0)


def _by_target(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    pooled = rows["target"] == EVERY_TARGET
    return rows[~pooled], rows[pooled]


def _of(sure: pd.DataFrame, among: pd.DataFrame, kind: str) -> str:
    n = len(among)
    noun = f"{kind}correlation{'' if n == 1 else 's'}"
    return f"{len(sure)} of {n} {noun} {'has' if len(sure) == 1 else 'have'} an interval without 0"


def _count(sure: pd.DataFrame, among: pd.DataFrame) -> str:
    return f"{len(sure)} of {len(among)}"


def _which(sure: pd.DataFrame, among: pd.DataFrame) -> str:
    """Name the correlations that stand out, with the values they have."""
    parts = []
    several = among["target"].nunique() > 1
    for name in CORRELATED:
        rows = sure[sure["correlation"] == name]
        if rows.empty:
            continue
        targets = among[among["correlation"] == name]
        for_whom = f" for {how_many(rows, targets)}" if several else ""
        parts.append(f"{name} (r = {span(rows['r'])}){for_whom}")
    return f": {listed(parts)}" if parts else ""
