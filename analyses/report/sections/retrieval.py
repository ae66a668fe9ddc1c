"""Retrieval before and after, pair by pair, with one side steered, and in independent sets."""

import numpy as np
import pandas as pd

from steer_plugin.analyses.measures.mixed_retrieval import CORPUS, MIXED
from steer_plugin.analyses.report.figure import Drawing, Section, chart
from steer_plugin.analyses.report.forms import HeatMap, Lanes, Panel, Select
from steer_plugin.analyses.report.frames import (
    TOOLTIP,
    codes_as_names,
    condition_lanes,
    conditions,
    footnote,
    in_panels,
)
from steer_plugin.analyses.report.numbers import (
    CENTRINGS,
    betweens,
    dataset_name,
    names,
    number,
    span,
    units_name,
    unseen,
)
from steer_plugin.analyses.report.verdicts import (
    at_last,
    draw_note,
    moves,
    pair_rule,
    pair_verdicts,
    reading_layer,
)
from steer_plugin.analyses.run.results import CONTROL, EXPERTS, Results, at_headline, layer_phrase
from steer_plugin.analyses.statistics.figure_rows import between_languages, from_target, over_pairs

ACCURACY = "Top-1 accuracy (0 to 1)"
_MOST_LANGUAGES, _MOST_PAIRS = 34, 2_400
_SIDES = ("one model on both sides", "unsteered queries")


def retrieval_section(results: Results) -> Section:
    """Put together what was measured of retrieval at the headline k and the last layer."""
    return Section.of(
        results,
        "retrieval",
        "Retrieval",
        (_before_after, _matrix, _from_targets, _mixed, _bitexts),
        _how,
    )


def _how(results: Results) -> str:
    return (
        "Top-1: the share of sentences whose nearest neighbour by cosine in the other language is "
        "their translation. A tie is a miss; a candidate with the same text counts as the "
        f"translation. Single pairs are called changed {pair_rule(_pairs_table(results))}."
    )


def _chance(results: Results) -> tuple[float, ...]:
    sentences = results.provenance.get("judge_sentences", "")
    return (1 / int(sentences),) if sentences.isdigit() else ()


def _before_after_table(results: Results) -> pd.DataFrame:
    layer = reading_layer(results)
    table = at_headline(results, results.retrieval)
    parts = []
    for centring in ("raw", "language"):
        version = CENTRINGS[centring]
        parts += [
            (f"All ordered pairs, {version}", over_pairs(table, "top-1", centring, layer)),
            (f"Target to the others, {version}", from_target(table, "top-1", centring, layer)),
        ]
    return in_panels(parts)


@chart("retrieval_before_after", "Does retrieval change?", _before_after_table)
def _before_after(results: Results, table: pd.DataFrame) -> Drawing:
    top_1 = at_last(results, results.retrieval, "top-1")
    chance = _chance(results)
    # In full a panel's title has no room in a paper's column.
    shown = table.assign(panel=table["panel"].str.replace("language means", "means"))
    dotted = f" Dotted: chance, {number(chance[0], digits=3)}." if chance else ""
    caption = (
        f"{_levels(results, top_1)}{draw_note(top_1)}.{dotted} With means removed, before is what "
        "centring alone gives."
    )
    return caption, condition_lanes(shown, ACCURACY, marks=chance), conditions(results, shown)


def _levels(results: Results, rows: pd.DataFrame) -> str:
    name = names(results, results.targets)
    if len(rows) > 3:
        return (
            f"Top-1 over all pairs: {span(rows['pre'])} before, {span(rows['post'])} with experts"
        )
    levels = ", ".join(
        f"{name[target]} {number(pre)} to {number(post)}"
        for target, pre, post in zip(rows["target"], rows["pre"], rows["post"], strict=True)
    )
    return f"Top-1 over all pairs: {levels}"


