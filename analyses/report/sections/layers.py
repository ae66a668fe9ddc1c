"""Figures layer by layer, and along the number of units that are steered."""

import pandas as pd

from steer_plugin.analyses.report.figure import Chart, Drawing, Section, chart
from steer_plugin.analyses.report.forms import Lines, Panel, Select
from steer_plugin.analyses.report.frames import TOOLTIP, conditions, in_panels
from steer_plugin.analyses.report.measures import OURS, Shown, own_measures
from steer_plugin.analyses.report.numbers import (
    choice_of,
    first_of,
    k_title,
    listed,
    names,
    number,
    several_draws,
    units_name,
)
from steer_plugin.analyses.report.verdicts import reading_layer
from steer_plugin.analyses.run.results import Results, at_headline, layer_order, layer_phrase
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records

_COURSES = (
    ("top-1", "Top-1, all pairs"),
    ("pair distance", "Raw distance, all pairs"),
    ("gap", "Raw gap"),
)


def layers_section(results: Results) -> Section:
    """Put together the courses along layers and k; empty where one of each was measured."""
    charts: list[Chart[Results]] = []
    if results.retrieval["layer"].nunique() > 1:
        charts += [_by_layer, _measures]
    if (results.retrieval.groupby("target")["top_k"].nunique() > 1).any():
        title = f"How many {units_name(results)} does it take?"
        charts.append(Chart("effect_of_k", title, _effect_of_k_table, _effect_of_k))
    return Section.of(results, "layers", "Layers and k", charts, lambda _: _HOW)


def _course(retrieval: pd.DataFrame, alignment: pd.DataFrame) -> pd.DataFrame:
    figures = pd.concat([retrieval, alignment], ignore_index=True)
    return pd.concat([over_pairs(figures, measure) for measure, _ in _COURSES], ignore_index=True)


def _by_layer_table(results: Results) -> pd.DataFrame:
    return _course(at_headline(results, results.retrieval), at_headline(results, results.alignment))


def _effect_of_k_table(results: Results) -> pd.DataFrame:
    layer = reading_layer(results)
    retrieval, alignment = results.retrieval, results.alignment
    return _course(retrieval[retrieval["layer"] == layer], alignment[alignment["layer"] == layer])


def _measures_table(results: Results) -> pd.DataFrame:
    figures = pd.concat([results.retrieval, results.alignment, results.geometry], ignore_index=True)
    headline = at_headline(results, figures)
    shown = [*OURS, *own_measures(results)]
    return in_panels([(s.title, over_pairs(headline, s.measure, s.centring)) for s in shown])


def _lines(
    results: Results, table: pd.DataFrame, x: str, *, order: tuple[str, ...] = ()
) -> tuple[Lines, pd.DataFrame]:
    rows = conditions(results, table)
    titles = dict(_COURSES)
    rows = rows.assign(
        panel=rows["measure"].map(titles), x=rows["layer"].astype(str) if order else rows["top_k"]
    )
    panels = tuple(Panel(title, "") for title in dict.fromkeys(rows["panel"]))
    return Lines(panels, x, TOOLTIP, order=order, selects=Select.of(rows, lane="Target")), rows


@chart("by_layer", "At which layers does steering help?", _by_layer_table)
def _by_layer(results: Results, table: pd.DataFrame) -> Drawing:
    return _gains(results), *_lines(results, table, "Layer", order=tuple(layer_order(table)))


def _gains(results: Results) -> str:
    """Say where a layer gains and another loses, and where the unsteered model retrieves best."""
    rows = at_headline(results, over_pairs(results.retrieval, "top-1"))
    name = names(results, results.targets)
    parts = []
    for target, layers in rows.groupby("target", sort=False):
        up, down = layers[layers["change_low"] > 0], layers[layers["change_high"] < 0]
        largest = [
            part.iloc[int(part["change"].abs().argmax())] for part in (up, down) if len(part)
        ]
        ends = [
            f"{number(float(row['change']), signed=True)} {layer_phrase(str(row['layer']))}"
            for row in largest
        ]
        parts.append(f"{name[str(target)]} {listed(ends) or 'no reliable change'}")
    best = records(rows.sort_values("pre", kind="stable"))[-1]
    return (
        f"Largest reliable changes of top-1: {first_of(parts, 3)}. Unsteered it is best "
        f"{layer_phrase(str(best['layer']))} ({number(best['pre'])})."
    )


@chart("measures_by_layer", "Every measure, layer by layer", _measures_table)
def _measures(results: Results, table: pd.DataFrame) -> Drawing:
    rows = conditions(results, table)
    rows = rows.assign(measured=rows["panel"], panel="", x=rows["layer"].astype(str))
    form = Lines(
        (Panel("", ""),),
        "Layer",
        TOOLTIP,
        order=tuple(layer_order(table)),
        selects=Select.of(rows, measured="Measure", lane="Target"),
        scaled=("measured",),
        columns=1,
    )
    caption = (
        f"{_directions(results, table)} The last layer alone misleads: look where the grey line is "
        "best, and whether the blue one keeps what is there."
    )
    return caption, form, rows


def _directions(results: Results, table: pd.DataFrame) -> str:
    """Say of which measures less is better, and of which neither is known to be."""
    panels = set(table["panel"])
    shown = [s for s in (*OURS, *own_measures(results)) if s.title in panels]
    low, neither = (listed(_short(s) for s in shown if s.better == way) for way in ("low", ""))
    parts = [
        f"better low: {low}" if low else "",
        f"neither known to be better: {neither}" if neither else "",
        "all others better high" if low or neither else "all better high",
    ]
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}."


def _short(shown: Shown) -> str:
    return shown.title[:1].lower() + shown.title[1:]


def _effect_of_k(results: Results, table: pd.DataFrame) -> Drawing:
    form, rows = _lines(results, table, k_title(choice_of(results)))
    top_1 = table[table["measure"] == "top-1"]
    told = several_draws(top_1)
    column = "advantage_low" if told else "change_low"
    name = names(results, results.targets)
    parts = []
    for target, part in top_1.groupby("target", sort=False):
        ks = sorted(int(k) for k in part.loc[part[column] > 0, "top_k"])
        which = "every k" if len(ks) == len(part) else f"k = {listed(f'{k:,}' for k in ks)}"
        parts.append(f"{which if ks else 'no k'} for {name[str(target)]}")
    others = f"random {units_name(results)}" if told else "the unsteered model"
    return f"Experts retrieve better than {others} at {first_of(parts, 4)}.", form, rows


_HOW = (
    "Means over all pairs of languages, or of the whole space; “final” is after the final norm. "
    "Bands: the value before plus the 95% interval of the change, not corrected for the number of "
    "layers, k and measures; hubness has none."
)
