"""Which languages a model saw in pre-training, and how a chart marks those that it did not."""

from collections.abc import Callable, Collection, Iterable

import altair as alt
import pandas as pd

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.run.results import Results

UNSEEN = "\N{DAGGER}"
"""After the name of a language that the model did not see in pre-training."""

NOT_SEEN = "not seen in pre-training"

DAGGER = (
    "M-0.2,-1L0.2,-1L0.14,-0.5L0.65,-0.56L0.65,-0.22L0.14,-0.28L0.06,1L-0.06,1"
    "L-0.14,-0.28L-0.65,-0.22L-0.65,-0.56L-0.14,-0.5Z"
)
"""Its outline in a square from -1 to 1, as Vega wants symbols."""


def unseen(results: Results, languages: Iterable[str]) -> list[str]:
    """Give those of some languages that the run says were not seen; none where it says nothing.

    A run that says "none" has seen none of them.
    """
    seen = results.provenance.get("seen", "")
    return [code for code in languages if seen and code not in seen.split(", ")]


def with_mark(label: str, code: str, not_seen: Collection[str]) -> str:
    """Put the mark after a language's label where it was not seen."""
    return f"{label} {UNSEEN}" if code in not_seen else label


def labels(
    codes: Iterable[str], not_seen: Collection[str], name: Callable[[str], str]
) -> dict[str, str]:
    """Give each language's label, by `name`, with the mark where it was not seen."""
    return {code: with_mark(name(code), code, not_seen) for code in codes}


def footnote(not_seen: Collection[str]) -> str:
    """Say at the end of a caption what the mark means; or "" where no language has it."""
    return f" {UNSEEN}: {NOT_SEEN}." if not_seen else ""


def key() -> alt.Chart:
    """Give an invisible layer whose legend says what the mark means."""
    legend = alt.Legend(
        orient="top",
        symbolOpacity=1,
        symbolStrokeWidth=0,
        symbolSize=110,
    )
    shape = alt.Shape(
        "key:N",
        title=None,
        scale=alt.Scale(domain=[NOT_SEEN], range=[DAGGER]),
        legend=legend,
    )
    layer: alt.Chart = (
        alt.Chart(pd.DataFrame({"key": [NOT_SEEN]}))
        .mark_point(opacity=0, filled=True, color=theme.INK)
        .encode(shape=shape)
    )
    return layer
