"""Curves of figures in three conditions: by layer, by k, and every measure by layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_lanes import (
    CONDITION_TOOLTIP,
    condition_colour,
    conditions,
)
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.words import chart_titles, phrases, summary, unit_choice
from steer_plugin.analyses.run.results import Results, at_headline, layer_order, layer_phrase
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.experts.selection import Choice

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

_WIDTH = 960
_COURSES = (
    ("top-1", "Top-1, all pairs"),
    ("pair distance", "Raw distance, all pairs"),
    ("gap", "Raw gap"),
)


def by_layer_table(results: Results) -> pd.DataFrame:
    """Give the rows that `by_layer` draws: every layer, at the headline k."""
    return _course_table(
        at_headline(results, results.retrieval), at_headline(results, results.alignment)
    )


def by_layer(results: Results) -> ChartType:
    """Draw retrieval, distance and gap against the layer that the embedding is read at."""
    table = by_layer_table(results)
    order = layer_order(table)
    x = alt.X(
        "layer:O",
        sort=order,
        title="Layer of the embedding",
        axis=alt.Axis(labelAngle=0, values=_ticks(order, table["target"].nunique())),
    )
    return _courses(table, x).properties(
        title=theme.heading(chart_titles.by_layer_title(results), _WIDTH)
    )


def effect_of_k_table(results: Results) -> pd.DataFrame:
    """Give the rows that `effect_of_k` draws: every k, at the last layer."""
    layer = summary.reading_layer(results)
    retrieval, alignment = results.retrieval, results.alignment
    return _course_table(
        retrieval[retrieval["layer"] == layer], alignment[alignment["layer"] == layer]
    )


def effect_of_k(results: Results) -> ChartType:
    """Draw retrieval, distance and gap against the number of neurons that were set."""
    table = effect_of_k_table(results)
    x = k_axis(table, unit_choice.choice_of(results))
    figures = table[table["measure"] == "top-1"]
    return _courses(table, x).properties(
        title=theme.heading(chart_titles.effect_of_k_title(figures), _WIDTH)
    )


def k_axis(table: pd.DataFrame, choice: Choice) -> alt.X:
    """Give a logarithmic axis of the values of k that a table has."""
    ks = sorted({int(k) for k in table["top_k"]})
    return alt.X(
        "top_k:Q",
        title="k neurons a layer (log)" if choice.per_layer else "k neurons steered (log)",
        scale=alt.Scale(type="log", domain=[ks[0] / 1.3, ks[-1] * 1.3], nice=False),
        axis=alt.Axis(values=ks, format=",", grid=False, labelOverlap="greedy", labelSeparation=6),
    )


def layer_exhibits(results: Results) -> list[Exhibit]:
    """Draw one chart a target; nothing where one layer alone was measured."""
    table = measures_by_layer_table(results)
    if table.empty or table["layer"].nunique() < 2:
        return []
    each = unit_choice.in_each_layer(unit_choice.choice_of(results))
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
                "final norm. Bands: the value before plus the 95% interval of the change (over "
                f"{phrases.sampled_units(results)}, not corrected for the number of layers and "
                "measures; hubness has none). "
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
    figures = pd.concat([results.retrieval, results.alignment, results.geometry], ignore_index=True)
    headline = at_headline(results, figures)
    parts = [
        over_pairs(headline, measure, centring).assign(panel=panel)
        for measure, centring, panel in PANELS
    ]
    return pd.concat(parts, ignore_index=True)


def measures_by_layer_title(table: pd.DataFrame) -> str:
    """Say at which layer the unsteered model retrieves best, and what steering leaves of it."""
    rows = table[(table["measure"] == "top-1") & (table["centring"] == "raw")]
    best = records(rows.sort_values("pre", kind="stable"))[-1]
    last = records(rows[rows["layer"] == layer_order(rows)[-1]])[0]
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
    labelled_places = [*range(0, last - last // 6, max(1, last // 4)), last]
    label = f"datum.value == {last} ? '{order[-1]}' : {order[:last]}[datum.value]"
    axis = alt.Axis(values=labelled_places, labelExpr=label, grid=False)
    across = alt.Scale(domain=[0, last], nice=False, padding=6)
    upright = alt.Axis(tickCount=4, labelFlush=6)
    panels = []
    for name in dict.fromkeys(data["panel"]):
        panel_rows = data[data["panel"] == name]
        base = alt.Chart(panel_rows).encode(
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


def _course_table(retrieval: pd.DataFrame, alignment: pd.DataFrame) -> pd.DataFrame:
    figures = pd.concat([retrieval, alignment], ignore_index=True)
    return pd.concat([over_pairs(figures, measure) for measure, _ in _COURSES], ignore_index=True)


def _courses(table: pd.DataFrame, x: alt.X) -> alt.VConcatChart:
    """Draw a row of panels a measure, a panel a target, a line a condition."""
    data = conditions(table)
    targets = list(dict.fromkeys(data["name"]))
    measures = {name: title for name, title in _COURSES if name in set(data["measure"])}
    rows = []
    for measure, title in measures.items():
        measure_rows = data[data["measure"] == measure]
        first, last = measure == next(iter(measures)), measure == list(measures)[-1]
        base = alt.Chart().encode(
            x=x if last else x.title(None),
            color=condition_colour(data),
        )
        ends = measure_rows[["value", "low", "high"]]
        lowest, highest = min(0.0, float(ends.min().min())), float(ends.max().max())
        room = 0.06 * (highest - lowest)
        scale = alt.Scale(domain=[lowest - room * (lowest < 0), highest + room], nice=False)
        y = alt.Y("value:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4))
        bands = base.mark_area(opacity=0.22).encode(
            y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q"
        )
        lines = base.mark_line(point=alt.OverlayMarkDef(size=28, filled=True)).encode(
            y=y, tooltip=[alt.Tooltip("name:N", title="target"), *CONDITION_TOOLTIP]
        )
        rows.append(
            alt.layer(bands, lines, data=measure_rows)
            .properties(width=_panel_width(len(targets)), height=120)
            .facet(
                column=alt.Column(
                    "name:N", title=None, sort=targets, header=alt.Header(labels=first)
                ),
                spacing=18,
            )
        )
    return alt.vconcat(*rows, spacing=14)


def _panel_width(n_targets: int) -> int:
    return int(np.clip(820 // n_targets, 150, 420))


def _ticks(order: Sequence[str], n_targets: int) -> list[str]:
    """Choose the layers that are named under a panel: as many as fit, and the last."""
    step = math.ceil(len(order) / (_panel_width(n_targets) // 32))
    return [*order[:-1][::step][: math.ceil((len(order) - 1) / step)], order[-1]]
