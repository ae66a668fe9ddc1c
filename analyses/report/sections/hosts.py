"""Two hosts: what they agree in, and how far apart they are where they do not."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from steer_plugin.analyses.report.figure import Drawing, Section, Table, chart
from steer_plugin.analyses.report.forms import Lanes, Panel, Scatter, Select
from steer_plugin.analyses.report.numbers import (
    CENTRINGS,
    listed,
    names,
    number,
    percent,
    size,
    units_name,
)
from steer_plugin.analyses.run.results import BEFORE, layer_phrase
from steer_plugin.analyses.run.two_hosts import TOP, Hosts, differing, distinct, same_verdicts
from steer_plugin.analyses.statistics.figure_rows import records
from steer_plugin.corpora.language_codes import language_name

MEASURES = {
    "top-1": "Top-1",
    "top-1 CSLS": "Top-1 by CSLS",
    "top-1 margin": "Top-1 by ratio margin",
    "MRR": "MRR",
    "pair distance": "Distance",
    "matched distance": "Distance of translations",
    "medoid distance": "Distance to the medoid",
    "centroid distance": "Distance of means",
    "gap": "Gap",
}
"""What each measure is called."""

RETRIEVAL = ("top-1", "MRR")
_PANELS, _CONCEPTS = 12, 30


def hosts_section(hosts: Hosts) -> Section:
    """Put together the section that overlays two hosts."""
    section = Section.of(hosts, "hosts", "Two hosts", (_overlay, _differences, _experts), _how)
    return replace(section, tables=(_recorded(hosts), _measures(hosts)))


def _how(hosts: Hosts) -> str:
    units = units_name(hosts.here)
    return (
        f"{agreement(hosts)} Each figure is counted once; random {units} are the mean over their "
        f"draws, and where the hosts' experts differ other {units} are drawn."
    )


def agreement(hosts: Hosts) -> str:
    """Say in one paragraph what was compared, and how far the two hosts agree."""
    different = differing(hosts.here, hosts.beside)
    same, of = same_verdicts(hosts.here, hosts.beside)
    sentences = [
        (
            f"The same experiment on {listed(hosts.names)}: the same model, sentences, split, "
            "seeds and settings."
        )
    ]
    if "dtype" in different:
        sentences.append(f"The dtypes are not the same: {listed(different['dtype'])}.")
    if hosts.only_one_has:
        sentences.append(
            f"Left out are {hosts.only_one_has:,} figures that only one of the two has."
        )
    sentences.append(f"{apart(hosts.figures)}.")
    retrieval = hosts.figures[hosts.figures["measure"].isin(RETRIEVAL)]
    figure = furthest(retrieval)
    if figure["difference"] != 0:
        sentences.append(f"Furthest apart in retrieval is {_whole(figure)}.")
    sentences.append(
        "The 95% intervals of mean top-1 (its change, and experts minus random "
        f"{units_name(hosts.here)}) say the same on both hosts (above 0, below 0, or neither) for "
        f"{same} of {of} combinations of target, k and layer."
    )
    return " ".join([*sentences, f"{shared_experts_sentence(hosts.experts)}."])


def furthest(figures: pd.DataFrame) -> dict[str, object]:
    """Give the figure that the hosts differ most in."""
    return records(figures.loc[[figures["difference"].abs().idxmax()]])[0]


def apart(figures: pd.DataFrame) -> str:
    """Say how many of two hosts' figures are equal, and how near the others are."""
    once = distinct(figures)
    retrieval = once["measure"].isin(RETRIEVAL)
    parts = [(once[retrieval], "retrieval figures"), (once[~retrieval], "other figures")]
    sentences = []
    for rows, name in parts:
        if rows.empty:
            continue
        equal, every = int((rows["difference"] == 0).sum()), f"{len(rows):,} {name} are"
        within = f"within {size(float(rows['difference'].abs().max()))}"
        if equal == len(rows):
            sentences.append(f"all {every} equal")
        else:
            others = f"{equal:,} of {every} equal, the others {within}"
            sentences.append(others if equal else f"all {every} {within}")
    text = "; ".join(sentences)
    return text[:1].upper() + text[1:]


