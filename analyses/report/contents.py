"""The charts of a report in their order, each with the words beside it and the table behind it."""

import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report.charts import (
    condition_curves,
    condition_lanes,
    embedding_map,
    expert_heat_maps,
    retrieval_heat_map,
    score_curves,
)
from steer_plugin.analyses.report.charts.bitext_lanes import bitext_retrieval_exhibits
from steer_plugin.analyses.report.charts.condition_curves import layer_exhibits
from steer_plugin.analyses.report.charts.control_shares import control_exhibits
from steer_plugin.analyses.report.charts.correlation_lanes import correlation_exhibits
from steer_plugin.analyses.report.charts.expert_chance import selection_exhibits
from steer_plugin.analyses.report.charts.generation_curves import generation_exhibits
from steer_plugin.analyses.report.charts.method_lanes import method_exhibits
from steer_plugin.analyses.report.charts.mixed_lanes import mixed_retrieval_exhibits
from steer_plugin.analyses.report.charts.target_lanes import target_exhibits
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.words import chart_titles, phrases, summary, unit_choice
from steer_plugin.analyses.report.words.pair_verdicts import verdict_rule
from steer_plugin.analyses.run.results import FINAL, Results, layer_order
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.experts.selection import TOP


def charts(results: Results) -> dict[str, ChartType]:
    """Draw every chart that the results have figures for, by name, in the report's order."""
    return {exhibit.name: exhibit.chart for exhibit in exhibits(results)}


def exhibits(results: Results) -> list[Exhibit]:
    """Draw every chart that the results have figures for, with the words beside it."""
    content = []
    if not results.layers.empty:
        content.append(_experts_by_layer(results))
    if not results.curve.empty:
        content.append(_score_curves(results))
    if not expert_heat_maps.expert_overlap_table(results).empty:
        content.append(_expert_overlap(results))
    if not summary.at_last(results, "pair distance").empty:
        content.append(_distance_before_after(results))
    if not summary.at_last(results, "gap").empty:
        content.append(_gap_before_after(results))
    content.append(_retrieval_before_after(results))
    if not retrieval_heat_map.retrieval_matrix_table(results).empty:
        content.append(_retrieval_matrix(results))
    content += target_exhibits(results)
    content += correlation_exhibits(results)
    content += mixed_retrieval_exhibits(results)
    content += bitext_retrieval_exhibits(results)
    content += selection_exhibits(results)
    if len(layer_order(results.retrieval)) > 1:
        content.append(_by_layer(results))
    if not results.geometry.empty:
        content += layer_exhibits(results)
    if several_ks(results):
        content.append(_effect_of_k(results))
    if not results.projection.empty:
        methods = embedding_map.projection_methods(results)
        content += [_embedding_map(results, method) for method in methods]
    choice = unit_choice.choice_of(results)
    if not results.controls.empty:
        content += control_exhibits(results.controls, choice)
    if not results.methods.empty:
        content += method_exhibits(
            results.methods, choice, plans=results.provenance.get("plans", "")
        )
    if not results.generation.empty:
        content += generation_exhibits(results.generation, choice)
    return content


def headline_phrase(results: Results) -> str:
    """Say which k each target is reported at."""
    ks = results.headline()
    each = unit_choice.in_each_layer(unit_choice.choice_of(results))
    if len(set(ks.values())) == 1:
        return f"k = {next(iter(ks.values())):,}{each}"
    return "k = " + ", ".join(f"{k:,} ({language_name(name)})" for name, k in ks.items()) + each


def several_ks(results: Results) -> bool:
    """Say whether more than one k was run for some target."""
    return bool((results.retrieval.groupby("target")["top_k"].nunique() > 1).any())


def controlled(results: Results) -> bool:
    """Say whether a random control was run."""
    return bool((results.retrieval["n_controls"] > 0).any())


def _where(results: Results) -> str:
    layer = summary.reading_layer(results)
    return "the final norm's output" if layer == FINAL else f"block {layer}'s output"


def _measured(results: Results) -> str:
    sentences = results.provenance.get("judge_sentences")
    return f"on {sentences} held-out sentences a language" if sentences else "on held-out sentences"


def _controls(results: Results) -> str:
    if not controlled(results):
        return "No random control was run."
    return (
        "Random neurons: as many, in the same layers, with the experts' values; "
        f"{phrases.seeds_phrase(results)}."
    )


def _interval(results: Results) -> str:
    return (
        f"the value before plus the 95% interval of the change (over "
        f"{phrases.sampled_units(results)}, not corrected for the number of comparisons)"
    )


