"""Charts of generation: the target language's probability, and the perplexity it costs."""

from dataclasses import replace
from functools import partial

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_curves import k_axis
from steer_plugin.analyses.report.charts.condition_lanes import condition_colour
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.marks.panels import (
    ends,
    finite,
    in_rows,
    panel_width,
    ratio_axis,
    with_intervals,
)
from steer_plugin.analyses.report.marks.tradeoff_plane import COST, tradeoff_plane
from steer_plugin.analyses.report.words import generation_titles
from steer_plugin.analyses.report.words.generation_titles import experts
from steer_plugin.analyses.run.results import BEFORE, CONTROL, EXPERTS
from steer_plugin.corpora.language_codes import language_label
from steer_plugin.experts.selection import TOP, Choice

RECOMMENDED = "Recommended k"

_CONDITIONS = {"before": BEFORE, "control": CONTROL, "experts": EXPERTS}
_MEASURES = {
    "probability": "Probability (0 to 1)",
    "cost": COST,
}
_CHOSEN = "datum.recommended"
_WIDTH = 960
_TOOLTIP = [
    alt.Tooltip("name:N", title="target"),
    alt.Tooltip("top_k:Q", title="k", format=","),
    alt.Tooltip("condition:N"),
    alt.Tooltip("probability:Q", title="probability of the target language", format=".4f"),
    alt.Tooltip("gained:N", title="gain (95% interval)"),
    alt.Tooltip("perplexity:Q", format=",.2f"),
    alt.Tooltip("paid:N", title="perplexity / before (95% interval)"),
    alt.Tooltip("front:N", title="on the front"),
    alt.Tooltip("chosen:N", title="recommended"),
]


def generation_exhibits(generation: pd.DataFrame, choice: Choice = TOP) -> list[Exhibit]:
    """Draw what `Results.generation` holds, with the words beside it.

    Args:
        generation: one row a target, k and condition; may be empty.
        choice: of the units that are steered.
    """
    if generation_titles.experts(generation).empty:
        return []
    exhibits = [
        Exhibit(
            name="generation_by_k",
            heading="What the model writes, and what that costs",
            aid=(
                "Above: how likely a text that the model writes by itself is in the target "
                "language. Below: how much worse it predicts that language; at 1 steering is free."
            ),
            caption=_caption(generation),
            chart=generation_by_k(generation, choice),
            table=generation_by_k_table(generation),
        )
    ]
    if not generation_tradeoff_table(generation).empty:
        exhibits.append(
            Exhibit(
                name="generation_tradeoff",
                heading="Gain against cost",
                aid=(
                    "Up is a gain, right is a cost. For a point off the blue line another k gains "
                    "as much or more and costs no more."
                ),
                caption=(
                    f"{_measured(generation)} Labels: k, where there is room. Blue line: the "
                    "values of k that no other one beats in both. Bars: 95% bootstrap intervals. "
                    f"{generation_titles.recommendation(generation)}"
                ),
                chart=generation_tradeoff(generation),
                table=generation_tradeoff_table(generation),
            )
        )
    return exhibits


