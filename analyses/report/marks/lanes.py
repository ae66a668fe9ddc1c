"""Lanes of points with their intervals, in panels side by side that each have their own axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.marks.panels import ends, look, ratio_axis

_ROOM = 740
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
        ratios: whether the axis is logarithmic, of ratios, and as wide as they are.
        widest: the ends of another axis at most; what lies far beyond is written there.
    """

    name: str
    heading: str
    note: str
    axis: str
    marks: tuple[float, ...] = (0.0,)
    format: str = ".3~f"
    ratios: bool = False
    widest: tuple[float, float] = (-math.inf, math.inf)


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
    width = min(_ROOM // len(panels), 300)
    charts = [
        alt.layer(
            *_layers(data, panel, order, names, tooltip, labels=panel == panels[0])
        ).properties(width=width, height=alt.Step(step), title=_heading(panel))
        for panel in panels
    ]
    return alt.hconcat(*charts, spacing=18)


def _layers(
    data: pd.DataFrame,
    panel: Panel,
    order: Sequence[str],
    names: Sequence[str],
    tooltip: Sequence[alt.Tooltip],
    labels: bool,
) -> list[alt.Chart]:
    panel_rows, scale, axis = _fitted(data[data["panel"] == panel.name], panel)
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
    base = alt.Chart(panel_rows).encode(
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
        base.transform_filter("datum.beyond == 0 && isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=1.5, clip=True)
        .encode(x=x("low"), x2="high:Q", color=colour),
        base.transform_filter("datum.beyond == 0 && isValid(datum.value)")
        .mark_point(filled=True, opacity=1, size=area)
        .encode(x=x("value"), color=colour, shape=shape),
    ]
    # What is infinite has no number in JSON.
    printed = f"(isValid(datum.value) ? format(datum.value, '{panel.format}') : '∞')"
    for beyond, edge, dx, label in (
        (-1, scale.domain[0], 3, f"'← ' + {printed}"),
        (1, scale.domain[1], -3, f"{printed} + ' →'"),
    ):
        if (panel_rows["beyond"] == beyond).any():
            layers.append(
                base.transform_filter(alt.datum.beyond == beyond)
                .transform_calculate(said=label)
                .mark_text(align="left" if beyond < 0 else "right", dx=dx, fontSize=10)
                .encode(x=alt.datum(edge), text="said:N")
            )
    if "beside" in panel_rows and panel_rows["beside"].notna().any():
        layers.append(
            base.transform_filter("isValid(datum.beside)")
            .mark_point(filled=False, opacity=1, size=area, strokeWidth=1.6)
            .encode(
                x=x("beside"),
                stroke=alt.Stroke(
                    "control:N",
                    title=None,
                    scale=alt.Scale(
                        domain=[panel_rows["control"].iloc[0]], range=[theme.CONDITION_COLOURS[1]]
                    ),
                    legend=alt.Legend(orient="top", symbolFillColor="transparent"),
                ),
            )
        )
    return layers


def _fitted(rows: pd.DataFrame, panel: Panel) -> tuple[pd.DataFrame, alt.Scale, alt.Axis]:
    """Fit a panel's axis, and say which values lie beyond it: -1 to the left, 1 to the right."""
    low, high = _ends(rows, panel)
    rows = rows.assign(
        beyond=(rows["value"] > high).astype(int) - (rows["value"] < low).astype(int)
    )
    if panel.ratios:
        # Only infinite ratios lie beyond.
        wider = (high / low) ** 0.3 if rows["beyond"].any() else 1.0
        return rows, *ratio_axis(low, wider * high)
    room = 0.05 * (high - low) or 0.5
    # What lies beyond is written there, and must not run into a point or a dotted line.
    left, right = (6 * room if (rows["beyond"] == beyond).any() else room for beyond in (-1, 1))
    scale = alt.Scale(domain=[low - left, high + right], nice=False)
    return rows, scale, alt.Axis(format=panel.format, tickCount=4, labelOverlap="greedy")


def _ends(rows: pd.DataFrame, panel: Panel) -> tuple[float, float]:
    """Give the ends of what a panel shows: its figures and marks, no wider than it may be."""
    columns = [name for name in ("value", "low", "high", "beside") if name in rows]
    low, high = ends(rows[columns], *panel.marks)
    low, high = max(low, panel.widest[0]), min(high, panel.widest[1])
    # A value not far beyond whose interval reaches into the panel is worth a wider one.
    reaching = rows[(rows["low"] <= high) & (rows["high"] >= low)]
    near = reaching["value"].between(2 * low - high, 2 * high - low)
    return ends(reaching.loc[near, ["value"]], low, high)


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
