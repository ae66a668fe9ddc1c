"""Panels that stand side by side, each with an axis of its own, and what they are made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from steer_plugin.analyses import finding, theme
from steer_plugin.analyses.charts_space import looks

ROOM = 820
"""Pixels for all panels of a row together."""

_LANES = 740
_ACROSS = 4
_TICKS = 6
_STEPS = {1: 24, 2: 15, 3: 12}


@dataclass(frozen=True)
class Panel:
    """One of several panels with the same lanes.

    Attributes:
        name: what the panel's rows have in the column "panel".
        heading: above it.
        note: smaller, below the heading: what is better, what is not shown.
        axis: title of the x axis, with its unit.
        marks: where dotted lines stand, the first of them at no change.
        format: of figures, as d3 writes it.
        ratios: whether the axis is logarithmic, of ratios.
        widest: the axis's ends at most; what lies beyond is written there.
    """

    name: str
    heading: str
    note: str
    axis: str
    marks: tuple[float, ...] = (0.0,)
    format: str = ".3~f"
    ratios: bool = False
    widest: tuple[float, float] = (-math.inf, math.inf)


def in_rows(names: Sequence[str]) -> list[list[str]]:
    """Split names into rows of about the same length, four or fewer in each."""
    rows = math.ceil(len(names) / _ACROSS)
    size = math.ceil(len(names) / rows)
    return [list(names[first : first + size]) for first in range(0, len(names), size)]


def panel_width(n_panels: int) -> int:
    """Give the width in pixels of panels side by side."""
    return min(ROOM // n_panels, 420)


def ends(values: pd.DataFrame, *others: float) -> tuple[float, float]:
    """Give the lowest and the highest of some figures that are finite."""
    flat = np.array([*values.to_numpy(dtype=float).ravel(), *others])
    finite = flat[np.isfinite(flat)]
    return float(finite.min()), float(finite.max())


def ratio_axis(low: float, high: float) -> tuple[alt.Scale, alt.Axis]:
    """Give a logarithmic scale for ratios, and its axis with few round figures.

    Args:
        low: the smallest ratio, above 0.
        high: the largest one.
    """
    room = max((high / low) ** 0.06, 1.01)
    low, high = low / room, high * room
    shown: list[float] = []
    for values in _ticks(low, high):
        shown = [value for value in values if low <= value <= high]
        if len(shown) <= _TICKS:
            break
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    # Vega blanks the labels of a logarithmic axis as it likes, unless they are expressions.
    label = "format(datum.value, ',~g')"
    return scale, alt.Axis(values=shown, labelExpr=label, labelOverlap="greedy")


def _ticks(low: float, high: float) -> list[list[float]]:
    """Give figures for a logarithmic axis, each list with fewer than the one before."""
    if high / low < 6:
        steps = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
        return [[round(n * step, 3) for n in range(math.floor(high / step) + 1)] for step in steps]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    parts = [[m * 10.0**p for p in powers for m in found] for found in ((1, 2, 5), (1, 3))]
    return parts + [[10.0**p for p in powers if p % every == 0] for every in (1, 2, 4, 8, 16)]


def look(names: Sequence[str], column: str) -> tuple[alt.Color, alt.Shape]:
    """Give each name in a column its colour and shape, with one legend for both.

    Args:
        names: as the rows have them, in their order.
        column: that they are in.
    """
    colours, shapes = looks(len(names))
    legend = alt.Legend(orient="top", columns=4, columnPadding=18, symbolOpacity=1)
    order = list(names)
    colour, shape = (alt.Scale(domain=order, range=found) for found in (colours, shapes))
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
    said = []
    for row in finding.records(table):
        value, low, high = (
            finding.number(row[f"{column}{end}"], signed=signed, digits=3)
            for end in ("", "_low", "_high")
        )
        between = f" ({low} to {high})" if row[f"{column}_low"] == row[f"{column}_low"] else ""
        said.append(f"{value}{between}" if row[column] == row[column] else "not measured")
    return said


def lanes(
    data: pd.DataFrame,
    panels: Sequence[Panel],
    *,
    order: Sequence[str],
    tooltip: Sequence[alt.Tooltip],
) -> alt.HConcatChart:
    """Draw lanes in panels side by side: in each lane a point and its interval for each target.

    Args:
        data: columns panel, lane, name (of the target), value, low, high, and what the tooltip
            reads; where there is a column "beside", its values are hollow points in the colour of
            random neurons, called as the column "control" says.
        panels: from left to right.
        order: the lanes from above.
        tooltip: of every mark.
    """
    names = list(dict.fromkeys(data["name"]))
    step = _STEPS.get(len(names), 10)
    width = min(_LANES // len(panels), 300)
    drawn = [
        alt.layer(
            *_layers(data, panel, order, names, tooltip, labels=panel == panels[0])
        ).properties(width=width, height=alt.Step(step), title=_heading(panel))
        for panel in panels
    ]
    return alt.hconcat(*drawn, spacing=18)


def _layers(
    data: pd.DataFrame,
    panel: Panel,
    order: Sequence[str],
    names: Sequence[str],
    tooltip: Sequence[alt.Tooltip],
    labels: bool,
) -> list[alt.Chart]:
    part = data[data["panel"] == panel.name]
    scale, axis = _axis(part, panel)
    low, high = scale.domain
    colour, shape = look(names, "name")
    # Blank labels, not none: without an axis of labels a panel's heading would stand elsewhere.
    lane = alt.Axis(
        labelExpr="datum.label" if labels else "''",
        ticks=False,
        domain=False,
        grid=True,
        tickBand="extent",
        labelLimit=280,
    )
    base = alt.Chart(part).encode(
        y=alt.Y(
            "lane:N",
            title=None,
            sort=list(order),
            scale=alt.Scale(domain=list(order), paddingInner=0.2, paddingOuter=0.1),
            axis=lane,
        ),
        yOffset=alt.YOffset("name:N", sort=list(names), scale=alt.Scale(domain=list(names))),
        tooltip=list(tooltip),
    )

    def x(column: str) -> alt.X:
        return alt.X(f"{column}:Q", title=panel.axis, scale=scale, axis=axis)

    area = 4 * _STEPS.get(len(names), 10) + 16
    layers = [
        alt.Chart(pd.DataFrame({"mark": panel.marks}))
        .mark_rule(strokeDash=[3, 3], color=theme.MUTED)
        .encode(x=x("mark")),
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=1.5, clip=True)
        .encode(x=x("low"), x2="high:Q", color=colour),
        base.transform_filter(f"inrange(datum.value, [{low}, {high}])")
        .mark_point(filled=True, opacity=1, size=area)
        .encode(x=x("value"), color=colour, shape=shape),
    ]
    printed = f"format(datum.value, '{panel.format}')"
    for beyond, edge, align, said in (
        (f"datum.value < {low}", low, "left", f"'← ' + {printed}"),
        (f"datum.value > {high}", high, "right", f"{printed} + ' →'"),
    ):
        layers.append(
            base.transform_filter(f"isValid(datum.value) && {beyond}")
            .transform_calculate(said=said)
            .mark_text(align=align, dx=3 if align == "left" else -3, fontSize=10)
            .encode(x=alt.datum(edge), text="said:N")
        )
    if "beside" in part and part["beside"].notna().any():
        layers.append(
            base.transform_filter("isValid(datum.beside)")
            .mark_point(filled=False, opacity=1, size=area, strokeWidth=1.6)
            .encode(
                x=x("beside"),
                stroke=alt.Stroke(
                    "control:N",
                    title=None,
                    scale=alt.Scale(
                        domain=[part["control"].iloc[0]], range=[theme.CONDITION_COLOURS[1]]
                    ),
                    legend=alt.Legend(orient="top", symbolFillColor="transparent"),
                ),
            )
        )
    return layers


def _axis(part: pd.DataFrame, panel: Panel) -> tuple[alt.Scale, alt.Axis]:
    """Fit a panel's axis to its figures, to its marks, and to its widest ends."""
    columns = [name for name in ("value", "low", "high", "beside") if name in part]
    low, high = ends(part[columns], *panel.marks)
    low, high = max(low, panel.widest[0]), min(high, panel.widest[1])
    if panel.ratios:
        return ratio_axis(low, high)
    room = 0.05 * (high - low) or 0.5
    # What lies beyond is written there, and must not run into a point or a dotted line.
    left = 6 * room if (part["value"] < low - room).any() else room
    right = 6 * room if (part["value"] > high + room).any() else room
    scale = alt.Scale(domain=[low - left, high + right], nice=False)
    return scale, alt.Axis(format=panel.format, tickCount=4, labelOverlap="greedy")


def _heading(panel: Panel) -> alt.TitleParams:
    return alt.TitleParams(
        text=panel.heading,
        subtitle=panel.note,
        fontSize=13,
        subtitleFontSize=11,
        anchor="middle",
        frame="group",
        offset=6,
    )
