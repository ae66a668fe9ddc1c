"""Points in a plane: a map of sentences, or gain against cost."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steer_plugin.analyses.report.forms.drawing import (
    Panel,
    Select,
    Spec,
    arranged,
    fitted,
    panel_of,
    rules,
    series,
    shown,
    tips,
)
from steer_plugin.analyses.report.theme import INK

ALL = "all"
_ENDS = [f"{axis}{end}" for axis in "xy" for end in ("", "_low", "_high")]
_COLUMNS = ("panel", "series", *_ENDS, "hollow", "written")


@dataclass(frozen=True)
class Scatter:
    """A point a row at `x` and `y`, with bars from `x_low` to `x_high` and so on where these are.

    Attributes:
        panels: side by side, by the column `panel`.
        tooltip: title -> column.
        x: title of the axis across; "" for a map, whose axes mean nothing.
        y: title of the upright axis.
        marks: where a dotted line stands on either axis.
        log: whether x is logarithmic.
        picked: what a series is called; a choice, and a click into the legend, keep one.
        selects: choices of what is shown.
    """

    panels: tuple[Panel, ...]
    tooltip: Mapping[str, str]
    x: str = ""
    y: str = ""
    marks: tuple[float, float] | None = None
    log: bool = False
    picked: str = ""
    selects: tuple[Select, ...] = ()

    def draw(self, rows: pd.DataFrame, room: int, chosen: Mapping[str, str]) -> Spec:
        """Give the specification."""
        rows = rows[np.isfinite(rows[["x", "y"]].to_numpy(dtype=float)).all(axis=1)]
        panels = [self._panel(rows, panel, number) for number, panel in enumerate(self.panels)]
        spec = {
            **shown(rows, _COLUMNS, self.tooltip, self.selects, chosen),
            **arranged(panels, room, 14 if not self.x else 70, 200, 3),
        }
        if self.picked:
            names = list(dict.fromkeys(rows["series"]))
            bind = {"input": "select", "options": [ALL, *names], "name": self.picked}
            choice = {"name": "kept", "value": chosen.get("kept", ALL), "bind": bind}
            clicked = {
                "name": "clicked",
                "select": {"type": "point", "fields": ["series"], "toggle": False},
                "bind": "legend",
                "views": [f"view_{number}" for number in range(len(panels))],
            }
            spec["params"] = [*spec.get("params", []), choice, clicked]
        return spec

    def _panel(self, whole: pd.DataFrame, panel: Panel, number: int) -> Spec:
        bare = not self.x
        axes = []
        for place, (name, title) in enumerate((("x", self.x), ("y", self.y))):
            marks = self.marks[place : place + 1] if self.marks else ()
            columns = (name, f"{name}_low", f"{name}_high")
            # Of all panels and series, so that a choice leaves the others where they were.
            by = self.selects if bare else ()
            scale = fitted(whole, columns, by, *marks, log=self.log and name == "x")
            axis = None if bare else {"tickCount": 5, "grid": True, "labelOverlap": "greedy"}
            axes.append(
                {"type": "quantitative", "title": title or None, "scale": scale, "axis": axis}
            )
        x, y = axes
        colour, shape, fill = series(whole["series"])
        layers: list[Spec] = []
        if self.marks is not None:
            layers += [*rules(self.marks[:1], "x"), *rules(self.marks[1:], "y")]
        if "x_low" in whole:
            ends = (
                {"x": {**x, "field": "x_low"}, "x2": {"field": "x_high"}, "y": {**y, "field": "y"}},
                {"y": {**y, "field": "y_low"}, "y2": {"field": "y_high"}, "x": {**x, "field": "x"}},
            )
            layers += [
                {
                    "mark": {"type": "rule", "opacity": 0.5, "clip": True},
                    "encoding": {**end, "color": colour},
                }
                for end in ends
            ]
        points: Spec = {
            "x": {**x, "field": "x"},
            "y": {**y, "field": "y"},
            "color": colour,
            "shape": shape,
            "fill": fill,
            "tooltip": tips(self.tooltip),
        }
        size = 24 if bare else 70
        if self.picked:
            test = f"(kept === {ALL!r} || datum.series === kept)"
            kept = {"and": [{"param": "clicked"}, test]}
            points["opacity"] = {"condition": {"test": kept, "value": 0.8}, "value": 0.04}
        if "hollow" in whole and whole["hollow"].any():
            points["fillOpacity"] = {"condition": {"test": "datum.hollow", "value": 0}, "value": 1}
        layers.append(
            {
                "name": f"view_{number}",
                "mark": {"type": "point", "size": size, "strokeWidth": 1.2},
                "encoding": points,
            }
        )
        if "written" in whole:
            layers.append(
                {
                    "mark": {"type": "text", "align": "left", "dx": 7, "dy": -6, "color": INK},
                    "encoding": {
                        "x": {**x, "field": "x"},
                        "y": {**y, "field": "y"},
                        "text": {"field": "written"},
                    },
                }
            )
        return panel_of(panel, 270, layers)
