"""Lanes of one figure in three conditions: before, with experts, with random neurons."""

from collections.abc import Sequence

import altair as alt
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.words import chart_titles, phrases, summary
from steer_plugin.analyses.report.words.phrases import CENTRINGS
from steer_plugin.analyses.run.results import (
    BEFORE,
    CONTROL,
    EXPERTS,
    VALUES,
    Results,
    at_headline,
)
from steer_plugin.analyses.statistics.figure_rows import from_target, over_pairs
from steer_plugin.corpora.language_codes import language_label

_WIDTH = 960
CONDITION_TOOLTIP = [
    alt.Tooltip("top_k:Q", title="k"),
    alt.Tooltip("layer:N"),
    alt.Tooltip("measure:N"),
    alt.Tooltip("centring:N"),
    alt.Tooltip("condition:N"),
    alt.Tooltip("value:Q", format=".4f"),
    alt.Tooltip("difference:N", title="change (95% interval)"),
    alt.Tooltip("ahead:N", title="experts - random (95% interval)"),
    alt.Tooltip("seeds:N", title="seeds (lowest to highest)"),
]


def conditions(figures: pd.DataFrame) -> pd.DataFrame:
    """Give one row a figure and condition, as the charts draw them.

    Args:
        figures: rows of alignment or retrieval.

    Returns:
        The keys, what else the rows have, and: name (of the target), condition, value, low and
        high (the value before, plus the 95% interval of the change), least and most (over the
        seeds of the control), and the texts of the tooltip. A control that was not run has none.
    """
    parts = []
    sources = zip(theme.CONDITIONS, ("pre", "control", "post"), strict=True)
    for condition, column in sources:
        rows = figures.drop(columns=list(VALUES))
        rows["name"] = figures["target"].map(language_label)
        rows["condition"] = condition
        rows["value"] = figures[column]
        rows["ahead"] = rows["difference"] = rows["seeds"] = ""
        rows["low"] = rows["high"] = rows["least"] = rows["most"] = float("nan")
        if condition != BEFORE:
            change = "change" if condition == EXPERTS else "control_change"
            rows["low"] = figures["pre"] + figures[f"{change}_low"]
            rows["high"] = figures["pre"] + figures[f"{change}_high"]
            rows["difference"] = _with_interval(figures, change)
        if condition == CONTROL:
            rows["least"], rows["most"] = figures["control_min"], figures["control_max"]
            rows["seeds"] = [
                f"{n:.0f} ({phrases.number(a)} to {phrases.number(b)})"
                for n, a, b in zip(figures["n_controls"], rows["least"], rows["most"], strict=True)
            ]
        if condition == EXPERTS:
            rows["ahead"] = _with_interval(figures, "advantage")
        parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    table["end"] = table[["value", "high", "most"]].max(axis=1)
    return table[table["value"].notna()].reset_index(drop=True)


def _with_interval(figures: pd.DataFrame, column: str) -> list[str]:
    rows = zip(figures[column], figures[f"{column}_low"], figures[f"{column}_high"], strict=True)
    return [
        f"{phrases.number(value, signed=True)} ({phrases.interval(low, high)})"
        if value == value
        else "no control"
        for value, low, high in rows
    ]


def condition_colour(data: pd.DataFrame, symbol: str = "circle") -> alt.Color:
    """Give each condition that is there its own colour, and a legend with this symbol.

    Args:
        data: rows with a column "condition".
        symbol: as Vega names it.
    """
    names = set(data["condition"])
    colours = zip(theme.CONDITIONS, theme.CONDITION_COLOURS, strict=True)
    palette = {name: colour for name, colour in colours if name in names}
    return alt.Color(
        "condition:N",
        title=None,
        scale=alt.Scale(domain=list(palette), range=list(palette.values())),
        sort=list(palette),
        legend=alt.Legend(
            orient="top",
            direction="horizontal",
            columnPadding=18,
            symbolType=symbol,
            symbolOpacity=1,
        ),
    )


def random_lanes(results: Results, table: pd.DataFrame) -> str:
    """Say in a caption what the lanes of random neurons are."""
    if not (table["n_controls"] > 0).any():
        return "No random control was run."
    return (
        f"Random neurons: as many, in the same layers, {phrases.seeds_phrase(results)}; pale bars: "
        "lowest to highest seed."
    )


