"""Charts of the experts: where they sit, how well they score, which of them are shared."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.words import chart_titles, unit_choice
from steer_plugin.analyses.run.results import Results
from steer_plugin.corpora.language_codes import language_label
from steer_plugin.experts.selection import TOP

MAX_ROWS = 5_000
"""What Altair draws of one table."""

_PANEL_ROWS = 30
_LABELLED_LAYERS = 30
_CURVE_WIDTH = 190


def shown_k(results: Results, table: pd.DataFrame) -> int:
    """Give the k that a table of all languages is read at: the first target's, if it is there."""
    ks = sorted({int(k) for k in table["top_k"]})
    wanted = next(iter(results.headline().values()))
    return wanted if wanted in ks else ks[(len(ks) - 1) // 2]


def _at_shown_ks(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Keep at most 30 languages, and every k where the panels stay readable, else one."""
    kept = _first_concepts(results, table)
    if kept["concept"].nunique() * kept["top_k"].nunique() > _PANEL_ROWS:
        kept = kept[kept["top_k"] == shown_k(results, kept)]
    return kept.sort_values("top_k", kind="stable").reset_index(drop=True)


def _first_concepts(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Keep at most 30 languages, those that were steered towards first."""
    concepts = list(dict.fromkeys(table["concept"]))
    if len(concepts) <= _PANEL_ROWS:
        return table
    first = [concept for concept in results.targets if concept in concepts]
    return table[table["concept"].isin(list(dict.fromkeys(first + concepts))[:_PANEL_ROWS])]


def _named(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Replace codes in the columns with names."""
    return table.assign(**{name: table[name].map(language_label) for name in columns})


def k_order(table: pd.DataFrame) -> list[str]:
    """Give the panel titles of a table's values of k, ascending."""
    return [f"k = {k:,}" for k in sorted({int(k) for k in table["top_k"]})]


def experts_by_layer_table(results: Results) -> pd.DataFrame:
    """Give the rows that `experts_by_layer` draws."""
    return _at_shown_ks(results, results.layers)


def experts_by_layer(results: Results) -> ChartType:
    """Draw how many of each language's experts sit in each layer, as a heat map a value of k."""
    table = experts_by_layer_table(results)
    n_layers = table["layer"].nunique()
    step = int(np.clip(800 // n_layers, 9, 42))
    at_shown = table[table["top_k"] == shown_k(results, table)]
    choice = unit_choice.choice_of(results)
    title = chart_titles.experts_by_layer_title(at_shown, choice)
    data = _named(table, "concept").assign(panel=[f"k = {k:,}" for k in table["top_k"]])
    base = alt.Chart(data).encode(
        x=alt.X(
            "layer:O",
            title="Layer (block index)",
            axis=alt.Axis(labelAngle=0, labelOverlap=True, ticks=False, domain=False),
        ),
        y=alt.Y(
            "concept:N",
            title=None,
            sort=list(dict.fromkeys(data["concept"])),
            axis=alt.Axis(ticks=False, domain=False),
        ),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color(
            "share:Q",
            title=f"Share of the language's {'' if choice.per_layer else 'k '}experts",
            scale=alt.Scale(range=list(theme.SHARES), domainMin=0),
            legend=alt.Legend(format="%", orient="top", gradientLength=220),
        ),
        tooltip=[
            alt.Tooltip("concept:N", title="language"),
            alt.Tooltip("top_k:Q", title="k"),
            alt.Tooltip("layer:O"),
            alt.Tooltip("experts:Q"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    layers: list[alt.Chart] = [cells]
    if n_layers <= _LABELLED_LAYERS:
        dark = 0.55 * float(table["share"].max())
        layers.append(
            base.transform_filter("datum.experts > 0")
            .mark_text(fontSize=11)
            .encode(
                text="experts:Q",
                color=alt.condition(
                    f"datum.share > {dark}", alt.value("white"), alt.value(theme.INK)
                ),
            )
        )
    return (
        alt.layer(*layers)
        .properties(width=alt.Step(step), height=alt.Step(22))
        .facet(row=alt.Row("panel:N", title=None, sort=k_order(table)), spacing=14)
        .properties(title=theme.heading(title, n_layers * step + 150))
    )


def score_curves_table(results: Results) -> pd.DataFrame:
    """Give the rows that `score_curves` draws: at most 2,500, thinned evenly along the ranks."""
    curve = _first_concepts(results, results.curve)
    ranks = np.array(sorted(set(curve["rank"])))
    most = MAX_ROWS // 2 // curve["concept"].nunique()
    if len(ranks) > most:
        ranks = ranks[np.unique(np.linspace(0, len(ranks) - 1, most).round().astype(int))]
    return curve[curve["rank"].isin(ranks)].reset_index(drop=True)


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


def score_curves(results: Results) -> ChartType:
    """Draw the score of the unit at each rank, on both splits, a panel a language."""
    table = score_curves_table(results)
    score = chart_titles.score_name(results)
    splits = {"find_score": "split the experts were found on", "judge_score": "held-out split"}
    data = _named(table, "concept").melt(
        id_vars=["concept", "rank", "layer", "index"],
        value_vars=list(splits),
        var_name="split",
        value_name="value",
    )
    data["split"] = data["split"].map(splits)
    data["unit"] = [f"L{a}N{b}" for a, b in zip(data["layer"], data["index"], strict=True)]
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


def expert_overlap_table(results: Results) -> pd.DataFrame:
    """Give the rows that `expert_overlap` draws: pairs of two different languages."""
    pairs = results.overlap[results.overlap["concept"] != results.overlap["other"]]
    kept = _at_shown_ks(results, pairs)
    return kept[kept["other"].isin(set(kept["concept"]))].reset_index(drop=True)


def expert_overlap(results: Results) -> ChartType:
    """Draw how many experts each two languages share, as a matrix a value of k."""
    table = expert_overlap_table(results)
    choice = unit_choice.choice_of(results)
    title = chart_titles.expert_overlap_title(
        table[table["top_k"] == shown_k(results, table)], choice
    )
    data = _named(table, "concept", "other").assign(panel=[f"k = {k:,}" for k in table["top_k"]])
    names = list(dict.fromkeys(data["concept"]))
    most = max(float(table["share"].max()), 0.1)
    axis = alt.Axis(ticks=False, domain=False)
    base = alt.Chart(data).encode(
        x=alt.X("other:N", title=None, sort=names, axis=axis),
        y=alt.Y("concept:N", title=None, sort=names, axis=axis),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color(
            "share:Q",
            title=f"Share {'' if choice.per_layer else 'of k '}that both languages have",
            scale=alt.Scale(range=list(theme.SHARES), domain=[0, most]),
            legend=alt.Legend(format="%", orient="top", gradientLength=220),
        ),
        tooltip=[
            alt.Tooltip("concept:N", title="language"),
            alt.Tooltip("other:N"),
            alt.Tooltip("top_k:Q", title="k"),
            alt.Tooltip("shared:Q"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    layers = [cells]
    panels = table["top_k"].nunique()
    if len(names) <= 12:
        layers.append(
            base.mark_text(fontSize=11).encode(
                text="shared:Q",
                color=alt.condition(
                    f"datum.share > {0.55 * most}", alt.value("white"), alt.value(theme.INK)
                ),
            )
        )
    step = int(np.clip(800 // (len(names) * panels), 14, 36))
    return (
        alt.layer(*layers)
        .properties(width=alt.Step(step), height=alt.Step(min(step, 26)))
        .facet(column=alt.Column("panel:N", title=None, sort=k_order(table)), spacing=16)
        .properties(title=theme.heading(title, len(names) * panels * step + 160))
    )