def _lines(results: Results) -> str:
    seeds = "; pale bars: lowest to highest seed" if controlled(results) else ""
    return f"Lines: {_interval(results)}{seeds}. {_controls(results)}"


def _cut(table: pd.DataFrame, whole: pd.DataFrame, file: str) -> str:
    n_shown, n_languages = table["concept"].nunique(), whole["concept"].nunique()
    if n_shown == n_languages:
        return ""
    return f" Shown: {n_shown} of {n_languages} languages; {file}.parquet has all."


def _experts_by_layer(results: Results) -> Exhibit:
    choice = unit_choice.choice_of(results)
    site = results.provenance.get("site", "the chosen site")
    table = expert_heat_maps.experts_by_layer_table(results)
    short = chart_titles.short_of_experts(table)
    return Exhibit(
        name="experts_by_layer",
        heading="Where the experts sit",
        aid="The darker a cell, the more of that language's experts are in that layer.",
        caption=(
            f"Experts are {unit_choice.ranking(choice, chart_titles.score_name(results), site)}. "
            "Figures are "
            "numbers of units; an empty cell has none. The title averages over the languages."
            f"{f' {short}' if short else ''}{_cut(table, results.layers, 'layers')}"
        ),
        chart=expert_heat_maps.experts_by_layer(results),
        table=table,
    )


def _score_curves(results: Results) -> Exhibit:
    score = chart_titles.score_name(results)
    table = score_curves.score_curves_table(results)
    chance = " 0.5 is chance." if score == "AUROC" else ""
    source = results.provenance.get("source", "not given")
    others = "the others" if source == "not given" else source
    ranked = unit_choice.choice_of(results) == TOP
    marks = (
        "Dotted lines: the values of k that were steered."
        if ranked
        else "What was steered is not counted along these ranks, so no k is drawn."
    )
    return Exhibit(
        name="score_curves",
        heading="How good the experts are",
        aid=(
            "Units are ranked on one split and scored again on sentences they were not chosen by; "
            "where the lines part, the first score was partly luck."
        ),
        caption=(
            f"{score} of each unit as a detector of its language against {others}.{chance} "
            f"{marks}{_cut(table, results.curve, 'curve')}"
        ),
        chart=score_curves.score_curves(results),
        table=table,
    )


def _expert_overlap(results: Results) -> Exhibit:
    table = expert_heat_maps.expert_overlap_table(results)
    choice = unit_choice.choice_of(results)
    return Exhibit(
        name="expert_overlap",
        heading="Which experts languages share",
        aid=(
            "Each cell counts the units that are among the k "
            f"{unit_choice.end_phrase(choice)} of both languages{unit_choice.k_of_layers(choice)}."
        ),
        caption=(
            f"The share is of {'all that are chosen' if choice.per_layer else 'k'}. A language's "
            "overlap with itself is left blank."
            f"{_cut(table, results.overlap, 'overlap')}"
        ),
        chart=expert_heat_maps.expert_overlap(results),
        table=table,
    )


def _distance_before_after(results: Results) -> Exhibit:
    return Exhibit(
        name="distance_before_after",
        heading="Distance between languages, before and after",
        aid=(
            "A point left of the grey one is nearer than before; what random neurons do as well is "
            "not the experts' doing, and what is gone when the common mean is removed was a shift "
            "that all sentences share."
        ),
        caption=(
            f"Mean cosine distance {_measured(results)}, at {_where(results)}, "
            f"{headline_phrase(results)}. {_lines(results)}"
        ),
        chart=condition_lanes.distance_before_after(results),
        table=condition_lanes.distance_before_after_table(results),
    )


def _gap_before_after(results: Results) -> Exhibit:
    return Exhibit(
        name="gap_before_after",
        heading="Do translations come nearer than other sentences?",
        aid=(
            "The gap is the mean cosine of translations minus that of all other pairs of "
            "sentences; at 0 a translation is no nearer than any other sentence."
        ),
        caption=(
            f"Over all pairs of languages, {_measured(results)}, at {_where(results)}, "
            f"{headline_phrase(results)}. {_lines(results)}"
        ),
        chart=condition_lanes.gap_before_after(results),
        table=condition_lanes.gap_before_after_table(results),
    )