def condition_lanes(
    data: pd.DataFrame,
    *,
    columns: int,
    axis: str,
    digits: int = 2,
    mark: float | None = None,
    named: str = "target",
) -> alt.FacetChart:
    """Draw a lane a name and condition, in panels by the column "panel".

    Args:
        data: as `conditions` gives it, with "panel", in the order of the panels.
        columns: panels side by side.
        axis: title of the x axis.
        digits: decimals of the figures beside the points.
        mark: where a dotted line stands, in the axis's units.
        named: what the names are of.
    """
    lowest = min(0.0, float(data[["value", "low", "least"]].min().min()))
    highest = float(data["end"].max())
    room = 0.17 * (highest - lowest)
    scale = alt.Scale(domain=[lowest - 0.2 * room * (lowest < 0), highest + room], nice=False)
    base = alt.Chart().encode(
        y=alt.Y(
            "name:N",
            title=None,
            sort=list(dict.fromkeys(data["name"])),
            axis=alt.Axis(ticks=False, domain=False),
            scale=alt.Scale(paddingInner=0.25, paddingOuter=0.15),
        ),
        yOffset=alt.YOffset("condition:N", sort=list(theme.CONDITIONS)),
        color=condition_colour(data),
        tooltip=[alt.Tooltip("name:N", title=named), *CONDITION_TOOLTIP],
    )
    layers: list[alt.Chart] = [
        base.mark_bar(height=7, opacity=0.35).encode(
            x=alt.X("least:Q", title=axis, scale=scale), x2="most:Q"
        ),
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", title=axis, scale=scale), x2="high:Q"
        ),
        base.mark_point(size=75, filled=True, opacity=1).encode(
            x=alt.X("value:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=5))
        ),
        base.mark_text(align="left", dx=7, fontSize=11).encode(
            x=alt.X("end:Q", title=axis, scale=scale),
            text=alt.Text("value:Q", format=f".{digits}f"),
            color=alt.value(theme.INK),
        ),
    ]
    if mark is not None:
        line = alt.Chart(pd.DataFrame({"mark": [mark]}))
        layers.insert(0, line.mark_rule(strokeDash=[3, 3], color=theme.MUTED).encode(x="mark:Q"))
    return (
        alt.layer(*layers, data=data)
        .properties(width=820 // columns, height=alt.Step(15))
        .facet(
            facet=alt.Facet("panel:N", title=None, sort=list(dict.fromkeys(data["panel"]))),
            columns=columns,
            spacing=18,
        )
    )


def in_panels(parts: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Put rows below each other, with the panel of each; panels without rows are left out."""
    return pd.concat(
        [figures.assign(panel=panel) for panel, figures in parts if not figures.empty],
        ignore_index=True,
    )


def retrieval_before_after_table(results: Results) -> pd.DataFrame:
    """Give the rows that `retrieval_before_after` draws."""
    layer = summary.reading_layer(results)
    table = at_headline(results, results.retrieval)
    parts = []
    for centring in ("raw", "language"):
        version = CENTRINGS[centring].lower()
        parts += [
            (f"All ordered pairs, {version}", over_pairs(table, "top-1", centring, layer)),
            (f"Target to the others, {version}", from_target(table, "top-1", centring, layer)),
        ]
    return in_panels(parts)


def retrieval_before_after(results: Results) -> ChartType:
    """Draw top-1 retrieval before, with random neurons and with experts, a lane each."""
    data = conditions(retrieval_before_after_table(results))
    sentences = results.provenance.get("judge_sentences", "")
    chance = 1 / int(sentences) if sentences.isdigit() else None
    chart = condition_lanes(data, columns=2, axis="Top-1 retrieval accuracy (0 to 1)", mark=chance)
    title = chart_titles.retrieval_title(summary.top_1(results))
    return chart.properties(title=theme.heading(title, _WIDTH))


def distance_before_after_table(results: Results) -> pd.DataFrame:
    """Give the rows that `distance_before_after` draws."""
    layer = summary.reading_layer(results)
    table = at_headline(results, results.alignment)
    parts = []
    for measure, pick, name in (
        ("pair distance", over_pairs, "All pairs of languages"),
        ("pair distance", from_target, "Target to the others"),
        ("medoid distance", over_pairs, "Language means to the medoid"),
        ("matched distance", over_pairs, "Translations only, all pairs"),
    ):
        parts += [
            (f"{name}, {CENTRINGS[centring].lower()}", pick(table, measure, centring, layer))
            for centring in ("raw", "global")
        ]
    return in_panels(parts)


def distance_before_after(results: Results) -> ChartType:
    """Draw cosine distances before, with random neurons and with experts, raw and centred."""
    data = conditions(distance_before_after_table(results))
    title = chart_titles.distance_title(summary.at_last(results, "pair distance"))
    chart = condition_lanes(data, columns=2, axis="Cosine distance (0 to 2)")
    return chart.properties(title=theme.heading(title, _WIDTH))


def gap_before_after_table(results: Results) -> pd.DataFrame:
    """Give the rows that `gap_before_after` draws."""
    layer = summary.reading_layer(results)
    table = at_headline(results, results.alignment)
    return in_panels(
        [
            (panel, over_pairs(table, "gap", centring, layer))
            for centring, panel in CENTRINGS.items()
        ]
    )


def gap_before_after(results: Results) -> ChartType:
    """Draw how much nearer translations are than other sentences, a lane a condition."""
    data = conditions(gap_before_after_table(results))
    title = chart_titles.gap_title(
        summary.at_last(results, "gap"), summary.at_last(results, "gap", "language")
    )
    chart = condition_lanes(
        data, columns=data["panel"].nunique(), axis="Gap (difference of mean cosines)", digits=3
    )
    return chart.properties(title=theme.heading(title, _WIDTH))
