"""From one activation a token to one response a sentence."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from steer_plugin.errors import ModelError

Pooling = Literal["max", "mean", "min", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def check_pooling(pooling: str) -> None:
    """Refuse a name that is no pooling.

    Raises:
        ModelError: `pooling` is not one of `POOLINGS`.
    """
    if pooling not in POOLINGS:
        raise ModelError(f"{pooling!r} is not a pooling; choose one of: {', '.join(POOLINGS)}")


def pool(
    activations: Float[Tensor, "text token unit"],
    valid: Bool[Tensor, "text token"],
    pooling: Pooling,
) -> Float[Tensor, "text unit"]:
    """Reduce the valid tokens of each text to one response a unit.

    Max pooling is the response of Suau et al. 2022, "Self-conditioning pre-trained language
    models", section 3; mean pooling that of Kojima et al. 2024, "On the multilingual ability of
    decoder-based pre-trained language models", section 3, and of the sentence embeddings in
    Sundar et al. 2025 (arXiv 2502.15639).

    Args:
        activations: any floating dtype; tokens that are not valid may hold anything, NaN too.
        valid: which tokens count; at least one a text, which the adapter has seen to.
        pooling: `max`, `mean`, `min`, or `last` (the last valid token).

    Returns:
        Responses in float32, or in float64 for float64 activations.
    """
    wide = activations.dtype if activations.dtype == torch.float64 else torch.float32
    if pooling == "last":
        token = torch.arange(valid.shape[1], device=valid.device)
        last = torch.where(valid, token, -1).amax(1)
        return activations[torch.arange(len(last), device=last.device), last].to(wide)
    mask = valid.unsqueeze(-1)
    if pooling == "mean":
        total = torch.where(mask, activations, 0).sum(1, dtype=wide)
        return total / valid.sum(1, keepdim=True)
    if pooling == "max":
        return torch.where(mask, activations, float("-inf")).amax(1).to(wide)
    return torch.where(mask, activations, float("inf")).amin(1).to(wide)
