"""Responses of a model to many texts, gathered from an adapter's batches."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from steer_plugin.errors import ModelError
from steer_plugin.interventions import Intervention
from steer_plugin.protocols import Adapter, Reading


def gather(
    adapter: Adapter,
    texts: Sequence[str],
    readings: Sequence[Reading],
    *,
    intervention: Intervention | None = None,
    progress: str | None = None,
) -> dict[Reading, Float[Tensor, "text unit"]]:
    """Run texts through a model once and give the responses in the order of the texts.

    Args:
        adapter: the model.
        texts: any number but none.
        readings: which sites, how pooled; all ride the same forward pass.
        intervention: what is done to the model meanwhile.
        progress: what to call the work in a bar on stderr; None shows none.

    Raises:
        ModelError: there are no texts, or the host left one out.
    """
    if not texts:
        raise ModelError("no texts were given; give at least one")
    gathered: dict[Reading, Tensor] = {}
    seen = np.zeros(len(texts), dtype=bool)
    with tqdm(total=len(texts), desc=progress, unit="text", disable=progress is None) as bar:
        for batch in adapter.collect(texts, readings, intervention=intervention):
            rows = torch.from_numpy(batch.rows)
            for reading, responses in batch.responses.items():
                if reading not in gathered:
                    shape = (len(texts), responses.shape[1])
                    gathered[reading] = torch.empty(shape, dtype=responses.dtype)
                gathered[reading][rows] = responses
            seen[batch.rows] = True
            bar.update(len(batch.rows))
    if not seen.all():
        raise ModelError(f"{adapter.info.host} gave no response to text {int(seen.argmin())}")
    return gathered
