"""Distances and gaps between languages, correlations with retrieval, and measures of one's own."""

from functools import partial

import numpy as np
import pandas as pd

from steer_plugin.analyses.measures.correlations import CORRELATED, DISTANCES, EVERY_TARGET, FEWEST
from steer_plugin.analyses.report.figure import Chart, Drawing, Section, chart
from steer_plugin.analyses.report.forms import Lanes, Panel, Select
from steer_plugin.analyses.report.frames import (
    codes_as_names,
    condition_lanes,
    conditions,
    in_panels,
)
from steer_plugin.analyses.report.measures import Shown, own_measures
from steer_plugin.analyses.report.numbers import CENTRINGS, betweens, names, span, units_name
from steer_plugin.analyses.report.verdicts import at_last, draw_note, moves, reading_layer
from steer_plugin.analyses.run.results import Results, at_headline
from steer_plugin.analyses.statistics.figure_rows import from_target, is_pair, over_pairs

_KINDS = {"pair distance": "Distance of sentences", "centroid distance": "Distance of means"}
_OVER = {"all": "all languages", "seen": "languages seen in pre-training"}


def alignment_section(results: Results) -> Section:
    """Put together what was measured of distances and gaps at the last layer."""
    own = [
        Chart(shown.name, shown.question, partial(_own_table, shown), partial(_own, shown))
        for shown in own_measures(results)
    ]
    return Section.of(
        results, "alignment", "Alignment", (_distances, _gaps, _correlations, *own), lambda _: _HOW
    )


def _distance_table(results: Results) -> pd.DataFrame:
    layer = reading_layer(results)
    table = at_headline(results, results.alignment)
    parts = []
    for measure, pick, name in (
        ("pair distance", over_pairs, "All pairs of languages"),
        ("pair distance", from_target, "Target to the others"),
        ("medoid distance", over_pairs, "Language means to the medoid"),
        ("matched distance", over_pairs, "Translations only, all pairs"),
    ):
        parts += [
            (f"{name}, {CENTRINGS[centring]}", pick(table, measure, centring, layer))
            for centring in ("raw", "global")
        ]
    return in_panels(parts)


@chart("distance_before_after", "Do languages come nearer?", _distance_table)
def _distances(results: Results, table: pd.DataFrame) -> Drawing:
    rows = conditions(results, table)
    split = rows["panel"].str.rpartition(", ")
    rows = rows.assign(between=split[0], panel=split[2].str.capitalize())
    raw = at_last(results, results.alignment, "pair distance")
    centred = at_last(results, results.alignment, "pair distance", "global")
    also = raw[(raw["change_high"] < 0) & (raw["control_change_high"] < 0)]
    random = (
        f"; it falls with random {units_name(results)} too for {len(also)} of {len(raw)}"
        if len(also)
        else ""
    )
    moved = f" Common mean removed: {moves(centred)}." if len(centred) else ""
    caption = f"Raw distance: {moves(raw)}{random}{draw_note(raw)}.{moved} Left is nearer."
    selects = Select.of(rows, between="Between")
    return caption, condition_lanes(rows, "Cosine distance", selects=selects), rows


def _gap_table(results: Results) -> pd.DataFrame:
    table = at_headline(results, results.alignment)
    layer = reading_layer(results)
    return in_panels(
        [
            (title.capitalize(), over_pairs(table, "gap", name, layer))
            for name, title in CENTRINGS.items()
        ]
    )


@chart("gap_before_after", "Do translations come nearer than other sentences?", _gap_table)
def _gaps(results: Results, table: pd.DataFrame) -> Drawing:
    raw, centred = (at_last(results, results.alignment, "gap", c) for c in ("raw", "language"))
    moved = f" Language means removed: {moves(centred)}." if len(centred) else ""
    form = condition_lanes(table, "Gap (difference of cosines)", columns=3, digits=3)
    caption = f"Raw gap: {moves(raw)}{draw_note(raw)}.{moved} Right is better."
    return caption, form, conditions(results, table)


