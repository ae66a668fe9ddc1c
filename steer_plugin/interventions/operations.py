"""What operations do to activations: ours, and how anybody's are carried out."""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from steer_plugin.errors import InterventionError
from steer_plugin.settings.parts import OPERATIONS, Arithmetic

Activations = Float[Tensor, "*position unit"]
Values = Float[Tensor, " unit"]


def set_to(h: Activations, v: Values, strength: float) -> Activations:  # noqa: ARG001
    """Give v: Sundar et al. 2025, arXiv 2502.15639, section 3; Suau et al. 2022, equation 3."""
    return v.expand_as(h)


def blend(h: Activations, v: Values, strength: float) -> Activations:
    """Give (1-a) h + a v."""
    return (1 - strength) * h + strength * v


def add(h: Activations, v: Values, strength: float) -> Activations:
    """Give h + a v."""
    return h + strength * v


def scale(h: Activations, v: Values, strength: float) -> Activations:
    """Give (1 + a (v-1)) h, so that strength 1 multiplies by the gain v."""
    return (1 + strength * (v - 1)) * h


def aura(h: Activations, v: Values, strength: float) -> Activations:
    """Give (1 - 2 a max(v - 1/2, 0)) h, where v is the unit's AUROC.

    Suau et al. 2024, "Whispering experts", section 3.
    """
    return (1 - 2 * strength * (v - 0.5).clamp(min=0)) * h


def affine(
    h: Activations, v: Values, strength: float, gain: Values, low: Values, high: Values
) -> Activations:
    """Give (1-a) h + a (gain h + v) where low <= h <= high, and h elsewhere.

    Linear-AcT and its transport support: Rodriguez et al. 2024, arXiv 2410.23054, section 3.
    """
    moved = (1 - strength) * h + strength * (gain * h + v)
    return torch.where((low <= h) & (h <= high), moved, h)


SET = Arithmetic(set_to, whole=True)
ADD = Arithmetic(add, "add to", usual="mean_difference")
SCALE = Arithmetic(scale, value="gain")
BLEND = Arithmetic(blend)
AURA = Arithmetic(aura, "dampen by AUROC", value="auroc")
AFFINE = Arithmetic(affine, "move along their lines", value="line")


def arithmetic_of(operation: str) -> Arithmetic:
    """Give what an operation does; somebody's own is tried once on a few numbers.

    Raises:
        InterventionError: there is no such operation, or it cannot be what it is registered as.
    """
    arithmetic = OPERATIONS[operation]
    _try_out(operation, arithmetic)
    return arithmetic


def steer(
    activations: Activations,
    parameters: Float[Tensor, "parameter unit"],
    operation: str,
    strength: float,
) -> Activations:
    """Do an operation to activations h with values v and strength a.

    - `set`: v
    - `blend`: (1-a) h + a v
    - `add`: h + a v
    - `scale`: (1 + a (v-1)) h
    - `aura`: (1 - 2 a max(v - 1/2, 0)) h, where v is the unit's AUROC
    - `affine`: (1-a) h + a (gain h + v) where low <= h <= high, and h elsewhere

    Args:
        activations: any floating dtype.
        parameters: v, and for `affine` gain, low and high in further rows.
        operation: one of `steer_plugin.settings.parts.OPERATIONS`.
        strength: a.

    Returns:
        In the dtype of `activations`; the arithmetic is in float32 or wider.

    Raises:
        InterventionError: there is no such operation.
    """
    return done(activations, parameters, arithmetic_of(operation), strength)


def done(
    activations: Activations,
    parameters: Float[Tensor, "parameter unit"],
    arithmetic: Any,
    strength: float,
) -> Activations:
    """Do what `steer` does by an operation's arithmetic; on a server, by the fields of one."""
    wide = torch.promote_types(activations.dtype, torch.float32)
    h, given = activations.to(wide), parameters.to(wide).to(activations.device)
    steered: Tensor = arithmetic.function(h, given[0], strength, *given[1:])
    return steered.to(activations.dtype)


@cache
def _try_out(operation: str, arithmetic: Arithmetic) -> None:
    if OPERATIONS.origin(operation) is None:
        return
    h = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
    line = [torch.full((4,), number) for number in (0.7, 0.5, -2.0, 2.0)]
    given = line if arithmetic.value == "line" else line[:1]
    with OPERATIONS.calling(operation):
        whole = arithmetic.function(h.clone(), given[0], 1.0, *given[1:])
        none = arithmetic.function(h.clone(), given[0], 0.0, *given[1:])
    for result in (whole, none):
        if not isinstance(result, Tensor) or result.shape != h.shape:
            shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise InterventionError(
                f"the operation {operation!r} gave {shape} for activations of shape "
                f"{tuple(h.shape)}; give a tensor of that shape",
                page="own-parts",
            )
    if not arithmetic.whole and not torch.allclose(none, h):
        raise InterventionError(
            f"the operation {operation!r} changes activations at strength 0, which is none; let "
            "its change shrink with strength, or register it with whole=True"
        )
