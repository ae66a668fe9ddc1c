"""What charts of several panels have in common: sizes, axes, looks and words."""

import math
from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from steer_plugin.analyses.report.theme import looks
from steer_plugin.analyses.report.words import phrases
from steer_plugin.analyses.statistics.figure_rows import records

_ROOM = 820
_ACROSS = 4
_TICKS = 6


def in_rows(names: Sequence[str]) -> list[list[str]]:
    """Split names into rows of about the same length, four or fewer in each."""
    rows = math.ceil(len(names) / _ACROSS)
    size = math.ceil(len(names) / rows)
    return [list(names[first : first + size]) for first in range(0, len(names), size)]


def panel_width(n_panels: int) -> int:
    """Give the width in pixels of panels side by side."""
    return min(_ROOM // n_panels, 420)


def finite(values: pd.Series) -> pd.Series:
    """Say which figures can be drawn."""
    return pd.Series(np.isfinite(values.to_numpy(dtype=float)), values.index)


def ends(values: pd.DataFrame, *others: float) -> tuple[float, float]:
    """Give the lowest and the highest of some figures that are finite."""
    flat = np.array([*values.to_numpy(dtype=float).ravel(), *others])
    finite_values = flat[np.isfinite(flat)]
    return float(finite_values.min()), float(finite_values.max())


def ratio_axis(low: float, high: float) -> tuple[alt.Scale, alt.Axis]:
    """Give a logarithmic scale for ratios, and its axis with few round figures.

    Args:
        low: the smallest ratio, above 0.
        high: the largest one.
    """
    room = max((high / low) ** 0.06, 1.01)
    low, high = low / room, high * room
    ticks: list[float] = []
    for values in _ticks(low, high):
        ticks = [value for value in values if low <= value <= high]
        if len(ticks) <= _TICKS:
            break
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    # Vega blanks the labels of a logarithmic axis as it likes, unless they are expressions.
    label = "format(datum.value, ',~g')"
    return scale, alt.Axis(values=ticks, labelExpr=label, labelOverlap="greedy")


def _ticks(low: float, high: float) -> list[list[float]]:
    """Give figures for a logarithmic axis, each list with fewer than the one before."""
    if high / low < 6:
        steps = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
        return [[round(n * step, 3) for n in range(math.floor(high / step) + 1)] for step in steps]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    parts = [[m * 10.0**p for p in powers for m in multiples] for multiples in ((1, 2, 5), (1, 3))]
    return parts + [
        [10.0**p for p in powers if p % every == 0] for every in (1, 2, 4, 8, 16, 32, 64)
    ]


def look(names: Sequence[str], column: str) -> tuple[alt.Color, alt.Shape]:
    """Give each name in a column its colour and shape, with one legend for both.

    Args:
        names: as the rows have them, in their order.
        column: that they are in.
    """
    colours, shapes = looks(len(names))
    legend = alt.Legend(orient="top", columns=4, columnPadding=18, symbolOpacity=1)
    order = list(names)
    colour, shape = (alt.Scale(domain=order, range=values) for values in (colours, shapes))
    return (
        alt.Color(f"{column}:N", title=None, scale=colour, sort=order, legend=legend),
        alt.Shape(f"{column}:N", title=None, scale=shape, sort=order, legend=legend),
    )


def with_intervals(table: pd.DataFrame, column: str, *, signed: bool = True) -> list[str]:
    """Print figures with the ends of their intervals, as tooltips do.

    Args:
        table: rows with the column, and the same with _low and _high.
        column: of the figures; where one is NaN it was not measured.
        signed: whether they are differences.
    """
    texts = []
    for row in records(table):
        value, low, high = (
            phrases.number(row[f"{column}{end}"], signed=signed, digits=3)
            for end in ("", "_low", "_high")
        )
        between = f" ({low} to {high})" if row[f"{column}_low"] == row[f"{column}_low"] else ""
        texts.append(f"{value}{between}" if row[column] == row[column] else "not measured")
    return texts
