"""A heat map: a cell a pair, darker or greener for more, with its figure where there is room."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from steer_plugin.analyses.report.forms.drawing import (
    Select,
    Spec,
    arranged,
    label_room,
    shown,
    tips,
)
from steer_plugin.analyses.report.theme import DIFFERENCES, SHARES

_DARK_INK, _LIGHT_INK = "#111111", "#fefefe"
_LABELLED = 22
_COLUMNS = ("x", "y", "value", "cell", "sure")


@dataclass(frozen=True)
class HeatMap:
    """A cell for each `x` and `y`, coloured by `value`; the text `cell` in it where there is room.

    Cells of which `sure` is true have their text in bold.

    Attributes:
        x: title of the axis across.
        y: title of the upright axis.
        legend: what the colours are.
        tooltip: title -> column.
        format: of the legend's figures.
        differences: whether the colours part at 0.
        selects: choices of what is shown.
    """

    x: str
    y: str
    legend: str
    tooltip: Mapping[str, str]
    format: str = ".0%"
    differences: bool = False
    selects: tuple[Select, ...] = ()

    def draw(self, rows: pd.DataFrame, room: int, chosen: Mapping[str, str]) -> Spec:
        """Give the specification."""
        across, down = list(dict.fromkeys(rows["x"])), list(dict.fromkeys(rows["y"]))
        across = down if set(across) == set(down) else across
        largest = max(float(rows["value"].abs().max()), 0.01)
        if self.differences:
            scale = {"domain": [-largest, largest], "range": list(DIFFERENCES)}
        else:
            scale = {"domain": [0, largest], "range": list(SHARES)}
        legend = {"format": self.format, "gradientLength": 200, "direction": "horizontal"}
        dark = f"abs(datum.value) > {(0.62 if self.differences else 0.5) * largest}"
        ink = {"condition": {"test": dark, "value": _LIGHT_INK}, "value": _DARK_INK}
        axis = {"ticks": False, "domain": False, "labelOverlap": len(across) > _LABELLED}
        left = label_room(map(str, down))
        turned = max(len(str(name)) for name in across) > 3
        place: Spec = {
            "x": {
                "field": "x",
                "type": "ordinal",
                "title": self.x,
                "sort": across,
                "axis": {**axis, "labelAngle": -35 if turned else 0},
            },
            "y": {"field": "y", "type": "ordinal", "title": self.y, "sort": down, "axis": axis},
        }
        cells = {
            "mark": {"type": "rect"},
            "encoding": {
                **place,
                "color": {
                    "field": "value",
                    "type": "quantitative",
                    "title": self.legend,
                    "scale": scale,
                    "legend": legend,
                },
                "tooltip": tips(self.tooltip),
            },
        }
        layers: list[Spec] = [cells]
        if "cell" in rows:
            bold = {"test": "datum.sure", "value": "bold"} if "sure" in rows else None
            text = {"type": "text", "fontSize": 11}
            for sure in (True, False) if bold else (False,):
                part = [{"filter": f"!!datum.sure === {str(sure).lower()}"}] if bold else []
                layers.append(
                    {
                        "transform": part,
                        "mark": {**text, "fontWeight": "bold" if sure else "normal"},
                        "encoding": {**place, "text": {"field": "cell"}, "color": ink},
                    }
                )
        size = 22 if len(down) > 12 else 30
        spec = arranged([{"height": size * len(down)}], room, left + 24, 200, 1)
        (panel,) = spec["concat"]
        need = 8 + 6.4 * max(map(len, rows["cell"]), default=0) if "cell" in rows else 0
        for layout in (panel, *spec["usermeta"]["layouts"]):
            layout["width"] = min(layout["width"], max(56 * len(across), 200))
        for layout in spec["usermeta"]["layouts"]:
            # Where figures do not fit into their cells they are left to the tooltip.
            layout["bare"] = layout["width"] < need * len(across)
        panel["layer"] = layers if panel["width"] >= need * len(across) else layers[:1]
        return {**shown(rows, _COLUMNS, self.tooltip, self.selects, chosen), **spec}
