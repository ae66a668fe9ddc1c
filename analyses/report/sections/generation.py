"""What the model writes when it is steered, and what that costs."""

from operator import attrgetter

import numpy as np
import pandas as pd

from steer_plugin.analyses.report.figure import Drawing, Section, chart
from steer_plugin.analyses.report.forms import Lines, Panel, Scatter, Select
from steer_plugin.analyses.report.frames import CONDITIONS
from steer_plugin.analyses.report.numbers import (
    betweens,
    choice_of,
    counts,
    first_of,
    k_title,
    listed,
    names,
    number,
    units_name,
)
from steer_plugin.analyses.run.results import EXPERTS, Results
from steer_plugin.analyses.statistics.figure_rows import records
from steer_plugin.corpora.language_codes import language_name

_PROBABILITY, _COST = "Probability of the target language", "Perplexity / before"
_TOOLTIP = {
    "target": "target",
    "k": "k",
    "condition": "series",
    "probability": "chance",
    "gain (95% interval)": "gained",
    "perplexity / before (95% interval)": "paid",
    "recommended": "chosen",
}


def generation_section(results: Results) -> Section:
    """Put the texts' figures together; empty where nothing was generated."""
    steered = (results.generation["condition"] == "experts").any()
    charts = (_by_k, _tradeoff) if steered else ()
    return Section.of(results, "generation", "Generation", charts, _how)


def _named(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        target=table["target"].map(names(results, table["target"])),
        series=table["condition"].map(CONDITIONS),
        k=[f"{int(k):,}" for k in table["top_k"]],
        chance=betweens(table, "probability", signed=False),
        gained=betweens(table, "gain"),
        paid=betweens(table, "cost", signed=False),
        chosen=np.where(table["recommended"].astype(bool), "yes", "no"),
        ringed=table["recommended"].astype(bool),
    )


