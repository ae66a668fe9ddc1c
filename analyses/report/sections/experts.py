"""The experts: where they sit, how good they are, whether they are luck, and which are shared."""

from collections.abc import Iterable
from operator import attrgetter

import numpy as np
import pandas as pd

from steer_plugin.activations.sites import unit_label
from steer_plugin.analyses.report.figure import Drawing, Section, chart
from steer_plugin.analyses.report.forms import HeatMap, Lanes, Lines, Panel, Select
from steer_plugin.analyses.report.frames import codes_as_names, footnote
from steer_plugin.analyses.report.numbers import (
    betweens,
    choice_of,
    chosen_units,
    counts,
    found_elsewhere,
    k_title,
    listed,
    number,
    percent,
    score_name,
    span,
)
from steer_plugin.analyses.run.results import Results, middle
from steer_plugin.analyses.statistics.figure_rows import records
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.experts.selection import TOP
from steer_plugin.settings.probe import ProbeSettings

_MOST = 30
_ROWS = 2_500
FIND, JUDGE = "sentences that chose it", "held-out sentences"


def experts_section(results: Results) -> Section:
    """Put together what the run has on its experts."""
    return Section.of(
        results, "experts", "Experts", (_by_layer, _curves, _chance, _stability, _overlap), _how
    )


def _how(results: Results) -> str:
    choice = choice_of(results)
    site = results.provenance.get("site", "the chosen site")
    others = results.provenance.get("source", "the other labels")
    how = (
        f"An expert is one of {chosen_units(choice)} by {score_name(results)} at {site}, as a "
        "detector of its language against "
        f"{'the other labels' if others == 'not given' else others}. Units are ranked on one half "
        "of the sentences and scored again on the other, which did not choose them."
    )
    if base := found_elsewhere(results):
        how += f" They were ranked in {base}, and scored again in {results.provenance['model']}."
    if not results.null.empty:
        how += (
            f" Chance: {counts(results.null['permutations'])} shufflings of the languages within "
            "each parallel sentence; the bar is what the best of all units exceeds in 5% of them, "
            "and no p can be below 1 / (1 + shufflings)."
        )
    if not results.stability.empty:
        how += (
            " Stability: Jaccard's index, shared units over units in either, of the choice with "
            f"that from {counts(results.stability['resamples'])} bootstrap resamples of the "
            "sentences; the interval is the middle 95% of them."
        )
    return how


