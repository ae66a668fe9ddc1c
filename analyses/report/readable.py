"""Tables as people read them: names for codes, a figure with its interval in one cell, LaTeX."""

import pandas as pd

from steer_plugin.analyses.report.numbers import MINUS, betweens, names, number
from steer_plugin.analyses.run.results import Results

_HEADERS = {
    "pre": "Before",
    "post": "Experts",
    "control": "Random units",
    "control_value": "With the control",
    "mixed": "Mixed",
    "mixed_control": "Mixed, random",
    "change": "Experts − before",
    "mixed_change": "Mixed − before",
    "control_change": "Random − before",
    "advantage": "Experts − random",
    "top_k": "k",
    "q": "FDR",
    "change_q": "FDR of the change",
    "n_controls": "Draws",
    "n": "n",
    "r": "r",
    "languages": "Over",
    "concept": "Language",
    "dataset": "Set",
    "null_high": "95% of chance",
    "above": "Units beyond it",
}
_CODES = ("target", "concept", "other", "query", "candidates", "language")
_KEYS = (*_CODES, "top_k", "layer", "measure", "centring", "dataset", "n_controls", "sentences")
_FIRST = ("dataset", "method", "axis", "panel")
_HIDDEN = ("_low", "_high", "_min", "_max", "_p", "_sem")
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"})


def readable(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Give a table as text: what all rows have in common is left out, intervals are in brackets."""
    if rows.empty:
        return rows.astype(str)
    name = names(
        results, pd.unique(rows[[c for c in _CODES if c in rows]].astype(str).values.ravel())
    )
    columns: dict[str, list[str]] = {}
    # What a row is of stands before its figures.
    for column in sorted(map(str, rows.columns), key=lambda name: name not in _FIRST):
        cells = rows[column]
        if column.endswith(_HIDDEN) and column.rpartition("_")[0] in rows:
            continue
        common = len(rows) > 1 and cells.astype(str).nunique() == 1
        if (column in _KEYS and column != "target" and common) or cells.isna().all():
            continue
        # In the table of controls the column is a control's name, elsewhere a figure.
        named = column == "control" and cells.dtype.kind not in "fi"
        header = "Control" if named else _HEADERS.get(column, column.replace("_", " ").capitalize())
        columns[header] = _cells(rows, column, name)
    return pd.DataFrame(columns)


def _cells(rows: pd.DataFrame, column: str, name: dict[str, str]) -> list[str]:
    cells = rows[column]
    if column in _CODES:
        return [name.get(str(code), str(code)) for code in cells]
    if f"{column}_low" in rows:
        signed = "change" in column or column in ("advantage", "gain", "r")
        return betweens(rows, column, signed=signed)
    if f"{column}_sem" in rows:
        return [
            number(value, digits=3) + (f" ± {number(spread, digits=3)}" if spread == spread else "")
            for value, spread in zip(cells, rows[f"{column}_sem"], strict=True)
        ]
    if cells.dtype.kind == "f" and not (cells.dropna() % 1 == 0).all():
        return [number(float(value), digits=3) for value in cells]
    if cells.dtype.kind in "iuf":
        return [f"{value:,.0f}" for value in cells]
    return list(map(str, cells))


def latex(results: Results, rows: pd.DataFrame, title: str) -> str:
    """Give a table as LaTeX for the package booktabs, figures with their intervals."""
    table = readable(results, rows)

    def line(cells: list[str]) -> str:
        escaped = (cell.replace("\\", "").translate(_SPECIAL) for cell in cells)
        text = " & ".join(escaped)
        for sign, command in ((MINUS, "$-$"), ("±", "$\\pm$"), ("–", "--"), ("†", "\\dag{}")):
            text = text.replace(sign, command)
        return f"{text} \\\\"

    return "\n".join(
        [
            f"% {title}",
            f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            "\\toprule",
            line(list(map(str, table.columns))),
            "\\midrule",
            *(line(list(row)) for row in table.itertuples(index=False, name=None)),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )
