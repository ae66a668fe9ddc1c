"""A model's answers on disk, batch by batch.

One safetensors file a batch: a well-kept format that holds 16-bit floats and no code, and of which
some columns can be read alone. Each file's name ends with the hash of its bytes, so one that was
cut short or changed is known by its name.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from steer_plugin.errors import ArtifactError, ModelError
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import UNKNOWN, Batch, ModelInfo, Reading
from steer_plugin.models.generation import Prompt
from steer_plugin.registry import Registry, with_origins
from steer_plugin.settings.parts import POOLINGS, SITES
from steer_plugin.storage.artifacts import one_line, readable, whole_file
from steer_plugin.storage.kept_folders import delete, short_hash, writing_alone

FORMAT_VERSION = 1
ABOUT = "about.json"
SUFFIX = ".safetensors"
ROWS, TOKENS = "rows", "tokens"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}


@dataclass(frozen=True, eq=False)
class BatchFile:
    """One batch on disk.

    Attributes:
        path: of its file.
        rows: which texts, as indices into the list that was given.
        tokens: how many tokens of each text the responses are pooled over.
        dtypes: of the responses, one a reading.
        names: what the file calls the responses of each reading.
    """

    path: Path
    rows: Int[np.ndarray, " text"]
    tokens: Int[np.ndarray, " text"]
    dtypes: tuple[torch.dtype, ...]
    names: tuple[str, ...]

    def placed(self, rows: Int[np.ndarray, " text"], readings: Sequence[int]) -> "BatchFile":
        """Give the same batch as one of other texts, with some of its readings.

        Args:
            rows: which of the other texts each of its own is.
            readings: the numbers of the readings, in order.
        """
        return replace(
            self,
            rows=rows,
            dtypes=tuple(self.dtypes[number] for number in readings),
            names=tuple(self.names[number] for number in readings),
        )

    def units(self, reading: int, start: int, stop: int) -> Float[Tensor, "text chunk"]:
        """Read the responses of some units by the number of their reading.

        Raises:
            ArtifactError: the file is gone.
        """
        try:
            with safe_open(self.path, "pt") as file:
                chunk: Tensor = file.get_slice(self.names[reading])[:, start:stop]
        except (SafetensorError, OSError) as error:
            raise ArtifactError(
                f"cannot read {self.path}: {one_line(error)}; if it was removed meanwhile, do the "
                "same again: it is made anew"
            ) from error
        return chunk


@dataclass(frozen=True)
class PassFolder:
    """The batches of one pass over texts.

    Attributes:
        folder: holds one file a batch. Its name is a hash of all that the answers depend on.
        model: what answers, as `Adapter.identify` gives it.
        readings: what is read, in order.
        texts: how many there are.
        intervention: the hash of what is done to the model meanwhile; None for nothing.
    """

    folder: Path
    model: ModelInfo
    readings: tuple[Reading, ...]
    texts: int
    intervention: str | None = None

    @classmethod
    def of(
        cls,
        folder: Path,
        model: ModelInfo,
        texts: Sequence[Prompt],
        readings: Sequence[Reading],
        intervention: AnyPlan | None = None,
    ) -> "PassFolder":
        """Find the parts of just this pass among those in `folder`.

        Raises:
            ModelError: it is not known which weights it has, and they cannot be looked at (on a
                server, or offloaded), so that other weights' answers could be taken for theirs.
        """
        if model.revision == UNKNOWN and (not model.answers or "meta" in model.device):
            raise ModelError(
                f"answers of {model.name!r} cannot be kept, since other weights may have that name "
                "too; say which these are with adapt(..., revision=...)"
            )
        steered = None if intervention is None else intervention.hash
        parts: dict[str, tuple[Registry[Any, Any], str]] = {
            **{reading.site: (SITES, reading.site) for reading in readings},
            **{
                reading.pooling: (POOLINGS, reading.pooling)
                for reading in readings
                if reading.pooling in POOLINGS
            },
        }
        identity = {
            "format_version": FORMAT_VERSION,
            "model": asdict(model),
            "texts": list(texts),
            "readings": [asdict(reading) for reading in readings],
            **with_origins({}, **parts),
            "intervention": steered,
        }
        name = short_hash(json.dumps(identity).encode())
        return cls(folder / name, model, tuple(readings), len(texts), steered)

    @classmethod
    def at(cls, folder: Path) -> "PassFolder":
        """Open the parts of a pass by their folder.

        Raises:
            ArtifactError: it holds none that this version reads.
        """
        path = folder / ABOUT
        with readable(path):
            about = json.loads(path.read_text(encoding="utf-8"))
            if about.pop("format_version") != FORMAT_VERSION:
                raise ValueError("it is of another format version")
            readings = tuple(map(reading_of, about["readings"]))
            model = ModelInfo(**about["model"])
            return cls(folder, model, readings, int(about["texts"]), about["intervention"])

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Be the only one who adds parts or removes them; see `writing_alone`."""
        return writing_alone(self.folder)

    @property
    def size(self) -> int:
        """Bytes on disk, damaged parts among them."""
        return sum(path.stat().st_size for path in self.folder.glob(f"[0-9]*{SUFFIX}"))

    @property
    def claimed(self) -> int:
        """How many texts the parts say they hold, whether or not they are damaged."""
        count = 0
        for path in self.folder.glob(f"[0-9]*{SUFFIX}"):
            with contextlib.suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
                count += file.get_slice(ROWS).get_shape()[0]
        return count

    def remove(self) -> None:
        """Delete all parts.

        Raises:
            ArtifactError: they cannot be deleted.
        """
        with self.writing():
            delete(self.folder)

    def look(self) -> Iterator[tuple[Path, BatchFile | None]]:
        """Look at each file; it is a part if it holds just the bytes that its name tells of."""
        for path in sorted(self.folder.glob(f"[0-9]*{SUFFIX}")):
            yield path, _read(path, len(self.readings))

    def whole(self) -> list[BatchFile]:
        """Give the parts that are there and not damaged."""
        return [part for _, part in self.look() if part is not None]

    def add(self, batch: Batch) -> BatchFile:
        """Keep a batch, whole or not at all.

        Responses that the model's own dtype holds exactly are kept in that.

        Raises:
            ArtifactError: it cannot be written.
        """
        matrices = [self._narrow(batch.responses[reading]) for reading in self.readings]
        names = _names(len(matrices))
        tensors = {name: matrix.contiguous() for name, matrix in zip(names, matrices, strict=True)}
        tensors[ROWS] = torch.from_numpy(batch.rows)
        tensors[TOKENS] = torch.from_numpy(batch.tokens)
        content = save(tensors)
        path = self.folder / f"{int(batch.rows[0]):08d}-{short_hash(content)}{SUFFIX}"
        self._describe()
        with whole_file(path) as draft:
            draft.write_bytes(content)
        dtypes = tuple(matrix.dtype for matrix in matrices)
        return BatchFile(path, batch.rows, batch.tokens, dtypes, names)

    def _narrow(self, responses: Float[Tensor, "text unit"]) -> Float[Tensor, "text unit"]:
        narrow = responses.to(self.model.computes_in)
        return narrow if torch.equal(narrow.to(responses.dtype), responses) else responses

    def _describe(self) -> None:
        """Say what the parts are of, for whoever finds the folder."""
        path = self.folder / ABOUT
        if not path.exists():
            about = asdict(self) | {"format_version": FORMAT_VERSION}
            del about["folder"]
            with whole_file(path) as draft:
                draft.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def reading_of(saved: Mapping[str, Any]) -> Reading:
    """Make a reading of what JSON holds of it."""
    layers = saved["layers"]
    return Reading(saved["site"], saved["pooling"], None if layers is None else tuple(layers))


def _read(path: Path, readings: int) -> BatchFile | None:
    try:
        if short_hash(path.read_bytes()) != path.stem.rpartition("-")[2]:
            return None
        with safe_open(path, "pt") as file:
            rows, tokens = (file.get_tensor(name).numpy() for name in (ROWS, TOKENS))
            kinds = [file.get_slice(name).get_dtype() for name in _names(readings)]
    except (SafetensorError, OSError):
        return None
    return BatchFile(path, rows, tokens, tuple(DTYPES[kind] for kind in kinds), _names(readings))


def _names(readings: int) -> tuple[str, ...]:
    return tuple(map(str, range(readings)))
