"""How well each unit tells each concept: AUROC and average precision, exact under ties.

All concepts come from one sort of each unit. The sort carries each sentence's label in the low
bits of its key, so sorted labels need no second look-up; after it, ranks are positions, and what
ties share is where their run starts and ends.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

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
    matrix = _as_tensor(responses)
    if matrix.ndim != 2 or 0 in matrix.shape or not matrix.is_floating_point():
        raise ScoreError(
            f"responses have shape {tuple(matrix.shape)} and dtype {matrix.dtype}; give a "
            "floating matrix [sentence, unit] that is not empty"
        )
    concept = _as_tensor(labels).to(matrix.device)
    counts = _count_concepts(concept, len(matrix))
    on_cpu = matrix.device.type == "cpu"
    threads = torch.get_num_threads()
    workers = threads if on_cpu else 1
    chunk = memory // workers // BYTES_PER_RESPONSE
    step = max(1, (min(chunk, CACHED_RESPONSES) if on_cpu else chunk) // len(matrix))

    def score(start: int) -> dict[ScoreName, Float[Tensor, "concept unit"]]:
        return _score_units(matrix[:, start : start + step], start, concept, counts, names)

    starts = range(0, matrix.shape[1], step)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            parts = list(pool.map(score, starts) if workers > 1 else map(score, starts))
    finally:
        # What a worker sets, threads that start later inherit.
        torch.set_num_threads(threads)
    return {name: torch.cat([part[name] for part in parts], 1).cpu().numpy() for name in names}


def _as_tensor(array: Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]) -> Shaped[Tensor, "..."]:
    if isinstance(array, np.ndarray):
        # Torch takes neither read-only arrays, nor reversed ones, nor foreign byte orders.
        array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    tensor: Tensor = torch.as_tensor(array)
    return tensor


def _count_concepts(labels: Shaped[Tensor, "..."], sentences: int) -> Int[Tensor, " concept"]:
    if labels.shape != (sentences,) or labels.is_floating_point():
        raise ScoreError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}; give one whole "
            f"number for each of the {sentences} sentences"
        )
    present, counts = np.unique(labels.cpu().numpy(), return_counts=True)
    if present[0] < 0:
        raise ScoreError(f"a label is {present[0]}; labels must be in 0..C-1")
    absent = np.flatnonzero(present != np.arange(len(present)))
    if len(absent):
        raise ScoreError(f"no sentence has label {absent[0]}; labels must cover 0..{present[-1]}")
    if len(counts) < 2:
        raise ScoreError("only one concept is labelled; a score needs at least two")
    return torch.from_numpy(counts).to(labels.device)


def _score_units(
    responses: Float[Tensor, "sentence unit"],
    first_unit: int,
    labels: Int[Tensor, " sentence"],
    counts: Int[Tensor, " concept"],
    names: Sequence[ScoreName],
) -> dict[ScoreName, Float[Tensor, "concept unit"]]:
    keys, sorted_labels, finite = _sort(responses, labels)
    if not finite:
        sentence, unit = (int(i) for i in (~responses.isfinite()).nonzero()[0])
        raise ScoreError(
            f"the response of unit {first_unit + unit} to sentence {sentence} is "
            f"{float(responses[sentence, unit])}; scores need finite responses"
        )
    steps = keys[:, 1:] != keys[:, :-1]
    first = _run_starts(steps)
    # Each row lists the positions of concept 0's sentences, ascending, then concept 1's, ...
    order = _stable_argsort(sorted_labels, len(counts))
    result: dict[ScoreName, Float[Tensor, "concept unit"]] = {}
    if "auroc" in names:
        last = len(responses) - 1 - _run_starts(steps.flip(1)).flip(1)
        result["auroc"] = _auroc(order, first + last, counts)
    if "average_precision" in names:
        result["average_precision"] = _average_precision(order, first, counts)
    return result


def _sort(
    responses: Float[Tensor, "sentence unit"], labels: Int[Tensor, " sentence"]
) -> tuple[Shaped[Tensor, "unit sentence"], Int[Tensor, "unit sentence"], bool]:
    """Sort each unit's responses (or keys that order like them), the labels with them.

    NaN and infinity sort to the ends, where the last result looks for them.
    """
    if responses.device.type != "cpu" or responses.dtype == torch.float64:
        values, index = responses.T.sort(1)
        return values, labels[index], bool(values[:, [0, -1]].isfinite().all())
    # Copying the columns out before they are turned into rows halves the time in memory. Adding
    # 0.0 makes -0.0 and 0.0 the same bits.
    wide = responses.contiguous().T.contiguous().to(torch.float32) + 0.0
    bits = wide.view(torch.int32)
    # Little-endian halves of one int64: the label below, the bits above, in the floats' order.
    halves = torch.empty((*bits.shape, 2), dtype=torch.int32)
    halves[..., 0] = labels
    halves[..., 1] = bits ^ ((bits >> 31) & (2**31 - 1))
    halves.view(torch.int64).squeeze(-1).numpy().sort(axis=1)
    keys = halves[..., 1]
    infinity = int(torch.tensor(torch.inf).view(torch.int32))
    finite = (keys[:, 0] > ~infinity).all() & (keys[:, -1] < infinity).all()
    return keys, halves[..., 0], bool(finite)


def _stable_argsort(
    labels: Int[Tensor, "unit sentence"], concepts: int
) -> Int[Tensor, "unit sentence"]:
    if labels.device.type != "cpu":
        return labels.argsort(dim=1, stable=True)
    small = labels.to(torch.uint8 if concepts <= 2**8 else torch.int32)
    return torch.from_numpy(small.numpy().argsort(axis=1, kind="stable"))  # bytes: by radix


def _run_starts(steps: Bool[Tensor, "unit gap"]) -> Int[Tensor, "unit sentence"]:
    """Give, for each position of a row, where its run of equal values starts.

    `steps` says between which neighbours the value changes.
    """
    place = torch.arange(1, steps.shape[1] + 1, dtype=torch.int32, device=steps.device)
    return pad(steps * place, (1, 0)).cummax(1).values


def _sum_by_concept(
    values: Shaped[Tensor, "unit sentence"], counts: Int[Tensor, " concept"]
) -> Shaped[Tensor, "concept unit"]:
    return torch.stack([block.sum(1) for block in torch.split(values, counts.tolist(), 1)])


def _auroc(
    order: Int[Tensor, "unit sentence"],
    doubled_midranks: Int[Tensor, "unit sentence"],
    counts: Int[Tensor, " concept"],
) -> Float[Tensor, "concept unit"]:
    positives = counts.unsqueeze(1)
    doubled = _sum_by_concept(doubled_midranks.gather(1, order), counts)
    above = doubled - positives * (positives - 1)
    return above.double() / (2 * positives * (order.shape[1] - positives))


def _average_precision(
    order: Int[Tensor, "unit sentence"],
    first: Int[Tensor, "unit sentence"],
    counts: Int[Tensor, " concept"],
) -> Float[Tensor, "concept unit"]:
    sentences = order.shape[1]
    # A threshold lets in everybody from the start of its run up: so many sentences, ...
    start = first.gather(1, order)
    retrieved = sentences - start
    # ... and of each concept all from the first that is in the run.
    edges = counts.cumsum(0)
    own_steps = start[:, 1:] != start[:, :-1]
    own_steps[:, edges[:-1] - 1] = True
    hits = torch.repeat_interleave(edges.int(), counts) - _run_starts(own_steps)
    positives = counts.unsqueeze(1).double()
    precision = _sum_by_concept(hits / retrieved.double(), counts) / positives
    # Adding up equal parts may round; a constant unit, all one run, is at chance exactly.
    return torch.where(first[:, -1] > 0, precision, positives / sentences)
