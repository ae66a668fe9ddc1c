"""The arithmetic of steering some units at some tokens, which every host does."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.operations import done


def moved(
    indices: Int[Tensor, " k"],
    parameters: Float[Tensor, "parameter k"],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Int[Tensor, " k"], Float[Tensor, "parameter k"]]:
    """Put what `steer_units` takes where activations of a device and dtype are."""
    wide = torch.promote_types(dtype, torch.float32)
    return indices.to(device), parameters.to(wide).to(device)


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
        parameters: those of each of `indices`; see `Intervention.units`.
        intervention: the operation and its strength.
        where: which tokens; True for all, False for none.

    Returns:
        A copy; the activations themselves where no token is steered.
    """
    if where is False:
        return activations
    indices = indices.to(activations.device)
    if intervention.arithmetic.whole and where is True:
        # What is set at every token need not be looked up: any of the right shape will do.
        selected = activations.narrow(-1, 0, len(indices))
    else:
        selected = activations.index_select(-1, indices)
    steered = done(selected, parameters, intervention.arithmetic, intervention.strength)
    if where is not True:
        steered = torch.where(where.to(activations.device).unsqueeze(-1), steered, selected)
    return activations.index_copy(-1, indices, steered)
