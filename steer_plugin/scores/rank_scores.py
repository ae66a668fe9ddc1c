"""The scores that look at ranks: AUROC and average precision.

These are exact under ties, do not depend on the order of the sentences, and all concepts come from
one sort of each unit. After it, ranks are positions, and what ties share is where their run starts
and ends; each concept's positions are then listed by one more sort, of the labels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.responses.unit_chunks import MEMORY, Labels, Matrix, as_matrix, map_units
from steer_plugin.scores.concept_sums import sum_by_concept
from steer_plugin.scores.unit_measures import SortedUnits, measure_units
from steer_plugin.scores.unit_sort import run_ends, run_starts, sort_units
from steer_plugin.settings.parts import SCORES, Score

RANK_SCORES = ("auroc", "average_precision")


def auroc(
    responses: Matrix, labels: Labels, *, memory: int = MEMORY
) -> Float[np.ndarray, "concept unit"]:
    """Give each unit's area under the ROC curve as a detector of each concept against the rest.

    (R - P(P+1)/2) / (P Q), where R is the sum of the P positives' midranks among all sentences and
    Q counts the negatives (Mann-Whitney; the expertise of Sundar et al. 2025, arXiv 2502.15639,
    section 3). Sums are whole numbers, so the only rounding is that of the division. A constant
    unit has exactly 0.5.

    Args:
        responses: any floating dtype, finite; on an accelerator they are scored there.
        labels: the concept of each sentence, in 0..C-1, each concept at least once, C >= 2.
        memory: bytes of working memory to stay within.

    Returns:
        Scores in [0, 1], float64.

    Raises:
        ScoreError: a response is NaN or infinite, or the labels are not as described.
    """
    return measure_units(
        responses, labels, lambda units: {"scores": auroc_of(units)}, memory=memory
    )["scores"]


def average_precision(
    responses: Matrix, labels: Labels, *, memory: int = MEMORY
) -> Float[np.ndarray, "concept unit"]:
    """Give each unit's average precision as a detector of each concept against the rest.

    The sum over distinct thresholds, descending, of (R_n - R_{n-1}) P_n with recall R and
    precision P, so that tied responses enter together (Suau et al. 2022, section 3; Kojima et al.
    2024, section 3). A constant unit has the base rate P/N.

    Arguments, range and errors are those of `auroc`.
    """
    return measure_units(
        responses, labels, lambda units: {"scores": average_precision_of(units)}, memory=memory
    )["scores"]


def scores(
    responses: Matrix,
    labels: Labels,
    names: Sequence[str] = RANK_SCORES,
    *,
    memory: int = MEMORY,
) -> dict[str, Float[np.ndarray, "concept unit"]]:
    """Give several scores from the same sort; arguments and errors are those of `auroc`."""
    return measure_units(
        responses,
        labels,
        lambda units: {name: SCORES[name].function(units) for name in names},
        memory=memory,
    )


def doubled_midranks(responses: Matrix, *, memory: int = MEMORY) -> Int[Tensor, "unit sentence"]:
    """Give twice each response's midrank among its unit's, counted from 0; ties share one.

    From them the AUROC of any labels follows: with S the sum over the P positives, and Q
    negatives, it is (S - P(P-1)) / (2PQ).

    Arguments and errors are those of `auroc`.
    """
    matrix = as_matrix(responses)
    row = torch.arange(len(matrix), dtype=torch.int32, device=matrix.device)

    def rank(chunk: Float[Tensor, "sentence chunk"], first_unit: int) -> dict[str, Tensor]:
        keys, rows = sort_units(chunk, row, first_unit)
        steps = keys[:, 1:] != keys[:, :-1]
        doubled = run_starts(steps) + run_ends(steps)
        return {"ranks": torch.empty_like(doubled).scatter_(1, rows.long(), doubled)}

    return map_units(rank, matrix, memory)["ranks"]


def auroc_of(units: SortedUnits) -> Float[Tensor, "unit concept"]:
    """Give the `auroc` of units that are sorted."""
    counts = units.counts
    doubled_ranks = units.first + run_ends(units.steps)
    doubled = sum_by_concept(doubled_ranks.gather(1, units.order), counts)
    above = doubled - counts * (counts - 1)
    return above.double() / (2 * counts * (units.order.shape[1] - counts))


def average_precision_of(units: SortedUnits) -> Float[Tensor, "unit concept"]:
    """Give the `average_precision` of units that are sorted."""
    counts, sentences = units.counts, units.order.shape[1]
    # A threshold lets in everybody from the start of its run up: so many sentences, ...
    start = units.first.gather(1, units.order)
    retrieved = sentences - start
    # ... and of each concept all from the first that is in the run.
    edges = counts.cumsum(0)
    own_steps = start[:, 1:] != start[:, :-1]
    own_steps[:, edges[:-1] - 1] = True
    hits = torch.repeat_interleave(edges.int(), counts) - run_starts(own_steps)
    precision = sum_by_concept(hits.double().div_(retrieved), counts) / counts
    # Adding up equal parts may round; a constant unit, all one run, is at chance exactly.
    return torch.where(units.first[:, -1:] > 0, precision, counts.double() / sentences)


AUROC = Score(auroc_of, chance=0.5, title="AUROC")
AVERAGE_PRECISION = Score(
    average_precision_of, chance=lambda counts: counts / counts.sum(), title="average precision"
)
