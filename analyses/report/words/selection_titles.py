"""What is said of the choice of experts: how far beyond chance, and how stable."""

from collections.abc import Sequence

import pandas as pd

from steer_plugin.analyses.report.words.phrases import count_span, how_many, listed, span
from steer_plugin.analyses.report.words.unit_choice import end_phrase, of_layers
from steer_plugin.analyses.run.results import middle
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.experts.selection import TOP, Choice

_NAMED = 3


def null_title(null: pd.DataFrame, score: str) -> str:
    """Say for how many languages the best unit beats the best of chance, and how many units do.

    Args:
        null: `Results.null`, one row a language.
        score: its name.
    """
    beyond = null[null["best"] > null["null_high"]]
    if beyond.empty:
        return f"No language's best unit scores beyond chance ({score} {_levels(null)})"
    every = len(beyond) == len(null)
    whom = f"each of {len(null)} languages" if every else f"{len(beyond)} of {len(null)} languages"
    if len(null) == 1:
        whom = language_name(str(null["concept"].iloc[0]))
    units = beyond["above"]
    many = "unit does" if units.max() == 1 else "units do"
    return (
        f"The best unit of {whom} scores beyond chance ({score} {_levels(beyond)}); "
        f"{count_span(units)} {many}{' in each' if len(beyond) > 1 else ''}"
    )


def short_of_units(null: pd.DataFrame, ks: Sequence[int]) -> str:
    """Say at which k, and for whom, fewer than k units score beyond chance; or "".

    Args:
        null: rows of `Results.null`, of languages that are steered towards.
        ks: numbers of experts that were steered.
    """
    parts = []
    for k in ks:
        short = null[null["above"] < k]
        if short.empty:
            continue
        names = [language_name(str(code)) for code in short["concept"]]
        who = listed(names) if len(names) <= _NAMED else how_many(short, null)
        parts.append(f"at k = {k:,} for {who}")
    return f"Fewer than k units lie beyond it {listed(parts)}." if parts else ""


def stability_title(stability: pd.DataFrame, choice: Choice = TOP) -> str:
    """Say how much of the choice is found again, at the middle k and as k grows.

    Args:
        stability: `Results.stability`, one row a language and k.
        choice: of the units.
    """
    ks = sorted({int(k) for k in stability["top_k"]})
    k = middle(ks)
    k_rows = stability[stability["top_k"] == k]
    title = (
        "With the sentences drawn anew, Jaccard's index of the "
        f"{k:,} {end_phrase(choice)} units{of_layers(choice)} with those chosen is "
        f"{span(k_rows['jaccard'])} on average"
    )
    if len(ks) == 1:
        return title
    first, last = (stability.loc[stability["top_k"] == k, "jaccard"] for k in (ks[0], ks[-1]))
    return f"{title}; {span(first)} at k = {ks[0]:,}, {span(last)} at k = {ks[-1]:,}"


def _levels(rows: pd.DataFrame) -> str:
    return f"{span(rows['best'])} against {span(rows['null_high'])}"