def _correlations_table(results: Results) -> pd.DataFrame:
    """Give the raw correlations at the headline k and last layer; pooled ones where k is one."""
    table, headline = results.correlations, results.headline()
    ks = set(headline.values())
    pooled = len(headline) > 1 and len(ks) == 1
    keep = [
        k in ks if pooled and target == EVERY_TARGET else headline.get(str(target)) == k
        for target, k in zip(table["target"], table["top_k"], strict=True)
    ]
    rows = table[np.array(keep, dtype=bool)]
    if rows.empty or rows["r"].isna().all():
        return rows[:0]
    last = (rows["layer"] == reading_layer(results)) & (rows["centring"] == "raw")
    return rows[last]


@chart("distance_correlations", "Do nearer languages retrieve better?", _correlations_table)
def _correlations(results: Results, table: pd.DataFrame) -> Drawing:
    name = names(results, results.targets) | {EVERY_TARGET: "All targets pooled"}
    rows = table.assign(
        lane=table["correlation"].str.capitalize(),
        series=table["target"].map(name),
        panel="",
        of=table["distance"].map(_KINDS),
        over=table["languages"].map(_OVER),
        value=table["r"],
        low=table["r_low"],
        high=table["r_high"],
        text=betweens(table, "r", digits=2),
    )
    order = [correlation.capitalize() for correlation in CORRELATED]
    rows = rows.sort_values("lane", key=lambda c: c.map(order.index), kind="stable")
    first = table[
        (table["languages"] == "all")
        & (table["distance"] == next(d for d in DISTANCES if d in set(table["distance"])))
        & (table["target"] != EVERY_TARGET)
    ]
    told = first[first["r_low"].notna()]
    sure = int(((told["r_low"] > 0) | (told["r_high"] < 0)).sum())
    counted = (
        f"{sure} of {len(told)} have an interval without 0, over {span(told['n'], 0)} languages"
        if len(told)
        else f"Over {span(first['n'], 0)} languages none can be told from 0; {FEWEST} are needed"
    )
    form = Lanes(
        (Panel("", "Pearson's r", marks=(0.0, -1.0, 1.0)),),
        {
            "correlation of": "lane",
            "target": "series",
            "languages": "n",
            "r (95% interval)": "text",
        },
        selects=Select.of(rows, of="Distance", over="Over"),
        columns=1,
    )
    better = "Left of 0 in the accuracy lanes: languages that lie nearer are found better."
    return f"{counted}. {better}", form, rows


def _own_table(shown: Shown, results: Results) -> pd.DataFrame:
    table = at_headline(results, results.alignment)
    return table[
        (table["measure"] == shown.measure)
        & (table["centring"] == shown.centring)
        & (table["layer"] == reading_layer(results))
    ]


def _own(shown: Shown, results: Results, table: pd.DataFrame) -> Drawing:
    """Draw a measure that was registered: over all pairs, or pair by pair, or what rows it has."""
    whole = over_pairs(table, shown.measure, shown.centring)
    pairs = table[is_pair(table)]
    drawn = next((part for part in (whole, pairs) if len(part)), table)
    rows = conditions(results, drawn).assign(panel="")
    by_pair = whole.empty and len(rows) > 0
    if by_pair:
        named = codes_as_names(results, rows, "query", "candidates")
        rows = rows.assign(towards=rows["lane"], lane=named["query"] + ", " + named["candidates"])
    pick = Select.of(rows, towards="Target") if by_pair else ()
    form = condition_lanes(rows, shown.title, selects=pick, scaled=False, columns=1, digits=3)
    caption = f"{shown.title}: {moves(drawn)}{draw_note(table)}.{shown.better_phrase}"
    return caption, form, rows


_HOW = (
    "Distance: 1 − cosine, 0 to 2. Gap: the mean cosine of translations less that of all other "
    "pairs of sentences; at 0 a translation is no nearer than any other sentence. A vector that "
    "all embeddings share lowers every raw distance by itself, so read the centred ones. "
    f"Correlations: Pearson's r, intervals are Fisher's from {FEWEST} languages on; of strong "
    "relations between skewed figures they hold the true r only 80% of the time."
)
