"""What of the experts is luck: the best unit under shuffled labels, and the choice between samples.

A unit is the best of many. How well the best one scores where no unit knows anything is what it
has to beat; and had other sentences been drawn, other units might have been chosen.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from steer_plugin.errors import AnalysisError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.experts.table import ExpertTable
from steer_plugin.responses.probe import Probe
from steer_plugin.responses.unit_chunks import MEMORY
from steer_plugin.scores.probe_scores import chance_levels, probe_scores
from steer_plugin.scores.rank_scores import doubled_midranks

PERMUTATIONS = 1000
RESAMPLES = 100


def best_of_units_null(
    probe: Probe,
    score: str = "auroc",
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    memory: int = MEMORY,
) -> Float[np.ndarray, "permutation concept"]:
    """Give the best score over all units under shuffled labels; see `Probe.shuffled`.

    The maximum over units, each permutation being the same for all of them, is the null that keeps
    the family-wise error rate (Westfall and Young 1993, "Resampling-based multiple testing",
    chapter 2).

    Args:
        probe: the responses.
        score: one of `steer_plugin.settings.parts.SCORES`. AUROC is ranked once for all
            permutations; the others are worked out anew for each.
        permutations: how many, at least 1.
        seed: of the permutations.
        memory: bytes of working memory.

    Raises:
        AnalysisError: no permutations.
        ScoreError: see `Probe.scores`.
    """
    if permutations < 1:
        raise AnalysisError(f"{permutations} permutations give no null; draw at least one")
    probes = [probe.shuffled(state) for state in _seeds(seed, permutations)]
    if score == "auroc":
        return _best_auroc(probe, np.stack([shuffled.labels for shuffled in probes]), memory)
    return np.stack([probe_scores(shuffled, score, memory=memory).max(1) for shuffled in probes])


def null_frame(
    experts: ExpertTable, null: Float[np.ndarray, "permutation concept"]
) -> pd.DataFrame:
    """Put each concept's best unit beside the best under shuffled labels.

    Args:
        experts: the scores of a probe.
        null: the best scores of the same probe and score; see `best_of_units_null`.

    Returns:
        One row a concept: `concept`; `best`, the highest score; `null_high`, the 95% quantile of
        the null; `p`, (1 + null scores of `best` or more) / (1 + permutations) (Phipson and Smyth
        2010, "Permutation p-values should never be zero"); `above`, how many units score above
        `null_high`: where no unit knows anything, there is one with a chance of 5%;
        `permutations`.

    Raises:
        AnalysisError: the null is of other concepts.
    """
    if null.ndim != 2 or null.shape[1] != len(experts.concepts) or not len(null):
        raise AnalysisError(
            f"the null has shape {null.shape}, the experts {len(experts.concepts)} concepts; give "
            "one row a permutation and one column a concept"
        )
    best, high = experts.scores.max(1), np.quantile(null, 0.95, axis=0)
    return pd.DataFrame(
        {
            "concept": experts.concepts,
            "best": best,
            "null_high": high,
            "p": (1 + (null >= best).sum(0)) / (1 + len(null)),
            "above": (experts.scores > high[:, None]).sum(1),
            "permutations": len(null),
        }
    )


def stability(
    probe: Probe,
    score: str,
    top_ks: Sequence[int],
    choice: Choice = TOP,
    *,
    concepts: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    memory: int = MEMORY,
) -> pd.DataFrame:
    """Measure how far the same k experts are chosen when the sentences are drawn anew.

    Each resample draws as many parallel sentences with replacement (`Probe.resampled`) and scores
    every unit again. Its k experts are compared with those of all sentences by Jaccard's index,
    shared units over units in either; a resample with fewer than k has only these.

    The interval spans the middle 95% of the resamples: how much the index varies from one to the
    next. It is not an interval for `jaccard`, which more resamples do not narrow. A resample
    stands to the sentences at hand as these do to all that could have been written, so the index
    says how much of the choice would be found with endless sentences; two samples as large as this
    one share less with each other.

    Args:
        probe: the responses.
        score: one of `steer_plugin.settings.parts.SCORES`.
        top_ks: numbers of experts.
        choice: which experts; see `ExpertTable.top`.
        concepts: which of the probe's to look at; None for all.
        resamples: how many, at least 1.
        seed: of the resamples.
        memory: bytes of working memory.

    Returns:
        One row a concept and k: `concept`, `top_k`, `jaccard` (mean over resamples, in [0, 1]),
        `jaccard_low`, `jaccard_high`, `resamples`.

    Raises:
        AnalysisError: no resamples, or a k below 1.
        SelectionError: there is no such concept, or fewer than k experts by all sentences.
        ScoreError: see `Probe.scores`.
    """
    if resamples < 1 or min(top_ks, default=0) < 1:
        raise AnalysisError(
            f"resamples={resamples} and top_ks={list(top_ks)} compare nothing; give at least one "
            "of each, from 1 up"
        )
    wanted = probe.concepts if concepts is None else concepts
    experts = ExpertTable(
        concepts=probe.concepts,
        space=probe.space,
        score=score,
        scores=probe_scores(probe, score, memory=memory),
        chance=tuple(chance_levels(score, probe.labels).tolist()),
        statistics={},
        provenance={},
    )
    chosen = {
        (concept, k): frozenset(experts.top(concept, k, choice).tolist())
        for concept in wanted
        for k in top_ks
    }
    indices: dict[tuple[str, int], list[float]] = {key: [] for key in chosen}
    for state in _seeds(seed, resamples):
        resampled = replace(
            experts, scores=probe_scores(probe.resampled(state), score, memory=memory)
        )
        for (concept, k), units in chosen.items():
            again = resampled.top(concept, k, choice, at_most=True)
            indices[concept, k].append(_jaccard(units, frozenset(again.tolist())))
    rows = [
        (concept, k, np.mean(values), *np.quantile(values, [0.025, 0.975]), resamples)
        for (concept, k), values in indices.items()
    ]
    columns = ["concept", "top_k", "jaccard", "jaccard_low", "jaccard_high", "resamples"]
    return pd.DataFrame(rows, columns=columns)


def _seeds(seed: int, count: int) -> list[int]:
    return [int(state) for state in np.random.SeedSequence(seed).generate_state(count, np.uint64)]


def _jaccard(units: frozenset[int], others: frozenset[int]) -> float:
    return len(units & others) / len(units | others)


def _best_auroc(
    probe: Probe, labellings: Int[np.ndarray, "permutation row"], memory: int
) -> Float[np.ndarray, "permutation concept"]:
    """Score each labelling by one matrix product of midranks and its concepts.

    The products are sums of whole numbers, which float64 holds exactly in any order.
    """
    rows, concepts = labellings.shape[1], len(probe.concepts)
    # Groups that are permuted whole may give a concept more texts, or fewer.
    positives = np.stack([np.bincount(row, minlength=concepts) for row in labellings])
    negatives = rows - positives
    labels = torch.from_numpy(labellings).to(probe.responses.device)
    concept = torch.arange(concepts, device=labels.device)
    # A quarter of the memory each for ranking, ranks, the labellings, and some units' products.
    share = memory // 4 // 8
    best = torch.zeros(len(labels) * concepts, dtype=torch.float64, device=labels.device)
    step = max(1, share // rows)
    for start in range(0, len(probe.space), step):
        ranks = doubled_midranks(probe.responses[:, start : start + step], memory=2 * share)
        start_column = 0
        for labelling_chunk in torch.split(labels, max(1, share // (rows * concepts))):
            is_concept = (labelling_chunk.T.unsqueeze(-1) == concept).double().flatten(1)
            within = slice(start_column, start_column + is_concept.shape[1])
            for units in torch.split(ranks, max(1, share // max(rows, is_concept.shape[1]))):
                best[within] = torch.maximum(best[within], (units.double() @ is_concept).amax(0))
            start_column = within.stop
    sums = best.reshape(-1, concepts).cpu().numpy()
    return np.asarray((sums - positives * (positives - 1)) / (2 * positives * negatives))
