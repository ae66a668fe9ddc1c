"""Responses of a model to many texts, gathered from an adapter's batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from steer_plugin.errors import ModelError
from steer_plugin.interventions import Intervention
from steer_plugin.parts import Parts
from steer_plugin.protocols import Adapter, Batch, Reading


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


def gather(
    adapter: Adapter,
    texts: Sequence[str],
    readings: Sequence[Reading],
    *,
    intervention: Intervention | None = None,
    progress: str | None = None,
    keep: Path | None = None,
) -> Responses:
    """Run texts through a model once and give the responses in the order of the texts.

    Args:
        adapter: the model.
        texts: any number but none.
        readings: which sites, how pooled; all ride the same forward pass.
        intervention: what is done to the model meanwhile.
        progress: what to call the work in a bar on stderr; None shows none.
        keep: folder in which each batch is kept as it comes, and found again when the same is
            asked for anew; whoever gives it deletes it. None keeps nothing.

    Raises:
        ModelError: there are no texts, or the host left one out.
        ArtifactError: a batch cannot be kept.
    """
    if not texts:
        raise ModelError("no texts were given; give at least one")
    gathered: dict[Reading, Tensor] = {}
    tokens = np.zeros(len(texts), dtype=np.int64)
    parts = None
    if keep is not None:
        parts = Parts.of(keep, adapter.info, texts, readings, intervention)

    def put(batch: Batch) -> None:
        rows = torch.from_numpy(batch.rows)
        for reading, responses in batch.responses.items():
            if reading not in gathered:
                shape = (len(texts), responses.shape[1])
                gathered[reading] = torch.empty(shape, dtype=responses.dtype)
            gathered[reading][rows] = responses
        tokens[batch.rows] = batch.tokens

    for batch in parts.load() if parts is not None else ():
        put(batch)
    waiting = np.flatnonzero(tokens == 0)
    with tqdm(
        total=len(texts),
        initial=len(texts) - len(waiting),
        desc=progress,
        unit="text",
        disable=progress is None,
    ) as bar:
        if len(waiting):
            left = [texts[int(row)] for row in waiting]
            for found in adapter.collect(left, readings, intervention=intervention):
                batch = Batch(waiting[found.rows], found.responses, found.tokens)
                put(batch)
                if parts is not None:
                    parts.add(batch)
                bar.update(len(batch.rows))
    if not tokens.all():
        raise ModelError(f"{adapter.info.host} gave no response to text {int(tokens.argmin())}")
    return Responses(gathered, tokens)