def _first_concepts(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Keep at most 30 languages, those that were steered towards first."""
    concepts = list(dict.fromkeys(table["concept"]))
    first = [concept for concept in results.targets if concept in concepts]
    return table[table["concept"].isin(list(dict.fromkeys(first + concepts))[:_MOST])]


def _at_shown_ks(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Keep at most 30 languages, and every k where the table stays readable, else one."""
    kept = _first_concepts(results, table)
    if kept["concept"].nunique() * kept["top_k"].nunique() > _MOST:
        kept = kept[kept["top_k"] == _shown_k(results, kept)]
    return kept.sort_values("top_k", kind="stable")


def _shown_k(results: Results, table: pd.DataFrame) -> int:
    """Give the k that a table of all languages is read at: the first target's, if it is there."""
    ks = {int(k) for k in table["top_k"]}
    headline = next(iter(results.headline().values()))
    return headline if headline in ks else middle(ks)


def _layers_table(results: Results) -> pd.DataFrame:
    return _at_shown_ks(results, results.layers)


def _null_table(results: Results) -> pd.DataFrame:
    return results.null.sort_values("best", ascending=False, kind="stable")


def _overlap_table(results: Results) -> pd.DataFrame:
    pairs = results.overlap[results.overlap["concept"] != results.overlap["other"]]
    kept = _at_shown_ks(results, pairs)
    return kept[kept["other"].isin(set(kept["concept"]))]


def _curve_table(results: Results) -> pd.DataFrame:
    """Give the rows of the score curves: at most 2,500, thinned evenly along the ranks."""
    curve = _first_concepts(results, results.curve)
    if curve.empty:
        return curve
    ranks = np.array(sorted(set(curve["rank"])))
    most = _ROWS // curve["concept"].nunique()
    if len(ranks) > most:
        ranks = ranks[np.unique(np.linspace(0, len(ranks) - 1, most).round().astype(int))]
    return curve[curve["rank"].isin(ranks)]


def _ks_first(results: Results, table: pd.DataFrame) -> tuple[Select, ...]:
    """Choose k, the one that is read first at the head."""
    shown = _shown_k(results, table)
    ks = [f"{k:,}" for k in sorted({int(k) for k in table["top_k"]}, key=lambda k: (k != shown, k))]
    return (Select("k", "k", tuple(ks)),) if len(ks) > 1 else ()


@chart("experts_by_layer", "In which layers do the experts sit?", _layers_table)
def _by_layer(results: Results, table: pd.DataFrame) -> Drawing:
    rows = codes_as_names(results, table, "concept").assign(k=_thousands(table["top_k"]))
    rows = rows.assign(
        x=table["layer"].astype(int),
        y=rows["concept"],
        value=table["share"],
        cell=[f"{n}" if n else "" for n in table["experts"]],
        part=[percent(share) for share in table["share"]],
    )
    form = HeatMap(
        "Block",
        "",
        "Share of a language's experts",
        {"language": "concept", "k": "k", "block": "x", "experts": "experts", "share": "part"},
        selects=_ks_first(results, table),
    )
    caption = f"{_half(results, table)} The figure in a cell is a number of units."
    return caption + _short_of_experts(table) + footnote(rows, "concept"), form, rows


def _half(results: Results, table: pd.DataFrame) -> str:
    shares = table[table["top_k"] == _shown_k(results, table)]
    k = int(shares["top_k"].iloc[0])
    if choice_of(results).per_layer:
        return f"By choice, {k:,} of a language's experts sit in each layer."
    mean = shares.groupby("layer")["share"].mean().sort_values(ascending=False, kind="stable")
    needed = int((mean.cumsum() < 0.5 * mean.sum()).sum()) + 1
    layers = sorted(int(layer) for layer in mean.index[:needed])
    where = f"block{'s' if needed > 1 else ''} {listed(map(str, layers))}"
    return f"Half of a language's {k:,} experts sit in {needed} of {len(mean)} layers: {where}."


def _short_of_experts(layers: pd.DataFrame) -> str:
    """Say for how many languages there are fewer experts than were asked for; or ""."""
    sums = layers.groupby(["top_k", "concept"], sort=False)["experts"].sum().reset_index()
    most = sums.groupby("top_k")["experts"].transform("max")
    few = sums[sums["experts"] < most]
    if few.empty:
        return ""
    least = records(few.sort_values("experts"))[0]
    return (
        f" Not all have so many: {least['experts']:,} of {language_name(least['concept'])} at "
        f"k = {least['top_k']:,}" + (f" and {len(few) - 1} more." if len(few) > 1 else ".")
    )


@chart("score_curves", "How good are the experts?", _curve_table)
def _curves(results: Results, table: pd.DataFrame) -> Drawing:
    score = score_name(results)
    site = results.provenance.get("site", ProbeSettings.site)
    # By code, since a name may have a dagger.
    codes = dict.fromkeys([*results.targets, *table["concept"]])
    place = {code: number for number, code in enumerate(codes)}
    ordered = table.sort_values("concept", key=lambda c: c.map(place), kind="stable")
    named = codes_as_names(results, ordered, "concept")
    parts = [
        named.assign(series=label, value=named[column], x=named["rank"])
        for column, label in (("judge_score", JUDGE), ("find_score", FIND))
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows.assign(
        panel="",
        place=_thousands(rows["rank"]),
        unit=[
            unit_label(site, int(layer), int(index))
            for layer, index in zip(rows["layer"], rows["index"], strict=True)
        ],
        both=[
            f"{number(a, digits=4)}, {number(b, digits=4)}"
            for a, b in zip(rows["find_score"], rows["judge_score"], strict=True)
        ],
    )
    tooltip = {
        "language": "concept",
        "rank": "place",
        "unit": "unit",
        "scores, found and held out": "both",
    }
    if {"mean", "off_mean"} <= set(rows):
        rows["values"] = [
            f"{number(a, digits=3)}, {number(b, digits=3)}"
            for a, b in zip(rows["mean"], rows["off_mean"], strict=True)
        ]
        tooltip["mean response in the language, in others"] = "values"
    ranked = choice_of(results) == TOP
    ks = sorted({int(k) for k in results.retrieval["top_k"]}) if ranked else []
    form = Lines(
        (Panel("", score, format=".2f", marks=(0.5,) if score == "AUROC" else ()),),
        "Rank of the unit (log)",
        tooltip,
        at=tuple(ks),
        selects=Select.of(rows, concept="Language"),
        columns=1,
    )
    best = results.curve.loc[results.curve.groupby("concept")["rank"].idxmin(), "judge_score"]
    dotted = (
        f" Dotted: k = {counts(ks)}{', and chance 0.5' if score == 'AUROC' else ''}." if ks else ""
    )
    caption = (
        f"The best unit of each language reaches {score} {span(best)} on held-out sentences; where "
        f"the lines part, the first score was partly luck.{dotted}"
    )
    return caption, form, rows


def _thousands(numbers: Iterable[int]) -> list[str]:
    return [f"{int(n):,}" for n in numbers]


@chart("expert_overlap", "Which experts do languages share?", _overlap_table)
def _overlap(results: Results, table: pd.DataFrame) -> Drawing:
    named = codes_as_names(results, table, "concept", "other")
    rows = named.assign(
        k=_thousands(table["top_k"]),
        x=named["other"],
        y=named["concept"],
        value=table["share"],
        cell=table["shared"].astype(str),
        part=[percent(share) for share in table["share"]],
    )
    most = records(
        named[named["top_k"] == _shown_k(results, table)].sort_values(
            "shared", ascending=False, kind="stable"
        )
    )[0]
    form = HeatMap(
        "",
        "",
        "Share of the experts",
        {"language": "y", "and": "x", "k": "k", "shared experts": "cell", "share": "part"},
        selects=_ks_first(results, table),
    )
    caption = (
        f"Of {most['top_k']:,} experts, two languages share at most {most['shared']} "
        f"({percent(most['share'])}): {most['concept']} and {most['other']}."
        f"{footnote(rows, 'x')}"
    )
    return caption, form, rows


@chart("experts_against_chance", "Are the experts more than luck?", _null_table)
def _chance(results: Results, table: pd.DataFrame) -> Drawing:
    named = codes_as_names(results, table, "concept")
    score = score_name(results)
    texts = {"lane": named["concept"], "panel": "", "slot": "", "best_text": _digits(table["best"])}
    base = pd.DataFrame(texts).assign(
        bar=_digits(table["null_high"]),
        p_text=[f"{p:.3g}" for p in table["p"]],
        beyond=_thousands(table["above"]),
    )
    rows = pd.concat(
        [
            base.assign(series=name, value=table[column])
            for name, column in (
                ("Best unit", "best"),
                ("Best of all units by chance (95%)", "null_high"),
            )
        ],
        ignore_index=True,
    )
    tooltip = {"language": "lane", "best unit": "best_text", "95% by chance": "bar", "p": "p_text"}
    beyond = table[table["best"] > table["null_high"]]
    caption = (
        f"The best unit scores beyond chance for {len(beyond)} of {len(table)} languages ({score} "
        f"{span(table['best'])} against {span(table['null_high'])}).{_short_of_units(results)}"
        f"{footnote(rows, 'lane')}"
    )
    tooltip["units beyond it"] = "beyond"
    return caption, Lanes((Panel("", score),), tooltip, columns=1), rows


def _digits(values: pd.Series) -> list[str]:
    return [number(value, digits=4) for value in values]


def _short_of_units(results: Results) -> str:
    """Say where fewer than k units score beyond chance."""
    if choice_of(results) != TOP:  # the bar is for the best of all units
        return ""
    steered = results.null[results.null["concept"].isin(results.targets)]
    ks = sorted({int(k) for k in results.retrieval["top_k"]})
    short = [
        f"k = {k:,} for {listed(language_name(code) for code in few)}"
        for k in ks
        if len(few := steered.loc[steered["above"] < k, "concept"])
    ]
    return f" Fewer than k units lie beyond it at {listed(short)}." if short else ""


@chart(
    "expert_stability", "Would other sentences choose the same experts?", attrgetter("stability")
)
def _stability(results: Results, table: pd.DataFrame) -> Drawing:
    named = codes_as_names(results, table, "concept")
    rows = named.assign(
        series="Jaccard's index",
        panel="",
        x=table["top_k"],
        value=table["jaccard"],
        low=table["jaccard_low"],
        high=table["jaccard_high"],
        k=_thousands(table["top_k"]),
        text=betweens(table, "jaccard", signed=False),
    )
    k = middle({int(k) for k in table["top_k"]})
    form = Lines(
        (Panel("", "Jaccard's index", within=(0.0, 1.0), marks=(0.0, 1.0)),),
        k_title(choice_of(results)),
        {"language": "concept", "k": "k", "index (middle 95% of resamples)": "text"},
        selects=Select.of(rows, concept="Language"),
        columns=1,
    )
    caption = (
        f"At k = {k:,} the choice overlaps with that from resampled sentences by "
        f"{span(table.loc[table['top_k'] == k, 'jaccard'])} on average; 1 is the same units, a "
        "third is half of them."
    )
    return caption, form, rows
