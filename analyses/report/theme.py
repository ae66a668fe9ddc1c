"""How every chart looks: colours, shapes and fonts, said once for the page, pictures and Altair.

All colours stay apart for people with colour-blindness (Okabe and Ito's for conditions, after Tol's
muted ones for languages), and each goes with a shape. A chart on the page takes the dark colours
where the reader's screen is dark.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from steer_plugin.analyses.run.results import BEFORE, CONTROL, EXPERTS

INK, MUTED, RULE, GRID, PAPER = "#1f2328", "#57606a", "#d0d7de", "#eaecef", "#ffffff"
GREY, ORANGE, BLUE, PINK = "#6e7781", "#b85c00", "#0072b2", "#a83c93"
CENTRING, DRAW, METHOD = "Centring alone", "A random draw", "The method"

DARK = {
    INK: "#e6edf3",
    MUTED: "#9da7b3",
    RULE: "#3d444d",
    GRID: "#2a313a",
    PAPER: "#151b23",
    GREY: "#a5b0bc",
    ORANGE: "#f0a24b",
    BLUE: "#58b4f0",
    PINK: "#e58fd6",
}
"""Each light colour -> the one on a dark page."""

LANGUAGE_COLOURS = (
    *("#4b3fc4", "#c2505f", "#1d7f41", "#1f86b0", "#a83c93"),
    *("#8f7419", "#26857a", "#882255", "#77771a"),
)
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
SHARES = ("#f3f7fb", "#9ecae1", "#2171b5", "#08306b")
DIFFERENCES = ("#762a83", "#c2a5cf", "#f7f7f7", "#a6dba0", "#1b7837")
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"


@dataclass(frozen=True)
class Look:
    """How a series is drawn.

    Attributes:
        colour: of its marks.
        shape: as Vega names it, or its outline.
        hollow: whether its points are outlines.
    """

    colour: str
    shape: str = "circle"
    hollow: bool = False


LOOKS = {
    BEFORE: Look(GREY, "square"),
    CENTRING: Look(PINK, "diamond"),
    EXPERTS: Look(BLUE),
    METHOD: Look(BLUE),
    CONTROL: Look(ORANGE, "triangle-up", hollow=True),
    DRAW: Look(ORANGE, "triangle-up", hollow=True),
}
"""The conditions, which look alike in every chart, in the order of legends and lanes."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give each series its look: a condition its own, any other a colour and shape.

    Args:
        names: of the series; up to 54 look different.

    Returns:
        The conditions first, then the others in their order.
    """
    given = list(dict.fromkeys(names))
    n = len(LANGUAGE_COLOURS)
    others = {
        name: Look(LANGUAGE_COLOURS[i % n], SHAPES[(i // n + i % n) % len(SHAPES)])
        for i, name in enumerate(name for name in given if name not in LOOKS)
    }
    return {name: look for name, look in LOOKS.items() if name in given} | others


def config() -> dict[str, Any]:
    """Give the configuration of a Vega-Lite chart."""
    label = {"labelColor": INK, "labelFontSize": 12, "titleColor": MUTED, "titleFontSize": 12}
    return {
        "font": FONT,
        "background": PAPER,
        "view": {"stroke": RULE},
        "title": {"color": INK, "fontSize": 13, "fontWeight": 600, "anchor": "start", "offset": 8},
        "axis": {
            **label,
            "titleFontWeight": 400,
            "labelLimit": 240,
            "gridColor": GRID,
            "domainColor": RULE,
            "tickColor": RULE,
            "titlePadding": 6,
        },
        "legend": {
            **label,
            "orient": "top",
            "direction": "horizontal",
            "columns": 4,
            "columnPadding": 18,
            "labelLimit": 260,
            "symbolSize": 80,
            "symbolOpacity": 1,
            "symbolStrokeWidth": 1.6,
            "titleFontWeight": 400,
        },
        "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": 600},
        "text": {"fontSize": 12, "color": INK},
        "concat": {"spacing": 18},
    }
