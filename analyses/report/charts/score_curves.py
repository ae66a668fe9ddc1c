"""Curves of the experts' scores along their ranks, on both splits."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.activations.sites import unit_label
from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.expert_heat_maps import (
    first_concepts,
    with_language_names,
)
from steer_plugin.analyses.report.words import chart_titles, unit_choice
from steer_plugin.analyses.run.results import Results
from steer_plugin.experts.selection import TOP
from steer_plugin.settings.probe import ProbeSettings

MAX_ROWS = 5_000
"""What Altair draws of one table."""

_CURVE_WIDTH = 190


def score_curves_table(results: Results) -> pd.DataFrame:
    """Give the rows that `score_curves` draws: at most 2,500, thinned evenly along the ranks."""
    curve = first_concepts(results, results.curve)
    ranks = np.array(sorted(set(curve["rank"])))
    most = MAX_ROWS // 2 // curve["concept"].nunique()
    if len(ranks) > most:
        ranks = ranks[np.unique(np.linspace(0, len(ranks) - 1, most).round().astype(int))]
    return curve[curve["rank"].isin(ranks)].reset_index(drop=True)


def score_curves(results: Results) -> ChartType:
    """Draw the score of the unit at each rank, on both splits, a panel a language."""
    table = score_curves_table(results)
    score = chart_titles.score_name(results)
    splits = {"find_score": "split the experts were found on", "judge_score": "held-out split"}
    data = with_language_names(table, "concept").melt(
        id_vars=["concept", "rank", "layer", "index"],
        value_vars=list(splits),
        var_name="split",
        value_name="value",
    )
    data["split"] = data["split"].map(splits)
    site = results.provenance.get("site", ProbeSettings.site)
    units = zip(data["layer"].tolist(), data["index"].tolist(), strict=True)
    data["unit"] = [unit_label(site, layer, index) for layer, index in units]
    concepts = list(dict.fromkeys(data["concept"]))
    lines = (
        alt.Chart()
        .mark_line()
        .encode(
            x=alt.X(
                "rank:Q",
                title="Rank of the neuron (log)",
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(format="~s", tickCount=5, grid=False),
            ),
            y=alt.Y("value:Q", title=score, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "split:N",
                title=None,
                scale=alt.Scale(
                    domain=list(splits.values()), range=[theme.CONDITION_COLOURS[0], theme.INK]
                ),
                legend=alt.Legend(orient="top", symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "split:N",
                title=None,
                scale=alt.Scale(domain=list(splits.values()), range=[[4, 3], [1, 0]]),
                legend=alt.Legend(orient="top", symbolType="stroke"),
            ),
        )
    )
    points = lines.mark_point(size=40, opacity=0).encode(
        strokeDash=alt.Undefined,
        tooltip=[
            alt.Tooltip("concept:N", title="language"),
            alt.Tooltip("rank:Q", format=","),
            alt.Tooltip("unit:N", title="neuron"),
            alt.Tooltip("split:N"),
            alt.Tooltip("value:Q", title=score, format=".4f"),
        ],
    )
    columns = min(4, len(concepts))
    chart: alt.FacetChart = (
        alt.layer(*_marks(results, int(data["rank"].max())), lines, points, data=data)
        .properties(width=_CURVE_WIDTH, height=130)
        .facet(facet=alt.Facet("concept:N", title=None, sort=concepts), columns=columns, spacing=18)
        .resolve_axis(x="independent")
    )
    title = chart_titles.score_curves_title(results.curve, score)
    return chart.properties(title=theme.heading(title, columns * 235))


def _marks(results: Results, last_rank: int) -> list[alt.Chart]:
    """Draw every k at its rank, where the units that are steered are the k first."""
    if unit_choice.choice_of(results) != TOP:
        return []
    ks = pd.DataFrame({"k": sorted({int(k) for k in results.retrieval["top_k"]})})
    ks["label"] = _spaced([f"{k:,}" for k in ks["k"]], ks["k"], last_rank)
    rules = alt.Chart(ks).mark_rule(strokeDash=[2, 3], color=theme.MUTED).encode(x="k:Q")
    texts = (
        alt.Chart(ks)
        .mark_text(align="left", baseline="top", dx=3, fontSize=10, color=theme.MUTED)
        .encode(x="k:Q", y=alt.value(3), text="label:N")
    )
    return [rules, texts]


def _spaced(labels: list[str], ks: pd.Series, last_rank: int) -> list[str]:
    """Blank the labels that would run into the one before on a panel's logarithmic axis."""
    kept: list[str] = []
    free = 0.0
    for label, k in zip(labels, ks, strict=True):
        place = _CURVE_WIDTH * np.log(k) / np.log(last_rank)
        kept.append(label if place >= free else "")
        if kept[-1]:
            free = place + 6 * len(label) + 4
    return kept