def _pairs_table(results: Results) -> pd.DataFrame:
    """Give single pairs: of at most 34 languages, and of the targets that fit."""
    pairs = between_languages(
        at_headline(results, results.retrieval), "top-1", "raw", reading_layer(results)
    )
    languages = list(dict.fromkeys([*results.targets, *pairs["query"]]))
    if len(languages) > _MOST_LANGUAGES:
        kept = languages[:_MOST_LANGUAGES]
        pairs = pairs[pairs["query"].isin(kept) & pairs["candidates"].isin(kept)]
    sizes = pairs.groupby("target", sort=False).size().cumsum()
    fitting = sizes.index[(sizes <= _MOST_PAIRS) | (np.arange(len(sizes)) == 0)]
    return pairs[pairs["target"].isin(fitting)]


@chart("retrieval_matrix", "Which pairs of languages gain, which lose?", _pairs_table)
def _matrix(results: Results, table: pd.DataFrame) -> Drawing:
    named = codes_as_names(results, table, "target", "query", "candidates")
    parts = []
    for condition, column in ((EXPERTS, "change"), (CONTROL, "control_change")):
        rated = f"{column}_q" in table
        uncalled = condition == CONTROL and "change_q" in table
        parts.append(
            named.assign(
                condition=condition,
                value=table[column],
                sure=False if uncalled else pair_verdicts(table, column) != 0,
                text=betweens(table, column, digits=2),
                q=[f"{q:.3f}" for q in table[f"{column}_q"]] if rated else "",
            )
        )
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[rows["value"].notna()]
    few = named["query"].nunique() <= 10
    rows = rows.assign(
        x=rows["candidates"],
        y=rows["query"],
        cell=[number(value, signed=True) for value in rows["value"]] if few else "",
        before=[number(value, digits=3) for value in rows["pre"]],
    )
    form = HeatMap(
        "Candidates",
        "Query",
        "Change of top-1",
        {
            "query": "y",
            "candidates": "x",
            "before": "before",
            "change (95% interval)": "text",
            "false-discovery rate": "q",
        },
        format="+.2f",
        differences=True,
        selects=Select.of(rows, target="Steered towards", condition="With"),
    )
    caption = f"{moves(table, pairs=True)}{' (bold)' if few else ''}.{_left_out(results, table)}"
    return caption + footnote(rows, "x"), form, rows


def _left_out(results: Results, table: pd.DataFrame) -> str:
    shown, every = table["query"].nunique(), set(results.retrieval["query"]) - {"all"}
    targets = table["target"].nunique()
    if shown == len(every) and targets == len(results.targets):
        return ""
    return (
        f" Shown: {shown} of {len(every)} languages, {targets} of {len(results.targets)} targets."
    )


def _from_targets_table(results: Results) -> pd.DataFrame:
    """Give the pairs whose query is the target, the best language before first."""
    pairs = between_languages(
        at_headline(results, results.retrieval), "top-1", "raw", reading_layer(results)
    )
    pairs = pairs[pairs["query"] == pairs["target"]]
    place = {target: number for number, target in enumerate(results.targets)}
    order = pairs.assign(place=pairs["target"].map(place), down=-pairs["pre"])
    order = order.sort_values(["place", "down"], kind="stable")
    return pairs.loc[order.index]


@chart(
    "from_targets", "In which languages are the target's translations found?", _from_targets_table
)
def _from_targets(results: Results, table: pd.DataFrame) -> Drawing:
    name = names(results, table["candidates"])
    rows = conditions(results, table.assign(called=pair_verdicts(table) != 0))
    rows = rows.drop(columns=["least", "most"])  # so many bars would hide the marks
    bold = [" *" if called else "" for called in rows["called"]]
    rows = rows.assign(
        towards=rows["lane"],
        lane=[name[code] + star for code, star in zip(rows["candidates"], bold, strict=True)],
        panel="",
        slot="",
        low=rows["low"].where(rows["series"] == EXPERTS),
        high=rows["high"].where(rows["series"] == EXPERTS),
    )
    strange = unseen(results, dict.fromkeys(table["candidates"]))
    new = f" Of unseen languages: {moves(table[table['candidates'].isin(strange)], pairs=True)}."
    form = Lanes(
        (Panel("", ACCURACY),),
        {"target": "towards", "searched": "lane", **dict(list(TOOLTIP.items())[1:])},
        selects=Select.of(rows, towards="From the target"),
        columns=1,
    )
    caption = (
        f"{moves(table, pairs=True)} (*).{new if strange else ''} Languages stand in the order of "
        f"the accuracy before.{footnote(rows, 'lane')}"
    )
    return caption, form, rows


