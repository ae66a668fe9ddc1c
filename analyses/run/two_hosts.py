"""Two runs of one experiment on two hosts, figure by figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from steer_plugin.analyses.run.results import (
    BEFORE,
    CONTROL,
    EXPERTS,
    FOUND_ON,
    KEYS,
    Results,
)
from steer_plugin.analyses.statistics.figure_rows import over_pairs
from steer_plugin.errors import AnalysisError
from steer_plugin.experts.table import ExpertTable

TOP = 100
"""How many of each concept's best experts are compared."""

# Sentences and documents are told apart by their hashes, wherever their files lie.
_MAY_DIFFER = (
    *("host", "dtype", "device", "ndif_url", "batch_tokens", "fingerprint"),
    *(f"{FOUND_ON}_host", f"{FOUND_ON}_dtype", f"{FOUND_ON}_fingerprint"),
    *("experts", "corpus", "judge_corpus", "tatoeba", "bucc", "pawsx", "generation documents"),
)
_CONDITIONS = {"pre": BEFORE, "post": EXPERTS, "control": CONTROL}
_NOT_RECORDED = "not recorded"


@dataclass(frozen=True, eq=False)
class Hosts:
    """Two runs of one experiment: the one that a report is of, and another beside it.

    Attributes:
        here: what was measured on the one host.
        beside: what was measured on the other.
        experts_here: the experts that the one run found.
        experts_beside: the experts that the other run found.

    Raises:
        AnalysisError: the runs are not of the same experiment, are on the same host, or have no
            target and k in common; or the experts are not those of the run.
    """

    here: Results
    beside: Results
    experts_here: ExpertTable
    experts_beside: ExpertTable

    def __post_init__(self) -> None:
        """Check that the two can be compared."""
        against = {
            name: pair for name, pair in differing(self.here, self.beside).items() if _matters(name)
        }
        if against:
            differences = "; ".join(f"{name} is {a} and {b}" for name, (a, b) in against.items())
            raise AnalysisError(
                f"the two runs are not of the same experiment: {differences}; run the same file on "
                "both hosts"
            )
        if len(set(self.names)) == 1:
            raise AnalysisError(
                f"both runs are on {self.names[0]}; give a run on another host, device or dtype"
            )
        if self.top_1.empty:
            raise AnalysisError(
                "the two runs have no target and k in common: "
                f"{_steered(self.here)} and {_steered(self.beside)}; run the same file on both "
                "hosts"
            )
        for results, experts in (
            (self.here, self.experts_here),
            (self.beside, self.experts_beside),
        ):
            _check_origin(results, experts)

    @property
    def names(self) -> tuple[str, str]:
        """What the hosts are called, with the device and dtype where these differ."""
        different = differing(self.here, self.beside)
        shown = [name for name in ("device", "dtype") if name in different]
        here, beside = (_host(results, shown) for results in (self.here, self.beside))
        return here, beside

    @cached_property
    def figures(self) -> pd.DataFrame:
        """Every figure that both hosts have; see `host_figures`."""
        return host_figures(self.here, self.beside)

    @property
    def top_1(self) -> pd.DataFrame:
        """The figures that are mean top-1 over all pairs of languages, embeddings as they are."""
        return over_pairs(self.figures, "top-1")

    @property
    def only_one_has(self) -> int:
        """Count the figures that only one host has."""
        return len(_figures(self.here)) + len(_figures(self.beside)) - 2 * len(self.figures)

    @cached_property
    def experts(self) -> pd.DataFrame:
        """How many experts both hosts have; see `shared_experts`."""
        return shared_experts(self.experts_here, self.experts_beside)


def host_figures(here: Results, beside: Results) -> pd.DataFrame:
    """Put the figures of two runs side by side.

    Returns:
        One row a figure that both have: the columns that say what it is (as in
        `Results.retrieval` and `Results.alignment`), `condition` ("Before", "Experts" or "Random
        neurons"), its value `here` and `beside`, in the measure's units, and `difference`: beside
        minus here.
    """
    both = _figures(here).merge(
        _figures(beside), on=[*KEYS, "condition"], suffixes=("_here", "_beside")
    )
    both = both.rename(columns={"value_here": "here", "value_beside": "beside"})
    return both.assign(difference=both["beside"] - both["here"])


