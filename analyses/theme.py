"""How every chart looks: one theme, one set of colours, and the names of languages.

Colours are those of Okabe and Ito, which stay apart for people with colour-blindness. A condition
has one colour on the whole page: before is grey, experts are blue, random neurons are orange.
"""

import contextlib
import textwrap
from collections.abc import Iterator
from typing import Any

import altair as alt

BEFORE = "Before"
CONTROL = "Random neurons"
EXPERTS = "Experts"
CONDITIONS = (BEFORE, CONTROL, EXPERTS)
CONDITION_COLOURS = ("#767676", "#E69F00", "#0072B2")

INK = "#1f2328"
MUTED = "#57606a"
RULE = "#d0d7de"
BLANK = "#f3f4f6"

CATEGORY_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#8c8c8c",
)
CATEGORY_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

SHARES = "blues"
DIFFERENCES = "purplegreen"
"""Diverging scheme for differences, purple below 0 and green above."""

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
NAME = "steer_plugin"

_LANGUAGES = {
    "arb": "Arabic",
    "ben": "Bengali",
    "bul": "Bulgarian",
    "cat": "Catalan",
    "ces": "Czech",
    "dan": "Danish",
    "deu": "German",
    "ell": "Greek",
    "eng": "English",
    "est": "Estonian",
    "eus": "Basque",
    "fin": "Finnish",
    "fra": "French",
    "heb": "Hebrew",
    "hin": "Hindi",
    "hun": "Hungarian",
    "ind": "Indonesian",
    "ita": "Italian",
    "jpn": "Japanese",
    "kor": "Korean",
    "nld": "Dutch",
    "pes": "Persian",
    "pol": "Polish",
    "por": "Portuguese",
    "ron": "Romanian",
    "rus": "Russian",
    "spa": "Spanish",
    "swe": "Swedish",
    "swh": "Swahili",
    "tam": "Tamil",
    "tel": "Telugu",
    "tha": "Thai",
    "tur": "Turkish",
    "ukr": "Ukrainian",
    "urd": "Urdu",
    "vie": "Vietnamese",
    "yue": "Cantonese",
    "zho": "Chinese",
}


def language_name(code: str) -> str:
    """Name a language by its FLORES-200 code, or give back a code that is not known."""
    return _LANGUAGES.get(code.partition("_")[0], code)


def language_label(code: str) -> str:
    """Name a language with its code, such as "German (deu_Latn)"; an unknown code stands alone."""
    name = language_name(code)
    return code if name == code else f"{name} ({code})"


def heading(text: str, width: int, note: str = "") -> alt.TitleParams:
    """Make a chart's title, broken into lines that fit.

    Args:
        text: what the chart shows, as a statement.
        width: of the chart, in pixels.
        note: a smaller line under it.
    """
    lines = textwrap.wrap(text, max(width // 8, 40))
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
    label: Any = {"labelColor": INK, "titleColor": MUTED, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": "white",
        "padding": 8,
        "config": {
            "font": FONT,
            "view": {"stroke": RULE, "strokeWidth": 1},
            "title": {
                "anchor": "start",
                "frame": "group",
                "fontSize": 16,
                "fontWeight": 600,
                "color": INK,
                "lineHeight": 21,
                "offset": 14,
                "subtitleFontSize": 12,
                "subtitleColor": MUTED,
                "subtitleLineHeight": 17,
                "subtitlePadding": 6,
            },
            "axis": {
                **label,
                "titleFontWeight": 400,
                "titlePadding": 8,
                "labelLimit": 220,
                "gridColor": "#eaecef",
                "domainColor": RULE,
                "tickColor": RULE,
            },
            "legend": {
                **label,
                "titleFontWeight": 400,
                "labelLimit": 240,
                "symbolSize": 90,
                "symbolStrokeWidth": 2,
                "titleLimit": 400,
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
