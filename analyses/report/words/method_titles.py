"""What is said of rival methods: which of them do more than their own controls."""

import pandas as pd

from steer_plugin.analyses.report.words.phrases import (
    draw_note,
    how_many,
    listed,
    none_of,
    several_draws,
    span,
)
from steer_plugin.settings.parts import METHODS

RETRIEVAL, DISTANCE = "retrieval", "centred distance"
PROBABILITY, PERPLEXITY = "language probability", "perplexity"

_NAMED = 3


def method_order(table: pd.DataFrame) -> list[str]:
    """Give a table's methods in the order of `METHODS`, whatever their outcome."""
    names = list(dict.fromkeys(table["method"]))
    known = list(METHODS)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def method_title(name: str) -> str:
    """Name a method as sentences do; a word that is not known stands for itself."""
    return (METHODS[name].title if name in METHODS else None) or name


def methods_title(table: pd.DataFrame) -> str:
    """Say which methods lift retrieval beyond their own controls, and for how many targets.

    Args:
        table: rows of `Results.methods`.
    """
    return _verdict(table[table["axis"] == RETRIEVAL], "retrieval", table[:0])


def methods_tradeoff_title(table: pd.DataFrame) -> str:
    """Say which methods raise the target language's probability, and at which cost.

    Args:
        table: rows of `Results.methods`.
    """
    costs = table[table["axis"] == PERPLEXITY]
    what = "the probability of the target language"
    return _verdict(table[table["axis"] == PROBABILITY], what, costs)


def ahead(rows: pd.DataFrame) -> pd.Series:
    """Say in which rows a method does reliably more than a further draw of its control would.

    The interval of their difference lies above 0; where that was not made, as on the axes of what
    is written, the whole interval of the method's change lies above that of its control.
    """
    apart = rows["change_low"] > rows["control_change_high"]
    return (rows["advantage_low"] > 0) | (rows["advantage"].isna() & apart)


def _verdict(rows: pd.DataFrame, what: str, costs: pd.DataFrame) -> str:
    """Group the methods by the number of targets for which both intervals lie above 0.

    Ahead of a control is not yet ahead of the model as it was, so both are asked for.
    """
    controlled = several_draws(rows)
    up = rows[rows["change_low"] > 0]
    won = up[ahead(up)] if controlled else up
    targets = rows.drop_duplicates("target")
    after = draw_note(rows)
    if won.empty:
        beyond = " beyond its own control" if controlled else ""
        who = "" if len(targets) == 1 else f" for {none_of(targets)}"
        return f"No method reliably raises {what}{beyond}{who}{_lowered(rows)}{after}"
    counts: dict[int, list[str]] = {}
    for name in method_order(rows):
        counts.setdefault(int((won["method"] == name).sum()), []).append(name)
    losers = counts.pop(0, [])
    short = len(counts) == 1 and len(next(iter(counts.values()))) > _NAMED >= len(losers)
    parts = []
    for count in sorted(counts, reverse=True):
        who = "" if len(targets) == 1 else f"for {how_many(targets[:count], targets)} "
        names = listed(map(method_title, counts[count]))
        if short:
            but = f"every method but {listed(map(method_title, losers))}"
            names = but if losers else f"each of {len(counts[count])} methods"
        parts.append(f"{who}with {names}")
    if losers and not short:
        names = _others(losers)
        parts.append(f"not with {names}" if len(targets) == 1 else f"for none with {names}")
    beyond = " beyond the method's own control" if controlled else ""
    start = f"{what[0].upper()}{what[1:]} rises{beyond}"
    return f"{start} {'; '.join(parts)}{_paid(won, costs)}{after}"


def _paid(won: pd.DataFrame, costs: pd.DataFrame) -> str:
    """Say what the methods cost that are said to do something."""
    keys = ["method", "target"]
    paid = won[keys].merge(costs[[*keys, "change"]], on=keys)["change"].dropna()
    return "" if paid.empty else f"; perplexity is then {span(paid)} times that before"


def _others(names: list[str]) -> str:
    if len(names) <= _NAMED:
        return listed(map(method_title, names))
    return f"the other {len(names)} methods"


def _lowered(rows: pd.DataFrame) -> str:
    n = rows.loc[rows["change_high"] < 0, "method"].nunique()
    whom = "" if rows["target"].nunique() == 1 else " for at least one"
    return f"; {n} of {rows['method'].nunique()} lower it{whom}" if n else ""
