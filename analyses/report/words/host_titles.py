"""What is said of two hosts: whether their figures agree, and by how much they do not."""

from typing import Any

import pandas as pd

from steer_plugin.analyses.report.words.phrases import CENTRINGS, listed, number
from steer_plugin.analyses.run.results import BEFORE, layer_phrase
from steer_plugin.analyses.run.two_hosts import Hosts, differing, distinct, same_verdicts
from steer_plugin.analyses.statistics.figure_rows import records
from steer_plugin.corpora.language_codes import language_name

RETRIEVAL = ("top-1", "MRR")
"""The measures that are accuracies; the others are of cosines."""

_NAMED = 3


def size(difference: float) -> str:
    """Print how large a difference is, to two digits: "0.012", "3.0e-7", "0"."""
    if difference == 0:
        return "0"
    digits, _, power = f"{abs(difference):.1e}".partition("e")
    if int(power) < -3:
        return f"{digits}e{int(power)}"
    return number(abs(difference), digits=1 - int(power))


def furthest(figures: pd.DataFrame) -> dict[str, Any]:
    """Give the figure that the hosts differ most in."""
    return records(figures.loc[[figures["difference"].abs().idxmax()]])[0]


def place(figure: dict[str, Any]) -> str:
    """Say at which target, k, layer and condition a figure was measured."""
    where = layer_phrase(str(figure["layer"]))
    if figure["condition"] == BEFORE:
        return f"before steering, {where}"
    return (
        f"{language_name(figure['target'])}, k = {figure['top_k']:,}, {where}, "
        f"{figure['condition'].lower()}"
    )


def overlay_title(names: tuple[str, str], figures: pd.DataFrame) -> str:
    """Say whether two hosts' accuracies are equal, and if not, where they are furthest apart.

    Args:
        names: of the hosts.
        figures: rows of `host_figures`, the accuracies that are drawn.
    """
    once = distinct(figures)
    equal = int((once["difference"] == 0).sum())
    if equal == len(once):
        return f"{listed(names)} agree: all {len(once)} mean accuracies are equal"
    figure = furthest(once)
    equal_ones = f"{equal} of {len(once)}" if equal else f"none of the {len(once)}"
    return (
        f"{listed(names)} differ by up to {size(figure['difference'])} in mean "
        f"accuracy ({place(figure)}); {equal_ones} are equal"
    )


def differences_title(figures: pd.DataFrame) -> str:
    """Say how many of two hosts' figures are equal, and how near the others are.

    Args:
        figures: rows of `host_figures`.
    """
    once = distinct(figures)
    retrieval = once["measure"].isin(RETRIEVAL)
    title = _apart(once[retrieval], "retrieval figures")
    if not retrieval.all():
        title += f"; {_apart(once[~retrieval], 'cosine distances and gaps')}"
    return title[0].upper() + title[1:]


def _apart(figures: pd.DataFrame, name: str) -> str:
    equal = int((figures["difference"] == 0).sum())
    every = f"{len(figures):,} {name} are"
    if equal == len(figures):
        return f"all {every} equal"
    within = f"within {size(float(figures['difference'].abs().max()))}"
    return f"{equal:,} of {every} equal, the others {within}" if equal else f"all {every} {within}"


def experts_title(shared: pd.DataFrame) -> str:
    """Say how many of the best experts two hosts have in common.

    Args:
        shared: rows of `shared_experts`.
    """
    ks = sorted({int(k) for k in shared["top_k"]})
    best = f"{ks[0]:,}" if len(ks) == 1 else f"{ks[0]:,} to {ks[-1]:,}"
    same = shared[shared["shared"] == shared["top_k"]]
    if len(same) == len(shared):
        return f"Both hosts find the same {best} best experts in all {len(shared)} languages"
    least = records(shared[shared["share"] == shared["share"].min()])
    names = [language_name(row["concept"]) for row in least]
    who = listed(names) if len(names) <= _NAMED else f"{len(names)} of them"
    return (
        f"Both hosts find the same {best} best experts in {len(same)} of {len(shared)} languages; "
        f"fewest in {who}: {least[0]['shared']} of {least[0]['top_k']}"
    )


def agreement(hosts: Hosts) -> str:
    """Say in one paragraph what was compared, and how far the two hosts agree."""
    different = differing(hosts.here, hosts.beside)
    same, of = same_verdicts(hosts.here, hosts.beside)
    verdicts = f"all {of}" if same == of else f"{same} of {of}"
    what = "the same model, sentences, split, seeds and settings"
    sentences = [f"The same experiment on {listed(hosts.names)}: {what}."]
    if "dtype" in different:
        sentences.append(f"The dtypes are not the same: {listed(different['dtype'])}.")
    if hosts.only_one_has:
        sentences.append(
            f"Left out are {hosts.only_one_has:,} figures that only one of the two has."
        )
    sentences.append(f"{differences_title(hosts.figures)}.")
    figure = furthest(hosts.figures[hosts.figures["measure"].isin(RETRIEVAL)])
    if figure["difference"] != 0:
        sentences.append(f"Furthest apart in retrieval is {_whole(figure)}.")
    sentences.append(
        "The 95% intervals of mean top-1 (its change, and experts minus random neurons) say the "
        "same on both hosts (above 0, below 0, or neither) for "
        f"{verdicts} combinations of target, k and layer."
    )
    return " ".join([*sentences, f"{experts_title(hosts.experts)}."])


def _whole(figure: dict[str, Any]) -> str:
    """Say all that a retrieval figure is of, and its value on either host."""
    query, candidates = (language_name(figure[name]) for name in ("query", "candidates"))
    pair = "of all pairs" if query == "all" else f"of {query} to {candidates}"
    values = " and ".join(number(figure[name], digits=4) for name in ("here", "beside"))
    centring = CENTRINGS[figure["centring"]].lower()
    return f"{figure['measure']} {pair}, {centring} ({place(figure)}): {values}"
