"""Responses [sentence, unit], in memory or on disk, worked through some units at a time."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from threadpoolctl import ThreadpoolController
from torch import Tensor

from steer_plugin.errors import ScoreError
from steer_plugin.responses.disk_matrix import DiskMatrix

Matrix = Float[Tensor, "sentence unit"] | Float[np.ndarray, "sentence unit"] | DiskMatrix
Labels = Int[Tensor, " sentence"] | Int[np.ndarray, " sentence"]

MEMORY = 256 * 2**20
BYTES_PER_RESPONSE = 64  # keys, ranks and temporaries of one response while it is worked on
CACHED_RESPONSES = 2**17  # a chunk this large is sorted and ranked within a CPU core's cache
DISK_SHARE = 8  # of the memory, what one reading from disk may take
# What torch runs its threads by.
OPENMP = ThreadpoolController().select(user_api="openmp")  # type: ignore[no-untyped-call]


def map_units(
    work: Callable[[Float[Tensor, "sentence chunk"], int], Mapping[str, Shaped[Tensor, "chunk _"]]],
    matrix: Float[Tensor, "sentence unit"] | DiskMatrix,
    memory: int = MEMORY,
) -> dict[str, Shaped[Tensor, "unit _"]]:
    """Cut responses into chunks of units and put together what is made of each, by name.

    Args:
        work: takes a chunk and the number of its first unit; torch runs on one thread in it.
        matrix: on an accelerator its chunks are larger and done one after another.
        memory: bytes of working memory to stay within.
    """
    results = _Results(matrix.shape[1])
    if isinstance(matrix, DiskMatrix):
        step = units_at_a_time(len(matrix), matrix.dtype.itemsize, memory)
    else:
        step = matrix.shape[1]
    for start in range(0, matrix.shape[1], step):
        _map_chunks(work, matrix[:, start : start + step], start, memory, results)
    return results.by_name


class _Results:
    """What is made of all units, in place from the first.

    Were the results of chunks put together at the end, each would lie between what its chunk took
    for a while, and the allocator could give little of that back.
    """

    def __init__(self, units: int) -> None:
        self.by_name: dict[str, Tensor] = {}
        self._units = units
        self._lock = Lock()

    def put(self, first_unit: int, results: Mapping[str, Shaped[Tensor, "chunk _"]]) -> None:
        with self._lock:
            for name, values in results.items():
                if name not in self.by_name:
                    self.by_name[name] = values.new_empty((self._units, *values.shape[1:]))
        for name, values in results.items():
            self.by_name[name][first_unit : first_unit + len(values)] = values


def units_at_a_time(sentences: int, itemsize: int, memory: int) -> int:
    """Say of how many units the responses are read from disk at a time."""
    return max(1, memory // DISK_SHARE // (sentences * itemsize))


def _map_chunks(
    work: Callable[[Float[Tensor, "sentence chunk"], int], Mapping[str, Shaped[Tensor, "chunk _"]]],
    matrix: Float[Tensor, "sentence unit"],
    first_unit: int,
    memory: int,
    results: _Results,
) -> None:
    on_cpu = matrix.device.type == "cpu"
    threads = torch.get_num_threads()
    workers = threads if on_cpu else 1
    chunk = memory // workers // BYTES_PER_RESPONSE
    step = max(1, (min(chunk, CACHED_RESPONSES) if on_cpu else chunk) // len(matrix))

    def answer(start: int) -> None:
        first = first_unit + start
        # A thread's own number is set by torch when first asked for; from then on OpenMP keeps it.
        # `torch.set_num_threads` would set that of threads to come as well, also of others' ones.
        torch.get_num_threads()
        with OPENMP.limit(limits=1):
            results.put(first, work(matrix[:, start : start + step], first))

    starts = range(0, matrix.shape[1], step)
    with ThreadPoolExecutor(workers) as pool:
        together = min(workers, len(starts)) > 1
        deque(pool.map(answer, starts) if together else map(answer, starts), maxlen=0)


def as_matrix(responses: Matrix) -> Float[Tensor, "sentence unit"] | DiskMatrix:
    """Give responses as a tensor, or as they lie on disk.

    Raises:
        ScoreError: they are no floating matrix, or an empty one.
    """
    matrix = responses if isinstance(responses, DiskMatrix) else as_tensor(responses)
    if matrix.ndim != 2 or 0 in matrix.shape or not matrix.is_floating_point():
        raise ScoreError(
            f"responses have shape {tuple(matrix.shape)} and dtype {matrix.dtype}; give a "
            "floating matrix [sentence, unit] that is not empty"
        )
    return matrix


def by_concept(values: Shaped[Tensor, "unit concept"]) -> Shaped[np.ndarray, "concept unit"]:
    """Lay out what `map_units` gives of units as tables have it, one row a concept."""
    return np.ascontiguousarray(values.T.cpu().numpy())


def as_tensor(array: Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]) -> Shaped[Tensor, "..."]:
    """Give an array as a tensor, whatever its layout."""
    if isinstance(array, np.ndarray):
        # Torch takes neither read-only arrays, nor reversed ones, nor foreign byte orders.
        array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    tensor: Tensor = torch.as_tensor(array)
    return tensor


def labels_of(
    matrix: Float[Tensor, "sentence unit"] | DiskMatrix, labels: Labels
) -> tuple[Int[Tensor, " sentence"], Int[Tensor, " concept"]]:
    """Give the concept of each sentence, in as few bytes as hold it, and how many each has.

    Raises:
        ScoreError: see `_count_concepts`.
    """
    concept = as_tensor(labels).to(matrix.device)
    counts = _count_concepts(concept, len(matrix))
    return narrowed_labels(concept, len(counts)), counts


def _count_concepts(labels: Shaped[Tensor, "..."], sentences: int) -> Int[Tensor, " concept"]:
    """Count the sentences of each concept.

    Raises:
        ScoreError: there is not one label a sentence, or the labels do not cover 0..C-1, C >= 2.
    """
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


def check_finite(responses: Float[Tensor, "sentence chunk"], first_unit: int) -> None:
    """Refuse responses that are NaN or infinite.

    Raises:
        ScoreError: one is; it is named by its number among all units.
    """
    finite = responses.isfinite()
    if not bool(finite.all()):
        sentence, unit = (int(i) for i in (~finite).nonzero()[0])
        raise ScoreError(
            f"the response of unit {first_unit + unit} to sentence {sentence} is "
            f"{float(responses[sentence, unit])}; scores need finite responses"
        )


def narrowed_labels(labels: Int[Tensor, " sentence"], concepts: int) -> Int[Tensor, " sentence"]:
    """Give labels in as few bytes as hold them; NumPy sorts one and two by radix."""
    kinds = (torch.int8, torch.int16, torch.int32)
    return labels.to(next(kind for kind in kinds if concepts - 1 <= torch.iinfo(kind).max))