def _figures(results: Results) -> pd.DataFrame:
    whole = pd.concat([results.retrieval, results.alignment], ignore_index=True)
    parts = [
        whole[list(KEYS)].assign(condition=condition, value=whole[column])
        for column, condition in _CONDITIONS.items()
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value")


def distinct(figures: pd.DataFrame) -> pd.DataFrame:
    """Keep each figure once: what was measured before steering is the same for every target and k.

    Args:
        figures: rows of `host_figures`.
    """
    before = figures["condition"] == BEFORE
    once = figures.assign(
        target=figures["target"].mask(before, ""), top_k=figures["top_k"].mask(before, 0)
    )
    return figures[~once.duplicated([*KEYS, "condition"])].reset_index(drop=True)


def differing(here: Results, beside: Results) -> dict[str, tuple[str, str]]:
    """Give what two runs record differently, name to the two values."""
    names = {**here.provenance, **beside.provenance}
    pairs = {
        name: (
            here.provenance.get(name, _NOT_RECORDED),
            beside.provenance.get(name, _NOT_RECORDED),
        )
        for name in names
    }
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def same_verdicts(here: Results, beside: Results) -> tuple[int, int]:
    """Count the figures of mean top-1 whose two intervals say the same on both hosts.

    An interval (of the change, and of experts minus random neurons) lies above 0, below 0, or
    includes 0.

    Returns:
        How many figures say the same, and of how many that both have.
    """
    figures, other = (
        over_pairs(results.retrieval, "top-1").set_index(["target", "top_k", "layer"])
        for results in (here, beside)
    )
    shared = figures.index.intersection(other.index)
    same = pd.Series(data=True, index=shared)
    for name in ("change", "advantage"):
        same &= _sides(figures.loc[shared], name) == _sides(other.loc[shared], name)
    return int(same.sum()), len(shared)


def _sides(figures: pd.DataFrame, name: str) -> pd.Series:
    above, below = figures[f"{name}_low"] > 0, figures[f"{name}_high"] < 0
    return above.astype(int) - below.astype(int)


def shared_experts(here: ExpertTable, beside: ExpertTable, k: int = TOP) -> pd.DataFrame:
    """Count the experts that two runs have in common among each concept's k best.

    Returns:
        One row a concept: `concept`, `top_k` (k, or as many as score above chance on both),
        `shared`, `share` of top_k.

    Raises:
        AnalysisError: the tables have different units, concepts or scores.
    """
    if (here.space, here.concepts, here.score) != (beside.space, beside.concepts, beside.score):
        raise AnalysisError(
            "the two runs' experts have different units, concepts or scores; run the same file on "
            "both hosts"
        )
    rows = []
    for row, concept in enumerate(here.concepts):
        eligible = [int((table.scores[row] > table.chance[row]).sum()) for table in (here, beside)]
        top_k = min(k, *eligible)
        shared = len(np.intersect1d(here.top(concept, top_k), beside.top(concept, top_k)))
        rows.append((concept, top_k, shared, shared / max(top_k, 1)))
    return pd.DataFrame(rows, columns=["concept", "top_k", "shared", "share"])


def _host(results: Results, shown: Sequence[str]) -> str:
    host, *more = (results.provenance.get(name, _NOT_RECORDED) for name in ("host", *shown))
    return f"{host} ({', '.join(more)})" if more else host


def _matters(name: str) -> bool:
    return name not in _MAY_DIFFER and not name.startswith("version")


def _steered(results: Results) -> str:
    pairs = results.retrieval[["target", "top_k"]].drop_duplicates()
    return ", ".join(f"{target} at k = {k}" for target, k in pairs.itertuples(index=False))


def _check_origin(results: Results, experts: ExpertTable) -> None:
    """Refuse experts that a later or an unfinished run left beside older results."""
    origin = experts.provenance
    elsewhere = FOUND_ON in results.provenance
    prefix = f"{FOUND_ON}_" if elsewhere else ""
    recorded = {
        FOUND_ON if elsewhere else "model": origin["model"]["name"],
        **{f"{prefix}{name}": origin["model"][name] for name in ("revision", "host", "dtype")},
        "site": origin["site"],
        "pooling": origin["pooling"],
        "score": origin["score"],
        "find_hash": origin["corpus"]["hash"],
    }
    for name, recorded_value in recorded.items():
        wanted = results.provenance.get(name, _NOT_RECORDED)
        if recorded_value != wanted:
            raise AnalysisError(
                f"the experts beside the results of {results.provenance.get('host')} are of "
                f"another run: {name} is {recorded_value}, not {wanted}; run it again"
            )
