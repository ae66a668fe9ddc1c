"""Controls: what share of the experts' change each gives by itself, and who is ahead."""

import pandas as pd

from steer_plugin.analyses.report.figure import Drawing, Section, chart
from steer_plugin.analyses.report.forms import Lanes, Panel, Select
from steer_plugin.analyses.report.numbers import (
    ENDS,
    NO_INTERVAL,
    betweens,
    choice_of,
    counts,
    names,
    number,
    of_layers,
    percent,
    span,
)
from steer_plugin.analyses.run.results import Results, layer_order, layer_phrase
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records
from steer_plugin.settings.parts import CONTROLS

MEASURES = {"pair distance": "Raw distance", "top-1": "Top-1 retrieval", "gap": "Raw gap"}
_WIDEST = (-1.0, 2.0)


def controls_section(results: Results) -> Section:
    """Put the controls together; empty where none was run."""
    return Section.of(results, "controls", "Controls", (_advantages, _shares), _how)


def control_rows(results: Results) -> pd.DataFrame:
    """Keep what is shown of the controls, measure by measure, the controls in their order."""
    controls = results.controls
    if controls.empty:
        return controls
    layer = layer_order(controls)[-1]
    table = pd.concat(
        [over_pairs(controls, measure, "raw", layer) for measure in MEASURES], ignore_index=True
    )
    known = [name for name in CONTROLS if name in set(table["control"])]
    order = pd.DataFrame(
        {
            "measure": table["measure"].map(list(MEASURES).index),
            "control": [known.index(c) if c in known else len(known) for c in table["control"]],
        }
    )
    rows = table.loc[order.sort_values(["measure", "control"], kind="stable").index]
    return rows.reset_index(drop=True)


def _advantages_table(results: Results) -> pd.DataFrame:
    rows = control_rows(results)
    return rows if "top-1" in set(rows["measure"]) else rows[:0]


def _shares_table(results: Results) -> pd.DataFrame:
    rows = control_rows(results)
    return rows[rows["share"].notna()]


def label(control: str) -> str:
    """Name a control; a word that is not known stands for itself."""
    return (CONTROLS[control].label if control in CONTROLS else None) or control


def _lanes(results: Results, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    name = names(results, rows["target"])
    return pd.DataFrame(
        {
            "lane": [label(control) for control in rows["control"]],
            "series": rows["target"].map(name),
            "panel": "",
            "measure": rows["measure"].map(MEASURES),
            "value": rows[column],
            "low": rows[f"{column}_low"],
            "high": rows[f"{column}_high"],
            "before": [number(value, digits=3) for value in rows["pre"]],
            "moved": betweens(rows, "change"),
            "control_moved": betweens(rows, "control_change"),
            "ahead": betweens(rows, "advantage"),
            "part": [
                f"{percent(row['share'])} ({_ends(row)})"
                if row["share"] == row["share"]
                else "none"
                for row in records(rows)
            ],
            "draws": [
                f"{n} ({number(a, digits=3)} to {number(b, digits=3)})"
                for n, a, b in zip(
                    rows["n_seeds"], rows["control_min"], rows["control_max"], strict=True
                )
            ],
        }
    )


def _ends(row: dict[str, float]) -> str:
    low, high = row["share_low"], row["share_high"]
    return NO_INTERVAL if low != low else f"{percent(low)} to {percent(high)}"


_TOOLTIP = {
    "control": "lane",
    "target": "series",
    "before": "before",
    "experts' change (95% interval)": "moved",
    "control's change (95% interval)": "control_moved",
    "share of the experts' change": "part",
    "experts − control (95% interval)": "ahead",
    "draws (lowest to highest)": "draws",
}


def _form(rows: pd.DataFrame, panel: Panel) -> Lanes:
    selects = Select.of(rows, measure="Measure")
    return Lanes((panel,), _TOOLTIP, selects=selects, scaled=("measure",), columns=1)


@chart("control_advantages", "Are the experts ahead of every control?", _advantages_table)
def _advantages(results: Results, table: pd.DataFrame) -> Drawing:
    rows = _lanes(results, table, "advantage")
    retrieval_first = rows["measure"].map(["Top-1 retrieval", "Raw gap", "Raw distance"].index)
    rows = rows.loc[retrieval_first.sort_values(kind="stable").index]
    top_1 = table[(table["measure"] == "top-1")]
    judged = top_1[top_1["advantage_low"].notna()]
    won = int((judged["advantage_low"] > 0).sum())
    unjudged = len(top_1) - len(judged)
    note = f" ({unjudged} more drawn too few times to judge)" if unjudged else ""
    caption = (
        f"At retrieval experts are reliably ahead in {won} of {len(judged)} comparisons with a "
        f"control{note}. Right of 0 is better; for distance, left.{centring_sentence(table)}"
    )
    return caption, _form(rows, Panel("", "Experts − control", marks=(0.0,))), rows


def centring_sentence(rows: pd.DataFrame) -> str:
    """Say how well unsteered embeddings retrieve when each language's mean is subtracted."""
    rows = rows[(rows["measure"] == "top-1") & (rows["control"] == "centring")]
    if rows.empty:
        return ""
    lower, higher = (rows["advantage_high"] < 0), (rows["advantage_low"] > 0)
    if lower.all() or higher.all():
        known = "reliably better" if lower.all() else "reliably worse"
    else:
        known = "mixed" if lower.any() and higher.any() else "not told apart"
    return f" Centring alone: {span(rows['control_value'])}, {known}."


@chart("control_shares", "How much of the change comes without the experts?", _shares_table)
def _shares(results: Results, table: pd.DataFrame) -> Drawing:
    rows = _lanes(results, table, "share")
    distance = table[table["measure"] == "pair distance"]
    lead = distance[distance["control"] == "constant-shift"]
    # A sentence about one control needs the rows of one.
    lead = lead if len(lead) else distance[distance["control"].isin(distance["control"][:1])]
    shares = (
        [percent(float(s)) for s in (lead["share"].min(), lead["share"].max())] if len(lead) else []
    )
    first = (
        f"{label(lead['control'].iloc[0])} gives {' to '.join(dict.fromkeys(shares))} of the "
        "experts' change of raw distance. "
        if shares
        else ""
    )
    panel = Panel("", "Share of the change", (0.0, 1.0), within=_WIDEST, format=".0%")
    caption = (
        f"{first}At 100% a control changes the measure as much as the experts do; left of 0, the "
        "other way."
    )
    return caption, _form(rows, panel), rows


def _how(results: Results) -> str:
    rows = control_rows(results)
    return (
        "Means over all pairs of languages, embeddings as they are, "
        f"{layer_phrase(layer_order(rows)[-1])}. Beside what is drawn several times, intervals are "
        f"for one more draw, from {FEWEST_DRAWS} draws on; a share is of these very draws. "
        + _defined(results, rows)
    )


def _defined(results: Results, rows: pd.DataFrame) -> str:
    """Say what each control is, and how many draws those have that are drawn."""
    choice = choice_of(results)
    seeds = [n for n in rows["n_seeds"] if n > 1]
    draws = f" What is drawn: mean of {counts(seeds)} draws." if seeds else ""
    known = dict.fromkeys(rows["control"])
    definitions = "; ".join(
        f"{label(name).lower()}: {(CONTROLS[name].what if name in CONTROLS else None) or name}"
        for name in known
    ).format(end=ENDS[choice.selection], layers=of_layers(choice))
    return f"{definitions[:1].upper()}{definitions[1:]}.{draws}"
