"""From one activation a token to one response a sentence."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from steer_plugin.errors import ModelError
from steer_plugin.settings.names import POOLINGS, Pooling, check_name


def check_pooling(pooling: str, choices: Sequence[str] = POOLINGS) -> None:
    """Refuse a name that is none of the poolings to choose from.

    Raises:
        ModelError: `pooling` is not one of `choices`.
    """
    check_name(pooling, choices, "a pooling", ModelError)


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
        valid: which tokens count; at least one a text, which the adapter has seen to. Best on the
            CPU, where its columns are looked at.
        pooling: `max`, `mean`, `min`, `last` (the last valid token), or `active`, the share of
            valid tokens whose activation is above 0, in [0, 1].

    Returns:
        Responses in float32, or in float64 for float64 activations. A NaN at a token that counts
        makes the response NaN.
    """
    wide = activations.dtype if activations.dtype == torch.float64 else torch.float32
    device = activations.device
    if pooling == "last":
        token = torch.arange(valid.shape[1], device=valid.device)
        last = torch.where(valid, token, -1).amax(1).to(device)
        return activations[torch.arange(len(last), device=device), last].to(wide)
    if pooling in ("mean", "active"):
        pieces = _counted(activations, valid, 0.0)
        tokens = valid.sum(1, keepdim=True).to(device)
        total = torch.stack([piece.sum(1, dtype=wide) for piece in pieces]).sum(0)
        if pooling == "mean":
            return total / tokens
        # A NaN is in the sum, but in no comparison.
        above = torch.stack([(piece > 0).sum(1, dtype=wide) for piece in pieces]).sum(0)
        return torch.where(total.isnan(), total, above / tokens)
    if pooling == "max":
        pieces = _counted(activations, valid, float("-inf"))
        return torch.stack([piece.amax(1) for piece in pieces]).amax(0).to(wide)
    pieces = _counted(activations, valid, float("inf"))
    return torch.stack([piece.amin(1) for piece in pieces]).amin(0).to(wide)


def _counted(
    activations: Float[Tensor, "text token unit"], valid: Bool[Tensor, "text token"], filler: float
) -> list[Float[Tensor, "text _token unit"]]:
    """Give runs of columns without those that no text counts, and `filler` where one does not.

    Texts lie side by side by length: most columns count in every text, and are views; only those
    that count in some are copied.
    """
    whole, some = valid.all(0), valid.any(0)
    # 0: of no text, 1: of some, 2: of all.
    kinds, widths = torch.unique_consecutive(whole.int() + some.int(), return_counts=True)
    columns = zip(
        kinds.tolist(),
        torch.split(activations, widths.tolist(), 1),
        torch.split(valid, widths.tolist(), 1),
        strict=True,
    )
    return [
        piece if kind == 2 else torch.where(mask.to(piece.device).unsqueeze(-1), piece, filler)
        for kind, piece, mask in columns
        if kind > 0
    ]
