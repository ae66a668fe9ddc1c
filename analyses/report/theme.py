"""How every chart looks: one theme, one set of colours, and the names of languages.

All colours stay apart for people with colour-blindness. A condition has one colour on the whole
page (Okabe and Ito's): before is grey, experts are blue, random neurons are orange. Languages have
colours that no condition has (after Tol's muted ones) and a shape each.
"""

import contextlib
import textwrap
from collections.abc import Iterator
from typing import Literal

import altair as alt

from steer_plugin.analyses.run.results import BEFORE, CONTROL, EXPERTS

CONDITIONS = (BEFORE, CONTROL, EXPERTS)
CONDITION_COLOURS = ("#767676", "#E69F00", "#0072B2")

INK = "#1f2328"
MUTED = "#57606a"
RULE = "#d0d7de"
BLANK = "#f3f4f6"

LANGUAGE_COLOURS = (
    "#332288",
    "#CC6677",
    "#117733",
    "#3AA6D0",
    "#AA4499",
    "#B59A2B",
    "#44AA99",
    "#882255",
    "#999933",
)
LANGUAGE_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

SHARES = ("#f6f9fc", "#9ecae1", "#2171b5", "#08306b")
"""From none to most of a share."""

DIFFERENCES: Literal["purplegreen"] = "purplegreen"
"""Diverging scheme for differences, purple below 0 and green above."""

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
NAME = "steer_plugin"


def heading(text: str, width: int, note: str = "") -> alt.TitleParams:
    """Make a chart's title, broken into lines that fit.

    Args:
        text: what the chart shows, as a statement.
        width: of the chart, in pixels.
        note: a smaller line under it.
    """
    lines = textwrap.wrap(text, max(width // 9, 40))
    notes = textwrap.wrap(note, max(width // 6, 50))
    return alt.TitleParams(text=lines, subtitle=notes)


@contextlib.contextmanager
def themed() -> Iterator[None]:
    """Draw in this package's theme inside the block, with the data in the chart itself.

    The theme and the data transformer that the user had chosen are back when it ends.
    """
    with alt.theme.enable(NAME), alt.data_transformers.enable("default"):
        yield


@alt.theme.register(NAME, enable=False)
def _theme() -> alt.theme.ThemeConfig:
    return {
        "background": "white",
        "padding": 8,
        "config": {
            "font": FONT,
            "view": {"stroke": RULE, "strokeWidth": 1},
            "title": {
                "anchor": "start",
                "frame": "bounds",
                "fontSize": 16,
                "fontWeight": 600,
                "color": INK,
                "lineHeight": 21,
                "offset": 10,
                "subtitleFontSize": 12,
                "subtitleColor": MUTED,
                "subtitleLineHeight": 17,
                "subtitlePadding": 6,
            },
            "axis": {
                "labelColor": INK,
                "labelFontSize": 12,
                "titleColor": MUTED,
                "titleFontSize": 12,
                "titleFontWeight": 400,
                "titlePadding": 8,
                "labelLimit": 220,
                "gridColor": "#eaecef",
                "domainColor": RULE,
                "tickColor": RULE,
            },
            "legend": {
                "labelColor": INK,
                "labelFontSize": 12,
                "titleColor": MUTED,
                "titleFontSize": 12,
                "titleFontWeight": 400,
                "labelLimit": 240,
                "symbolSize": 90,
                "symbolStrokeWidth": 2,
                "titleLimit": 400,
                "layout": {"top": {"margin": 24}},
            },
            "header": {
                "labelColor": INK,
                "labelFontSize": 13,
                "labelFontWeight": 600,
                "labelLimit": 420,
                "titleColor": MUTED,
                "titleFontSize": 12,
                "titleFontWeight": 400,
            },
            "text": {"fontSize": 12, "color": INK},
            "point": {"size": 70, "filled": True},
            "line": {"strokeWidth": 2},
        },
    }


def looks(n_languages: int) -> tuple[list[str], list[str]]:
    """Choose colours and shapes, no pair of them twice for up to 54 languages.

    Args:
        n_languages: how many are needed.

    Returns:
        The colours, and the shapes beside them.
    """
    n_colours, n_shapes = len(LANGUAGE_COLOURS), len(LANGUAGE_SHAPES)
    turns = [divmod(i, n_colours) for i in range(n_languages)]
    colours = [LANGUAGE_COLOURS[place] for _, place in turns]
    return colours, [LANGUAGE_SHAPES[(turn + place) % n_shapes] for turn, place in turns]
