"""How far apart a unit's responses lie, in standard deviations: d'."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from steer_plugin.unit_chunks import (
    MEMORY,
    Labels,
    Matrix,
    as_matrix,
    as_tensor,
    check_finite,
    count_concepts,
    map_units,
)

INFINITE = float(np.finfo(np.float64).max)
LARGEST_SHIFT = 1000  # powers of two beyond it are too large for a float64


def mean_difference(
    responses: Matrix, labels: Labels, *, memory: int = MEMORY
) -> Float[np.ndarray, "concept unit"]:
    """Give each unit's d' between each concept's sentences and the rest.

    d' = (mu+ - mu-) / sqrt((var+ + var-) / 2), with population variances: squared deviations
    divided by their number, so that one sentence has a variance, 0 (Simpson and Fitter 1973, "What
    is the best index of detectability?", d_a). Chance is 0, which a constant unit has exactly.

    Where neither side varies but their means differ, d' is infinite. It is given as the largest
    float64 with the sign of the difference, which sorts beyond every other. So are deviations
    below 1e-154 of the largest response.

    Args:
        responses: any floating dtype, finite.
        labels: the concept of each sentence, in 0..C-1, each concept at least once, C >= 2.
        memory: bytes of working memory to stay within.

    Returns:
        Scores, float64, finite.

    Raises:
        ScoreError: a response is NaN or infinite, or the labels are not as described.
    """
    matrix = as_matrix(responses)
    concept = as_tensor(labels).to(matrix.device)
    counts = count_concepts(concept, len(matrix)).tolist()
    order = concept.argsort(stable=True)

    def score(chunk: Float[Tensor, "sentence chunk"], first_unit: int) -> Tensor:
        check_finite(chunk, first_unit)
        return _score_units(chunk[order], counts)

    return torch.cat(map_units(score, matrix, memory), 1).cpu().numpy()


def _score_units(
    responses: Float[Tensor, "sentence unit"], counts: Sequence[int]
) -> Float[Tensor, "concept unit"]:
    """Score units whose rows are sorted by concept, so many of each.

    Each concept's responses are taken relative to its first one: then neither a large offset costs
    digits, nor does a concept that does not vary get a variance from rounding.
    """
    wide = responses.double()
    _, exponent = torch.frexp(wide.abs().amax(0))
    # By a power of two, which rounds nothing and leaves d' as it is: no square overflows.
    wide = wide * torch.exp2(-exponent.clamp(min=-LARGEST_SHIFT).double())
    blocks = torch.split(wide, list(counts))
    origins = torch.stack([block[0] for block in blocks])
    shifted = [block - block[0] for block in blocks]
    means = torch.stack([block.mean(0) for block in shifted])
    squares = torch.stack(
        [(block - mean).square().sum(0) for block, mean in zip(shifted, means, strict=True)]
    )
    size = torch.tensor(counts, dtype=torch.float64, device=wide.device).unsqueeze(1)
    scores = []
    for concept in range(len(counts)):
        others = [other for other in range(len(counts)) if other != concept]
        # All relative to the first response of the first of the others.
        away = (origins - origins[others[0]]) + means
        weight = size[others] / size[others].sum()
        mean = (weight * away[others]).sum(0)
        between = (weight * (away[others] - mean).square()).sum(0)
        within = (weight * squares[others] / size[others]).sum(0)
        difference = away[concept] - mean
        spread = ((squares[concept] / size[concept] + within + between) / 2).sqrt()
        scores.append(torch.where(spread > 0, difference / spread, difference.sign() * INFINITE))
    return torch.stack(scores)
