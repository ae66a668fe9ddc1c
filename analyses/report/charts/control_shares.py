"""Charts of controls: what share of the experts' change each gives, and who is ahead."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.marks.lanes import Panel, lanes
from steer_plugin.analyses.report.marks.panels import ends, with_intervals
from steer_plugin.analyses.report.words import control_titles, phrases, unit_choice
from steer_plugin.analyses.report.words.control_titles import (
    control_order,
    control_phrases,
    control_rows,
    reliable,
)
from steer_plugin.analyses.run.results import layer_order, layer_phrase
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS
from steer_plugin.corpora.language_codes import language_label, language_name
from steer_plugin.experts.selection import TOP, Choice

_WIDTH = 1000
_WIDEST = (-1.0, 2.0)
_HEADINGS = {"pair distance": "Raw distance", "top-1": "Top-1 retrieval", "gap": "Gap"}
_AXES = {
    "pair distance": ("Experts − control (cosine distance)", "left: experts are nearer"),
    "top-1": ("Experts − control (accuracy)", "right: experts are better"),
    "gap": ("Experts − control (difference of cosines)", "right: experts are better"),
}
_TOOLTIP = [
    alt.Tooltip("lane:N", title="control"),
    alt.Tooltip("name:N", title="target"),
    alt.Tooltip("top_k:Q", title="k", format=","),
    alt.Tooltip("layer:N"),
    alt.Tooltip("measure:N"),
    alt.Tooltip("pre:Q", title="before", format=".4f"),
    alt.Tooltip("post:Q", title="with experts", format=".4f"),
    alt.Tooltip("seeds:N", title="with the control (lowest to highest seed)"),
    alt.Tooltip("moved:N", title="experts' change (95% interval)"),
    alt.Tooltip("control_moved:N", title="control's change (95% interval)"),
    alt.Tooltip("part:N", title="share of the experts' change (95% interval)"),
    alt.Tooltip("ahead:N", title="experts − control (95% interval)"),
]


def control_exhibits(controls: pd.DataFrame, choice: Choice = TOP) -> list[Exhibit]:
    """Draw what `Results.controls` holds, with the words beside it.

    Args:
        controls: one row a figure and control; may be empty.
        choice: of the units that are steered.
    """
    rows = control_rows(controls)
    exhibits = []
    if not rows.empty and rows["share"].notna().any():
        exhibits.append(
            Exhibit(
                name="control_shares",
                heading="How much of the change comes without the experts?",
                aid=(
                    "At 100% a control changes the measure as much as the experts do; at 0% not at "
                    "all; left of it, the other way."
                ),
                caption=_shares_caption(controls, choice),
                chart=control_shares(controls),
                table=control_shares_table(controls),
            )
        )
    if "top-1" in set(rows["measure"]):
        exhibits.append(
            Exhibit(
                name="control_advantages",
                heading="Are the experts ahead of every control?",
                aid=(
                    "What counts is whether a line stays clear of the dotted one, and on which "
                    "side of it."
                ),
                caption=_advantages_caption(controls, choice, after_shares=bool(exhibits)),
                chart=control_advantages(controls),
                table=control_advantages_table(controls),
            )
        )
    return exhibits


def control_shares_table(controls: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that `control_shares` draws: those with a share."""
    rows = control_rows(controls)
    return rows[rows["share"].notna()].reset_index(drop=True)


def control_shares(controls: pd.DataFrame) -> ChartType:
    """Draw what share of the experts' change each control gives, a panel a measure."""
    table = control_shares_table(controls)
    rows = control_rows(controls)
    panels = [
        Panel(
            name=measure,
            heading=_HEADINGS[measure],
            note=_change_note(rows[rows["measure"] == measure]),
            axis="Share of the experts' change",
            marks=(0.0, 1.0),
            format=".0%",
            widest=_WIDEST,
        )
        for measure in _HEADINGS
        if measure in set(table["measure"])
    ]
    title = control_titles.shares_title(controls)
    return _lanes(table, panels, "share").properties(title=theme.heading(title, _WIDTH))


