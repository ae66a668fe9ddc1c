"""Numbers and names as sentences have them."""

from collections.abc import Iterable

import pandas as pd

from steer_plugin.analyses.report.words import unit_choice
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS

MINUS = "\N{MINUS SIGN}"


def number(value: float, *, signed: bool = False, digits: int = 2) -> str:
    """Print a figure, with one decimal more where it would show a nought that is not one."""
    if round(value, digits) == 0 and round(value, digits + 1) != 0:
        digits += 1
    text = f"{abs(value):.{digits}f}"
    if value < 0 and float(text) != 0:
        return MINUS + text
    return "+" + text if signed else text


def percent(share: float) -> str:
    """Print a share of 1 as a whole percentage."""
    return "<1%" if 0 < share < 0.005 else f"{100 * share:.0f}%"


def listed(items: Iterable[str]) -> str:
    """Join names as a sentence does: "a, b and c"."""
    names = list(items)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def distinct_numbers(numbers: Iterable[float]) -> str:
    """Print the different whole numbers among some, ascending: "50, 300 and 1,500"."""
    return listed(f"{n:,}" for n in sorted({int(n) for n in numbers}))


def ks(results: Results, table: pd.DataFrame) -> str:
    """Print the values of k in a table, and whether they count each layer by itself."""
    choice = unit_choice.choice_of(results)
    return f"{distinct_numbers(table['top_k'])}{unit_choice.in_each_layer(choice)}"


def count_span(counts: pd.Series) -> str:
    """Print the lowest and the highest of some counts, or the one that they all are."""
    return " to ".join(dict.fromkeys(f"{int(n):,}" for n in (counts.min(), counts.max())))


def interval(low: float, high: float, *, digits: int = 2) -> str:
    """Print the two ends of an interval of a difference; "no interval" where there is none."""
    if low != low:
        return "no interval"
    ends = [number(end, signed=True, digits=digits) for end in (low, high)]
    return " to ".join(ends)


def span(values: pd.Series, digits: int = 2) -> str:
    """Print the lowest and the highest of some figures, or the one that they all are."""
    ends = [number(float(end), digits=digits) for end in (values.min(), values.max())]
    return " to ".join(dict.fromkeys(ends))


def how_many(targets: pd.DataFrame, among: pd.DataFrame) -> str:
    """Say how many of the targets: "2 of 3 targets"."""
    if len(targets) == len(among):
        return {1: "the target", 2: "both targets"}.get(len(among), f"all {len(among)} targets")
    return f"{len(targets)} of {len(among)} targets"


def none_of(among: pd.DataFrame) -> str:
    """Say for whom nothing holds: "any of 3 targets"."""
    return {1: "the target", 2: "either target"}.get(len(among), f"any of {len(among)} targets")


def for_how_many(targets: pd.DataFrame, among: pd.DataFrame) -> str:
    """Say for how many of several targets: " for 2 of 3 targets"; of a single one nothing."""
    return "" if len(among) == 1 else f" for {how_many(targets, among)}"


def for_none_of(among: pd.DataFrame) -> str:
    """Say for which of several targets nothing holds: " for any of 3 targets"."""
    return "" if len(among) == 1 else f" for {none_of(among)}"


def sampled_units(results: Results) -> str:
    """Say what intervals are over: "sentences", or "20 groups of sentences"."""
    groups = results.provenance.get("judge_groups", "")
    return f"{int(groups):,} groups of sentences" if groups.isdigit() else "sentences"


def several_draws(rows: pd.DataFrame) -> bool:
    """Say whether a random control was drawn often enough, in every row, to judge a further one."""
    return bool((rows["n_controls"] >= FEWEST_DRAWS).all())


def draw_note(rows: pd.DataFrame) -> str:
    """Say why nothing is said of random neurons, as the end of a sentence; "" where it is."""
    if several_draws(rows):
        return ""
    if (rows["n_controls"] > 0).all():
        return f"; fewer than {FEWEST_DRAWS} random draws were run, which tell nothing of others"
    return "; no random control was run"


def seeds_phrase(results: Results) -> str:
    """Say how many seeds the random control has: "mean of 3 seeds"."""
    counts = sorted({int(n) for n in results.retrieval["n_controls"]})
    return "1 seed" if counts == [1] else f"mean of {listed(map(str, counts))} seeds"


CENTRINGS = {
    "raw": "Embeddings as they are",
    "global": "Common mean removed",
    "language": "Each language's mean removed",
}