def _mixed_parts(results: Results) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Give each search with its rows of one model, and of unsteered queries."""
    layer = reading_layer(results)
    mixed = at_headline(results, results.mixed)
    if mixed.empty:
        return {}
    mixed = mixed[(mixed["layer"] == layer) & (mixed["centring"] == "raw")]
    parts = {}
    for dataset, rows in mixed[mixed["dataset"] != CORPUS].groupby("dataset", sort=False):
        same, mix = (rows[rows["measure"] == name] for name in ("top-1", f"{MIXED}top-1"))
        parts[f"{dataset_name(str(dataset))} in the target language"] = same, mix
    retrieval, across = at_headline(results, results.retrieval), mixed[mixed["dataset"] == CORPUS]
    for search, select in (
        ("All pairs of languages", over_pairs),
        ("From the target to the others", from_target),
    ):
        parts[search] = (
            select(retrieval, "top-1", "raw", layer),
            select(across, f"{MIXED}top-1", "raw", layer),
        )
    return {search: (same, mix) for search, (same, mix) in parts.items() if len(same) and len(mix)}


def _mixed_table(results: Results) -> pd.DataFrame:
    """Give the rows of mixed retrieval: of each search both kinds, beside each other."""
    return in_panels(
        [
            (f"{search}: {side}", rows)
            for search, figures in _mixed_parts(results).items()
            for side, rows in zip(_SIDES, figures, strict=True)
        ]
    )


@chart("mixed_retrieval", "Do the steered and the unsteered model share a space?", _mixed_table)
def _mixed(results: Results, table: pd.DataFrame) -> Drawing:
    rows = conditions(results, table)
    split = rows["panel"].str.partition(": ")
    rows = rows.assign(search=split[0], panel=split[2].str.capitalize())
    search, (same, mix) = next(iter(_mixed_parts(results).items()))
    caption = (
        f"{search}: {moves(same)} with one model; {moves(mix)} with unsteered queries. What falls "
        "on the right alone moved away from the unsteered model."
    )
    selects = Select.of(rows, search="Search")
    return caption, condition_lanes(rows, ACCURACY, selects=selects), rows


def _bitext_table(results: Results) -> pd.DataFrame:
    """Give the rows of independent sets: top-1, from the target and into it."""
    rows = at_headline(results, results.bitexts)
    if rows.empty:
        return rows
    rows = rows[(rows["measure"] == "top-1") & (rows["centring"] == "raw")]
    return in_panels(
        [
            (f"{dataset_name(str(dataset))}, {way}", part[part[side] == part["target"]])
            for dataset, part in rows.groupby("dataset", sort=False)
            for way, side in (("from the target", "query"), ("into the target", "candidates"))
        ]
    )


@chart("bitext_retrieval", "And in sentences that nothing else here uses?", _bitext_table)
def _bitexts(results: Results, table: pd.DataFrame) -> Drawing:
    rows = conditions(results, table)
    other = rows["candidates"].where(rows["query"] == rows["target"], rows["query"])
    name = names(results, [*rows["target"], *other])
    rows = rows.assign(
        lane=[f"{name[a]} and {name[b]}" for a, b in zip(rows["target"], other, strict=True)]
    )
    counted = "; ".join(
        f"{dataset_name(str(dataset))} {int((part['change_low'] > 0).sum())} of {len(part)} up, "
        f"{int((part['change_high'] < 0).sum())} down"
        for dataset, part in table.groupby("dataset", sort=False)
    )
    won = (table["change_low"] > 0) & (table["advantage_low"] > 0)
    beyond = draw_note(table) or f"; {int(won.sum())} beyond random {units_name(results)}"
    where = layer_phrase(str(table["layer"].iloc[0])).capitalize()
    caption = f"Searches: {counted}{beyond}. {where}, over queries, of these candidates."
    return caption + footnote(rows, "lane"), condition_lanes(rows, ACCURACY), rows