def generation_by_k_table(generation: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that `generation_by_k` draws: all of them."""
    return generation.reset_index(drop=True)


def generation_by_k(generation: pd.DataFrame, choice: Choice = TOP) -> ChartType:
    """Draw probability and relative perplexity against k, a column of panels a target."""
    data = _long(generation)
    rows = in_rows(list(dict.fromkeys(data["name"])))
    measures = [measure for measure in _MEASURES if measure in set(data["measure"])]
    width = panel_width(max(map(len, rows)))
    x = k_axis(experts(generation), choice)
    panel_rows = []
    for names in rows:
        for measure in measures:
            figures = data[data["measure"] == measure]
            below = x if measure == measures[-1] else x.title(None)
            layers = _course(figures, measure, below)
            header = alt.Header(labels=measure == measures[0])
            panel_rows.append(
                alt.layer(*layers, data=figures[figures["name"].isin(names)])
                .properties(width=width, height=130)
                .facet(
                    column=alt.Column("name:N", title=None, sort=names, header=header), spacing=18
                )
            )
    title = generation_titles.generation_title(generation)
    return alt.vconcat(*panel_rows, spacing=14).properties(title=theme.heading(title, _WIDTH))


def _named(generation: pd.DataFrame) -> pd.DataFrame:
    """Add what the charts and their tooltips call things."""
    return generation.assign(
        name=generation["target"].map(language_label),
        condition=generation["condition"].map(_CONDITIONS),
        gained=with_intervals(generation, "gain"),
        paid=with_intervals(generation, "cost", signed=False),
        front=np.where(generation["on_front"].astype(bool), "yes", "no"),
        chosen=np.where(generation["recommended"].astype(bool), "yes", "no"),
        mark=RECOMMENDED,
    )


def _long(generation: pd.DataFrame) -> pd.DataFrame:
    """Give one row a figure that is drawn: its measure, value, and the ends of its interval.

    The ends are the unsteered level plus those of the gain, and those of the cost.
    """
    data = _named(generation)
    before = data[data["condition"] == BEFORE].set_index("name")["probability"]
    level = data["name"].map(before)
    parts = [
        data.assign(
            measure="probability",
            value=data["probability"],
            low=level + data["gain_low"],
            high=level + data["gain_high"],
        ),
        data.assign(
            measure="cost", value=data["cost"], low=data["cost_low"], high=data["cost_high"]
        ),
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[finite(table["value"])].reset_index(drop=True)


def _level(figures: pd.DataFrame, measure: str) -> "partial[alt.Y]":
    """Give the axis of a measure, to which a column is given."""
    low, high = ends(figures[["value", "low", "high"]])
    if measure == "cost":
        scale, axis = ratio_axis(low, high)
    else:
        scale = alt.Scale(domain=[0, min(1.06 * high, 1)], nice=False)
        axis = alt.Axis(tickCount=4)
    return partial(alt.Y, title=_MEASURES[measure], scale=scale, axis=axis)


def _course(figures: pd.DataFrame, measure: str, x: alt.X) -> list[alt.Chart]:
    """Draw one panel: the level before, and each condition's line with its intervals."""
    colour, y = condition_colour(figures), _level(figures, measure)
    base = alt.Chart().encode(color=colour, tooltip=_TOOLTIP)
    steered = base.transform_filter(alt.datum.condition != BEFORE).encode(x=x)
    known = alt.Chart().encode(color=colour, tooltip=_TOOLTIP, x=x)
    known = known.transform_filter(f"isValid(datum.low) && datum.condition !== '{BEFORE}'")
    at_k = alt.Chart().encode(x=x, tooltip=_TOOLTIP)
    return [
        at_k.transform_filter(_CHOSEN).mark_rule(strokeDash=[2, 3], color=theme.MUTED, opacity=0.7),
        base.transform_filter(alt.datum.condition == BEFORE)
        .mark_rule(strokeWidth=2)
        .encode(y=y("value:Q")),
        known.mark_area(opacity=0.2, clip=True).encode(y=y("low:Q"), y2="high:Q"),
        known.mark_rule(strokeWidth=1.8, clip=True).encode(y=y("low:Q"), y2="high:Q"),
        steered.mark_line(point=alt.OverlayMarkDef(size=34, filled=True)).encode(y=y("value:Q")),
        *_rings(at_k.encode(y=y("value:Q")), figures),
    ]


def _rings(base: alt.Chart, data: pd.DataFrame) -> list[alt.Chart]:
    """Mark what is recommended, if anything is, with a ring, and say so in a legend."""
    if not data["recommended"].any():
        return []
    ring = base.transform_filter(_CHOSEN).mark_point(
        filled=False, size=150, strokeWidth=1.8, opacity=1
    )
    return [
        ring.encode(
            stroke=alt.Stroke(
                "mark:N",
                title=None,
                scale=alt.Scale(domain=[RECOMMENDED], range=[theme.INK]),
                legend=alt.Legend(orient="top", symbolFillColor="transparent", symbolSize=110),
            )
        )
    ]


def generation_tradeoff_table(generation: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that `generation_tradeoff` draws: those with gain and cost, of several k."""
    table = generation[generation["gain"].notna() & finite(generation["cost"])]
    if experts(table)["top_k"].nunique() < 2:
        return table[:0]
    return table.reset_index(drop=True)


def generation_tradeoff(generation: pd.DataFrame) -> ChartType:
    """Draw the gain in probability against the cost in perplexity, a panel a target."""
    picture = tradeoff_plane(_named(generation_tradeoff_table(generation)))
    data = picture.data
    of_experts = data["condition"] == EXPERTS
    front = data["on_front"].astype(bool)
    texts = pd.Series([f"{k:,}" for k in data["top_k"]], data.index).where(of_experts, "")
    # What is recommended is labelled first, then the front, then the others where there is room.
    rank = 2 - 2 * data["recommended"].astype(int) - front.astype(int)
    data = data.assign(**picture.labels(texts, rank, front))
    colour = condition_colour(data)
    base = alt.Chart().encode(x=picture.x, y=picture.y)
    over = [
        base.transform_filter("datum.on_front")
        .mark_line(color=theme.CONDITION_COLOURS[-1], strokeWidth=1.5)
        .encode(order="cost:Q"),
        base.mark_point(size=55, filled=True, opacity=1).encode(color=colour, tooltip=_TOOLTIP),
        *_rings(base, data),
        base.transform_filter("isValid(datum.text_cost)")
        .mark_text(align="left", baseline="middle", fontSize=11)
        .encode(x=alt.X("text_cost:Q"), y=alt.Y("text_gain:Q"), text="text:N"),
    ]
    title = generation_titles.generation_tradeoff_title(generation)
    chart = replace(picture, data=data).draw(colour, _TOOLTIP, over)
    return chart.properties(title=theme.heading(title, _WIDTH))


def _measured(generation: pd.DataFrame) -> str:
    texts = f"{_count(generation['sentences'])} texts with each of {_count(generation['seeds'])}"
    measured = f"Mean probability under a language identifier of {texts} seeds, from BOS alone."
    if not finite(generation["cost"]).any():
        return f"{measured} Perplexity was not measured."
    documents = _count(generation["documents"])
    infinite = " An infinite one is not drawn." if np.isinf(generation["cost"]).any() else ""
    return (
        f"{measured} Perplexity on {_count(generation['tokens'])} tokens of the target language, "
        f"in {documents} document{'' if documents == '1' else 's'}, over that of the unsteered "
        f"model.{infinite}"
    )


def _count(values: pd.Series) -> str:
    counts = sorted({int(value) for value in values.dropna() if value > 0})
    return " to ".join(f"{value:,}" for value in dict.fromkeys([counts[0], counts[-1]]))


def _caption(generation: pd.DataFrame) -> str:
    control = (
        " Random neurons: as many, in the same layers, with the experts' values, one draw; a gain "
        "is beyond theirs where its whole interval lies above their interval."
        if (generation["condition"] == "control").any()
        else " No random control was run."
    )
    over = " and ".join(dict.fromkeys(generation["resampled"]))
    ratio = (
        f", and that of the ratio of perplexities (over {over})"
        if finite(generation["cost"]).any()
        else ""
    )
    return (
        f"{_measured(generation)} Bands and bars: the level before plus the 95% interval of the "
        f"gain (bootstrap over seeds and their texts){ratio}; not corrected for the number of "
        f"comparisons.{control} {generation_titles.recommendation(generation)}"
    )
