"""What a reader sees first: what was run, the verdict, one chart, and three answers."""

from dataclasses import dataclass

import pandas as pd

from steer_plugin.analyses.report.figure import Figure
from steer_plugin.analyses.report.forms import Lanes, Panel
from steer_plugin.analyses.report.frames import conditions
from steer_plugin.analyses.report.numbers import (
    choice_of,
    found_elsewhere,
    listed,
    names,
    number,
    of_layers,
    sampled,
    units_name,
)
from steer_plugin.analyses.report.theme import CENTRING, DRAW
from steer_plugin.analyses.report.verdicts import (
    Answer,
    answers,
    at_last,
    reading_layer,
    verdict,
)
from steer_plugin.analyses.run.results import (
    BEFORE,
    CONTROL,
    EXPERTS,
    Results,
    layer_phrase,
)
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS

NAME = "at_a_glance"

LABEL_ROOM = 0.15
"""How far apart, as a share of a panel, two marks in a line must be for a number each."""

_SLOTS = {BEFORE: "0", CENTRING: "0", EXPERTS: "1", DRAW: "2"}
_PANELS = (
    ("top-1", "raw", "Retrieval: top-1, right is better", ".2f"),
    ("gap", "language", "Gap, means removed: right is better", ".3f"),
    ("pair distance", "raw", "Raw distance of sentences: left is nearer", ".2f"),
)


@dataclass(frozen=True)
class FirstScreen:
    """What stands at the head of a page.

    Attributes:
        run: what was run, in one line.
        verdict: one sentence of at most 25 words.
        figure: three panels.
        answers: to three questions.
        how: how everything on the page was measured.
    """

    run: str
    verdict: str
    figure: Figure
    answers: list[Answer]
    how: list[str]


def first_screen(results: Results) -> FirstScreen:
    """Put the head of a page together."""
    return FirstScreen(
        run_line(results), verdict(results), glance(results), answers(results), how(results)
    )


def run_line(results: Results) -> str:
    """Say in one line what was run: units, what was done to them, targets, draws, sentences."""
    told = results.provenance
    name = names(results, results.targets)
    who = listed(name.values()) if len(name) <= 3 else f"{len(name)} languages"
    draws = int(results.retrieval["n_controls"].max())
    operation = told.get("operation", "set")
    value = told.get("value", "values")
    usual = "" if value[:1].isdigit() or value[:1] == "-" or value == "zero" else "their "
    done = f"set to {usual}{value}" if operation == "set" else operation
    sentences = told.get("judge_sentences", "")
    base = found_elsewhere(results)
    named = told.get("languages", "")
    languages = len(named.split(", ")) if named else len(results.targets)
    parts = [
        f"{k_phrase(results)} experts each of {who} {done} at {told.get('site', 'one site')}",
        f"experts found on {base}, put on {told.get('model')}" if base else "",
        f"{draws or 'no'} random draw{'' if draws == 1 else 's'}",
        f"{sentences} held-out sentences in {languages} languages" if sentences else "",
    ]
    return " · ".join(part for part in parts if part)


def k_phrase(results: Results) -> str:
    """Say at which k the targets are read."""
    ks = sorted(set(results.headline().values()))
    where = of_layers(choice_of(results))
    return f"{ks[0]:,}" + (f" to {ks[-1]:,}" if len(ks) > 1 else "") + where


def glance_table(results: Results) -> pd.DataFrame:
    """Give the figures of the three panels, a row a target and measure."""
    parts = []
    for measure, centring, _, _ in _PANELS:
        table = results.retrieval if measure == "top-1" else results.alignment
        parts.append(at_last(results, table, measure, centring))
    return pd.concat(parts, ignore_index=True)


