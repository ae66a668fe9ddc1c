"""Maps of the embedding space: a point a sentence, before and after."""

import numpy as np
import pandas as pd

from steer_plugin.analyses.measures.map_neighbours import own_language_share
from steer_plugin.analyses.report.figure import Figure, Section
from steer_plugin.analyses.report.forms import Panel, Scatter, Select
from steer_plugin.analyses.report.frames import CONDITIONS, footnote
from steer_plugin.analyses.report.numbers import names, percent, units_name, unseen
from steer_plugin.analyses.run.results import BEFORE, CONTROL, EXPERTS, Results, at_headline

PCA = "pca"
MOST_POINTS = 2_000
_MOST_MAPS = 3
_METHODS = {PCA: "principal components", "umap": "UMAP"}


def space_section(results: Results) -> Section:
    """Put the maps together; empty where nothing was projected."""
    drawn = () if results.projection.empty else (_map(results),)
    figures = tuple(figure for figure in drawn if len(figure.rows))
    told = results.provenance.get("projection", "")
    how = (
        "The panels of a target have the same axes. Principal components: "
        f"{told or 'of the embeddings before'}; distances mean something. UMAP: who is near is "
        "kept, and distances mean nothing. A picture of two dimensions shows only part of what "
        "retrieval uses."
    )
    return Section("space", "Space", figures, how=how)


def projection_methods(results: Results) -> list[str]:
    """List the ways in which the space was projected; results of old know PCA alone."""
    projection = results.projection
    return list(dict.fromkeys(projection["method"])) if "method" in projection else [PCA]


def _projected(results: Results, method: str) -> pd.DataFrame:
    table = at_headline(results, results.projection)
    return table[table["method"] == method] if "method" in table else table


def map_table(results: Results, method: str = PCA) -> pd.DataFrame:
    """Give the points of a map: of the first three targets, at most 2,000."""
    table = _projected(results, method)
    table = table[table["target"].isin(results.targets[:_MOST_MAPS])]
    groups = table.groupby(["target", "condition", "language"], sort=False).ngroups
    ids = sorted(set(table["id"]), key=str)
    n_ids = max(MOST_POINTS // max(groups, 1), 1)
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


def shares(table: pd.DataFrame, units: str = "units") -> str:
    """Print each condition's lowest and highest share: "64% before, 20 to 31% with experts"."""
    words = {"before": "before", "experts": "with experts", "control": f"with random {units}"}
    parts = []
    for condition, phrase in words.items():
        values = table.loc[table["condition"] == condition, "share"].dropna()
        if len(values):
            low, high = percent(float(values.min())), percent(float(values.max()))
            parts.append(f"{low if low == high else f'{low[:-1]} to {high}'} {phrase}")
    return ", ".join(parts)


def _map(results: Results) -> Figure:
    methods = projection_methods(results)
    tables = {
        "embedding_map" if method == PCA else f"embedding_map_{method}": map_table(results, method)
        for method in methods
    }
    table = pd.concat(
        [part.assign(method=method) for method, part in zip(methods, tables.values(), strict=True)],
        ignore_index=True,
    )
    # The targets first, so that they have the first looks.
    codes = list(dict.fromkeys([*results.targets, *table["language"]]))
    name, strange = names(results, codes), set(unseen(results, codes))
    order = {code: place for place, code in enumerate(codes)}
    table = table.sort_values("language", key=lambda c: c.map(order), kind="stable")
    rows = pd.DataFrame(
        {
            "series": table["language"].map(name),
            "panel": table["condition"].map(CONDITIONS),
            "towards": table["target"].map(name),
            "projection": [_METHODS.get(str(m), str(m)) for m in table["method"]],
            "x": table["x"],
            "y": table["y"],
            "id": table["id"].astype(str),
        }
    ).reset_index(drop=True)
    tooltip = {"language": "series", "sentence": "id"}
    if "text" in table:
        rows["text"] = table["text"].to_numpy()
        tooltip = {"sentence": "text", "id": "id", "language": "series"}
    if strange:
        rows["hollow"] = table["language"].isin(strange).to_numpy()
    panels = [c for c in (BEFORE, EXPERTS, CONTROL) if c in set(rows["panel"])]
    form = Scatter(
        tuple(Panel(condition, "") for condition in panels),
        tooltip,
        picked="Language",
        selects=Select.of(rows, towards="Steered towards", projection="Map"),
    )
    sentences, units = [], units_name(results)
    if PCA in methods:
        share = shares(between_share(_projected(results, PCA)), units)
        sentences.append(f"Spread between languages: {share}.")
    if "umap" in methods:
        share = shares(own_language_share(_projected(results, "umap")), units)
        sentences.append(f"UMAP, nearest point of the same language: {share}.")
    shown = table["id"].nunique()
    return Figure(
        "embedding_map",
        "Does steering bring the languages together?",
        f"{' '.join(sentences)} {shown} of {results.projection['id'].nunique()} sentences each."
        f"{footnote(rows, 'series')}",
        form,
        rows,
        tables,
    )