def shared_experts_sentence(shared: pd.DataFrame) -> str:
    """Say how many of the best experts two hosts have in common."""
    ks = sorted({int(k) for k in shared["top_k"]})
    best = f"{ks[0]:,}" if len(ks) == 1 else f"{ks[0]:,} to {ks[-1]:,}"
    same = shared[shared["shared"] == shared["top_k"]]
    if len(same) == len(shared):
        return f"Both hosts find the same {best} best experts in all {len(shared)} languages"
    least = records(shared[shared["share"] == shared["share"].min()])
    fewest = [language_name(row["concept"]) for row in least]
    who = listed(fewest) if len(fewest) <= 3 else f"{len(fewest)} of them"
    return (
        f"Both hosts find the same {best} best experts in {len(same)} of {len(shared)} languages; "
        f"fewest in {who}: {least[0]['shared']} of {least[0]['top_k']}"
    )


def _whole(figure: dict[str, object]) -> str:
    query, candidates = (language_name(str(figure[name])) for name in ("query", "candidates"))
    pair = "of all pairs" if query == "all" else f"of {query} to {candidates}"
    values = " and ".join(number(float(str(figure[name])), digits=4) for name in ("here", "beside"))
    where = layer_phrase(str(figure["layer"]))
    when = (
        f"before steering, {where}"
        if figure["condition"] == BEFORE
        else f"{language_name(str(figure['target']))}, k = {figure['top_k']:,}, {where}, "
        f"{str(figure['condition']).lower()}"
    )
    centring = CENTRINGS[str(figure["centring"])]
    return f"{figure['measure']} {pair}, embeddings {centring} ({when}): {values}"


def _recorded(hosts: Hosts) -> Table:
    pairs = differing(hosts.here, hosts.beside)
    rows = pd.DataFrame(
        [(name.replace("_", " "), *pair) for name, pair in pairs.items()],
        columns=["Recorded", "This report", "Beside it"],
    )
    caption = "What the two runs record differently; all else under Provenance holds for both."
    return Table("hosts_recorded", "What differs", caption, rows)


def _measures(hosts: Hosts) -> Table:
    once = distinct(hosts.figures)
    parts = []
    for measure, name in MEASURES.items():
        differences = once.loc[once["measure"] == measure, "difference"].abs()
        if len(differences):
            equal = f"{int((differences == 0).sum()):,} of {len(differences):,}"
            most, middle = (size(float(v)) for v in (differences.max(), differences.median()))
            parts.append((name, most, middle, equal))
    rows = pd.DataFrame(parts, columns=["Measure", "Largest difference", "Median", "Equal"])
    caption = "Of every figure that both have; the file has all of them."
    return Table("hosts_measures", "How far apart", caption, rows, {"hosts": hosts.figures})


def _overlay_table(hosts: Hosts) -> pd.DataFrame:
    """Give the top-1 figures that are overlaid: at most 12 targets and k."""
    table = hosts.top_1
    steered = table[["target", "top_k"]].drop_duplicates()
    if len(steered) > _PANELS:
        headline = hosts.here.headline()
        at_headline = steered["top_k"] == steered["target"].map(headline)
        steered = steered[at_headline | ~steered["target"].isin(steered["target"][at_headline])]
    return table.merge(steered[:_PANELS], on=["target", "top_k"])


