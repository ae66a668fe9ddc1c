"""How well each unit tells each concept: AUROC and average precision, exact under ties.

All concepts come from one sort of each unit. The sort carries each sentence's label in the low
bits of its key, so sorted labels need no second look-up; after it, a sentence's rank is its
position, and only tied runs are corrected.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from steer_plugin.errors import ScoreError

ScoreName = Literal["auroc", "average_precision"]
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)

Matrix = Float[Tensor, "sentence unit"] | Float[np.ndarray, "sentence unit"]
Labels = Int[Tensor, " sentence"] | Int[np.ndarray, " sentence"]

MEMORY = 256 * 2**20
BYTES_PER_RESPONSE = 64  # keys, ranks and temporaries of one response while it is scored
CACHED_RESPONSES = 2**18  # a chunk this large is sorted and ranked within a CPU core's cache


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
    return scores(responses, labels, ("auroc",), memory=memory)["auroc"]


def average_precision(
    responses: Matrix, labels: Labels, *, memory: int = MEMORY
) -> Float[np.ndarray, "concept unit"]:
    """Give each unit's average precision as a detector of each concept against the rest.

    The sum over distinct thresholds, descending, of (R_n - R_{n-1}) P_n with recall R and
    precision P, so that tied responses enter together (Suau et al. 2022, section 3; Kojima et al.
    2024, section 3). A constant unit has the base rate P/N.

    Arguments, range and errors are those of `auroc`.
    """
    return scores(responses, labels, ("average_precision",), memory=memory)["average_precision"]


def scores(
    responses: Matrix,
    labels: Labels,
    names: Sequence[ScoreName] = SCORES,
    *,
    memory: int = MEMORY,
) -> dict[ScoreName, Float[np.ndarray, "concept unit"]]:
    """Give several scores from the same sort; arguments and errors are those of `auroc`."""
    matrix = torch.as_tensor(responses)
    _check_shape(matrix)
    concept = torch.as_tensor(labels).to(matrix.device, torch.int64)
    counts = _count_concepts(concept, len(matrix))
    on_cpu = matrix.device.type == "cpu"
    workers = torch.get_num_threads() if on_cpu else 1
    chunk = memory // workers // BYTES_PER_RESPONSE
    step = max(1, (min(chunk, CACHED_RESPONSES) if on_cpu else chunk) // len(matrix))

    def score(start: int) -> dict[ScoreName, Float[Tensor, "concept unit"]]:
        return _score_units(matrix[:, start : start + step], start, concept, counts, names)

    starts = range(0, matrix.shape[1], step)
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        parts = list(pool.map(score, starts) if workers > 1 else map(score, starts))
    return {name: torch.cat([part[name] for part in parts], 1).cpu().numpy() for name in names}


def _check_shape(responses: Tensor) -> None:
    if responses.ndim != 2 or 0 in responses.shape or not responses.is_floating_point():
        raise ScoreError(
            f"responses have shape {tuple(responses.shape)} and dtype {responses.dtype}; give a "
            "floating matrix [sentence, unit] that is not empty"
        )


def _count_concepts(labels: Int[Tensor, " label"], sentences: int) -> Int[Tensor, " concept"]:
    if len(labels) != sentences:
        raise ScoreError(f"{len(labels)} labels for {sentences} sentences; give one a sentence")
    if int(labels.min()) < 0:
        raise ScoreError(f"a label is {int(labels.min())}; labels must be in 0..C-1")
    counts = torch.bincount(labels)
    if len(counts) < 2:
        raise ScoreError("only one concept is labelled; a score needs at least two")
    if int(counts.min()) == 0:
        raise ScoreError(
            f"no sentence has label {int(counts.argmin())}; labels must cover 0..{len(counts) - 1}"
        )
    return counts


def _score_units(
    responses: Float[Tensor, "sentence unit"],
    first_unit: int,
    labels: Int[Tensor, " sentence"],
    counts: Int[Tensor, " concept"],
    names: Sequence[ScoreName],
) -> dict[ScoreName, Float[Tensor, "concept unit"]]:
    values, sorted_labels, finite = _sort_descending(responses, labels)
    if not finite:
        sentence, unit = (int(i) for i in (~responses.isfinite()).nonzero()[0])
        raise ScoreError(
            f"the response of unit {first_unit + unit} to sentence {sentence} is "
            f"{float(responses[sentence, unit])}; scores need finite responses"
        )
    tied = torch.zeros(values.shape, dtype=torch.bool, device=values.device)
    torch.eq(values[:, :-1], values[:, 1:], out=tied[:, :-1])
    # Each row lists the positions of concept 0's sentences, ascending, then concept 1's, ...
    order = _stable_argsort(sorted_labels, len(counts))
    runs = _runs(tied)
    result: dict[ScoreName, Float[Tensor, "concept unit"]] = {}
    if "auroc" in names:
        result["auroc"] = _auroc(order, sorted_labels, runs, counts)
    if "average_precision" in names:
        result["average_precision"] = _average_precision(order, runs, counts)
    return result


def _sort_descending(
    responses: Float[Tensor, "sentence unit"], labels: Int[Tensor, " sentence"]
) -> tuple[Shaped[Tensor, "unit sentence"], Int[Tensor, "unit sentence"], bool]:
    """Sort each unit's responses (or keys that order like them), the labels with them.

    NaN and infinity sort to the ends, where the last result looks for them.
    """
    if responses.device.type != "cpu" or responses.dtype == torch.float64:
        values, index = responses.T.sort(1, descending=True)
        return values, labels[index], bool(values[:, [0, -1]].isfinite().all())
    # Adding 0.0 makes -0.0 and 0.0 the same bits.
    bits = (responses.T.contiguous().to(torch.float32) + 0.0).view(torch.int32)
    # Little-endian halves of one int64: the label below, the order-reversing key above.
    halves = torch.empty((*bits.shape, 2), dtype=torch.int32)
    halves[..., 0] = labels
    halves[..., 1] = torch.where(bits < 0, bits ^ -(2**31), ~bits)
    halves.view(torch.int64).squeeze(-1).numpy().sort(axis=1)
    keys = halves[..., 1]
    infinity = torch.tensor(torch.inf).view(torch.int32)
    finite = (keys[:, 0] > ~infinity).all() & (keys[:, -1] < infinity).all()
    return keys, halves[..., 0], bool(finite)


def _stable_argsort(
    labels: Int[Tensor, "unit sentence"], concepts: int
) -> Int[Tensor, "unit sentence"]:
    if labels.device.type != "cpu":
        return labels.argsort(dim=1, stable=True)
    small = labels.to(torch.uint8 if concepts <= 2**8 else torch.int32)
    return torch.from_numpy(small.numpy().argsort(axis=1, kind="stable"))  # bytes: by radix


@dataclass(frozen=True)
class _Runs:
    """Runs of equal neighbours, at flat positions of a matrix: where they start, how long."""

    start: Int[Tensor, " run"]
    length: Int[Tensor, " run"]

    def members(self) -> Int[Tensor, " member"]:
        return torch.repeat_interleave(self.start, self.length) + _ramps(self.length)


def _runs(tied: Bool[Tensor, "unit sentence"]) -> _Runs:
    """Find the runs, where `tied` says who equals the next in its row."""
    place = tied.flatten().nonzero().squeeze(1)
    gap = place.diff() != 1
    edge = torch.ones(min(1, len(place)), dtype=torch.bool, device=place.device)
    start, last = place[torch.cat([edge, gap])], place[torch.cat([gap, edge])]
    return _Runs(start, last - start + 2)


def _ramps(lengths: Int[Tensor, " ramp"]) -> Int[Tensor, " step"]:
    """Count 0, 1, ... up to each length, one after the other."""
    starts = lengths.cumsum(0) - lengths
    total = int(lengths.sum())
    return torch.arange(total, device=lengths.device) - torch.repeat_interleave(starts, lengths)


def _auroc(
    order: Int[Tensor, "unit sentence"],
    sorted_labels: Int[Tensor, "unit sentence"],
    runs: _Runs,
    counts: Int[Tensor, " concept"],
) -> Float[Tensor, "concept unit"]:
    units, sentences = order.shape
    # Twice the sum of midranks, from 0 at the top: positions, put right within tied runs.
    doubled = torch.stack([2 * block.sum(1) for block in order.split(counts.tolist(), 1)])
    members = runs.members()
    middle = torch.repeat_interleave(2 * (runs.start % sentences) + runs.length - 1, runs.length)
    concept = sorted_labels[members // sentences, members % sentences].to(torch.int64)
    cell = concept * units + members // sentences
    doubled.view(-1).index_add_(0, cell, middle - 2 * (members % sentences))
    positives = counts.unsqueeze(1)
    pairs = 2 * positives * (sentences - positives)
    above = doubled - positives * (positives - 1)
    return (pairs - above).double() / pairs


def _average_precision(
    order: Int[Tensor, "unit sentence"], runs: _Runs, counts: Int[Tensor, " concept"]
) -> Float[Tensor, "concept unit"]:
    units, sentences = order.shape
    # A threshold lets in everybody up to the end of the tied run.
    ends = torch.arange(1, sentences + 1, device=order.device).repeat(units, 1)
    ends.view(-1)[runs.members()] = torch.repeat_interleave(
        runs.start % sentences + runs.length, runs.length
    )
    ends = ends.gather(1, order)
    precision = (_ramps(counts) + 1) / ends.double()
    total = torch.stack([block.sum(1) for block in precision.split(counts.tolist(), 1)])
    # Tied positives enter together: of m, the i-th has m - i more hits than its place says.
    together = torch.zeros(ends.shape, dtype=torch.bool, device=order.device)
    torch.eq(ends[:, :-1], ends[:, 1:], out=together[:, :-1])
    together[:, counts.cumsum(0) - 1] = False
    tied = _runs(together)
    concept = torch.repeat_interleave(counts)[tied.start % sentences]
    more = (tied.length * (tied.length - 1)).double() / (2 * ends.view(-1)[tied.start])
    total.view(-1).index_add_(0, concept * units + tied.start // sentences, more)
    return total / counts.unsqueeze(1)
