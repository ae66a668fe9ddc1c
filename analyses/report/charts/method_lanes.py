"""Charts of rival methods: the same measures for each, and what each costs."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.marks.lanes import Panel, lanes
from steer_plugin.analyses.report.marks.panels import finite, look, with_intervals
from steer_plugin.analyses.report.marks.tradeoff_plane import COST, tradeoff_plane
from steer_plugin.analyses.report.words import method_titles, phrases, unit_choice
from steer_plugin.analyses.report.words.method_titles import (
    DISTANCE,
    PERPLEXITY,
    PROBABILITY,
    RETRIEVAL,
    method_order,
    method_title,
)
from steer_plugin.analyses.report.words.phrases import listed
from steer_plugin.corpora.language_codes import language_label
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.settings.parts import METHODS

BESIDE = "The method's control"

_WIDTH = 1000
_PANELS = (
    Panel(RETRIEVAL, "Retrieval", "right is better", "Change of top-1 accuracy"),
    Panel(DISTANCE, "Centred distance", "left is nearer", "Change of cosine distance"),
    Panel(PROBABILITY, "Target language", "right is better", "Change of probability"),
    Panel(PERPLEXITY, "Perplexity", "left is cheaper", COST, marks=(1.0,), ratios=True),
)
_TOOLTIP = [
    alt.Tooltip("lane:N", title="method"),
    alt.Tooltip("citation:N", title="from"),
    alt.Tooltip("name:N", title="target"),
    alt.Tooltip("where:N", title="steered"),
]
_LANE_TOOLTIP = [
    *_TOOLTIP,
    alt.Tooltip("axis:N", title="measure"),
    alt.Tooltip("pre:Q", title="before", format=",.4f"),
    alt.Tooltip("post:Q", title="with the method", format=",.4f"),
    alt.Tooltip("moved:N", title="change (95% interval)"),
    alt.Tooltip("control_moved:N", title="change with its control (95% interval)"),
    alt.Tooltip("ahead:N", title="method against control (95% interval)"),
]
_POINT_TOOLTIP = [
    *_TOOLTIP,
    alt.Tooltip("gained:N", title="gain in probability (95% interval)"),
    alt.Tooltip("paid:N", title="perplexity / before (95% interval)"),
]


def method_exhibits(
    methods: pd.DataFrame, choice: Choice = TOP, *, plans: str = ""
) -> list[Exhibit]:
    """Draw what `Results.methods` holds, with the words beside it.

    Args:
        methods: one row a method, target and axis; may be empty.
        choice: of the units that are steered.
        plans: what the plans of the run file do; nothing where there are none.
    """
    if methods[methods["axis"] == RETRIEVAL].empty:
        return []
    exhibits = [
        Exhibit(
            name="methods_compared",
            heading="Other ways to steer",
            aid=(
                "What counts is how far a filled point is from the dotted line, and whether its "
                "hollow one, a single random draw, goes as far."
                if (methods["n_controls"] > 0).any()
                else "What counts is how far a point is from the dotted line, and on which side."
            ),
            caption=_caption(methods, choice) + _plans(plans),
            chart=methods_compared(methods),
            table=methods_compared_table(methods),
        )
    ]
    if not methods_tradeoff_table(methods).empty:
        exhibits.append(
            Exhibit(
                name="methods_tradeoff",
                heading="What each way to steer costs",
                aid="Up is a gain, right is a cost; up and left is best.",
                caption=(
                    "Gain in the probability of the target language under a language identifier, "
                    "against the perplexity of that language over that before. Lines: 95% "
                    f"bootstrap intervals.{_beyond(methods)} Methods and controls: see the chart "
                    "above."
                ),
                chart=methods_tradeoff(methods),
                table=methods_tradeoff_table(methods),
            )
        )
    return exhibits


def methods_compared_table(methods: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that `methods_compared` draws: all, in the order of `METHODS`."""
    place = {name: number for number, name in enumerate(method_order(methods))}
    return methods.sort_values(
        "method", key=lambda names: names.map(place), kind="stable", ignore_index=True
    )


def methods_compared(methods: pd.DataFrame) -> ChartType:
    """Draw each method's change beside that of its control, a panel a measure."""
    table = methods_compared_table(methods)
    panels = [panel for panel in _PANELS if panel.name in set(table["axis"])]
    ratio = table["axis"] == PERPLEXITY
    intervals = {
        column: np.where(
            ratio,
            with_intervals(table, column, signed=False),
            with_intervals(table, column),
        )
        for column in ("change", "control_change", "advantage")
    }
    data = _named(table).assign(
        panel=table["axis"],
        value=table["change"],
        low=table["change_low"],
        high=table["change_high"],
        beside=table["control_change"],
        control=BESIDE,
        moved=intervals["change"],
        control_moved=intervals["control_change"],
        ahead=intervals["advantage"],
    )
    chart = lanes(
        data,
        panels,
        order=list(dict.fromkeys(data["lane"])),
        tooltip=_LANE_TOOLTIP,
    )
    title = method_titles.methods_title(methods)
    return chart.properties(title=theme.heading(title, _WIDTH))


