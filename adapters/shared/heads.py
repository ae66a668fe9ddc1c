"""Attention heads in the tensor of their values, in functions that travel to servers.

They name nothing of this package but one another, and so raise no errors of its own.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def head_count(config: Any, width: int) -> int:
    """Count the attention heads whose values stand side by side in so many.

    Args:
        config: the model's.
        width: how many values all heads of a layer have together.

    Raises:
        LookupError: the configuration does not say, or heads are not of one width.
    """
    heads = getattr(config.get_text_config(), "num_attention_heads", None)
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise LookupError(
            f"{width} values of attention heads are no {heads} heads of one width each, which "
            "num_attention_heads in the model's configuration has; choose the values themselves"
        )
    return heads


def head_norms(
    values: Float[Tensor, "text token value"], heads: int
) -> Float[Tensor, "text token head"]:
    """Give the Euclidean norm of each head's values at each token, in float32 or wider."""
    wide = torch.promote_types(values.dtype, torch.float32)
    of_heads = values.reshape(*values.shape[:-1], heads, -1)
    return torch.linalg.vector_norm(of_heads, dim=-1, dtype=wide)


def meant_values(
    step: Any,
    layer: int,
    indices: Int[Tensor, " unit"],
    parameters: Float[Tensor, "parameter number"],
    config: Any,
    width: int,
) -> tuple[Int[Tensor, " k"], Float[Tensor, "parameter k"]]:
    """Give which values of a layer's tensor a step steers, and what is done to each of them.

    Args:
        step: of a plan.
        layer: a block's index.
        indices: of the step's units in it, ascending; see `Intervention.units`.
        parameters: of these.
        config: the model's.
        width: how many values the tensor has at a token.

    Raises:
        LookupError: there is no such unit, or a head has not so many values.
    """
    if not step.of_heads:
        require_unit(step, layer, int(indices[-1]), width)
        return indices, parameters
    heads = head_count(config, width)
    require_unit(step, layer, int(indices[-1]), heads)
    values = width // heads
    given = parameters.shape[1] // len(indices)
    if given not in (1, values):
        raise LookupError(
            f"the plan has {given} numbers for a head at {step.tensor_site}, and a head has "
            f"{values} values in layer {layer}; was the plan made for another model?"
        )
    within = torch.arange(values, device=indices.device)
    chosen = (indices.unsqueeze(1) * values + within).flatten()
    return chosen, parameters.repeat_interleave(values // given, 1)


def require_unit(step: Any, layer: int, index: int, width: int) -> None:
    """Refuse a unit that a layer does not have.

    Args:
        step: of a plan.
        layer: a block's index.
        index: of its last unit there.
        width: how many units the layer has.

    Raises:
        LookupError: it has no such unit.
    """
    if index >= width:
        letter, units = ("H", "heads") if step.of_heads else ("N", "units")
        raise LookupError(
            f"unit L{layer}{letter}{index} does not exist: {step.tensor_site} has {width} {units} "
            f"in layer {layer}; was the plan made for another model?"
        )
