"""Every measure at every layer, before, with experts and with random neurons."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_lanes import condition_colour, conditions
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.words import phrases, unit_choice
from steer_plugin.analyses.run.results import Results, at_headline, layer_order, layer_phrase
from steer_plugin.analyses.statistics.figure_rows import over_pairs
from steer_plugin.corpora.language_codes import language_name

PANELS = (
    ("top-1", "raw", "Top-1 retrieval"),
    ("top-1 CSLS", "raw", "Top-1 by CSLS"),
    ("top-1 margin", "raw", "Top-1 by ratio margin"),
    ("MEXA", "raw", "MEXA"),
    ("top-1", "language", "Top-1, language means removed"),
    ("CKA", "raw", "Linear CKA, unbiased"),
    ("gap", "raw", "Matched-mismatched gap"),
    ("gap", "language", "Gap, language means removed"),
    ("hubness", "raw", "Hubness (skewness)"),
    ("silhouette", "raw", "Silhouette by language"),
    ("mean random cosine", "raw", "Mean random cosine"),
    ("effective rank", "raw", "Effective rank"),
)
"""Measure, centring, and what the panel is called."""


def layer_exhibits(results: Results) -> list[Exhibit]:
    """Draw one chart a target; nothing where one layer alone was measured."""
    table = measures_by_layer_table(results)
    if table.empty or table["layer"].nunique() < 2:
        return []
    each = unit_choice.each(unit_choice.choice_of(results))
    return [
        Exhibit(
            name=f"measures_by_layer_{target}",
            heading=f"Every measure, layer by layer: {language_name(target)}",
            aid=(
                "The last layer alone misleads: look where grey is highest, and whether blue keeps "
                "what is there."
            ),
            caption=(
                "Means over all pairs of languages, or of the whole space, raw embeddings unless "
                f"means are removed, {_k_of(table, target)}{each}; the last point is after the "
                "final norm. Bands: the value before plus the 95% interval of the change (paired "
                "bootstrap over sentences, not corrected for the number of layers and measures). "
                "Hubness, silhouette and mean random cosine are better low, all else high."
            ),
            chart=measures_by_layer(table[table["target"] == target]),
            table=table[table["target"] == target].reset_index(drop=True),
        )
        for target in results.targets
    ]


def _k_of(table: pd.DataFrame, target: str) -> str:
    return f"k = {int(table.loc[table['target'] == target, 'top_k'].iloc[0]):,}"


def measures_by_layer_table(results: Results) -> pd.DataFrame:
    """Give the rows that `measures_by_layer` draws, those of all targets."""
    every = pd.concat([results.retrieval, results.alignment, results.geometry], ignore_index=True)
    unit_choice = at_headline(results, every)
    parts = [
        over_pairs(unit_choice, measure, centring).assign(panel=said)
        for measure, centring, said in PANELS
    ]
    return pd.concat(parts, ignore_index=True)


def measures_by_layer_title(table: pd.DataFrame) -> str:
    """Say at which layer the unsteered model retrieves best, and what steering leaves of it."""
    rows = table[(table["measure"] == "top-1") & (table["centring"] == "raw")]
    best = phrases.records(rows.sort_values("pre", kind="stable"))[-1]
    last = phrases.records(rows[rows["layer"] == layer_order(rows)[-1]])[0]
    if best["layer"] == last["layer"]:
        return f"No layer retrieves better than the last: {_steered(best)}"
    return (
        f"The unsteered model retrieves best {layer_phrase(str(best['layer']))}: {_steered(best)}; "
        f"{layer_phrase(str(last['layer']))}: {_steered(last)}"
    )


def _steered(row: Mapping[str, Any]) -> str:
    """Print a level before and with experts, with the interval of the change if there is one."""
    levels = f"{phrases.number(row['pre'])}, with experts {phrases.number(row['post'])}"
    if row["change_low"] != row["change_low"]:
        return levels
    return f"{levels} (change {phrases.interval(row['change_low'], row['change_high'])})"


def measures_by_layer(table: pd.DataFrame) -> ChartType:
    """Draw a panel a measure, a line a condition, for one target."""
    order = layer_order(table)
    data = conditions(table)
    data["place"] = data["layer"].map({name: place for place, name in enumerate(order)})
    last = len(order) - 1
    shown = [*range(0, last - last // 6, max(1, last // 4)), last]
    said = f"datum.value == {last} ? '{order[-1]}' : {order[:last]}[datum.value]"
    axis = alt.Axis(values=shown, labelExpr=said, grid=False)
    across = alt.Scale(domain=[0, last], nice=False, padding=6)
    upright = alt.Axis(tickCount=4, labelFlush=6)
    panels = []
    for name in dict.fromkeys(data["panel"]):
        part = data[data["panel"] == name]
        base = alt.Chart(part).encode(
            x=alt.X("place:Q", title="Block", axis=axis, scale=across),
            color=condition_colour(data),
        )
        # Neither nice nor centred: a label at the edge would push its panel's title up.
        scale = alt.Scale(zero=False, nice=False, padding=8)
        band = base.mark_area(opacity=0.2).encode(
            y=alt.Y("low:Q", title=None, scale=scale, axis=upright), y2="high:Q"
        )
        line = base.mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=14)).encode(
            y=alt.Y("value:Q", title=None, scale=scale, axis=upright),
            tooltip=[
                alt.Tooltip("layer:N"),
                alt.Tooltip("condition:N"),
                alt.Tooltip("value:Q", title=name, format=".3f"),
                alt.Tooltip("difference:N", title="change (95% interval)"),
            ],
        )
        panels.append(
            alt.layer(band, line).properties(
                width=230,
                height=110,
                title=alt.TitleParams(
                    text=name, fontSize=12, anchor="middle", frame="group", offset=6
                ),
            )
        )
    # Flush, so that the widths of labels do not move the panels.
    spacing = {"row": 72, "column": 62}
    return alt.concat(*panels, columns=3, spacing=spacing, bounds="flush").properties(
        title=theme.heading(measures_by_layer_title(table), 900)
    )