def control_advantages_table(controls: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that `control_advantages` draws."""
    return control_rows(controls)


def control_advantages(controls: pd.DataFrame) -> ChartType:
    """Draw how far the experts are ahead of each control, a panel a measure."""
    table = control_advantages_table(controls)
    panels = [
        Panel(
            name=measure,
            heading=_HEADINGS[measure],
            note=note,
            axis=axis,
            widest=_steered_ends(table[table["measure"] == measure]),
        )
        for measure, (axis, note) in _AXES.items()
        if measure in set(table["measure"])
    ]
    title = control_titles.advantages_title(controls)
    return _lanes(table, panels, "advantage").properties(title=theme.heading(title, _WIDTH))


def _steered_ends(rows: pd.DataFrame) -> tuple[float, float]:
    """Give the ends of an axis that fits what is steered; centring may lie far beyond the rest."""
    steered = rows[rows["control"] != "centring"]
    figures = ["advantage", "advantage_low", "advantage_high"]
    return ends((rows if steered.empty else steered)[figures], 0)


def _lanes(table: pd.DataFrame, panels: list[Panel], column: str) -> alt.HConcatChart:
    """Draw a column with its interval, a lane a control."""
    data = table.assign(
        panel=table["measure"],
        lane=[control_phrases(control).label for control in table["control"]],
        name=table["target"].map(language_label),
        value=table[column],
        low=table[f"{column}_low"],
        high=table[f"{column}_high"],
        seeds=[
            f"{phrases.number(value, digits=3)} ({phrases.number(least, digits=3)} to "
            f"{phrases.number(most, digits=3)})"
            for value, least, most in zip(
                table["control_value"], table["control_min"], table["control_max"], strict=True
            )
        ],
        moved=with_intervals(table, "change"),
        control_moved=with_intervals(table, "control_change"),
        part=with_intervals(table, "share", signed=False),
        ahead=with_intervals(table, "advantage"),
    )
    return lanes(
        data,
        panels,
        order=[control_phrases(control).label for control in control_order(table)],
        tooltip=_TOOLTIP,
    )


def _change_note(rows: pd.DataFrame) -> str:
    """Say what the shares are of, and which targets have none."""
    targets = rows.drop_duplicates("target")
    with_share = targets[reliable(targets)]
    digits = 3 if (rows["measure"] == "gap").all() else 2
    changes = [
        phrases.number(float(end), signed=True, digits=digits)
        for end in (with_share["change"].min(), with_share["change"].max())
    ]
    note = f"experts: {' to '.join(dict.fromkeys(changes))}"
    without_share = targets[~reliable(targets)]
    if without_share.empty:
        return note
    few = len(without_share) == 1
    who = language_name(without_share["target"].iloc[0]) if few else f"{len(without_share)} targets"
    return f"{note}; no share: {who}"


def _shares_caption(controls: pd.DataFrame, choice: Choice) -> str:
    rows = control_rows(controls)
    none = (
        " Where the 95% interval of the experts' change includes 0 there is no share."
        if not reliable(rows).all()
        else ""
    )
    low, high = map(control_titles.share_text, _WIDEST)
    return (
        f"Change with a control over change with the experts.{none} What lies far below {low} or "
        f"above {high} is written at the axis's end; a line that reaches an edge goes on. "
        f"{_measured(controls, choice)} {_defined(controls, choice)}"
    )


def _advantages_caption(controls: pd.DataFrame, choice: Choice, *, after_shares: bool) -> str:
    sentences = [control_titles.centring_sentence(controls)]
    if not after_shares:
        sentences.insert(0, control_titles.shares_title(controls))
    findings = "".join(f"{sentence}. " for sentence in sentences if sentence)
    definitions = "The controls are those above." if after_shares else _defined(controls, choice)
    return (
        f"{findings}{_measured(controls, choice)} The axes fit the controls that steer; what lies "
        "far beyond is written at their ends, and a line that reaches an edge goes on. "
        f"{definitions}"
    )


def _measured(controls: pd.DataFrame, choice: Choice) -> str:
    rows = control_rows(controls)
    layer = layer_phrase(layer_order(rows)[-1])
    ks = f"{phrases.distinct_numbers(rows['top_k'])}{unit_choice.in_each_layer(choice)}"
    sentences = phrases.distinct_numbers(rows["sentences"])
    grouped = "groups" in rows and (rows["groups"] < rows["sentences"]).any()
    count = phrases.distinct_numbers(rows["groups"]) if grouped else ""
    over = f"over {count} groups of sentences, " if grouped else "over sentences, "
    return (
        f"Means over all pairs of languages on {sentences} held-out sentences a language, "
        f"embeddings as they are, {layer}, k = {ks}. Lines: 95% intervals ("
        f"{over}not corrected for the number of comparisons); beside what is drawn several times "
        f"they are for one more draw, from {FEWEST_DRAWS} draws on; a share is of these very draws."
    )


def _defined(controls: pd.DataFrame, choice: Choice) -> str:
    """Say what each control is, and how many seeds those have that are drawn."""
    rows = control_rows(controls)
    seeds = sorted({int(n) for n in rows["n_seeds"] if n > 1})
    draws = f" What is drawn: mean of {phrases.listed(map(str, seeds))} seeds." if seeds else ""
    names = control_order(rows)
    definitions = "; ".join(
        f"{control_phrases(name).label.lower()}: {control_phrases(name).what}" for name in names
    )
    definitions = definitions.format(
        end=unit_choice.end_phrase(choice), layers=unit_choice.of_layers(choice)
    )
    return f"{definitions[0].upper()}{definitions[1:]}.{draws}"
