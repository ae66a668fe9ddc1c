"""What is said of controls: how much of the experts' change each gives, and who is ahead."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from steer_plugin.analyses.report.words.phrases import (
    for_how_many,
    for_none_of,
    listed,
    number,
    span,
)
from steer_plugin.analyses.run.results import layer_order
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.settings.parts import CONTROLS

_NAMED = 3


@dataclass(frozen=True)
class ControlPhrases:
    """What a control is called.

    Attributes:
        label: beside its lane.
        subject: of a sentence, with its verb "to give".
        what: it is, for a caption; `{end}` and `{layers}` stand for what the units of a run are,
            as `unit_choice.end_phrase` and `unit_choice.of_layers` say it.
    """

    label: str
    subject: str
    what: str


MEASURES: Mapping[str, str] = MappingProxyType(
    {"pair distance": "raw distance", "top-1": "top-1 retrieval", "gap": "the gap"}
)
"""The measures that are shown, as sentences call them, in the order they are shown."""


def control_rows(controls: pd.DataFrame) -> pd.DataFrame:
    """Keep what is shown of `Results.controls`, in the order it is shown.

    Means over all pairs of languages at the last layer, embeddings as they are.
    """
    if controls.empty:
        return controls
    layer = layer_order(controls)[-1]
    parts = [over_pairs(controls, measure, "raw", layer) for measure in MEASURES]
    table = pd.concat(parts, ignore_index=True)
    place = {name: number for number, name in enumerate(control_order(table))}
    measures = list(MEASURES)
    order = pd.DataFrame(
        {"measure": table["measure"].map(measures.index), "control": table["control"].map(place)}
    )
    return table.loc[order.sort_values(["measure", "control"], kind="stable").index].reset_index(
        drop=True
    )


def control_order(table: pd.DataFrame) -> list[str]:
    """Give a table's controls in the order of `CONTROLS`, whatever their outcome."""
    names = list(dict.fromkeys(table["control"]))
    known = list(CONTROLS)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def control_phrases(control: str) -> ControlPhrases:
    """Give what a control is called; a word that is not known stands for itself."""
    known = CONTROLS.get(control)
    words = (None, None, None) if known is None else (known.label, known.subject, known.what)
    usual = control, f"The control {control} gives", control
    return ControlPhrases(*(given or own for given, own in zip(words, usual, strict=True)))


def reliable(rows: pd.DataFrame) -> pd.Series:
    """Say in which rows the experts' change has an interval without 0."""
    return (rows["change_low"] > 0) | (rows["change_high"] < 0)


def share_text(share: float) -> str:
    """Print a share of a change, which may be below 0 or above 1, as a percentage."""
    return f"{number(100 * share, digits=0)}%"


def shares_title(controls: pd.DataFrame) -> str:
    """Say how much of the drop in raw distance comes without the experts.

    Led by the constant shift where it was run, by the first control where it was not.

    Args:
        controls: rows of `Results.controls`.
    """
    rows = control_rows(controls)
    names = control_order(rows)
    lead = "constant-shift" if "constant-shift" in names else names[0]
    title = share_sentence(controls, lead)
    rows = rows[(rows["measure"] == "pair distance") & (rows["control"] != lead)]
    shares = rows["share"].dropna()
    if shares.empty:
        return title
    n = rows["control"].nunique()
    others = (
        control_phrases(rows["control"].iloc[0]).label.lower()
        if n == 1
        else f"the other {n} controls"
    )
    low, high = share_text(float(shares.min())), share_text(float(shares.max()))
    return f"{title}; {others}, {low if low == high else f'{low} to {high}'}"


def share_sentence(controls: pd.DataFrame, control: str) -> str:
    """Say what share of the experts' change in raw distance a control gives by itself.

    Without a stop at its end. Where the experts' change is not reliable there is no share of it.

    Args:
        controls: rows of `Results.controls`.
        control: word of the run file.

    Returns:
        "" where the control, or raw distance, was not measured.
    """
    rows = control_rows(controls)
    rows = rows[(rows["measure"] == "pair distance") & (rows["control"] == control)]
    if rows.empty:
        return ""
    known = rows[reliable(rows) & rows["share"].notna()]
    if known.empty:
        return (
            f"Experts do not change raw distance reliably{for_none_of(rows)}, so no control has a "
            "share of the change"
        )
    fell, rose = (known["change_high"] < 0).all(), (known["change_low"] > 0).all()
    move = "drop" if fell else "rise" if rose else "change"
    left = rows[~rows["target"].isin(known["target"])]
    rest = (
        ""
        if left.empty
        else f"; experts do not change it reliably{_for_targets(left, rows, names=True)}"
    )
    return (
        f"{control_phrases(control).subject} {_shares(known)} of the {move} in raw distance"
        f"{_for_targets(known, rows)}{rest}"
    )