@chart(
    "generation_by_k",
    "Does the model write the target language, and at what cost?",
    attrgetter("generation"),
)
def _by_k(results: Results, table: pd.DataFrame) -> Drawing:
    data = _named(results, table)
    before = data[data["condition"] == "before"]
    steered = data[data["condition"] != "before"]
    level = before.set_index("target")["probability"]
    # What is before steering is a line from the least k to the most.
    ks = sorted({int(k) for k in steered["top_k"]})
    data = pd.concat([steered, *(before.assign(top_k=k) for k in ks)], ignore_index=True)
    data["x"] = data["top_k"]
    start = data["target"].map(level)
    flat = data["condition"] == "before"
    parts = [
        data.assign(
            panel=_PROBABILITY,
            value=data["probability"],
            low=(start + data["gain_low"]).mask(flat),
            high=(start + data["gain_high"]).mask(flat),
        ),
        data.assign(
            panel=_COST,
            value=data["cost"],
            low=data["cost_low"].mask(flat),
            high=data["cost_high"].mask(flat),
        ),
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[np.isfinite(rows["value"].astype(float))]
    shown = set(rows["panel"])
    panels = (Panel(_PROBABILITY, ""), Panel(_COST, "", log=True, format=",~g"))
    form = Lines(
        tuple(panel for panel in panels if panel.name in shown),
        k_title(choice_of(results)),
        _TOOLTIP,
        selects=Select.of(rows, target="Target"),
        columns=2,
    )
    caption = f"{_outcome(results, table)} Ring: the recommended k. At 1 steering costs nothing."
    return caption, form, rows


def _outcome(results: Results, table: pd.DataFrame) -> str:
    """Say what experts do at the recommended k, beyond the one random draw."""
    experts = table[table["condition"] == "experts"]
    best = experts[experts["recommended"].astype(bool)]
    targets = experts["target"].nunique()
    if best.empty:
        return f"No k is recommended for any of {targets} targets."
    level = table[table["condition"] == "before"].set_index("target")["probability"]
    control = table[table["condition"] == "control"].set_index(["target", "top_k"])["gain_high"]
    place = pd.MultiIndex.from_frame(best[["target", "top_k"]])
    beyond = best["gain_low"].to_numpy() > control.reindex(place).fillna(np.inf).to_numpy()
    sure = int(beyond.sum())
    name = names(results, results.targets)
    levels = first_of(
        [
            f"{name.get(row['target'], row['target'])} {number(float(level[row['target']]))} to "
            f"{number(row['probability'])} (k = {row['top_k']:,})"
            for row in records(best.sort_values("gain", ascending=False, kind="stable"))
        ],
        3,
        between=", ",
    )
    against = (
        f"beyond the one random draw for {sure} of {targets}" if len(control) else "no control"
    )
    return f"{levels}; {against} targets." if len(control) else f"{levels}; {against} was run."


def _tradeoff_table(results: Results) -> pd.DataFrame:
    """Give the rows with gain and cost, of several k."""
    generation = results.generation
    kept = generation["gain"].notna() & np.isfinite(generation["cost"].astype(float))
    table = generation[kept]
    if table.loc[table["condition"] == "experts", "top_k"].nunique() < 2:
        return table[:0]
    return table


@chart("generation_tradeoff", "Which k gains most for its cost?", _tradeoff_table)
def _tradeoff(results: Results, table: pd.DataFrame) -> Drawing:
    data = _named(results, table)
    ends = ("", "_low", "_high")
    rows = data.assign(
        panel="",
        **{f"x{end}": data[f"cost{end}"] for end in ends},
        **{f"y{end}": data[f"gain{end}"] for end in ends},
        written=np.where(
            (data["series"] == EXPERTS) & data["on_front"].astype(bool), "k = " + data["k"], ""
        ),
    )
    form = Scatter(
        (Panel("", ""),),
        _TOOLTIP,
        x="Perplexity / before (log)",
        y="Gain in probability",
        marks=(1.0, 0.0),
        log=True,
        selects=Select.of(rows, target="Target"),
    )
    caption = "Up is a gain, right is a cost. Labelled: no other k beats it in both."
    return f"{caption} {_recommendation(table)}", form, rows


def _recommendation(table: pd.DataFrame) -> str:
    best = table[(table["condition"] == "experts") & table["recommended"].astype(bool)]
    parts = [f"k = {row['top_k']:,} for {language_name(row['target'])}" for row in records(best)]
    return f"Recommended: {first_of(parts, 4, between=', ')}." if parts else "No k is recommended."


def _how(results: Results) -> str:
    generation = results.generation
    experts = generation[generation["condition"] == "experts"]
    rules = dict.fromkeys(experts.loc[experts["recommended"].astype(bool), "reason"])
    refused: dict[str, list[str]] = {}
    for row in records(generation[generation["condition"] == "before"]):
        if isinstance(row["reason"], str) and row["reason"]:
            refused.setdefault(row["reason"], []).append(language_name(row["target"]))
    cost = np.isfinite(generation["cost"].astype(float)).any()
    sentences = [
        (
            "Probability: mean under a language identifier of "
            f"{counts(generation['sentences'].dropna())} "
            f"texts with each of {counts(generation['seeds'].dropna())} seeds, from BOS alone."
        ),
        f"Perplexity: on {counts(generation['tokens'].dropna())} tokens of the target language in "
        f"{counts(generation['documents'].dropna())} documents, over that of the unsteered model; "
        "an infinite one is not drawn."
        if cost
        else "Perplexity was not measured.",
        (
            "Bands: the level before plus the 95% interval of the gain (bootstrap over seeds and "
            "their texts; of perplexity over "
            f"{' and '.join(dict.fromkeys(generation['resampled']))})."
        ),
        f"Random {units_name(results)}: as many, in the same layers, with the experts' values, one "
        "draw; a gain is beyond theirs where its whole interval lies above their interval."
        if (generation["condition"] == "control").any()
        else "No random control was run.",
        f"Recommended is {'; '.join(rules)}, on the other half of the seeds." if rules else "",
        *(f"No k for {listed(who)}: {reason}." for reason, who in refused.items()),
    ]
    return " ".join(sentence for sentence in sentences if sentence)
