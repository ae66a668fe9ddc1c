"""Charts of one experiment on two hosts: their figures over each other, and how far apart."""

import json
import math

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_lanes import condition_colour
from steer_plugin.analyses.report.words import host_titles
from steer_plugin.analyses.run.results import KEYS, layer_order
from steer_plugin.analyses.run.two_hosts import Hosts
from steer_plugin.corpora.language_codes import language_label, language_name

MEASURES = {
    "top-1": "Top-1 (0 to 1)",
    "top-1 CSLS": "Top-1 by CSLS (0 to 1)",
    "top-1 margin": "Top-1 by ratio margin (0 to 1)",
    "MRR": "MRR (0 to 1)",
    "pair distance": "Distance (0 to 2)",
    "matched distance": "Distance of translations (0 to 2)",
    "medoid distance": "Distance to the medoid (0 to 2)",
    "centroid distance": "Distance of means (0 to 2)",
    "gap": "Gap (−2 to 2)",
}
"""What each measure is called, with its range."""

_WIDTH = 960
_ROOM = 840
_PANELS = 12
_CONCEPTS = 30
_CROSS = "M-.5,-.5L.5,.5M.5,-.5L-.5,.5"


def host_overlay_table(hosts: Hosts) -> pd.DataFrame:
    """Give the rows that `host_overlay` draws.

    At most 12 panels: where there are more targets and values of k, one k of each target, and then
    the first targets.
    """
    table = hosts.top_1
    steered = table[["target", "top_k"]].drop_duplicates()
    if len(steered) > _PANELS:
        headline = hosts.here.headline()
        at_headline = steered["top_k"] == steered["target"].map(headline)
        steered = steered[at_headline | ~steered["target"].isin(steered["target"][at_headline])]
    return table.merge(steered[:_PANELS], on=["target", "top_k"])