def _retrieval_before_after(results: Results) -> Exhibit:
    sentences = results.provenance.get("judge_sentences", "")
    chance = f" Dotted line: chance, 1 in {sentences}." if sentences.isdigit() else ""
    return Exhibit(
        name="retrieval_before_after",
        heading="Retrieval, before and after",
        aid=(
            "The share of sentences whose nearest neighbour in the other language is their "
            "translation; the grey points of the lower panels are what removing each language's "
            "mean gives without any steering."
        ),
        caption=(
            f"Top-1 by cosine {_measured(results)}, ties counted as misses, at {_where(results)}, "
            f"{headline_phrase(results)}. {_lines(results)}{chance}"
        ),
        chart=condition_lanes.retrieval_before_after(results),
        table=condition_lanes.retrieval_before_after_table(results),
    )


def _retrieval_matrix(results: Results) -> Exhibit:
    table = retrieval_heat_map.retrieval_matrix_table(results)
    n_shown, n_targets = table["query"].nunique(), table["target"].nunique()
    languages = set(results.retrieval["query"]) - {"all"}
    bold = "; their figures are bold" if retrieval_heat_map.has_cell_labels(table) else ""
    left_out = ""
    if n_shown < len(languages) or n_targets < len(results.targets):
        left_out = (
            f" Shown: {n_shown} of {len(languages)} languages, {n_targets} of "
            f"{len(results.targets)} targets; the table retrieval.parquet has all."
        )
    return Exhibit(
        name="retrieval_matrix",
        heading="Every pair of languages, after minus before",
        aid=(
            "Green pairs find more translations than before, purple pairs fewer"
            + ("; on the right, what random neurons do." if controlled(results) else ".")
        ),
        caption=(
            f"Change of top-1 {_measured(results)}, at {_where(results)}. The title counts "
            f"the pairs that are called changed {verdict_rule(table)}{bold}.{left_out}"
        ),
        chart=retrieval_heat_map.retrieval_matrix(results),
        table=table,
    )


def _by_layer(results: Results) -> Exhibit:
    return Exhibit(
        name="by_layer",
        heading="Layer by layer",
        aid=(
            "Where blue is above grey in the top row, steering helps retrieval from that layer; "
            "below grey, it harms it."
        ),
        caption=(
            f"Means over all pairs of languages {_measured(results)}, raw embeddings, "
            f"{headline_phrase(results)}; “final” is after the final norm. Bands: "
            f"{_interval(results)}. {_controls(results)}"
        ),
        chart=condition_curves.by_layer(results),
        table=condition_curves.by_layer_table(results),
    )


def _effect_of_k(results: Results) -> Exhibit:
    drawn = phrases.several_draws(results.retrieval)
    against = "one more draw of random neurons" if drawn else "before"
    return Exhibit(
        name="effect_of_k",
        heading="The number of neurons",
        aid=(
            "What counts is how far blue is from orange at the same k."
            if controlled(results)
            else "What counts is how far blue is from grey."
        ),
        caption=(
            f"Means over all pairs of languages {_measured(results)}, raw embeddings, at "
            f"{_where(results)}. Bands: {_interval(results)}. {_controls(results)} The title goes "
            f"by the 95% interval of experts minus {against}."
        ),
        chart=condition_curves.effect_of_k(results),
        table=condition_curves.effect_of_k_table(results),
    )


_MAPS = {embedding_map.PCA: "principal components", "umap": "UMAP"}
_TITLED = {
    embedding_map.PCA: (
        "The title gives the share of the variance of all points in a panel that lies between the "
        "languages' means."
    ),
    "umap": (
        "Who is near is kept and distances mean nothing; the title counts the points whose nearest "
        "one is of their own language."
    ),
}


def _embedding_map(results: Results, method: str) -> Exhibit:
    projection = results.provenance.get("projection")
    table = embedding_map.embedding_map_table(results, method)
    n_shown, n_sentences = table["id"].nunique(), results.projection["id"].nunique()
    targets = results.projection["target"].nunique()
    maps = table["target"].nunique()
    left_out = f"; {maps} of {targets} targets" if maps < targets else ""
    return Exhibit(
        name="embedding_map" if method == embedding_map.PCA else f"embedding_map_{method}",
        heading=f"The embedding space, before and after: {_MAPS[method]}",
        aid=(
            "Each point is a sentence; the panels of a row have the same axes, so a cloud that "
            "shrinks or moves did so in the space."
        ),
        caption=(
            f"{n_shown} of {n_sentences} sentences a language, at {_where(results)}"
            f"{f'; {projection}' if projection else ''}{left_out}. {_TITLED[method]} A picture of "
            "two dimensions shows only part of what retrieval uses."
        ),
        chart=embedding_map.embedding_map(results, method),
        table=table,
    )
