"""Responses of a model to many texts, gathered from an adapter's batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from steer_plugin.errors import ArtifactError, ModelError
from steer_plugin.interventions.plan import AnyPlan, check_intervention, for_texts
from steer_plugin.models.adapter import Adapter, Batch, ModelInfo, Reading
from steer_plugin.models.generation import Prompt
from steer_plugin.responses.disk_matrix import DiskMatrix, token_counts
from steer_plugin.responses.heap import trim_heap
from steer_plugin.responses.pass_folder import BatchFile, PassFolder

Advance = Callable[[Int[np.ndarray, " row"]], object]
Progress = Callable[[int, int], AbstractContextManager[Advance]]
"""Shows how far a pass is: opened with how many texts there are and how many of them are there
already, and told the rows of each batch as it comes."""


@dataclass(frozen=True, eq=False)
class Responses:
    """What a model answered to texts, in their order.

    Attributes:
        by_reading: for each reading, its layers side by side.
        tokens: how many tokens of each text the responses are pooled over.
    """

    by_reading: Mapping[Reading, Float[Tensor, "text unit"]]
    tokens: Int[np.ndarray, " text"]

    def __getitem__(self, reading: Reading) -> Float[Tensor, "text unit"]:
        """Give the responses of one reading."""
        return self.by_reading[reading]


@dataclass(frozen=True, eq=False)
class KeptResponses:
    """What a model answered to texts, on disk.

    Attributes:
        readings: which sites, how pooled.
        parts: the batches; together each text once.
        tokens: how many tokens of each text the responses are pooled over.
        units: how many units each reading has.
        chosen: which of the texts of the parts makes each row; None for each once, in order.
    """

    readings: tuple[Reading, ...]
    parts: Sequence[BatchFile]
    tokens: Int[np.ndarray, " text"]
    units: Mapping[Reading, int]
    chosen: Int[np.ndarray, " text"] | None = None

    def __getitem__(self, reading: Reading) -> DiskMatrix:
        """Give the responses of one reading."""
        number = self.readings.index(reading)
        rows = None if self.chosen is None else torch.from_numpy(self.chosen)
        return DiskMatrix(self.parts, number, (len(self.tokens), self.units[reading]), rows)

    def within(self, memory: int) -> "Responses | KeptResponses":
        """Read all of them into memory where they take at most so many bytes."""
        matrices = {reading: self[reading] for reading in self.readings}
        if sum(matrix.nbytes for matrix in matrices.values()) > memory:
            return self
        return Responses({name: matrix[:, :] for name, matrix in matrices.items()}, self.tokens)

    def in_memory(self) -> "Responses":
        """Read all of them, as wide as an adapter's batches are."""
        return Responses(
            {reading: _in_memory(self[reading]) for reading in self.readings}, self.tokens
        )


def joined(
    passes: Sequence[tuple[Sequence[str], KeptResponses]],
    texts: Sequence[str],
    readings: Sequence[Reading],
) -> KeptResponses:
    """Put together what passes over parts of some texts answered.

    Args:
        passes: the texts of each, all among `texts` and each text in one pass, once; and the
            answers.
        texts: any order, repeated or not.
        readings: those wanted; all passes have them.
    """
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    parts = []
    for read, kept in passes:
        rows = np.array([place[text] for text in read])
        numbers = [kept.readings.index(reading) for reading in readings]
        parts += [part.placed(rows[part.rows], numbers) for part in kept.parts]
    chosen = np.array([place[text] for text in texts])
    units = passes[0][1].units
    repeated = None if len(place) == len(texts) else chosen
    tokens = token_counts(parts, len(place))[chosen]
    return KeptResponses(tuple(readings), parts, tokens, units, repeated)


def gather(
    adapter: Adapter,
    texts: Sequence[Prompt],
    readings: Sequence[Reading],
    *,
    intervention: AnyPlan | None = None,
    progress: str | Progress | None = None,
    keep: Path | None = None,
) -> Responses:
    """Run texts through a model once and give the responses in the order of the texts.

    Args:
        adapter: the model.
        texts: any number but none; of conversations, what the user says is pooled.
        readings: which sites, how pooled; all ride the same forward pass.
        intervention: what is done to the model meanwhile.
        progress: what to call the work in a bar on stderr, or what shows how far it is; None shows
            nothing.
        keep: folder in which each batch is kept as it comes, and found again when the same is
            asked for anew; whoever gives it deletes it. None keeps nothing.

    Raises:
        ModelError: there are no texts, the host left one out or answered with NaN or infinity, or
            batches are to be kept of a model whose revision is not known.
        ArtifactError: a batch cannot be kept.
    """
    check_intervention(intervention)
    if keep is not None:
        kept = gather_on_disk(
            adapter, texts, readings, keep=keep, intervention=intervention, progress=progress
        )
        return kept.in_memory()
    gathered: dict[Reading, Tensor] = {}
    tokens = np.zeros(len(texts), dtype=np.int64)
    everything = np.arange(len(texts))
    for batch in _answers(adapter, texts, everything, readings, intervention, progress):
        rows = torch.from_numpy(batch.rows)
        for reading, responses in batch.responses.items():
            if reading not in gathered:
                shape = (len(texts), responses.shape[1])
                gathered[reading] = torch.empty(shape, dtype=responses.dtype)
            gathered[reading][rows] = responses
        tokens[batch.rows] = batch.tokens
    _check_all_there(adapter, tokens)
    return Responses(gathered, tokens)


