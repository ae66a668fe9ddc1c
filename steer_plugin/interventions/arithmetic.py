"""The arithmetic of steering, which every host does."""

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steer_plugin.interventions.intervention import Intervention
from steer_plugin.settings.names import Operation


def steer(
    activations: Float[Tensor, "*position unit"],
    parameters: Float[Tensor, "parameter unit"],
    operation: Operation,
    strength: float,
) -> Float[Tensor, "*position unit"]:
    """Do an operation to activations h with values v and strength a.

    - `set`: v (Sundar et al. 2025, arXiv 2502.15639, section 3; Suau et al. 2022, equation 3)
    - `blend`: (1-a) h + a v
    - `add`: h + a v
    - `scale`: (1 + a (v-1)) h, so that strength 1 multiplies by the gain v
    - `aura`: (1 - 2 a max(v - 1/2, 0)) h, where v is the unit's AUROC (Suau et al. 2024,
      "Whispering experts", section 3)
    - `affine`: (1-a) h + a (gain h + v) where low <= h <= high, and h elsewhere (Linear-AcT and its
      transport support: Rodriguez et al. 2024, arXiv 2410.23054, section 3)

    Args:
        activations: any floating dtype.
        parameters: v, and for `affine` gain, low and high in further rows.
        operation: one of `OPERATIONS`.
        strength: a.

    Returns:
        In the dtype of `activations`; the arithmetic is in float32 or wider.
    """
    wide = torch.promote_types(activations.dtype, torch.float32)
    h, given = activations.to(wide), parameters.to(wide).to(activations.device)
    v = given[0]
    if operation == "set":
        steered = v.expand_as(h)
    elif operation == "blend":
        steered = (1 - strength) * h + strength * v
    elif operation == "add":
        steered = h + strength * v
    elif operation == "scale":
        steered = (1 + strength * (v - 1)) * h
    elif operation == "affine":
        gain, low, high = given[1:]
        moved = (1 - strength) * h + strength * (gain * h + v)
        steered = torch.where((low <= h) & (h <= high), moved, h)
    else:
        steered = (1 - 2 * strength * (v - 0.5).clamp(min=0)) * h
    return steered.to(activations.dtype)


def moved_once(
    indices: Int[Tensor, " k"], parameters: Float[Tensor, "parameter k"]
) -> Callable[[torch.device, torch.dtype], tuple[Tensor, Tensor]]:
    """Put what `steer_units` takes where activations of a device and dtype are, once for each."""
    return cache(
        lambda device, dtype: (
            indices.to(device),
            parameters.to(torch.promote_types(dtype, torch.float32)).to(device),
        )
    )


def steer_units(
    activations: Float[Tensor, "text token unit"],
    indices: Int[Tensor, " k"],
    parameters: Float[Tensor, "parameter k"],
    intervention: Intervention,
    where: Bool[Tensor, "text token"] | bool,
) -> Float[Tensor, "text token unit"]:
    """Give activations in which some units are steered at some tokens.

    Args:
        activations: at the intervention's site in one layer.
        indices: which units of that layer.
        parameters: those of each of `indices`; see `units_by_layer`.
        intervention: the operation and its strength.
        where: which tokens; True for all, False for none.

    Returns:
        A copy; the activations themselves where no token is steered.
    """
    if where is False:
        return activations
    indices = indices.to(activations.device)
    if intervention.operation == "set" and where is True:
        # What is set at every token need not be looked up: any of the right shape will do.
        selected = activations.narrow(-1, 0, len(indices))
    else:
        selected = activations.index_select(-1, indices)
    steered = steer(selected, parameters, intervention.operation, intervention.strength)
    if where is not True:
        steered = torch.where(where.to(activations.device).unsqueeze(-1), steered, selected)
    return activations.index_copy(-1, indices, steered)