def centring_sentence(controls: pd.DataFrame) -> str:
    """Say how well unsteered embeddings retrieve when each language's mean is subtracted.

    Without a stop at its end.

    Args:
        controls: rows of `Results.controls`.

    Returns:
        "" where that control was not run, or top-1 not measured.
    """
    rows = control_rows(controls)
    rows = rows[(rows["measure"] == "top-1") & (rows["control"] == "centring")]
    if rows.empty:
        return ""
    lower, higher = rows[rows["advantage_high"] < 0], rows[rows["advantage_low"] > 0]
    verdicts = [
        f"{word}{_for_targets(targets, rows)}"
        for word, targets in (("higher", higher), ("lower", lower))
        if not targets.empty
    ]
    verdict = f"reliably {listed(verdicts)}" if verdicts else "not reliably different"
    return (
        "Subtracting each language's mean, without steering, retrieves at "
        f"{span(rows['control_value'])}, experts at {_levels(rows)}: {verdict}"
    )


def advantages_title(controls: pd.DataFrame) -> str:
    """Say than how many controls experts retrieve better, and whether than no steering.

    Args:
        controls: rows of `Results.controls`.
    """
    rows = control_rows(controls)
    rows = rows[rows["measure"] == "top-1"]
    every_control = rows["control"].nunique()
    rows = rows[rows["advantage_low"].notna()]
    if rows.empty:
        return "Every control was drawn too few times to tell of others"
    targets = rows.drop_duplicates("target")
    beaten = rows.assign(won=rows["advantage_low"] > 0).groupby("target", sort=False)["won"].sum()
    n = rows["control"].nunique()
    judged = " that can be judged" if n < every_control else ""
    every = {1: f"the control{judged}", 2: f"both controls{judged}"}.get(
        n, f"all {n} controls{judged}"
    )
    parts = []
    for count in sorted(set(beaten), reverse=True):
        with_count = targets[targets["target"].isin(beaten.index[beaten == count])]
        than = every if count == n else f"{count} of {n} controls" if count else "none"
        parts.append(f"than {than}{_for_targets(with_count, targets, names=True)}")
    title = f"Experts retrieve better {', '.join(parts)}"
    if not beaten.any():
        any_control = {1: "the control", 2: "either control"}.get(n, f"any of {n} controls")
        title = f"Experts retrieve no better than {any_control}{for_none_of(targets)}"
    up = targets[targets["change_low"] > 0]
    if len(targets) == 1:
        return f"{title}, {'and no' if up.empty else 'and'} better than the unsteered model"
    for_whom = for_none_of(targets) if up.empty else _for_targets(up, targets, names=True)
    return f"{title}; {'no ' if up.empty else ''}better than the unsteered model{for_whom}"


def _shares(known: pd.DataFrame) -> str:
    """Print shares with the ends of their intervals; of several, the outermost."""
    low, high = float(known["share"].min()), float(known["share"].max())
    shares = [share_text(low), share_text(high)]
    ends = [known["share_low"].min(), known["share_high"].max()]
    if known["share_low"].isna().any():
        return " to ".join(dict.fromkeys(shares))
    between = " to ".join(share_text(float(end)) for end in ends)
    which = "95% interval" if len(known) == 1 else "95% intervals from"
    return f"{' to '.join(dict.fromkeys(shares))} ({which} {between})"


def _levels(rows: pd.DataFrame) -> str:
    """Print each target's top-1 with experts, or the lowest and highest of many."""
    if rows["target"].nunique() > _NAMED:
        return span(rows["post"])
    names = rows["target"].nunique() > 1
    return listed(
        number(row["post"]) + (f" ({language_name(row['target'])})" if names else "")
        for row in records(rows)
    )


def _for_targets(targets: pd.DataFrame, among: pd.DataFrame, *, names: bool = False) -> str:
    """Say for which of several targets, by their names where they are few and that is asked."""
    if names and 1 < len(among) <= _NAMED:
        return f" for {listed(map(language_name, targets['target']))}"
    return for_how_many(targets, among)