def gather_on_disk(
    adapter: Adapter,
    texts: Sequence[Prompt],
    readings: Sequence[Reading],
    *,
    keep: Path,
    model: ModelInfo | None = None,
    intervention: AnyPlan | None = None,
    progress: str | Progress | None = None,
) -> KeptResponses:
    """Run those texts through a model whose responses are not kept yet, and keep them.

    Several processes may ask for the same at once: one runs the model, the others wait for it.

    Other arguments, and errors, are those of `gather`.

    Args:
        model: which model answers, where that was just asked; by default it is asked here.
    """
    parts = PassFolder.of(keep, model or adapter.identify(), texts, readings, intervention)
    everything = np.arange(len(texts))
    files = fill(parts, adapter, texts, everything, intervention, progress)
    tokens = token_counts(files, len(texts))
    _check_all_there(adapter, tokens)
    units = {reading: len(adapter.space(reading.site, reading.layers)) for reading in readings}
    return KeptResponses(parts.readings, files, tokens, units)


def fill(
    parts: PassFolder,
    adapter: Adapter,
    texts: Sequence[Prompt],
    rows: Int[np.ndarray, " row"],
    intervention: AnyPlan | None = None,
    progress: str | Progress | None = None,
) -> list[BatchFile]:
    """Add to parts what they lack of some texts, and give them all.

    Args:
        parts: of just this pass.
        adapter: the model.
        texts: all of them.
        rows: which texts are wanted.
        intervention: what is done to the model meanwhile.
        progress: what to call the work in a bar on stderr, or what shows how far it is; None shows
            nothing.

    Raises:
        ModelError: the host answered with NaN or infinity.
        ArtifactError: a batch cannot be kept.
    """
    files = parts.whole()
    if token_counts(files, len(texts))[rows].all():
        return files
    with parts.writing():
        files = []
        for path, part in parts.look():
            if part is None:
                _remove(path)
            else:
                files.append(part)
        missing = rows[token_counts(files, len(texts))[rows] == 0]
        for batch in _answers(
            adapter, texts, missing, parts.readings, intervention, progress, len(rows)
        ):
            files.append(parts.add(batch))
            trim_heap()
    return files


def _in_memory(matrix: DiskMatrix) -> Float[Tensor, "text unit"]:
    """Read all of it, as wide as an adapter's batches are."""
    return matrix[:, :].to(torch.promote_types(matrix.dtype, torch.float32))


def _answers(
    adapter: Adapter,
    texts: Sequence[Prompt],
    rows: Int[np.ndarray, " row"],
    readings: Sequence[Reading],
    intervention: AnyPlan | None,
    progress: str | Progress | None,
    whole: int | None = None,
) -> Iterator[Batch]:
    """Ask for some of the texts, and give batches that count rows among all of them."""
    if not texts:
        raise ModelError("no texts were given; give at least one")
    total = len(rows) if whole is None else whole
    opened = progress if callable(progress) else partial(_bar, progress)
    with opened(total, total - len(rows)) as advance:
        if not len(rows):
            return
        chosen = [int(row) for row in rows]
        asked = [texts[row] for row in chosen]
        plan = None if intervention is None else for_texts(intervention, chosen, len(texts))
        for answer in adapter.collect(asked, readings, intervention=plan):
            batch = Batch(rows[answer.rows], answer.responses, answer.tokens)
            _check_finite(adapter, texts, batch)
            yield batch
            advance(batch.rows)


@contextmanager
def _bar(name: str | None, total: int, there: int) -> Iterator[Advance]:
    with tqdm(total=total, initial=there, desc=name, unit="text", disable=name is None) as bar:
        yield lambda rows: bar.update(len(rows))


def _check_finite(adapter: Adapter, texts: Sequence[Prompt], batch: Batch) -> None:
    for reading, responses in batch.responses.items():
        finite = responses.isfinite()
        if not bool(finite.all()):
            row, unit = (int(place) for place in (~finite).nonzero()[0])
            label = adapter.space(reading.site, reading.layers).label(unit)
            raise ModelError(
                f"unit {label} at {reading.site} responds with {float(responses[row, unit])} to "
                f"{texts[int(batch.rows[row])]!r}; check the model's weights and dtype"
            )


def _check_all_there(adapter: Adapter, tokens: Int[np.ndarray, " text"]) -> None:
    if not tokens.all():
        raise ModelError(f"{adapter.info.host} gave no response to text {int(tokens.argmin())}")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{path} is damaged and cannot be removed: {error}; remove it, or choose another folder"
        ) from error
