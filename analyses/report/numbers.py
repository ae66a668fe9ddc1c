"""Figures as text: numbers, intervals, counts and names, as tables and sentences have them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from steer_plugin.activations.sites import of_heads
from steer_plugin.analyses.run.results import FOUND_ON, Results
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS
from steer_plugin.analyses.statistics.figure_rows import records
from steer_plugin.corpora.language_codes import language_label, language_name
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.settings.parts import SCORES

MINUS = "\N{MINUS SIGN}"
UNSEEN = "\N{DAGGER}"
"""After the name of a language that the model did not see in pre-training."""

NOT_RUN = "not run"
NO_INTERVAL = "no interval"
CENTRINGS = {
    "raw": "as they are",
    "global": "common mean removed",
    "language": "language means removed",
}
ENDS = {"top": "best", "bottom": "lowest-scoring", "top+bottom": "best and lowest-scoring"}
"""Which units a selection takes."""

_GROUPS = {"all": "all pairs", "others": "the others", "medoid": "the medoid"}
_DATASETS = {"tatoeba": "Tatoeba", "bucc18": "BUCC-18", "pawsx": "PAWS-X"}


def number(value: float, *, signed: bool = False, digits: int = 2) -> str:
    """Print a figure, with one decimal more where it would show a nought that is not one."""
    if value != value:
        return "–"
    if round(value, digits) == 0 and round(value, digits + 1) != 0:
        digits += 1
    text = f"{abs(value):.{digits}f}"
    if value < 0 and float(text) != 0:
        return MINUS + text
    return "+" + text if signed else text


def percent(share: float) -> str:
    """Print a share of 1 as a whole percentage."""
    return "<1%" if 0 < share < 0.005 else f"{number(100 * share, digits=0)}%"


def interval(low: float, high: float, *, digits: int = 2, signed: bool = True) -> str:
    """Print the two ends of an interval; where there is none, that."""
    if low != low:
        return NO_INTERVAL
    return " to ".join(number(end, signed=signed, digits=digits) for end in (low, high))


def between(row: Mapping[str, Any], name: str, *, digits: int = 3, signed: bool = True) -> str:
    """Print a figure of a row with the ends of its interval, "not run" where there is none."""
    if row[name] != row[name]:
        return NOT_RUN
    ends = interval(row[f"{name}_low"], row[f"{name}_high"], digits=digits, signed=signed)
    return f"{number(row[name], signed=signed, digits=digits)} ({ends})"


def betweens(table: pd.DataFrame, name: str, **how: Any) -> list[str]:
    """Print a column with its intervals; see `between`."""
    columns = table[[name, f"{name}_low", f"{name}_high"]]
    return [between(row, name, **how) for row in records(columns)]


def span(values: pd.Series, digits: int = 2) -> str:
    """Print the lowest and the highest of some figures, or the one that they all are."""
    ends = [number(float(end), digits=digits) for end in (values.min(), values.max())]
    return " to ".join(dict.fromkeys(ends))


def counts(numbers: Iterable[float]) -> str:
    """Print the different whole numbers among some, ascending: "50, 300 and 1,500"."""
    return listed(f"{n:,}" for n in sorted({int(n) for n in numbers}))


def listed(items: Iterable[str]) -> str:
    """Join names as a sentence does: "a, b and c"."""
    names = list(items)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def size(difference: float) -> str:
    """Print how large a difference is, to two digits: "0.012", "3.0e-7", "0"."""
    if difference == 0:
        return "0"
    digits, _, power = f"{abs(difference):.1e}".partition("e")
    if int(power) < -3:
        return f"{digits}e{int(power)}"
    return number(abs(difference), digits=max(0, 1 - int(power)))


def dataset_name(name: str) -> str:
    """Name a data set as its makers do; a word that is not known stands for itself."""
    return _DATASETS.get(name, name[:1].upper() + name[1:])


def unseen(results: Results, languages: Iterable[str]) -> list[str]:
    """Give those of some languages that the run says were not seen; none where it says nothing.

    A run that says "none" has seen none of them.
    """
    seen = results.provenance.get("seen", "")
    return [code for code in languages if seen and code not in seen.split(", ")]


def found_elsewhere(results: Results) -> str | None:
    """Name the model that the experts were found on where that is not the one that is steered."""
    told = results.provenance
    base, steered = (
        [told.get(key) for key in keys]
        for keys in ((FOUND_ON, f"{FOUND_ON}_revision"), ("model", "revision"))
    )
    return None if FOUND_ON not in told or base == steered else base[0]


def names(results: Results, codes: Iterable[str]) -> dict[str, str]:
    """Name languages, in short where one name does, with a dagger where one was not seen."""
    given = list(dict.fromkeys(str(code) for code in codes))
    plain = [_GROUPS.get(code) or language_name(code) for code in given]
    strange = set(unseen(results, (code for code in given if code not in _GROUPS)))
    return {
        code: (name if plain.count(name) == 1 else language_label(code))
        + (f" {UNSEEN}" if code in strange else "")
        for code, name in zip(given, plain, strict=True)
    }


def dagger(labels: Iterable[str]) -> str:
    """Say at the end of a caption what the dagger means; "" where no name has one."""
    return f" {UNSEEN} not seen in pre-training." if any(UNSEEN in name for name in labels) else ""


def several_draws(rows: pd.DataFrame) -> bool:
    """Say whether a random control was drawn often enough, in every row, to judge a further one."""
    return bool((rows["n_controls"] >= FEWEST_DRAWS).all())


def score_name(results: Results) -> str:
    """Name the expertise score as axes and sentences do."""
    score = results.provenance.get("score", "score")
    # What is saved can be reported where somebody's own score is not registered.
    return (SCORES[score].title if score in SCORES else None) or score


def choice_of(results: Results) -> Choice:
    """Give how the run chose its units; where its provenance does not say, the k best of all.

    Raises:
        SelectionError: what it says is not understood.
    """
    selection = results.provenance.get("selection")
    return TOP if selection is None else Choice.parse(selection)


def chosen_units(choice: Choice) -> str:
    """Say which units k counts: "the k best units", "the k lowest-scoring units of each layer"."""
    return f"the k {ENDS[choice.selection]} units{of_layers(choice)}"


def of_layers(choice: Choice) -> str:
    """Say, after some units, of which layers they are; nothing where these are all."""
    if choice.layers is None:
        return " of each layer" if choice.per_layer else ""
    first, last = choice.layers
    blocks = f"block {first}" if first == last else f"blocks {first} to {last}"
    return f" of each of {blocks}" if choice.per_layer and first != last else f" of {blocks}"


def k_title(choice: Choice) -> str:
    """Name an axis of numbers of units."""
    return "k units of each layer (log)" if choice.per_layer else "k units steered (log)"


def units_name(results: Results) -> str:
    """Name the units that were steered: "neurons" of an MLP, "heads", else "units"."""
    site = results.provenance.get("site", "")
    if of_heads(site):
        return "heads"
    return "neurons" if site.startswith("mlp.") else "units"


def first_of(parts: Sequence[str], most: int, of: str = "targets", between: str = "; ") -> str:
    """Join the first of some parts, and say of how many where some are left out."""
    text = between.join(parts[:most])
    return text if len(parts) <= most else f"{text} (first {most} of {len(parts)} {of})"


def sampled(results: Results) -> str:
    """Say what intervals are over: "sentences", or "20 groups of sentences"."""
    groups = results.provenance.get("judge_groups", "")
    return f"{int(groups):,} groups of sentences" if groups.isdigit() else "sentences"
