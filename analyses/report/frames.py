"""From tables of figures to the rows that charts draw: one a figure and condition."""

from collections.abc import Sequence

import pandas as pd

from steer_plugin.analyses.report.forms import Lanes, Panel, Select
from steer_plugin.analyses.report.numbers import betweens, dagger, names, number
from steer_plugin.analyses.run.results import (
    BEFORE,
    CONTROL,
    EXPERTS,
    VALUES,
    Results,
    layer_phrase,
)

CONDITIONS = {"before": BEFORE, "control": CONTROL, "experts": EXPERTS}
"""Of tables with a column `condition` -> series."""

TOOLTIP = {
    "target": "lane",
    "k": "k",
    "layer": "where",
    "measure": "measure",
    "condition": "series",
    "value": "figure",
    "change (95% interval)": "moved",
    "experts − random (95% interval)": "ahead",
    "random draws (lowest to highest)": "draws",
}
"""Of charts of conditions: title -> column."""


def conditions(results: Results, figures: pd.DataFrame) -> pd.DataFrame:
    """Give one row a figure and condition, as charts draw them.

    Args:
        results: of the run.
        figures: rows of `comparison.compare`, with their keys.

    Returns:
        What the rows have but their values, and: lane (the target), series (the condition), value,
        low and high (the value before plus the 95% interval of the change), least and most (of the
        control's draws), and the texts of `TOOLTIP`. A control that was not run has none.
    """
    kept = [name for name in figures if name not in VALUES]
    name = names(results, figures["target"])
    parts = []
    for condition, column, change in (
        (BEFORE, "pre", None),
        (CONTROL, "control", "control_change"),
        (EXPERTS, "post", "change"),
    ):
        rows = figures[kept].assign(series=condition, value=figures[column])
        rows["lane"] = figures["target"].map(name)
        rows["low"] = rows["high"] = rows["least"] = rows["most"] = float("nan")
        rows["moved"] = rows["ahead"] = rows["draws"] = ""
        if change is not None:
            rows["low"] = figures["pre"] + figures[f"{change}_low"]
            rows["high"] = figures["pre"] + figures[f"{change}_high"]
            rows["moved"] = betweens(figures, change)
        if condition == CONTROL:
            rows["least"], rows["most"] = figures["control_min"], figures["control_max"]
            rows["draws"] = [
                f"{n:.0f} ({number(a, digits=3)} to {number(b, digits=3)})"
                for n, a, b in zip(figures["n_controls"], rows["least"], rows["most"], strict=True)
            ]
        if condition == EXPERTS:
            rows["ahead"] = betweens(figures, "advantage")
        parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    table = table[table["value"].notna()].reset_index(drop=True)
    return table.assign(
        figure=[number(value, digits=4) for value in table["value"]],
        k=[f"{k:,}" for k in table["top_k"]],
        where=[layer_phrase(str(layer)) for layer in table["layer"]],
    )


def in_panels(parts: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Put rows below each other, with the panel of each; panels without rows are left out."""
    kept = [figures.assign(panel=panel) for panel, figures in parts if not figures.empty]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=["panel"])


def condition_lanes(
    rows: pd.DataFrame,
    axis: str,
    *,
    marks: tuple[float, ...] = (),
    digits: int = 2,
    selects: tuple[Select, ...] = (),
    scaled: bool = True,
    columns: int = 2,
) -> Lanes:
    """Draw conditions a lane a target, in the panels that the rows have.

    Args:
        rows: to draw.
        axis: title of the figures' axis.
        marks: where lines stand for orientation.
        digits: of figures.
        selects: choices of what is shown.
        scaled: whether their options have scales of their own.
        columns: panels side by side at the most.
    """
    panels = tuple(
        Panel(str(name), axis, marks=marks, format=f".{digits}f")
        for name in dict.fromkeys(rows["panel"])
    )
    scales = tuple(select.column for select in selects if scaled)
    return Lanes(panels, TOOLTIP, selects=selects, scaled=scales, columns=columns)


def codes_as_names(results: Results, table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Replace the codes of languages in some columns by their names."""
    name = names(results, pd.concat([table[column] for column in columns]))
    return table.assign(**{column: table[column].map(name) for column in columns})


def footnote(rows: pd.DataFrame, *columns: str) -> str:
    """Say what a dagger in some columns means."""
    return dagger(str(value) for column in columns for value in rows[column].unique())
