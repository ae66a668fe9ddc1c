"""Do the languages that lie nearer retrieve better? A chart of Table 2's correlations."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.measures.correlations import (
    CORRELATED,
    DISTANCES,
    EVERY_TARGET,
    FEWEST,
)
from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.marks.lanes import Panel, lanes
from steer_plugin.analyses.report.marks.panels import with_intervals
from steer_plugin.analyses.report.words import phrases, summary
from steer_plugin.analyses.report.words.correlation_titles import correlations_title
from steer_plugin.analyses.run.results import Results, layer_phrase
from steer_plugin.corpora.language_codes import language_label

_POOLED = "All targets pooled"
_WIDTH = 1000
_HEADINGS = {"pair distance": "Distance of sentences", "centroid distance": "Distance of means"}
_LANGUAGES = {"all": "all languages", "seen": "seen in pre-training"}
_TOOLTIP = [
    alt.Tooltip("lane:N", title="correlation of"),
    alt.Tooltip("name:N", title="target"),
    alt.Tooltip("top_k:Q", title="k", format=","),
    alt.Tooltip("distance:N"),
    alt.Tooltip("which:N", title="over"),
    alt.Tooltip("n:Q", title="languages"),
    alt.Tooltip("points:Q", title="points"),
    alt.Tooltip("said:N", title="r (95% interval)"),
]


def correlation_exhibits(results: Results) -> list[Exhibit]:
    """Draw the chart with its words; nothing where too few languages have a correlation."""
    table = correlations_table(results)
    if not table["r"].notna().any():
        return []
    return [
        Exhibit(
            name="distance_correlations",
            heading="Do nearer languages retrieve better?",
            aid=(
                "Left of 0 in the upper two lanes, languages that lie nearer the target are found "
                "better from it; right of 0 in the lower two, what was far stays far, and what "
                "comes nearer is found better. A line across 0 tells nothing."
            ),
            caption=_caption(results, table),
            chart=correlations_chart(results),
            table=table,
        )
    ]


def correlations_table(results: Results) -> pd.DataFrame:
    """Give the rows that `correlations_chart` draws.

    Raw embeddings at the last layer, each target at its headline k. The pooled rows stand for
    targets with the same k, and are left out for a single one, of which they say the same again.
    """
    table, headline = results.correlations, results.headline()
    ks = set(headline.values())
    pooled = len(headline) > 1 and len(ks) == 1
    keep = [
        k in ks if pooled and target == EVERY_TARGET else headline.get(str(target)) == k
        for target, k in zip(table["target"], table["top_k"], strict=True)
    ]
    rows = table[np.array(keep, dtype=bool)]
    if rows.empty:
        return rows
    last_raw = (rows["layer"] == summary.reading_layer(results)) & (rows["centring"] == "raw")
    return rows[last_raw].reset_index(drop=True)


def correlations_chart(results: Results) -> ChartType:
    """Draw each correlation with its interval, a panel a distance and choice of languages."""
    table = correlations_table(results)
    data = table.assign(
        panel=table["distance"] + ", " + table["languages"],
        lane=[_lane(name) for name in table["correlation"]],
        name=[_name(target) for target in table["target"]],
        which=table["languages"].map(_LANGUAGES),
        value=table["r"],
        low=table["r_low"],
        high=table["r_high"],
        said=with_intervals(table, "r"),
    )
    panels = [
        Panel(
            name=f"{distance}, {languages}",
            heading=heading,
            note=f"{_LANGUAGES[languages]}, n = {phrases.span(_single(rows)['n'], 0)}",
            axis="Pearson's r (−1 to 1)",
            marks=(0.0, -1.0, 1.0),
            format=".1~f",
        )
        for distance, heading in _HEADINGS.items()
        for languages in _LANGUAGES
        if not (rows := _chosen(table, distance, languages)).empty
    ]
    chart = lanes(data, panels, order=[_lane(name) for name in CORRELATED], tooltip=_TOOLTIP)
    return chart.properties(title=theme.heading(_title(table), _WIDTH))


def _chosen(table: pd.DataFrame, distance: str, languages: str) -> pd.DataFrame:
    return table[(table["distance"] == distance) & (table["languages"] == languages)]


def _single(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["target"] != EVERY_TARGET]


def _title(table: pd.DataFrame) -> str:
    """Take the title from one set of correlations, so that none is counted twice."""
    distance = next(name for name in DISTANCES if name in set(table["distance"]))
    return correlations_title(_chosen(table, distance, "all"))


def _lane(correlation: str) -> str:
    return correlation[0].upper() + correlation[1:]


def _name(target: str) -> str:
    return _POOLED if target == EVERY_TARGET else language_label(target)


def _caption(results: Results, table: pd.DataFrame) -> str:
    layer = layer_phrase(summary.reading_layer(results))
    ks = phrases.ks(results, table)
    of_all = table[table["target"] == EVERY_TARGET]
    pooled = (
        ""
        if of_all.empty
        else f" Pooled: {phrases.span(of_all['points'], 0)} points, one a target and language, of "
        f"{phrases.span(of_all['n'], 0)} languages, without an interval, since how the "
        "targets differ is in it too."
    )
    undefined = int(table["r"].isna().sum())
    left = f" {undefined} of {len(table)} have too few languages or no spread." if undefined else ""
    first = _HEADINGS[next(name for name in DISTANCES if name in set(table["distance"]))]
    return (
        "Over the languages that the target's sentences are sought in: top-1 accuracy and cosine "
        f"distance to the target, raw embeddings, {layer}, k = {ks}. Lines: 95% "
        f"intervals (Fisher's), from {FEWEST} languages on. The title counts those of "
        f"“{first.lower()}” over all languages, not corrected for their number; of strong "
        "relations between skewed figures they hold the true r only 80% of the time."
        f"{pooled}{left}"
    )
