"""What all forms of charts share: panels, selectors, scales that fit, and rows as JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from steer_plugin.analyses.report.theme import MUTED, looks

PAGE = 1040
"""Pixels across the page's column."""

Spec = dict[str, Any]
Domain = tuple[float, float]


@dataclass(frozen=True)
class Select:
    """A choice of what a chart shows.

    Attributes:
        column: of the rows, with the options as text.
        label: beside the choice.
        options: in their order, the first one shown.
    """

    column: str
    label: str
    options: tuple[str, ...]

    @classmethod
    def of(cls, rows: pd.DataFrame, **labels: str) -> "tuple[Select, ...]":
        """Make a selector of each column that has several values.

        Args:
            rows: to choose from.
            labels: column -> label.
        """
        choices = {column: tuple(dict.fromkeys(rows[column])) for column in labels}
        return tuple(
            cls(column, labels[column], options)
            for column, options in choices.items()
            if len(options) > 1
        )


@dataclass(frozen=True)
class Panel:
    """One picture of a chart.

    Attributes:
        name: in the rows' column `panel`.
        axis: title of the figures' axis.
        marks: where lines stand for orientation.
        within: the figures' axis is no wider, and what lies beyond is written at its end.
        format: of figures.
        log: whether the axis is logarithmic.
    """

    name: str
    axis: str
    marks: tuple[float, ...] = ()
    within: Domain = (-math.inf, math.inf)
    format: str = ".2f"
    log: bool = False


def values(rows: pd.DataFrame) -> Spec:
    """Give rows as inline data: five significant digits, what is not finite as null."""
    columns = {}
    for name, column in rows.items():
        if column.dtype.kind == "f":
            figures = column.to_numpy()
            finite = np.isfinite(figures)
            columns[str(name)] = [
                float(f"{value:.5g}") if known else None
                for value, known in zip(figures.tolist(), finite.tolist(), strict=True)
            ]
        else:
            columns[str(name)] = [None if cell != cell else cell for cell in column.tolist()]
    rows_of = zip(*columns.values(), strict=True)
    return {"values": [dict(zip(columns, row, strict=True)) for row in rows_of]}


def domain(rows: pd.DataFrame, columns: Sequence[str], *others: float, log: bool = False) -> Domain:
    """Fit a scale to the figures in some columns, with a little room.

    Args:
        rows: to show.
        columns: those that are there count.
        others: further figures to show.
        log: whether the scale is logarithmic.
    """
    kept = [name for name in columns if name in rows]
    flat = np.array([*rows[kept].to_numpy(dtype=float).ravel(), *others])
    flat = flat[np.isfinite(flat) & ((flat > 0) | (not log))]
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 1.0)
    if log:
        room = max((high / low) ** 0.05, 1.02)
        return low / room, high * room
    room = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
    return low - room, high + room


def fitted(
    rows: pd.DataFrame,
    columns: Sequence[str],
    selects: Sequence[Select],
    *marks: float,
    log: bool = False,
    within: Domain = (-math.inf, math.inf),
) -> Spec:
    """Fit a scale to figures, anew for each state of the selectors that change them.

    Args:
        rows: to show.
        columns: of figures.
        selects: those whose options have scales of their own.
        marks: further figures to show.
        log: whether the scale is logarithmic.
        within: the scale is no wider.
    """

    def ends(part: pd.DataFrame) -> list[float]:
        low, high = domain(part, columns, *marks, log=log)
        return [float(f"{end:.5g}") for end in (max(low, within[0]), min(high, within[1]))]

    scale: Spec = {"nice": False, **({"type": "log"} if log else {"zero": False})}
    if not selects:
        return {**scale, "domain": ends(rows)}
    by = [select.column for select in selects]
    table = {"|".join(map(str, key)): ends(part) for key, part in rows.groupby(by, sort=False)}
    state = " + '|' + ".join(f"datum_{column}" for column in by)
    at = f"({json.dumps(table, ensure_ascii=False)})[{state}]"
    return {
        **scale,
        "domainMin": {"expr": f"({at} || [0, 1])[0]"},
        "domainMax": {"expr": f"({at} || [0, 1])[1]"},
    }


