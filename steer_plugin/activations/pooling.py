"""From one activation a token to one response a sentence."""

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from steer_plugin.errors import ModelError
from steer_plugin.settings.parts import POOLINGS, Pooler

Activations = Float[Tensor, "text token unit"]
Valid = Bool[Tensor, "text token"]
Responses = Float[Tensor, "text unit"]

# A share of tokens, which no unit can be set to: it is for scores that count tokens alone.
ACTIVE = "active"


def highest(activations: Activations, valid: Valid) -> Responses:
    """Give the largest activation: Suau et al. 2022, "Self-conditioning ...", section 3."""
    pieces = _counted(activations, valid, float("-inf"))
    return torch.stack([piece.amax(1) for piece in pieces]).amax(0)


def lowest(activations: Activations, valid: Valid) -> Responses:
    """Give the smallest activation."""
    pieces = _counted(activations, valid, float("inf"))
    return torch.stack([piece.amin(1) for piece in pieces]).amin(0)


def average(activations: Activations, valid: Valid) -> Responses:
    """Give the mean activation.

    Kojima et al. 2024, "On the multilingual ability of decoder-based pre-trained language models",
    section 3; the sentence embeddings of Sundar et al. 2025 (arXiv 2502.15639).
    """
    return _total(activations, valid) / valid.sum(1, keepdim=True).to(activations.device)


def last(activations: Activations, valid: Valid) -> Responses:
    """Give the activation of the last valid token."""
    token = torch.arange(valid.shape[1], device=valid.device)
    place = torch.where(valid, token, -1).amax(1).to(activations.device)
    return activations[torch.arange(len(place), device=activations.device), place]


def share_active(activations: Activations, valid: Valid) -> Responses:
    """Give the share of valid tokens whose activation is above 0, in [0, 1]."""
    total = _total(activations, valid)
    pieces = _counted(activations, valid, 0.0)
    above = torch.stack([(piece > 0).sum(1, dtype=total.dtype) for piece in pieces]).sum(0)
    # A NaN is in the sum, but in no comparison.
    tokens = valid.sum(1, keepdim=True).to(activations.device)
    return torch.where(total.isnan(), total, above / tokens)


MAX = Pooler(highest, exact=True)
MEAN = Pooler(average)
MIN = Pooler(lowest, exact=True)
LAST = Pooler(last, exact=True)
SHARE_ACTIVE = Pooler(share_active)


def pooler(pooling: str) -> Pooler:
    """Give what a pooling does; somebody's own is tried once on a few numbers.

    Args:
        pooling: one of `steer_plugin.settings.parts.POOLINGS`, or `active`.

    Raises:
        ModelError: there is no such pooling, or it cannot be what it is registered as.
    """
    if pooling == ACTIVE:
        return SHARE_ACTIVE
    known = POOLINGS[pooling]
    _try_out(pooling, known)
    return known


def pool(activations: Activations, valid: Valid, pooling: str) -> Responses:
    """Reduce the valid tokens of each text to one response a unit.

    Args:
        activations: any floating dtype; tokens that are not valid may hold anything, NaN too.
        valid: which tokens count; at least one a text, which the adapter has seen to. Best on the
            CPU, where its columns are looked at.
        pooling: one of `steer_plugin.settings.parts.POOLINGS`, or `active`, the share of valid
            tokens whose activation is above 0, in [0, 1].

    Returns:
        Responses in float32, or in float64 for float64 activations. A NaN at a token that counts
        makes the response NaN.

    Raises:
        ModelError: there is no such pooling.
    """
    return pooled_by(activations, valid, pooler(pooling).function)


def pooled_by(activations: Activations, valid: Valid, function: Callable[..., Tensor]) -> Responses:
    """Pool by a function, in float32 or wider; it travels to a server, as the function does."""
    wide = activations.dtype if activations.dtype == torch.float64 else torch.float32
    return function(activations, valid).to(wide)


@cache
def _try_out(pooling: str, given: Pooler) -> None:
    if POOLINGS.origin(pooling) is None:
        return
    activations = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    activations[1, 2] = float("nan")
    with POOLINGS.calling(pooling):
        responses = given.function(activations, valid)
    shape = tuple(responses.shape) if isinstance(responses, Tensor) else type(responses).__name__
    if shape != (2, 4):
        raise ModelError(
            f"the pooling {pooling!r} gave {shape} for 2 texts and 4 units; give a tensor [text, "
            "unit]",
            page="own-parts",
        )
    if not bool(responses.isfinite().all()):
        raise ModelError(
            f"the pooling {pooling!r} looks at tokens that do not count, which may hold anything; "
            "leave out those where valid is False"
        )


def _total(activations: Activations, valid: Valid) -> Responses:
    """Add up the valid tokens in float32 or wider."""
    wide = activations.dtype if activations.dtype == torch.float64 else torch.float32
    pieces = _counted(activations, valid, 0.0)
    return torch.stack([piece.sum(1, dtype=wide) for piece in pieces]).sum(0)


def _counted(
    activations: Activations, valid: Valid, filler: float
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
