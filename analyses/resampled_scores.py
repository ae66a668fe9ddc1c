"""What of the experts is luck: the best unit under shuffled labels, and the choice between samples.

A unit is the best of many. How well the best one scores where no unit knows anything is what it
has to beat; and had other sentences been drawn, other units might have been chosen.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from steer_plugin.errors import AnalysisError, SelectionError
from steer_plugin.experts import ExpertTable
from steer_plugin.probing import Probe
from steer_plugin.scores import ScoreName, chance_levels, doubled_midranks
from steer_plugin.selection import select_units
from steer_plugin.unit_chunks import MEMORY

PERMUTATIONS = 1000
RESAMPLES = 100


def best_of_units_null(
    probe: Probe,
    score: ScoreName = "auroc",
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
        score: one of `steer_plugin.scores.SCORES`. AUROC is ranked once for all permutations; the
            others are worked out anew for each.
        permutations: how many, at least 1.
        seed: of the permutations.
        memory: bytes of working memory; AUROC holds the ranks of all responses beside it.

    Raises:
        AnalysisError: no permutations.
        ScoreError: see `Probe.scores`.
    """
    if permutations < 1:
        raise AnalysisError(f"{permutations} permutations give no null; draw at least one")
    shuffled = [probe.shuffled(one) for one in _seeds(seed, permutations)]
    if score == "auroc":
        return _best_auroc(probe, np.stack([one.labels for one in shuffled]), memory)
    return np.stack([one.scores(score, memory=memory).max(1) for one in shuffled])


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
    score: ScoreName,
    top_ks: Sequence[int],
    *,
    concepts: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how far the k best experts stay the same when the sentences are drawn anew.

    Each resample draws as many parallel sentences with replacement (`Probe.resampled`) and scores
    every unit again. Its k best, those above chance, are compared with the k best of all sentences
    by Jaccard's index, shared units over units in either; a resample with fewer than k units above
    chance has only these.

    The interval spans the middle 95% of the resamples: how much the index varies from one to the
    next. It is not an interval for `jaccard`, which more resamples do not narrow. A resample
    stands to the sentences at hand as these do to all that could have been written, so the index
    says how much of the choice would be found with endless sentences; two samples as large as this
    one share less with each other.

    Args:
        probe: the responses.
        score: one of `steer_plugin.scores.SCORES`.
        top_ks: numbers of experts.
        concepts: which of the probe's to look at; None for all.
        resamples: how many, at least 1.
        seed: of the resamples.

    Returns:
        One row a concept and k: `concept`, `top_k`, `jaccard` (mean over resamples, in [0, 1]),
        `jaccard_low`, `jaccard_high`, `resamples`.

    Raises:
        AnalysisError: no resamples, or a k below 1.
        SelectionError: there is no such concept, or fewer than k units are above chance in all
            sentences.
        ScoreError: see `Probe.scores`.
    """
    if resamples < 1 or min(top_ks, default=0) < 1:
        raise AnalysisError(
            f"resamples={resamples} and top_ks={list(top_ks)} compare nothing; give at least one "
            "of each, from 1 up"
        )
    wanted = probe.concepts if concepts is None else concepts
    unknown = [concept for concept in wanted if concept not in probe.concepts]
    if unknown:
        raise SelectionError(
            f"{unknown[0]!r} is not among the concepts; these are: {', '.join(probe.concepts)}"
        )
    chance, whole = chance_levels(score, probe.labels), probe.scores(score)
    rows_of = {concept: probe.concepts.index(concept) for concept in wanted}

    def best(scores: Float[np.ndarray, "concept unit"], concept: str, k: int) -> list[int]:
        row = rows_of[concept]
        found = select_units(scores[row], float(chance[row]), probe.space, k, concept=concept)
        return [int(unit) for unit in found]

    chosen = {
        (concept, k): frozenset(best(whole, concept, k)) for concept in rows_of for k in top_ks
    }
    found: dict[tuple[str, int], list[float]] = {key: [] for key in chosen}
    for one in _seeds(seed, resamples):
        drawn = probe.resampled(one).scores(score)
        for concept, row in rows_of.items():
            above = int((drawn[row] > chance[row]).sum())
            order = best(drawn, concept, min(max(top_ks), above))
            for k in top_ks:
                found[concept, k].append(_jaccard(chosen[concept, k], frozenset(order[:k])))
    rows = [
        (concept, k, np.mean(values), *np.quantile(values, [0.025, 0.975]), resamples)
        for (concept, k), values in found.items()
    ]
    columns = ["concept", "top_k", "jaccard", "jaccard_low", "jaccard_high", "resamples"]
    return pd.DataFrame(rows, columns=columns)


def _seeds(seed: int, count: int) -> list[int]:
    return [int(one) for one in np.random.SeedSequence(seed).generate_state(count, np.uint64)]


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other)


def _best_auroc(
    probe: Probe, labellings: Int[np.ndarray, "permutation row"], memory: int
) -> Float[np.ndarray, "permutation concept"]:
    """Score each labelling by one matrix product of midranks and its concepts.

    The products are sums of whole numbers, which float64 holds exactly in any order.
    """
    rows, concepts = labellings.shape[1], len(probe.concepts)
    positives = rows // concepts
    negatives = rows - positives
    ranks = doubled_midranks(probe.responses, memory=memory)
    labels = torch.from_numpy(labellings).to(ranks.device)
    concept = torch.arange(concepts, device=ranks.device)
    # A third of the memory each for the labellings, some units' ranks and their products.
    share = memory // 3 // 8
    best = []
    for some in torch.split(labels, max(1, share // (rows * concepts))):
        is_concept = (some.T.unsqueeze(-1) == concept).double().flatten(1)
        step = max(1, share // max(rows, is_concept.shape[1]))
        sums = [(units.double() @ is_concept).amax(0) for units in torch.split(ranks, step)]
        best.append(torch.stack(sums).amax(0).reshape(-1, concepts))
    above = torch.cat(best) - positives * (positives - 1)
    return np.asarray((above / (2 * positives * negatives)).cpu())
