"""Distances and gaps between languages, correlations with retrieval, and measures of one's own."""

import numpy as np
import pandas as pd

from steer_plugin.analyses.measures.correlations import CORRELATED, DISTANCES, EVERY_TARGET, FEWEST
from steer_plugin.analyses.report.figure import Figure, Section
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
    figures = []
    for draw, table in (
        (_distances, distance_table(results)),
        (_gaps, gap_table(results)),
        (_correlations, correlations_table(results)),
    ):
        if not table.empty:
            figures.append(draw(results, table))
    figures += [_own(results, shown) for shown in own_measures(results)]
    how = (
        "Distance: 1 − cosine, 0 to 2. Gap: the mean cosine of translations less that of all other "
        "pairs of sentences; at 0 a translation is no nearer than any other sentence. A vector "
        "that all embeddings share lowers every raw distance by itself, so read the centred ones. "
        f"Correlations: Pearson's r, intervals are Fisher's from {FEWEST} languages on; of strong "
        "relations between skewed figures they hold the true r only 80% of the time."
    )
    return Section("alignment", "Alignment", tuple(figures), how=how)


def distance_table(results: Results) -> pd.DataFrame:
    """Give the rows of distances, raw and with the common mean removed."""
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


def _distances(results: Results, table: pd.DataFrame) -> Figure:
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
    return Figure(
        "distance_before_after",
        "Do languages come nearer?",
        f"Raw distance: {moves(raw)}{random}{draw_note(raw)}.{moved} Left is nearer.",
        condition_lanes(
            rows, "Cosine distance", selects=Select.of(rows, between="Between"), scaled=("between",)
        ),
        rows,
        {"distance_before_after": table},
    )


def gap_table(results: Results) -> pd.DataFrame:
    """Give the rows of gaps, in each version of the embeddings."""
    table = at_headline(results, results.alignment)
    layer = reading_layer(results)
    return in_panels(
        [
            (title.capitalize(), over_pairs(table, "gap", name, layer))
            for name, title in CENTRINGS.items()
        ]
    )


def _gaps(results: Results, table: pd.DataFrame) -> Figure:
    raw, centred = (at_last(results, results.alignment, "gap", c) for c in ("raw", "language"))
    moved = f" Language means removed: {moves(centred)}." if len(centred) else ""
    return Figure(
        "gap_before_after",
        "Do translations come nearer than other sentences?",
        f"Raw gap: {moves(raw)}{draw_note(raw)}.{moved} Right is better.",
        condition_lanes(table, "Gap (difference of cosines)", columns=3, digits=3),
        conditions(results, table),
        {"gap_before_after": table},
    )


def correlations_table(results: Results) -> pd.DataFrame:
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
    return rows[last].reset_index(drop=True)


def _correlations(results: Results, table: pd.DataFrame) -> Figure:
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
    return Figure(
        "distance_correlations",
        "Do nearer languages retrieve better?",
        f"{counted}. Left of 0 in the accuracy lanes: languages that lie nearer are found better.",
        form,
        rows[["lane", "series", "panel", "of", "over", "value", "low", "high", "n", "text"]],
        {"distance_correlations": table},
    )


def _own(results: Results, shown: Shown) -> Figure:
    """Draw a measure that was registered: over all pairs, or pair by pair, or what rows it has."""
    table = at_headline(results, results.alignment)
    table = table[
        (table["measure"] == shown.measure)
        & (table["centring"] == shown.centring)
        & (table["layer"] == reading_layer(results))
    ]
    whole = over_pairs(table, shown.measure, shown.centring)
    pairs = table[is_pair(table)]
    drawn = next((part for part in (whole, pairs) if len(part)), table)
    rows = conditions(results, drawn).assign(panel="")
    by_pair = whole.empty and len(rows) > 0
    if by_pair:
        named = codes_as_names(results, rows, "query", "candidates")
        rows = rows.assign(towards=rows["lane"], lane=named["query"] + ", " + named["candidates"])
    pick = Select.of(rows, towards="Target") if by_pair else ()
    return Figure(
        shown.name,
        shown.question,
        f"{shown.title}: {moves(drawn)}{draw_note(table)}.{shown.better_phrase}",
        condition_lanes(rows, shown.title, selects=pick, columns=1, digits=3),
        rows,
        {shown.name: table.reset_index(drop=True)},
    )
