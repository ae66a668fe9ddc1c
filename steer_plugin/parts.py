"""A model's answers, kept on disk batch by batch until all of them are there."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from steer_plugin.artifacts import whole_file
from steer_plugin.interventions import Intervention
from steer_plugin.protocols import Batch, ModelInfo, Reading

ROWS, TOKENS = "rows", "tokens"


@dataclass(frozen=True)
class Parts:
    """The batches of one pass over texts.

    Attributes:
        folder: holds one file a batch. Its name tells all that the answers depend on.
        readings: what is read, in order.
    """

    folder: Path
    readings: tuple[Reading, ...]

    @classmethod
    def of(
        cls,
        folder: Path,
        model: ModelInfo,
        texts: Sequence[str],
        readings: Sequence[Reading],
        intervention: Intervention | None,
    ) -> "Parts":
        """Find the parts of just this pass among those in `folder`."""
        identity = {
            "model": asdict(model),
            "texts": list(texts),
            "readings": [asdict(reading) for reading in readings],
            "intervention": None if intervention is None else intervention.hash,
        }
        name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
        return cls(folder / name, tuple(readings))

    def load(self) -> Iterator[Batch]:
        """Give the batches that are kept; one that is damaged counts as not there."""
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                tensors = load_file(path)
                rows, tokens = tensors[ROWS].numpy(), tensors[TOKENS].numpy()
                responses = {
                    reading: tensors[str(number)] for number, reading in enumerate(self.readings)
                }
            except (SafetensorError, OSError, KeyError):
                continue
            yield Batch(rows, responses, tokens)

    def add(self, batch: Batch) -> None:
        """Keep a batch, whole or not at all.

        Raises:
            ArtifactError: it cannot be written.
        """
        tensors = {
            str(number): batch.responses[reading].contiguous()
            for number, reading in enumerate(self.readings)
        }
        tensors[ROWS] = torch.from_numpy(batch.rows)
        tensors[TOKENS] = torch.from_numpy(batch.tokens)
        with whole_file(self.folder / f"{int(batch.rows[0]):08d}.safetensors") as draft:
            save_file(tensors, draft)
