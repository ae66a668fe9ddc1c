"""Heat map of retrieval between every two languages: after minus before."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.marks import unseen_languages
from steer_plugin.analyses.report.words import phrases, summary
from steer_plugin.analyses.report.words.pair_titles import retrieval_matrix_title
from steer_plugin.analyses.report.words.pair_verdicts import rate_is_controlled, verdicts
from steer_plugin.analyses.run.results import CONTROL, EXPERTS, Results, at_headline
from steer_plugin.analyses.statistics.figure_rows import between_languages
from steer_plugin.corpora.language_codes import language_label, language_name

_MAX_LANGUAGES = 34
_MAX_PAIRS = 2_400
_LABELLED_LANGUAGES = 10


def retrieval_matrix_table(results: Results) -> pd.DataFrame:
    """Give the rows that `retrieval_matrix` draws.

    At most 34 languages, those that were steered towards first, and the first targets of which all
    pairs fit into one chart.
    """
    layer = summary.reading_layer(results)
    pairs = between_languages(at_headline(results, results.retrieval), "top-1", "raw", layer)
    languages = list(dict.fromkeys([*results.targets, *pairs["query"]]))
    if len(languages) > _MAX_LANGUAGES:
        kept = languages[:_MAX_LANGUAGES]
        pairs = pairs[pairs["query"].isin(kept) & pairs["candidates"].isin(kept)]
    sizes = pairs.groupby("target", sort=False).size().cumsum()
    fitting = sizes.index[(sizes <= _MAX_PAIRS) | (np.arange(len(sizes)) == 0)]
    return pairs[pairs["target"].isin(fitting)].reset_index(drop=True)


def has_cell_labels(pairs: pd.DataFrame) -> bool:
    """Say whether the matrix of these pairs has room for figures in its cells."""
    return pairs["query"].nunique() <= _LABELLED_LANGUAGES


def retrieval_matrix(results: Results) -> ChartType:
    """Draw the change of top-1 for every ordered pair, with experts and with random neurons."""
    table = retrieval_matrix_table(results)
    languages = list(dict.fromkeys([*table["query"], *table["candidates"]]))
    not_seen = unseen_languages.unseen(results, languages)
    label = unseen_languages.labels(languages, not_seen, language_label)
    names = list(label.values())
    parts = []
    for condition, column in ((EXPERTS, "change"), (CONTROL, "control_change")):
        rows = table[["top_k", "layer", "pre"]].copy()
        rows["query"] = table["query"].map(label)
        rows["candidates"] = table["candidates"].map(label)
        rows["target"] = [
            f"{language_name(target)}, k = {k:,}"
            for target, k in zip(table["target"], table["top_k"], strict=True)
        ]
        rows["condition"] = condition
        rows["change"] = table[column]
        rows["after"] = table["pre"] + table[column]
        # There is no false-discovery rate of the control's changes, so none of them is called.
        uncalled = condition == CONTROL and rate_is_controlled(table)
        rows["sure"] = False if uncalled else verdicts(table, column) != 0
        rated = rate_is_controlled(table) and not uncalled
        rows["q"] = table["change_q"].map("{:.3f}".format) if rated else ""
        rows["interval"] = [
            phrases.interval(low, high)
            for low, high in zip(table[f"{column}_low"], table[f"{column}_high"], strict=True)
        ]
        parts.append(rows)
    data = pd.concat(parts, ignore_index=True)
    data = data[data["change"].notna()].reset_index(drop=True)
    largest = max(float(data["change"].abs().max()), 0.01)
    step = int(np.clip(320 // len(names), 15, 42))
    axis = alt.Axis(ticks=False, domain=False)
    base = alt.Chart().encode(
        x=alt.X("candidates:N", title="Candidates", sort=names, axis=axis),
        y=alt.Y("query:N", title="Query", sort=names, axis=axis),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color(
            "change:Q",
            title="Change of top-1 accuracy (after - before)",
            scale=alt.Scale(scheme=theme.DIFFERENCES, domain=[-largest, largest], domainMid=0),
            legend=alt.Legend(format="+.2f", orient="top", gradientLength=260),
        ),
        tooltip=[
            alt.Tooltip("target:N", title="steered towards"),
            alt.Tooltip("condition:N"),
            alt.Tooltip("query:N"),
            alt.Tooltip("candidates:N"),
            alt.Tooltip("pre:Q", title="before", format=".3f"),
            alt.Tooltip("after:Q", format=".3f"),
            alt.Tooltip("change:Q", format="+.3f"),
            alt.Tooltip("interval:N", title="95% interval"),
            *(
                [alt.Tooltip("q:N", title="false-discovery rate")]
                if rate_is_controlled(table)
                else []
            ),
        ],
    )
    layers = [cells, *([unseen_languages.key()] if not_seen else [])]
    if has_cell_labels(table):
        dark = f"abs(datum.change) > {0.6 * largest}"
        for sure in (True, False):
            figures = base.transform_filter(alt.datum.sure == sure).mark_text(
                fontSize=11,
                fontWeight="bold" if sure else "normal",
                opacity=1.0 if sure else 0.65,
            )
            layers.append(
                figures.encode(
                    text=alt.Text("change:Q", format="+.2f"),
                    color=alt.condition(dark, alt.value("white"), alt.value(theme.INK)),
                )
            )
    return (
        alt.layer(*layers, data=data)
        .properties(width=alt.Step(step), height=alt.Step(min(step, 26)))
        .facet(
            row=alt.Row(
                "target:N",
                title=None,
                sort=list(dict.fromkeys(data["target"])),
                header=alt.Header(labelOrient="right"),
            ),
            column=alt.Column("condition:N", title=None, sort=list(theme.CONDITIONS[::-1])),
            spacing=14,
        )
        .properties(title=theme.heading(retrieval_matrix_title(table), 900))
    )