def axis_of(panel: Panel) -> Spec:
    """Give the axis of a panel's figures, in the units that fit them."""
    if panel.log:
        return {"tickCount": 5, "format": ",~g", "labelOverlap": "greedy"}
    share = {"format": panel.format} if "%" in panel.format else {}
    return {"tickCount": 4, "labelOverlap": "greedy", **share}


def shown(
    rows: pd.DataFrame,
    columns: Iterable[str],
    tooltip: Mapping[str, str],
    selects: Sequence[Select],
    chosen: Mapping[str, str],
) -> Spec:
    """Give rows as data, without the columns that nothing shows, and selectors with their filters.

    Args:
        rows: to show.
        columns: of the marks; those that are there count.
        tooltip: title -> column.
        selects: choices of what is shown.
        chosen: what each starts with.
    """
    drawn = [name for name in columns if name in rows]
    used = dict.fromkeys([*drawn, *tooltip.values(), *(select.column for select in selects)])
    data = {"data": values(rows[list(used)])}
    if not selects:
        return data
    return {
        **data,
        "params": [
            {
                "name": f"datum_{select.column}",
                "value": chosen.get(select.column, select.options[0]),
                "bind": {"input": "select", "options": list(select.options), "name": select.label},
            }
            for select in selects
        ],
        "transform": [
            {"filter": f"datum[{json.dumps(select.column)}] === datum_{select.column}"}
            for select in selects
        ],
    }


def arranged(panels: Sequence[Spec], room: int, left: int, least: int, columns: int) -> Spec:
    """Put panels side by side, as many as fit, and say what else would fit elsewhere.

    Args:
        panels: without width.
        room: pixels across.
        left: pixels beside each panel, for its labels.
        least: pixels that a panel needs at the least.
        columns: side by side at the most.
    """

    def layout(across: int) -> tuple[int, int]:
        n = max(min(across // (least + left), columns, len(panels)), 1)
        return n, max((across - 20 * (n - 1)) // n - left - 12, 120)

    across, width = layout(room)
    return {
        "concat": [{**panel, "width": min(width, 620)} for panel in panels],
        "columns": across,
        "usermeta": {
            "layouts": [
                {"room": r, "columns": n, "width": min(w, 620)}
                for r in (1040, 900, 720, 560, 440, 360, 300)
                for n, w in [layout(r)]
            ]
        },
    }


def series(names: Iterable[str], *, legend: bool = True) -> tuple[Spec, Spec, Spec]:
    """Give the encodings of colour, shape and fill of some series, with one legend."""
    chosen = looks(names)
    ranges = (
        [look.colour for look in chosen.values()],
        [look.shape for look in chosen.values()],
        ["transparent" if look.hollow else look.colour for look in chosen.values()],
    )
    shared: Spec = {"field": "series", "type": "nominal", "title": None}
    if not legend:
        shared["legend"] = None
    first, second, third = (
        {**shared, "scale": {"domain": list(chosen), "range": values}} for values in ranges
    )
    return first, second, third


def panel_of(panel: Panel, height: int, layers: Sequence[Spec]) -> Spec:
    """Give the picture of the rows of one panel."""
    return {
        "title": panel.name,
        "height": height,
        "transform": [{"filter": {"field": "panel", "equal": panel.name}}],
        "layer": layers,
    }


def rules(marks: Sequence[float], channel: str) -> list[Spec]:
    """Draw dotted lines for orientation, across an axis."""
    if not marks:
        return []
    return [
        {
            "data": {"values": [{"mark": mark} for mark in marks]},
            "mark": {"type": "rule", "strokeDash": [3, 3], "color": MUTED, "aria": False},
            "encoding": {channel: {"field": "mark", "type": "quantitative"}},
        }
    ]


def tips(columns: Mapping[str, str]) -> list[Spec]:
    """Give the entries of a tooltip: title -> column."""
    return [
        {"field": column, "title": title, "type": "nominal"} for title, column in columns.items()
    ]


def label_room(names: Iterable[str]) -> int:
    """Give the pixels that labels take beside an axis."""
    return min(26 + round(6.4 * max(map(len, names), default=0)), 250)
