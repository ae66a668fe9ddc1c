"""How rows are picked from tables of figures."""

from typing import Any

import pandas as pd

from steer_plugin.analyses.statistics.figures import Key

GROUPS = ("all", "others", "medoid")
"""What stands for languages where a figure is not of a single pair of them."""


def over_pairs(
    table: pd.DataFrame, measure: str, centring: str = "raw", layer: str | None = None
) -> pd.DataFrame:
    """Keep a measure's mean over all pairs of languages.

    For the medoid distance this is the mean over the languages.

    Args:
        table: alignment or retrieval.
        measure: as in the table.
        centring: "raw", "global" or "language".
        layer: as in the table, or None for all layers.
    """
    candidates = "medoid" if measure == "medoid distance" else "all"
    keep = (
        (table["measure"] == measure)
        & (table["centring"] == centring)
        & (table["query"] == "all")
        & (table["candidates"] == candidates)
    )
    if layer is not None:
        keep &= table["layer"] == layer
    return table[keep].reset_index(drop=True)


def from_target(
    table: pd.DataFrame, measure: str, centring: str = "raw", layer: str | None = None
) -> pd.DataFrame:
    """Keep a measure's mean over the pairs of the target and each other language."""
    keep = (
        (table["measure"] == measure)
        & (table["centring"] == centring)
        & (table["query"] == table["target"])
        & (table["candidates"] == "others")
    )
    if layer is not None:
        keep &= table["layer"] == layer
    return table[keep].reset_index(drop=True)


def is_key_of_pair(key: Key) -> bool:
    """Say whether the key of a figure is of a single pair of languages."""
    _, _, query, candidates = key
    return query not in GROUPS and candidates not in GROUPS


def is_pair(table: pd.DataFrame) -> pd.Series:
    """Say which rows are of single pairs of languages."""
    return ~table["query"].isin(GROUPS) & ~table["candidates"].isin(GROUPS)


def between_languages(
    table: pd.DataFrame, measure: str, centring: str = "raw", layer: str | None = None
) -> pd.DataFrame:
    """Keep a measure's rows of single ordered pairs of languages."""
    keep = (table["measure"] == measure) & (table["centring"] == centring) & is_pair(table)
    if layer is not None:
        keep &= table["layer"] == layer
    return table[keep].reset_index(drop=True)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table's rows, each as column -> figure."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
