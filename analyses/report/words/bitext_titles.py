"""What is said of retrieval within a language, between two models, and in independent sets."""

import pandas as pd

from steer_plugin.analyses.report.words.phrases import (
    draw_note,
    for_how_many,
    for_none_of,
    listed,
    several_draws,
    span,
)
from steer_plugin.analyses.statistics.figure_rows import records
from steer_plugin.corpora.language_codes import language_name

DATASETS = {"tatoeba": "Tatoeba", "bucc18": "BUCC-18", "pawsx": "PAWS-X"}


def dataset_name(name: str) -> str:
    """Name a data set as its makers do; a word that is not known stands for itself."""
    return DATASETS.get(name, name[:1].upper() + name[1:])


def mixed_title(same: pd.DataFrame, mixed: pd.DataFrame, what: str, where: str) -> str:
    """Say what becomes of retrieval with both sides steered, and with the candidates alone.

    Args:
        same: top-1 with queries and candidates in one condition, one row a target.
        mixed: the same with the queries of the unsteered model.
        what: is found.
        where: it is sought, as the start of a sentence; a single target is named instead.
    """
    title = (
        f"{where}, top-1 of {what} {_moves(same)} with both sides steered "
        f"({span(same['pre'])} before, {span(same['post'])} after); with unsteered queries it "
        f"{_moves(mixed)} ({span(mixed['post'])})"
    )
    fell = mixed[mixed["change_high"] < 0]
    if fell.empty:
        return title
    if not (mixed["n_controls"] > 0).all():
        return f"{title}; no random control was run"
    also = fell[fell["control_change_high"] < 0]
    if also.empty:
        return f"{title}, and not reliably with random neurons"
    return f"{title}, and with random neurons{for_how_many(also, mixed)} ({span(also['control'])})"


def bitexts_title(rows: pd.DataFrame) -> str:
    """Say in how many searches of each independent set top-1 rises, beyond random neurons.

    Args:
        rows: top-1, one row a target, data set and direction.
    """
    controlled = several_draws(rows)
    up = rows[rows["change_low"] > 0]
    won = up[up["advantage_low"] > 0] if controlled else up
    beyond = " beyond random neurons" if controlled else ""
    after = draw_note(rows)
    down = rows[rows["change_high"] < 0]
    if not down.empty:
        after = f"; {'it' if len(won) else 'top-1'} falls in {len(down)} of {len(rows)}{after}"
    if won.empty:
        return (
            f"In independent sets experts do not reliably lift top-1{beyond} in "
            f"{'the one search' if len(rows) == 1 else f'any of {len(rows)} searches'}{after}"
        )
    counts = [
        f"{int(won['dataset'].eq(str(name)).sum())} of {size} searches of {dataset_name(str(name))}"
        for name, size in rows.groupby("dataset", sort=False).size().items()
    ]
    best = records(won.sort_values("change", kind="stable"))[-1]
    pair = f"{language_name(best['query'])} to {language_name(best['candidates'])}"
    levels = f"{span(pd.Series([best['pre']]))} to {span(pd.Series([best['post']]))}"
    named = f"most from {pair} ({dataset_name(best['dataset'])}), {levels}"
    return f"Experts lift top-1{beyond} in {listed(counts)}, {named}{after}"


def _moves(rows: pd.DataFrame) -> str:
    up, down = rows[rows["change_low"] > 0], rows[rows["change_high"] < 0]
    moves = [
        f"{verb}{for_how_many(targets, rows)}"
        for verb, targets in (("rises", up), ("falls", down))
        if not targets.empty
    ]
    return " and ".join(moves) or f"does not change reliably{for_none_of(rows)}"
