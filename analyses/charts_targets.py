"""Retrieval from the target to each other language, before and after (the paper's Figure 4)."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses import finding, theme
from steer_plugin.analyses.charts_comparison import condition_colour, conditions
from steer_plugin.analyses.figure import Figure
from steer_plugin.analyses.results import Results, at_headline, between_languages

UNSEEN = "\N{DAGGER}"
"""After the name of a language that the model did not see in pre-training."""


def target_figures(results: Results) -> list[Figure]:
    """Draw the chart with its words; nothing where no single pairs were measured."""
    table = from_targets_table(results)
    if table.empty:
        return []
    dagger = f" {UNSEEN}: not seen in pre-training." if _seen(results) else ""
    return [
        Figure(
            name="from_targets",
            heading="From the target to each language",
            aid="Each lane is a language in which the target's translations are sought.",
            caption=(
                "Top-1 by cosine, raw embeddings, ties counted as misses. Lines: the value before "
                "plus the 95% interval of the change, paired bootstrap over sentences, each "
                f"language by itself; the title goes by a 5% false-discovery rate.{dagger}"
            ),
            chart=from_targets(results),
            table=table,
        )
    ]


def from_targets_table(results: Results) -> pd.DataFrame:
    """Give the rows that `from_targets` draws: the target asks, each other language answers."""
    layer = finding.reading_layer(results)
    pairs = between_languages(at_headline(results, results.retrieval), "top-1", "raw", layer)
    return pairs[pairs["query"] == pairs["target"]].reset_index(drop=True)


def from_targets_title(table: pd.DataFrame) -> str:
    """Say, by false-discovery rate, how many languages each target finds more and less often."""
    parts = []
    for target, rows in table.groupby("target", sort=False):
        sure = rows["change_q"] < 0.05 if "change_q" in rows else rows["change_low"] > 0
        up, down = (int((sure & moved).sum()) for moved in (rows["change"] > 0, rows["change"] < 0))
        parts.append(f"{theme.language_name(str(target))} {up} up, {down} down of {len(rows)}")
    return f"Retrieval from the target with experts: {'; '.join(parts)}"


def from_targets(results: Results) -> ChartType:
    """Draw a panel a target, a lane a language: before, random neurons, experts."""
    table = from_targets_table(results)
    seen = _seen(results)
    data = conditions(table)
    data["language"] = [
        theme.language_name(code) + (UNSEEN if seen and code not in seen else "")
        for code in data["candidates"]
    ]
    order = list(data.groupby("language")["value"].max().sort_values(ascending=False).index)
    targets = list(dict.fromkeys(data["name"]))
    lowest = min(0.0, 1.05 * float(data["low"].min()))
    scale = alt.Scale(domain=[lowest, max(1.05 * float(data["end"].max()), 0.05)], nice=False)
    base = alt.Chart().encode(
        y=alt.Y(
            "language:N",
            title=None,
            sort=order,
            axis=alt.Axis(ticks=False, domain=False, grid=True, tickBand="extent"),
            scale=alt.Scale(paddingInner=0.25, paddingOuter=0.15),
        ),
        yOffset=alt.YOffset("condition:N", sort=list(theme.CONDITIONS)),
        color=condition_colour(data),
        tooltip=[
            alt.Tooltip("name:N", title="target"),
            alt.Tooltip("candidates:N"),
            alt.Tooltip("condition:N"),
            alt.Tooltip("value:Q", title="top-1", format=".3f"),
            alt.Tooltip("difference:N", title="change (95% interval)"),
            alt.Tooltip("ahead:N", title="experts - random (95% interval)"),
        ],
    )
    title = "Top-1 retrieval accuracy (0 to 1)"
    rules = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("low:Q", title=title, scale=scale), x2="high:Q"
    )
    points = base.mark_point(size=55, filled=True, opacity=1).encode(
        x=alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5))
    )
    columns = min(len(targets), 3)
    return (
        alt.layer(rules, points, data=data)
        .properties(width=820 // columns, height=alt.Step(10))
        .facet(facet=alt.Facet("name:N", title=None, sort=targets), columns=columns, spacing=18)
        .properties(title=theme.heading(from_targets_title(table), 960))
    )


def _seen(results: Results) -> set[str]:
    return set(filter(None, results.provenance.get("seen", "").split(", ")))
