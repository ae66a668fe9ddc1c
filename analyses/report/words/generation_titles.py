"""What is said of generation: how the target language's probability moves, and what that costs."""

import pandas as pd

from steer_plugin.analyses.report.words.phrases import (
    for_how_many,
    for_none_of,
    how_many,
    listed,
    number,
)
from steer_plugin.analyses.statistics.figure_rows import records
from steer_plugin.corpora.language_codes import language_name

LANGUAGE = "the probability of the target language"

_NAMED = 3


def experts(table: pd.DataFrame) -> pd.DataFrame:
    """Keep a generation table's rows with experts steered."""
    return table[table["condition"] == "experts"]


def generation_title(table: pd.DataFrame) -> str:
    """Say for how many targets experts make the model write the target language, at what cost.

    Each target is read at its recommended k. Beyond the random draw is a gain whose whole
    interval lies above that of the as many random neurons that were drawn.

    Args:
        table: rows of `Results.generation`.
    """
    steered = experts(table)
    targets = steered.drop_duplicates("target")
    recommended = steered[steered["recommended"]]
    if recommended.empty:
        return f"No k is recommended{for_none_of(targets)}; {_at_some_k(steered, targets)}"
    up, down = recommended[recommended["gain_low"] > 0], recommended[recommended["gain_high"] < 0]
    start = "At the recommended k, experts"
    if not up.empty:
        title = f"{start} raise {LANGUAGE}{_beyond(table, up, targets)}"
    elif not down.empty:
        title = f"{start} lower {LANGUAGE}{for_how_many(down, targets)}"
    else:
        title = f"{start} do not reliably raise {LANGUAGE}{for_none_of(targets)}"
    left = targets[~targets["target"].isin(recommended["target"])]
    return title if left.empty else f"{title}; no k is recommended for {_who(left, targets)}"


def generation_tradeoff_title(table: pd.DataFrame) -> str:
    """Say which k is recommended for which target.

    Args:
        table: rows of `Results.generation`.
    """
    steered = experts(table)
    targets = steered.drop_duplicates("target")
    recommended = steered[steered["recommended"]]
    if recommended.empty:
        return f"Gain against perplexity recommends no k{for_none_of(targets)}"
    parts = [
        f"k = {k:,} for {_who(rows, targets)}"
        for k, rows in recommended.groupby(recommended["top_k"].astype(int))
    ]
    left = targets[~targets["target"].isin(recommended["target"])]
    if not left.empty:
        parts.append(f"no k for {_who(left, targets)}")
    return f"Gain against perplexity recommends {listed(parts)}"


def recommendation(table: pd.DataFrame) -> str:
    """Say by which rule k is recommended, and why none is where none is.

    Args:
        table: rows of `Results.generation`.
    """
    steered = experts(table)
    recommended = steered[steered["recommended"]]
    before = table[(table["condition"] == "before") & (table["reason"].fillna("") != "")]
    sentences = []
    if not recommended.empty:
        rule = "; ".join(dict.fromkeys(recommended["reason"]))
        sentences.append(f"Ring: the recommended k, {rule}, on the other half of the seeds.")
    refused: dict[str, list[str]] = {}
    for row in records(before):
        refused.setdefault(row["reason"], []).append(language_name(row["target"]))
    for reason, names in refused.items():
        who = f" for {listed(names)}" if table["target"].nunique() > 1 else ""
        sentences.append(f"No k is recommended{who}: {reason}.")
    return " ".join(sentences)


def _beyond(table: pd.DataFrame, up: pd.DataFrame, targets: pd.DataFrame) -> str:
    """Say beyond what, and for whom, the probability rises."""
    controls = table[table["condition"] == "control"]
    if controls.empty:
        return f"{for_how_many(up, targets)}{_levels(table, up)}; no random control was run"
    random = controls.set_index(["target", "top_k"])["gain_high"]
    place = pd.MultiIndex.from_frame(up[["target", "top_k"]])
    beyond = up[up["gain_low"].to_numpy() > random.reindex(place).to_numpy()]
    if beyond.empty:
        return (
            f"{for_how_many(up, targets)}{_levels(table, up)}, but not beyond the one random draw"
        )
    return f" beyond the one random draw{for_how_many(beyond, targets)}{_levels(table, beyond)}"


def _levels(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Give each target's probability before and after and its cost, or the largest gain of many."""
    before = table[table["condition"] == "before"].set_index("target")["probability"]
    named: list[str] = []
    for row in records(rows.nlargest(len(rows), "gain")):
        levels = f"{number(float(before[row['target']]))} to {number(row['probability'])}"
        of_what = "" if named else " the perplexity"
        paid = f" at {number(row['cost'])} times{of_what}" if row["cost"] == row["cost"] else ""
        named.append(f"{language_name(row['target'])} {levels}{paid}")
    if len(named) > _NAMED:
        return f", most for {named[0]}"
    return f": {listed(named)}"


def _at_some_k(steered: pd.DataFrame, targets: pd.DataFrame) -> str:
    up = targets[targets["target"].isin(steered.loc[steered["gain_low"] > 0, "target"])]
    down = targets[targets["target"].isin(steered.loc[steered["gain_high"] < 0, "target"])]
    ks = sorted({int(k) for k in steered["top_k"]})
    at = f"at k = {ks[0]:,}" if len(ks) == 1 else "at some k"
    changes = []
    if not up.empty:
        changes.append(f"raise {LANGUAGE} {at}{for_how_many(up, targets)}")
    if not down.empty:
        changes.append(f"lower {'it' if changes else LANGUAGE} {at}{for_how_many(down, targets)}")
    if not changes:
        return f"at no k do experts reliably change {LANGUAGE}"
    return f"experts {listed(changes)}"


def _who(rows: pd.DataFrame, targets: pd.DataFrame) -> str:
    if len(targets) > _NAMED:
        return how_many(rows, targets)
    return listed(language_name(target) for target in rows["target"])
