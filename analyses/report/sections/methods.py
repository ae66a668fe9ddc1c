"""Rival ways to steer on the same measures, and what each costs."""

import numpy as np
import pandas as pd

from steer_plugin.analyses.report.figure import Drawing, Section, chart
from steer_plugin.analyses.report.forms import Lanes, Panel, Scatter, Select
from steer_plugin.analyses.report.numbers import (
    betweens,
    counts,
    listed,
    names,
    several_draws,
    units_name,
)
from steer_plugin.analyses.report.theme import METHOD
from steer_plugin.analyses.report.verdicts import draw_note
from steer_plugin.analyses.run.results import CONTROL, Results
from steer_plugin.settings.parts import METHODS

RETRIEVAL, DISTANCE = "retrieval", "centred distance"
PROBABILITY, PERPLEXITY = "language probability", "perplexity"
AXES = {
    RETRIEVAL: "Retrieval (right is better)",
    DISTANCE: "Centred distance (left is nearer)",
    PROBABILITY: "Target language's probability (right is better)",
    PERPLEXITY: "Perplexity / before (left is cheaper)",
}
_ENDS = ("", "_low", "_high")


def methods_section(results: Results) -> Section:
    """Put the methods together; empty where none was compared."""
    charts = (_compared, _tradeoff) if (results.methods["axis"] == RETRIEVAL).any() else ()
    return Section.of(results, "methods", "Methods", charts, _how)


def _methods_table(results: Results) -> pd.DataFrame:
    """Give all rows in the order of `METHODS`, whatever their outcome."""
    methods = results.methods
    known = [name for name in METHODS if name in set(methods["method"])]
    place = {name: number for number, name in enumerate(known)}
    return methods.sort_values(
        "method",
        key=lambda names: names.map(lambda name: place.get(name, len(place))),
        kind="stable",
    )


def method_title(name: str) -> str:
    """Name a method; a word that is not known stands for itself."""
    title = (METHODS[name].title if name in METHODS else None) or name
    return title[:1].upper() + title[1:]


def ahead(rows: pd.DataFrame) -> pd.Series:
    """Say in which rows a method does reliably more than its control.

    The interval of their difference lies above 0; where that was not made, as on the axes of what
    is written, the whole interval of the method's change lies above that of its control.
    """
    apart = rows["change_low"] > rows["control_change_high"]
    return (rows["advantage_low"] > 0) | (rows["advantage"].isna() & apart)


@chart("methods_compared", "Do other ways to steer do better?", _methods_table)
def _compared(results: Results, table: pd.DataFrame) -> Drawing:
    name = names(results, table["target"])
    base = pd.DataFrame(
        {
            "lane": [method_title(method) for method in table["method"]],
            "target": table["target"].map(name),
            "axis": table["axis"].map(lambda axis: AXES.get(axis, axis)),
            "panel": "",
            "moved": betweens(table, "change"),
            "control_moved": betweens(table, "control_change"),
            "ahead": betweens(table, "advantage"),
            "from": [METHODS[m].citation if m in METHODS else "" for m in table["method"]],
        }
    )
    with_method = base.assign(
        series=METHOD, value=table["change"], low=table["change_low"], high=table["change_high"]
    )
    beside = base.assign(series=CONTROL, value=table["control_change"], low=np.nan, high=np.nan)
    rows = pd.concat([with_method, beside], ignore_index=True)
    rows = rows[rows["value"].notna()]
    retrieval = table[table["axis"] == RETRIEVAL]
    up = retrieval[retrieval["change_low"] > 0]
    won = up[ahead(up)] if several_draws(retrieval) else up
    infinite = np.isinf(table["change"]).any()
    form = Lanes(
        (Panel("", "After − before; perplexity: after / before", marks=()),),
        {
            "method": "lane",
            "from": "from",
            "target": "target",
            "change (95% interval)": "moved",
            "change with its control": "control_moved",
            "method − control": "ahead",
        },
        selects=Select.of(rows, axis="Measure", target="Target"),
        scaled=("axis",),
        columns=1,
    )
    beyond = "beyond their own control" if several_draws(retrieval) else "over no steering"
    caption = (
        f"Retrieval rises {beyond} in {len(won)} of {len(retrieval)} methods and targets"
        f"{_winners(won)}{draw_note(retrieval)}. Hollow: the same done to random units."
        f"{' Infinite perplexity is not drawn.' if infinite else ''}"
    )
    return caption, form, rows


def _winners(won: pd.DataFrame) -> str:
    titles = [method_title(name).lower() for name in dict.fromkeys(won["method"])]
    if not titles:
        return ""
    return f": {listed(titles[:3])}{f' and {len(titles) - 3} more' if len(titles) > 3 else ''}"


def _tradeoff_table(results: Results) -> pd.DataFrame:
    """Give the gain in probability and cost in perplexity of each method and target with both."""
    keys = ["method", "target", "top_k", "block"]
    methods, parts = _methods_table(results), []
    for axis, name in ((PROBABILITY, "gain"), (PERPLEXITY, "cost")):
        rows = methods[methods["axis"] == axis]
        columns = {f"change{end}": f"{name}{end}" for end in _ENDS}
        parts.append(rows[[*keys, *columns]].rename(columns=columns))
    table = parts[0].merge(parts[1], on=keys, validate="one_to_one")
    kept = table["gain"].notna() & np.isfinite(table["cost"].astype(float))
    return table[kept]


@chart("methods_tradeoff", "What does each way to steer cost?", _tradeoff_table)
def _tradeoff(results: Results, table: pd.DataFrame) -> Drawing:
    rows = pd.DataFrame(
        {
            "series": [method_title(method) for method in table["method"]],
            "target": table["target"].map(names(results, table["target"])),
            "panel": "",
            **{f"x{end}": table[f"cost{end}"] for end in _ENDS},
            **{f"y{end}": table[f"gain{end}"] for end in _ENDS},
            "gained": betweens(table, "gain"),
            "paid": betweens(table, "cost", signed=False),
        }
    )
    form = Scatter(
        (Panel("", ""),),
        {
            "method": "series",
            "target": "target",
            "gain in probability": "gained",
            "perplexity / before": "paid",
        },
        x="Perplexity / before (log)",
        y="Gain in probability",
        marks=(1.0, 0.0),
        log=True,
        picked="Method",
        selects=Select.of(rows, target="Target"),
    )
    caption = "Up is a gain, right is a cost: up and left is best. Bars: 95% bootstrap intervals."
    return caption, form, rows


def _how(results: Results) -> str:
    table = _methods_table(results)
    draws = sorted({int(n) for n in table["n_controls"] if n > 0})
    blocks = sorted({int(block) for block in table["block"] if block >= 0})
    ks = [k for k in table["top_k"] if k > 0]
    cited = [
        f"{method_title(name)} ({METHODS[name].citation})"
        for name in dict.fromkeys(table["method"])
        if name in METHODS
    ]
    plans = results.provenance.get("plans", "")
    sentences = [
        (
            "Retrieval: top-1 over all ordered pairs, embeddings as they are; centred distance: "
            "cosine distance of translations with each language's mean removed; both after the "
            "final norm."
        ),
        f"A method's control is the same done to random {units_name(results)} of the same layers, "
        f"or along a random direction of the same length ({counts(draws)} "
        f"draw{'' if draws == [1] else 's'})."
        if draws
        else "No random control was run.",
        f"Steered: k = {counts(ks)}." if ks else "",
        f"Residual stream: after block {counts(blocks)}." if blocks else "",
        f"Methods: {', '.join(cited)}." if cited else "",
        f"Plans, whose k counts the units of all their steps: {plans}." if plans else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)
