"""Maps of the embedding space: a picture of the sentences, before and after."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.measures.map_neighbours import own_language_share
from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.marks import unseen_languages
from steer_plugin.analyses.report.theme import looks
from steer_plugin.analyses.report.words import chart_titles
from steer_plugin.analyses.report.words.chart_titles import neighbours_title
from steer_plugin.analyses.run.results import BEFORE, CONTROL, EXPERTS, Results, at_headline
from steer_plugin.corpora.language_codes import language_label, language_name

PCA = "pca"
MAX_POINTS = 2_000
_MAX_MAPS = 3


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
    n_ids = max(MAX_POINTS // max(groups, 1), 1)
    if n_ids < len(ids):
        ids = [ids[i] for i in np.linspace(0, len(ids) - 1, n_ids).round().astype(int)]
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
    condition_names = {"before": BEFORE, "control": CONTROL, "experts": EXPERTS}
    data = data.assign(
        language=data["language"].map(label),
        condition=data["condition"].map(condition_names),
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
