"""Lines: figures along layers, numbers of units or ranks, with bands, a panel a measure."""

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
    panel_of,
    rules,
    series,
    shown,
    tips,
)
from steer_plugin.analyses.report.theme import INK, MUTED

_COLUMNS = ("panel", "series", "x", "value", "low", "high", "ringed")


@dataclass(frozen=True)
class Lines:
    """A line a `series` through `value` at each `x`, in a band from `low` to `high`.

    Rows of which `ringed` is true have a ring.

    Attributes:
        panels: side by side, by the column `panel`; their axis is the upright one.
        x: what the other axis is.
        tooltip: title -> column.
        order: of the x in words; without it x is a number, on a logarithmic axis.
        at: numbers on that axis with a dotted line each.
        selects: choices of what is shown.
        scaled: the selectors' columns whose options have scales of their own.
        columns: panels side by side at the most.
    """

    panels: tuple[Panel, ...]
    x: str
    tooltip: Mapping[str, str]
    order: tuple[str, ...] = ()
    at: tuple[int, ...] = ()
    selects: tuple[Select, ...] = ()
    scaled: tuple[str, ...] = ()
    columns: int = 3

    def draw(self, rows: pd.DataFrame, room: int, chosen: Mapping[str, str]) -> Spec:
        """Give the specification."""
        rows = rows[np.isfinite(rows["value"].to_numpy(dtype=float))]
        # Where there is no interval the band has no width.
        rows = rows.assign(
            **{end: rows[end].fillna(rows["value"]) for end in ("low", "high") if end in rows}
        )
        panels = [self._panel(rows, panel) for panel in self.panels]
        return {
            **shown(rows, _COLUMNS, self.tooltip, self.selects, chosen),
            **arranged(panels, room, 62, 170, self.columns),
        }

    def _panel(self, whole: pd.DataFrame, panel: Panel) -> Spec:
        rows = whole[whole["panel"] == panel.name]
        by = [select for select in self.selects if select.column in self.scaled]
        ends = ("value", "low", "high")
        scale = fitted(rows, ends, by, *panel.marks, log=panel.log, within=panel.within)
        y = {"type": "quantitative", "title": panel.axis, "scale": scale, "axis": axis_of(panel)}
        colour, _, _ = series(whole["series"])
        x = self._x(whole)
        layers: list[Spec] = [*rules(panel.marks, "y"), *rules(self.at, "x")]
        if "low" in rows and (rows["low"] < rows["high"]).any():
            band = {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}
            layers += [
                {"mark": {"type": kind, "opacity": opacity}, "encoding": {"x": x, **band}}
                for kind, opacity in (("area", 0.18), ("rule", 0.45))
            ]
        line = {"x": x, "y": {**y, "field": "value"}, "color": colour}
        tooltip = tips(self.tooltip)
        point = {"size": 30, "filled": True, "opacity": 1}
        layers.append({"mark": {"type": "line"}, "encoding": line})
        layers.append(
            {"mark": {"type": "point", **point}, "encoding": {**line, "tooltip": tooltip}}
        )
        if "ringed" in rows and rows["ringed"].any():
            layers.append(
                {
                    "transform": [{"filter": "datum.ringed"}],
                    "mark": {"type": "point", "size": 190, "color": INK, "strokeWidth": 1.6},
                    "encoding": {"x": x, "y": {**y, "field": "value"}},
                }
            )
        return panel_of(panel, 170, layers)

    def _x(self, rows: pd.DataFrame) -> Spec:
        if self.order:
            axis = {"labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 4}
            # Not filtered away with the rows that have it.
            scale: Spec = {"domain": list(self.order)}
            return {"field": "x", "type": "ordinal", "title": self.x, "scale": scale, "axis": axis}
        known = sorted({int(x) for x in rows["x"]})
        scale = {"type": "log", "domain": [known[0] / 1.2, known[-1] * 1.2], "nice": False}
        axis = {"format": "~s", "grid": False, "tickCount": 5, "labelOverlap": "greedy"}
        if len(known) <= 8:
            axis |= {"values": known, "format": ",", "titleColor": MUTED}
        return {"field": "x", "type": "quantitative", "title": self.x, "scale": scale, "axis": axis}