@chart("host_overlay", "Do both hosts retrieve alike?", _overlay_table)
def _overlay(hosts: Hosts, table: pd.DataFrame) -> Drawing:
    name = names(hosts.here, table["target"])
    rows = pd.DataFrame(
        {
            "panel": "",
            "series": table["condition"],
            "of": [
                f"{name[target]}, k = {k:,}"
                for target, k in zip(table["target"], table["top_k"], strict=True)
            ],
            "x": table["here"],
            "y": table["beside"],
            "where": [layer_phrase(str(layer)) for layer in table["layer"]],
            "both": [
                f"{number(a, digits=4)}, {number(b, digits=4)}"
                for a, b in zip(table["here"], table["beside"], strict=True)
            ],
        }
    )
    once = distinct(table)
    equal = int((once["difference"] == 0).sum())
    most = furthest(once)
    told = (
        f"All {len(once)} mean accuracies are equal."
        if equal == len(once)
        else f"{equal} of {len(once)} mean accuracies are equal; the furthest are "
        f"{size(float(str(most['difference'])))} apart."
    )
    form = Scatter(
        (Panel("", ""),),
        {"target": "of", "where": "where", "condition": "series", "on both hosts": "both"},
        x=f"Top-1 on {hosts.names[0]}",
        y=f"Top-1 on {hosts.names[1]}",
        selects=Select.of(rows, of="Steered towards"),
    )
    return f"{told} A point is a layer and condition; alike is along the diagonal.", form, rows


def _differences_table(hosts: Hosts) -> pd.DataFrame:
    """Give the figure that the hosts differ most in, of each measure, condition and layer."""
    figures = hosts.figures
    if (figures["difference"] == 0).all():
        return figures[:0]
    keys = [figures[name] for name in ("measure", "condition", "layer")]
    largest = figures["difference"].abs().groupby(keys, sort=False).idxmax()
    table = figures.loc[largest.sort_values()]
    return table.assign(size=table["difference"].abs())


@chart("host_differences", "How far are the hosts apart?", _differences_table)
def _differences(_: Hosts, table: pd.DataFrame) -> Drawing:
    least = float(table.loc[table["size"] > 0, "size"].min())
    # A logarithmic axis has no 0, so equal figures stand one step below the smallest power.
    nought = 10.0 ** (math.floor(math.log10(least)) - 1)
    rows = pd.DataFrame(
        {
            "panel": "",
            "lane": [MEASURES.get(name, name) for name in table["measure"]],
            "series": table["condition"],
            "value": np.log10(table["size"].where(table["size"] > 0, nought)),
            "where": [layer_phrase(str(layer)) for layer in table["layer"]],
            "text": [size(value) for value in table["size"]],
        }
    )
    form = Lanes(
        (Panel("", "Power of ten of the largest difference in a layer", format=".0f"),),
        {"measure": "lane", "condition": "series", "where": "where", "difference": "text"},
        columns=1,
    )
    caption = f"Each point is one layer; at {math.log10(nought):.0f} the figures are equal."
    return caption, form, rows


def _experts_table(hosts: Hosts) -> pd.DataFrame:
    """Give the languages' shared experts: all, or the 30 that share fewest."""
    table = hosts.experts
    if len(table) <= _CONCEPTS:
        return table
    return table.sort_values("share", kind="stable")[:_CONCEPTS]


@chart("host_experts", "Do both hosts find the same experts?", _experts_table)
def _experts(hosts: Hosts, table: pd.DataFrame) -> Drawing:
    name = names(hosts.here, table["concept"])
    rows = pd.DataFrame(
        {
            "panel": "",
            "lane": table["concept"].map(name),
            "series": "Share of the best experts that both find",
            "value": table["share"],
            "text": [
                f"{a} of {k} ({percent(share)})"
                for a, k, share in zip(table["shared"], table["top_k"], table["share"], strict=True)
            ],
        }
    )
    shown = (
        "" if len(table) == len(hosts.experts) else f" Shown: the {len(table)} that share fewest."
    )
    form = Lanes(
        (Panel("", f"Share of the {TOP} best", marks=(0.0, 1.0), format=".0%"),),
        {"language": "lane", "shared": "text"},
        columns=1,
    )
    return f"{shared_experts_sentence(hosts.experts)}.{shown}", form, rows
