"""Heat maps of the experts: in which layers they sit, and which of them languages share."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.words import chart_titles, unit_choice
from steer_plugin.analyses.run.results import Results
from steer_plugin.corpora.language_codes import language_label

_PANEL_ROWS = 30
_LABELLED_LAYERS = 30


def shown_k(results: Results, table: pd.DataFrame) -> int:
    """Give the k that a table of all languages is read at: the first target's, if it is there."""
    ks = sorted({int(k) for k in table["top_k"]})
    headline = next(iter(results.headline().values()))
    return headline if headline in ks else ks[(len(ks) - 1) // 2]


def _at_shown_ks(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Keep at most 30 languages, and every k where the panels stay readable, else one."""
    kept = first_concepts(results, table)
    if kept["concept"].nunique() * kept["top_k"].nunique() > _PANEL_ROWS:
        kept = kept[kept["top_k"] == shown_k(results, kept)]
    return kept.sort_values("top_k", kind="stable").reset_index(drop=True)


def first_concepts(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Keep at most 30 languages, those that were steered towards first."""
    concepts = list(dict.fromkeys(table["concept"]))
    if len(concepts) <= _PANEL_ROWS:
        return table
    first = [concept for concept in results.targets if concept in concepts]
    return table[table["concept"].isin(list(dict.fromkeys(first + concepts))[:_PANEL_ROWS])]


def with_language_names(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
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
    data = with_language_names(table, "concept").assign(
        panel=[f"k = {k:,}" for k in table["top_k"]]
    )
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
    data = with_language_names(table, "concept", "other").assign(
        panel=[f"k = {k:,}" for k in table["top_k"]]
    )
    names = list(dict.fromkeys(data["concept"]))
    largest_share = max(float(table["share"].max()), 0.1)
    axis = alt.Axis(ticks=False, domain=False)
    base = alt.Chart(data).encode(
        x=alt.X("other:N", title=None, sort=names, axis=axis),
        y=alt.Y("concept:N", title=None, sort=names, axis=axis),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color(
            "share:Q",
            title=f"Share {'' if choice.per_layer else 'of k '}that both languages have",
            scale=alt.Scale(range=list(theme.SHARES), domain=[0, largest_share]),
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
                    f"datum.share > {0.55 * largest_share}",
                    alt.value("white"),
                    alt.value(theme.INK),
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
