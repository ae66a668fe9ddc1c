"""What belongs to each concept added up, and what belongs to all others."""

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from steer_plugin.scores.unit_sort import uses_numpy


def sum_by_concept(
    values: Shaped[Tensor, "unit sentence"], counts: Int[Tensor, " concept"]
) -> Shaped[Tensor, "unit concept"]:
    """Add up each concept's values, which lie side by side: so many of concept 0, then of 1, ...

    Whole numbers are added up in 64 bits, floats pairwise.
    """
    if not uses_numpy(values):
        return torch.stack([part.sum(1) for part in torch.split(values, counts.tolist(), 1)], 1)
    starts = (counts.cumsum(0) - counts).numpy()
    return torch.from_numpy(np.add.reduceat(values.numpy(), starts, axis=1))


def sum_over_others(sums: Shaped[Tensor, "unit concept"]) -> Shaped[Tensor, "unit concept"]:
    """Add up, for each concept, the sums of all others.

    Never the sum of all less the concept's own: what is small beside that would be lost.
    """
    before, after = sums.cumsum(1), sums.flip(1).cumsum(1).flip(1)
    none = torch.zeros_like(sums[:, :1])
    return torch.cat([none, before[:, :-1]], 1) + torch.cat([after[:, 1:], none], 1)


def least_of_others(least: Float[Tensor, "unit concept"]) -> Float[Tensor, "unit concept"]:
    """Give, for each concept, the least of what is least in each of the others."""
    two = least.topk(2, largest=False).values
    first, second = two[:, :1], two[:, 1:]
    return torch.where(least > first, first, second)