def methods_tradeoff_table(methods: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that `methods_tradeoff` draws.

    One row a method and target of which both are there: the gain in probability and the cost in
    perplexity, each with _low and _high.
    """
    keys = ["method", "target", "top_k", "block"]
    ends = ("", "_low", "_high")
    parts = []
    for axis, name in ((PROBABILITY, "gain"), (PERPLEXITY, "cost")):
        rows = methods_compared_table(methods[methods["axis"] == axis])
        columns = {f"change{end}": f"{name}{end}" for end in ends}
        parts.append(rows[[*keys, *columns]].rename(columns=columns))
    table = parts[0].merge(parts[1], on=keys, validate="one_to_one")
    return table[table["gain"].notna() & finite(table["cost"])].reset_index(drop=True)


def methods_tradeoff(methods: pd.DataFrame) -> ChartType:
    """Draw each method's gain in probability against its cost in perplexity, a panel a target."""
    table = methods_tradeoff_table(methods)
    picture = tradeoff_plane(
        _named(table).assign(
            gained=with_intervals(table, "gain"),
            paid=with_intervals(table, "cost", signed=False),
        )
    )
    colour, shape = look(list(dict.fromkeys(picture.data["lane"])), "lane")
    points = alt.Chart().mark_point(size=70, filled=True, opacity=1)
    over = points.encode(
        x=picture.x, y=picture.y, color=colour, shape=shape, tooltip=_POINT_TOOLTIP
    )
    title = method_titles.methods_tradeoff_title(methods)
    chart = picture.draw(colour, _POINT_TOOLTIP, [over])
    return chart.properties(title=theme.heading(title, _WIDTH))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the charts and their tooltips call things."""
    return table.assign(
        lane=[_capital(method_title(name)) for name in table["method"]],
        citation=[METHODS[name].citation if name in METHODS else "" for name in table["method"]],
        name=table["target"].map(language_label),
        where=[
            f"after block {block}" if block >= 0 else f"k = {k:,}"
            for block, k in zip(table["block"], table["top_k"], strict=True)
        ],
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _caption(methods: pd.DataFrame, choice: Choice) -> str:
    counts = sorted({int(n) for n in methods["n_controls"]})
    control = (
        "No random control was run."
        if counts[-1] == 0
        else "Hollow: the same done to random neurons of the same layers, or along a random "
        "direction of the same length; "
        + ("1 draw." if counts == [1] else f"mean of {' to '.join(map(str, counts))} draws.")
    )
    written = methods["axis"].isin([PROBABILITY, PERPLEXITY])
    generated = (
        " Target language: mean probability that what the model writes is in it; perplexity: that "
        "of the target language, over that before."
        if written.any()
        else ""
    )
    return (
        "Retrieval: top-1 over all ordered pairs of languages, embeddings as they are; centred "
        "distance: cosine distance of translations with each language's mean removed; both after "
        f"the final norm.{generated} Points: after minus before, lines: 95% intervals, "
        f"not corrected for the number of comparisons. {control} "
        f"{_steered(methods, choice)}"
    )


def _plans(plans: str) -> str:
    return f" Plans, whose k counts the units of all their steps: {plans}." if plans else ""


def _beyond(methods: pd.DataFrame) -> str:
    """Say what is not drawn, and when a gain is beyond the control's without a difference."""
    rows = methods[methods["axis"] == PROBABILITY]
    infinite = np.isinf(methods.loc[methods["axis"] == PERPLEXITY, "change"]).any()
    left_out = " A method of infinite perplexity is not drawn." if infinite else ""
    if not phrases.several_draws(rows) or rows["advantage"].notna().all():
        return left_out
    return (
        f"{left_out} A gain is beyond the control's where its whole interval lies above that one's."
    )


def _steered(methods: pd.DataFrame, choice: Choice) -> str:
    """Say what each method steers, and who proposed it."""
    table = methods_compared_table(methods)
    ks = sorted({int(k) for k in table["top_k"] if k > 0})
    blocks = sorted({int(block) for block in table["block"] if block >= 0})
    places = []
    if ks:
        places.append(
            f"experts: k = {listed(f'{k:,}' for k in ks)}{unit_choice.in_each_layer(choice)}"
        )
    if blocks:
        places.append(f"residual stream: after block {listed(map(str, blocks))}")
    cited = [
        f"{method_title(name)} ({METHODS[name].citation})"
        for name in method_order(table)
        if name in METHODS
    ]
    where = f"Steered: {'; '.join(places)}. " if places else ""
    return f"{where}Methods: {', '.join(cited)}." if cited else where.rstrip()
