"""Charts of the embedding space: every pair of languages, and a picture of the sentences."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.measures.map_neighbours import own_language_share
from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.marks import unseen_languages
from steer_plugin.analyses.report.theme import looks
from steer_plugin.analyses.report.words import chart_titles, phrases, summary
from steer_plugin.analyses.report.words.chart_titles import neighbours_title
from steer_plugin.analyses.report.words.pair_titles import retrieval_matrix_title
from steer_plugin.analyses.report.words.pair_verdicts import by_rate, called
from steer_plugin.analyses.run.results import BEFORE, CONTROL, EXPERTS, Results, at_headline
from steer_plugin.analyses.statistics.figure_rows import between_languages
from steer_plugin.corpora.language_codes import language_label, language_name

PCA = "pca"
MAX_POINTS = 2_000
_MAX_MAPS = 3
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


def labelled(pairs: pd.DataFrame) -> bool:
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
        part = table[["top_k", "layer", "pre"]].copy()
        part["query"] = table["query"].map(label)
        part["candidates"] = table["candidates"].map(label)
        part["target"] = [
            f"{language_name(target)}, k = {k:,}"
            for target, k in zip(table["target"], table["top_k"], strict=True)
        ]
        part["condition"] = condition
        part["change"] = table[column]
        part["after"] = table["pre"] + table[column]
        # There is no false-discovery rate of the control's changes, so none of them is called.
        uncalled = condition == CONTROL and by_rate(table)
        part["sure"] = False if uncalled else called(table, column) != 0
        rated = by_rate(table) and not uncalled
        part["q"] = table["change_q"].map("{:.3f}".format) if rated else ""
        part["interval"] = [
            phrases.interval(low, high)
            for low, high in zip(table[f"{column}_low"], table[f"{column}_high"], strict=True)
        ]
        parts.append(part)
    data = pd.concat(parts, ignore_index=True)
    data = data[data["change"].notna()].reset_index(drop=True)
    most = max(float(data["change"].abs().max()), 0.01)
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
            scale=alt.Scale(scheme=theme.DIFFERENCES, domain=[-most, most], domainMid=0),
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
            *([alt.Tooltip("q:N", title="false-discovery rate")] if by_rate(table) else []),
        ],
    )
    layers = [cells, *([unseen_languages.key()] if not_seen else [])]
    if labelled(table):
        dark = f"abs(datum.change) > {0.6 * most}"
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


def projection_methods(results: Results) -> list[str]:
    """List the ways in which the space was projected; results of old know PCA alone."""
    projection = results.projection
    return list(dict.fromkeys(projection["method"])) if "method" in projection else [PCA]


def _projected(results: Results, method: str) -> pd.DataFrame:
    table = at_headline(results, results.projection)
    return table[table["method"] == method] if "method" in table else table


def embedding_map_table(results: Results, method: str = PCA) -> pd.DataFrame:
    """Give the rows that `embedding_map` draws.

    The first three targets, and at most 2,000 points, of the same sentences in each panel.
    """
    table = _projected(results, method)
    table = table[table["target"].isin(results.targets[:_MAX_MAPS])]
    groups = table.groupby(["target", "condition", "language"], sort=False).ngroups
    ids = sorted(set(table["id"]), key=str)
    kept = max(MAX_POINTS // max(groups, 1), 1)
    if kept < len(ids):
        ids = [ids[i] for i in np.linspace(0, len(ids) - 1, kept).round().astype(int)]
    return table[table["id"].isin(ids)].reset_index(drop=True)


def between_share(projection: pd.DataFrame) -> pd.DataFrame:
    """Compute the share of a picture's variance that lies between its languages.

    This is eta squared in two dimensions: the sum of squares of the languages' means about the
    common mean, weighted by their sentences, over the sum of squares of all points.

    Args:
        projection: as in `Results`.

    Returns:
        Columns target, top_k, condition and share (0..1; 0 where all points are one).
    """
    rows = []
    for keys, points in projection.groupby(["target", "top_k", "condition"], sort=False):
        xy = points[["x", "y"]] - points[["x", "y"]].mean()
        means = xy.groupby(points["language"]).transform("mean")
        total = float((xy**2).to_numpy().sum())
        share = float((means**2).to_numpy().sum()) / total if total > 0 else 0.0
        target, k, condition = keys
        rows.append({"target": target, "top_k": k, "condition": condition, "share": share})
    return pd.DataFrame(rows)


def embedding_map(results: Results, method: str = PCA) -> ChartType:
    """Draw each sentence's embedding as a point, a panel a target and condition.

    Points of languages that were not seen in pre-training are hollow.
    """
    projected = _projected(results, method)
    data = embedding_map_table(results, method)
    # The targets first: other charts give them the first looks.
    codes = list(dict.fromkeys([*results.targets, *data["language"]]))
    not_seen = unseen_languages.unseen(results, codes)
    label = unseen_languages.labels(codes, not_seen, language_label)
    languages = list(label.values())
    said = {"before": BEFORE, "control": CONTROL, "experts": EXPERTS}
    data = data.assign(
        language=data["language"].map(label),
        condition=data["condition"].map(said),
        name=[
            f"Steered towards {language_name(target)}, k = {k:,}"
            for target, k in zip(data["target"], data["top_k"], strict=True)
        ],
    )
    colours, shapes = looks(len(languages))
    inside = [
        "white" if code in not_seen else colour for code, colour in zip(codes, colours, strict=True)
    ]
    if not_seen:
        # An entry of the legend that no point has.
        languages, shapes = (
            [*languages, f"{unseen_languages.NOT_SEEN} (hollow)"],
            [*shapes, unseen_languages.DAGGER],
        )
        colours, inside = [*colours, theme.INK], [*inside, theme.INK]
    scale = alt.Scale(zero=False, nice=False, padding=12)
    bare = alt.Axis(labels=False, ticks=False, grid=False, domain=False)
    legend = alt.Legend(orient="top", columns=4)
    rows: list[alt.FacetChart] = []
    for name in dict.fromkeys(data["name"]):
        rows.append(
            alt.Chart(data[data["name"] == name])
            .mark_point(size=26, filled=False, strokeWidth=1.2, opacity=0.75)
            .encode(
                x=alt.X("x:Q", title=None, axis=bare, scale=scale),
                y=alt.Y("y:Q", title=name, axis=bare, scale=scale),
                color=alt.Color(
                    "language:N",
                    title=None,
                    scale=alt.Scale(domain=languages, range=colours),
                    legend=legend,
                ),
                fill=alt.Fill(
                    "language:N",
                    title=None,
                    scale=alt.Scale(domain=languages, range=inside),
                    legend=legend,
                ),
                shape=alt.Shape(
                    "language:N",
                    title=None,
                    scale=alt.Scale(domain=languages, range=shapes),
                    legend=legend,
                ),
                tooltip=["language:N", "id:N", "condition:N", "name:N"],
            )
            .properties(width=285, height=240)
            .facet(
                column=alt.Column(
                    "condition:N",
                    title=None,
                    sort=list(theme.CONDITIONS),
                    header=alt.Header(labels=not rows),
                ),
                spacing=12,
            )
        )
    # Distances mean something in a plane of the space, and only who is near does otherwise.
    title = (
        chart_titles.embedding_map_title(between_share(projected))
        if method == PCA
        else neighbours_title(own_language_share(projected))
    )
    return alt.vconcat(*rows, spacing=12).properties(title=theme.heading(title, 880))