def host_overlay(hosts: Hosts) -> ChartType:
    """Draw both hosts' top-1 over each other, a panel a target and k, by layer and condition."""
    table = host_overlay_table(hosts)
    order = layer_order(table)
    marks = len(order) * len(theme.CONDITIONS)
    fit = int(np.clip(_ROOM // (10 * marks), 1, 3))
    width = _ROOM // fit - 20
    ks = table["top_k"].nunique()
    columns = ks if 1 < ks <= fit else fit  # a row a target, where that fits
    across = min(13.0, 0.7 * width / marks)
    data = _tipped(table).assign(
        panel=[
            f"{language_name(target)}, k = {k:,}"
            for target, k in zip(table["target"], table["top_k"], strict=True)
        ]
    )
    highest = float(table[["here", "beside"]].max().max())
    shapes = alt.Scale(domain=list(hosts.names), range=["circle", _CROSS])
    base = alt.Chart().encode(
        x=alt.X(
            "layer:O",
            sort=order,
            title="Layer of the embedding",
            scale=alt.Scale(paddingInner=0.15, paddingOuter=0.1),
            axis=alt.Axis(labelAngle=0, labelOverlap=True, ticks=False),
        ),
        xOffset=alt.XOffset("condition:N", sort=list(theme.CONDITIONS)),
        color=condition_colour(data, "square"),
        tooltip=_tooltip(hosts.names),
    )
    layers = [
        base.transform_calculate(host=json.dumps(name))
        .mark_point(filled=False, opacity=1, size=area, strokeWidth=thick)
        .encode(
            y=alt.Y(
                f"{column}:Q",
                title="Top-1 accuracy (0 to 1)",
                # Below 0 so that a symbol at 0 stands clear of the axis.
                scale=alt.Scale(domain=[-0.06 * highest, 1.08 * highest or 1], nice=False),
                axis=alt.Axis(tickCount=4),
            ),
            shape=alt.Shape(
                "host:N",
                title=None,
                scale=shapes,
                legend=alt.Legend(orient="top", direction="vertical", symbolSize=110),
            ),
        )
        for column, name, area, thick in (
            ("here", hosts.names[0], across**2, 1.8),
            ("beside", hosts.names[1], (0.7 * across) ** 2, 1.6),
        )
    ]
    chart: alt.FacetChart = (
        alt.layer(*layers, data=data)
        .properties(width=width, height=150)
        .facet(
            facet=alt.Facet("panel:N", title=None, sort=list(dict.fromkeys(data["panel"]))),
            columns=columns,
            spacing=20,
        )
        .resolve_axis(x="independent")
    )
    title = host_titles.overlay_title(hosts.names, table)
    return chart.properties(title=theme.heading(title, _WIDTH))


def host_differences_table(hosts: Hosts) -> pd.DataFrame:
    """Give the rows that `host_differences` draws: the largest of each measure and condition.

    One row a measure, condition and layer: the figure that the hosts differ most in.
    """
    figures = hosts.figures
    largest = (
        figures["difference"]
        .abs()
        .groupby([figures[name] for name in ("measure", "condition", "layer")], sort=False)
        .idxmax()
    )
    table = figures.loc[largest.sort_values()]
    return table.assign(size=table["difference"].abs()).reset_index(drop=True)


def host_differences(hosts: Hosts) -> ChartType:
    """Draw the largest differences between the hosts, a lane a measure and condition."""
    table = host_differences_table(hosts)
    powers = np.log10(table.loc[table["size"] > 0, "size"])
    first, last = math.floor(powers.min()), math.floor(powers.max()) + 1
    # A logarithmic axis has no 0, so equal figures stand one step below the smallest power.
    nought = 10.0 ** (first - 1)
    some_equal = bool((table["size"] == 0).any())
    names = [MEASURES[name] for name in table["measure"]]
    data = _tipped(table).assign(lane=names, shown=table["size"].where(table["size"] > 0, nought))
    step = math.ceil((last - first) / 8)
    labels = {power: f"1e{power}" for power in range(first, last + 1, step)}
    labels |= {first - 1: "equal"} if some_equal else {}
    lowest = 0.6 * nought if some_equal else 10.0**first
    chart: alt.Chart = (
        alt.Chart(data)
        .mark_point(filled=True, size=55, opacity=0.75)
        .encode(
            x=alt.X(
                "shown:Q",
                title="Largest difference in a layer (in the measure's units, log)",
                scale=alt.Scale(type="log", domain=[lowest, 10.0**last], nice=False),
                axis=alt.Axis(
                    values=[10.0**power for power in sorted(labels)],
                    labelExpr=(f"({json.dumps(labels)})[toString(round(log(datum.value) / LN10))]"),
                    labelOverlap=False,
                ),
            ),
            y=alt.Y(
                "lane:N",
                title=None,
                sort=list(MEASURES.values()),
                axis=alt.Axis(ticks=False, domain=False, labelLimit=300),
                scale=alt.Scale(paddingInner=0.25, paddingOuter=0.15),
            ),
            yOffset=alt.YOffset("condition:N", sort=list(theme.CONDITIONS)),
            color=condition_colour(data, "square"),
            tooltip=_tooltip(hosts.names),
        )
        .properties(width=600, height=alt.Step(13))
    )
    title = host_titles.differences_title(hosts.figures)
    return chart.properties(title=theme.heading(title, _WIDTH))


def host_experts_table(hosts: Hosts) -> pd.DataFrame:
    """Give the rows that `host_experts` draws: all languages, or the 30 that share fewest."""
    table = hosts.experts
    if len(table) <= _CONCEPTS:
        return table
    return table.sort_values("share", kind="stable")[:_CONCEPTS].reset_index(drop=True)


def host_experts(hosts: Hosts) -> ChartType:
    """Draw how many of each language's best experts both hosts have, a bar a language."""
    table = host_experts_table(hosts)
    data = table.assign(
        name=table["concept"].map(language_label),
        said=[f"{a} of {k}" for a, k in zip(table["shared"], table["top_k"], strict=True)],
    )
    base = alt.Chart(data).encode(
        x=alt.X(
            "share:Q",
            title="Best experts that both hosts find (share of each language's)",
            scale=alt.Scale(domain=[0, 1.15], nice=False),
            axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
        ),
        y=alt.Y(
            "name:N",
            title=None,
            sort=list(data["name"]),
            axis=alt.Axis(ticks=False, domain=False),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="language"),
            alt.Tooltip("shared:Q", title="experts on both hosts"),
            alt.Tooltip("top_k:Q", title="of the best"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    bars = base.mark_bar(height=12, color=theme.SHARES[2])
    labels = base.mark_text(align="left", dx=6, fontSize=11).encode(text="said:N")
    title = host_titles.experts_title(hosts.experts)
    return (
        alt.layer(bars, labels)
        .properties(width=600, height=alt.Step(22))
        .properties(title=theme.heading(title, _WIDTH))
    )


def _tipped(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the tooltip names: the target, and where the embedding is read."""
    return table.assign(name=table["target"].map(language_label))


def _tooltip(names: tuple[str, str]) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("name:N", title="target"),
        alt.Tooltip("top_k:Q", title="k"),
        *(alt.Tooltip(f"{key}:N") for key in KEYS[2:]),
        alt.Tooltip("condition:N"),
        alt.Tooltip("here:Q", title=names[0], format=".4f"),
        alt.Tooltip("beside:Q", title=names[1], format=".4f"),
        alt.Tooltip("difference:Q", title="difference (second minus first)", format=".2~g"),
    ]
