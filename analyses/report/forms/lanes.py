"""Lanes: a row a name, marks along it, an interval through each, a panel a measure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steer_plugin.analyses.report.forms.drawing import (
    Panel,
    Select,
    Spec,
    arranged,
    axis_of,
    fitted,
    label_room,
    panel_of,
    rules,
    series,
    shown,
    tips,
)
from steer_plugin.analyses.report.theme import INK

_ENDS = ("value", "low", "high", "least", "most")
_COLUMNS = ("lane", "panel", "series", "slot", *_ENDS)
# As a share of a panel of 250 pixels, as three stand side by side.
_LABEL_WIDTH = 0.16


@dataclass(frozen=True)
class Lanes:
    """A row a name in the column `lane`, and in it a mark a `series`, at `value`.

    A line runs from `low` to `high` and a pale bar from `least` to `most`, where these are. The
    series of a name lie below each other by their `slot`, or each in its own.

    Attributes:
        panels: side by side, by the column `panel`.
        tooltip: title -> column.
        selects: choices of what is shown.
        scaled: the selectors' columns whose options have scales of their own.
        labelled: series whose figures are written.
        step: pixels of a slot.
        columns: panels side by side at the most.
    """

    panels: tuple[Panel, ...]
    tooltip: Mapping[str, str]
    selects: tuple[Select, ...] = ()
    scaled: tuple[str, ...] = ()
    labelled: tuple[str, ...] = ()
    step: int = 13
    columns: int = 3

    def draw(self, rows: pd.DataFrame, room: int, chosen: Mapping[str, str]) -> Spec:
        """Give the specification."""
        rows = rows[np.isfinite(rows["value"].to_numpy(dtype=float))]
        rows = rows if "slot" in rows else rows.assign(slot=rows["series"])
        panels = [self._panel(rows, panel) for panel in self.panels]
        left = label_room(rows["lane"])
        # A panel's title must not run into the next one.
        least = round(7.2 * max(len(panel.name) for panel in self.panels))
        return {
            **shown(rows, _COLUMNS, self.tooltip, self.selects, chosen),
            **arranged(panels, room, left, max(130, least - left), self.columns),
        }

    def _panel(self, whole: pd.DataFrame, panel: Panel) -> Spec:
        rows = whole[whole["panel"] == panel.name]
        by = [select for select in self.selects if select.column in self.scaled]
        marks = (*panel.marks, *self._right_of_labels(rows))
        scale = fitted(rows, _ENDS, by, *marks, log=panel.log, within=panel.within)
        axis = axis_of(panel)
        x = {"type": "quantitative", "title": panel.axis, "scale": scale, "axis": axis}
        colour, shape, fill = series(whole["series"])
        slots = list(dict.fromkeys(whole["slot"]))
        y: Spec = {
            "field": "lane",
            "type": "nominal",
            "title": None,
            "sort": None,
            "axis": {"ticks": False, "domain": False, "grid": True},
        }
        place: Spec = {"y": y}
        if len(slots) > 1:
            y["scale"] = {"paddingInner": 0.3, "paddingOuter": 0.2}
            place["yOffset"] = {"field": "slot", "type": "nominal", "sort": slots}
        layers: list[Spec] = rules(panel.marks, "x")
        spans: list[tuple[str, str, Spec]] = [
            ("least", "most", {"type": "bar", "height": 7, "opacity": 0.3}),
            ("low", "high", {"type": "rule", "strokeWidth": 2}),
        ]
        for start, end, mark in spans:
            if start in rows and rows[start].notna().any():
                layers.append(
                    {
                        "transform": [{"filter": f"isValid(datum.{start})"}],
                        "mark": {**mark, "clip": True},
                        "encoding": {
                            **place,
                            "x": {**x, "field": start},
                            "x2": {"field": end},
                            "color": colour,
                        },
                    }
                )
        points = {"x": {**x, "field": "value"}, "color": colour, "shape": shape, "fill": fill}
        layers.append(
            {
                "mark": {"type": "point", "size": 70, "opacity": 1, "clip": True},
                "encoding": {**place, **points, "tooltip": tips(self.tooltip)},
            }
        )
        layers += [
            {
                "transform": [{"filter": test}, {"calculate": text, "as": "written"}],
                "mark": {"type": "text", "align": align, "dx": dx, "dy": dy, "fontSize": 11},
                "encoding": {
                    **place,
                    "x": {**x, **at},
                    "text": {"field": "written"},
                    "color": {"value": INK},
                },
            }
            for test, text, align, dx, dy, at in self._written(rows, panel)
        ]
        columns = [select.column for select in self.selects]
        lanes = rows.groupby(columns)["lane"].nunique().max() if columns else rows["lane"].nunique()
        return panel_of(panel, max(int(lanes) * (self.step * len(slots) + 8), 40), layers)

    def _right_of_labels(self, rows: pd.DataFrame) -> tuple[float, ...]:
        """Give a figure that a linear scale must show for the labels beside intervals to fit in."""
        lined = rows[rows["series"].isin(self.labelled)]
        if "high" not in lined or lined["high"].isna().all():
            return ()
        figures = rows.reindex(columns=list(_ENDS)).to_numpy(dtype=float)
        span = float(np.nanmax(figures) - np.nanmin(figures))
        return (float(lined["high"].max()) + _LABEL_WIDTH * span,)

    def _written(
        self, rows: pd.DataFrame, panel: Panel
    ) -> list[tuple[str, str, str, int, int, Spec]]:
        """Give what is written: labels over points, and what lies beyond at the panel's ends."""
        low, high = panel.within
        printed = f"format(datum.value, '{panel.format}')"
        texts: list[tuple[str, str, str, int, int, Spec]] = []
        if self.labelled:
            test = f"indexof({list(self.labelled)}, datum.series) >= 0 && "
            bare, lined = f"{test}!isValid(datum.high)", f"{test}isValid(datum.high)"
            texts.append((bare, printed, "center", 0, -11, {"field": "value"}))
            texts.append((lined, printed, "left", 6, 0, {"field": "high"}))
        # Of what lies beyond, the mark is written in its line, an interval's end above it.
        for name, dy in (("value", 0), ("low", -6), ("high", -6)):
            if name not in rows:
                continue
            figure = f"format(datum.{name}, '{panel.format}')"
            alone = "" if name == "value" else f"datum.value >= {low} && datum.value <= {high} && "
            test = f"{alone}isValid(datum.{name}) && datum.{name}"
            if (rows[name] < low).any() and name != "high":
                texts.append((f"{test} < {low}", f"'← ' + {figure}", "left", 3, dy, {"datum": low}))
            if (rows[name] > high).any() and name != "low":
                end = {"datum": high}
                texts.append((f"{test} > {high}", f"{figure} + ' →'", "right", -3, dy, end))
        return texts