def draws_of(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Give every single draw of the random control behind some figures.

    Results that were saved without them have their lowest, highest and, of three, the third.
    """
    keys = ["target", "top_k", "layer", "measure", "centring", "query", "candidates"]
    if len(results.draws):
        return table[keys].merge(results.draws, on=keys)[[*keys, "value"]]
    least, most = (table[[*keys, f"control_{end}"]] for end in ("min", "max"))
    ends = [part.rename(columns={part.columns[-1]: "value"}) for part in (least, most)]
    ends[1] = ends[1][(table["n_controls"] > 1).to_numpy()]
    third = table[table["n_controls"] == 3]
    rest = 3 * third["control"] - third["control_min"] - third["control_max"]
    parts = [*ends, third[keys].assign(value=rest)]
    return pd.concat([part for part in parts if len(part)], ignore_index=True).dropna(
        subset="value"
    )


def centring_of(results: Results) -> pd.DataFrame:
    """Give unsteered retrieval with language means removed, beside the raw one.

    Raw distance has none: with language means removed it is 1 by construction.
    """
    centred = at_last(results, results.retrieval, "top-1", "language")
    return centred.assign(centring="raw", value=centred["pre"])


def glance(results: Results) -> Figure:
    """Draw retrieval, the centred gap and raw distance: before, experts, every draw, centring."""
    table = glance_table(results)
    rows = conditions(results, table)
    rows = rows[rows["series"] != CONTROL].drop(columns=["least", "most"])
    more = []
    for series, single in (
        (DRAW, draws_of(results, table)),
        (CENTRING, centring_of(results)),
    ):
        name = names(results, results.targets)
        more.append(
            single[["target", "measure", "centring", "value"]].assign(
                lane=single["target"].map(name),
                series=series,
                figure=[number(value, digits=4) for value in single["value"]],
                moved="",
                ahead="",
            )
        )
    rows = pd.concat([rows, *(part for part in more if len(part))], ignore_index=True)
    titles = {(measure, centring): title for measure, centring, title, _ in _PANELS}
    rows = rows.assign(
        panel=[titles[key] for key in zip(rows["measure"], rows["centring"], strict=True)],
        slot=rows["series"].map(_SLOTS),
    )
    rows = rows.sort_values("slot", kind="stable")
    shown = set(rows["panel"])
    panels = tuple(
        Panel(title, "", format=style) for _, _, title, style in _PANELS if title in shown
    )
    form = Lanes(
        panels,
        {
            "target": "lane",
            "mark": "series",
            "value": "figure",
            "change (95% interval)": "moved",
            "experts − random (95% interval)": "ahead",
        },
        labelled=(BEFORE, EXPERTS, *([CENTRING] if _are_apart(rows) else [])),
        step=17 if rows["lane"].nunique() <= 4 else 12,
    )
    few = (
        ""
        if len(results.draws) or (table["n_controls"] <= 3).all()
        else (" Of the random draws, which were not kept, the lowest and the highest are shown.")
    )
    caption = (
        "Lines: 95% intervals of the change, drawn around what experts give. Gap: how much nearer "
        "translations are than other sentences, where before is what centring alone gives."
        f"{few}"
    )
    return Figure(
        NAME,
        f"Before, with experts, with random {units_name(results)}, and with centring alone",
        caption,
        form,
        rows,
        {NAME: rows[["target", "measure", "centring", "series", "value", "low", "high"]]},
    )


def _are_apart(rows: pd.DataFrame) -> bool:
    """Say whether before and centring, which share a line, have room for a number each."""
    values = rows.pivot_table(index=["panel", "lane"], columns="series", values="value")
    if not {BEFORE, CENTRING} <= set(values):
        return False
    panels = rows.groupby("panel")["value"]
    span = (panels.max() - panels.min()).reindex(values.index.get_level_values("panel"))
    between = (values[BEFORE] - values[CENTRING]).abs()
    return not (between < LABEL_ROOM * span.to_numpy()).any()


def how(results: Results) -> list[str]:
    """Say once how everything on the page was measured."""
    told = results.provenance
    ks = results.headline()
    name = names(results, ks)
    several = results.retrieval.groupby("target")["top_k"].nunique().max() > 1
    middle = ", the middle of the values that were run, whatever their outcome" if several else ""
    counts = listed(f"{k:,} for {name[target]}" for target, k in ks.items())
    layer = layer_phrase(reading_layer(results))
    draws = int(results.retrieval["n_controls"].max())
    return [
        (
            f"Each target is read {layer} at one k{middle}: {counts}. Figures are means over all "
            f"pairs of languages on {told.get('judge_sentences', 'the')} held-out sentences a "
            "language."
        ),
        (
            f"Brackets: 95% intervals of the change (over {sampled(results)}, not corrected for "
            "the number of comparisons). Lines: the value before plus these."
        ),
        f"Random {units_name(results)}: as many, in the same layers, with the experts' values, "
        f"{draws} draw{'' if draws == 1 else 's'}. "
        f"Experts are judged against one further draw, from {FEWEST_DRAWS} draws on; of fewer "
        "nothing is said."
        if draws
        else "No random control was run, so nothing can be put down to the experts.",
        (
            "Yes: the change and the difference from a further random draw have intervals on the "
            "better side of 0. No: either has one on the worse side. Unclear: all else, and what "
            "was not judged."
        ),
        "Best unit's AUROC: on sentences that did not choose it; its interval is that of Clopper "
        "and Pearson for a proportion, the largest variance that an AUROC can have (Birnbaum and "
        "Klose 1957), for responses that do not fall where their translations' rise. Chance is 0.5."
        if told.get("score") == "auroc" and results.null.empty
        else "",
        "Centring alone scores higher by its figure, without an interval; run the control "
        "“centring” for one."
        if results.controls.empty
        else "",
    ]
