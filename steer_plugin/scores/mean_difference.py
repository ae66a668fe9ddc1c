"""How far apart a unit's responses lie, in standard deviations: d'."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from steer_plugin.responses.unit_chunks import MEMORY, Labels, Matrix
from steer_plugin.scores.concept_sums import sum_by_concept
from steer_plugin.scores.unit_measures import SortedUnits, measure_units
from steer_plugin.settings.parts import Score

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

    Responses are added up in ascending order, so d' does not depend on the order of the sentences.

    Args:
        responses: any floating dtype, finite.
        labels: the concept of each sentence, in 0..C-1, each concept at least once, C >= 2.
        memory: bytes of working memory to stay within.

    Returns:
        Scores, float64, finite.

    Raises:
        ScoreError: a response is NaN or infinite, or the labels are not as described.
    """
    return measure_units(
        responses, labels, lambda units: {"scores": mean_difference_of(units)}, memory=memory
    )["scores"]


@dataclass(frozen=True, eq=False)
class _Group:
    """Mean and squared deviations of each unit's responses to some sentences.

    The mean is kept as `origin`, one of the responses, and how far it is `away` from that: then
    neither a large offset costs digits, nor does what does not vary get a variance from rounding.
    """

    size: Float[Tensor, " concept"]
    origin: Float[Tensor, "unit concept"]
    away: Float[Tensor, "unit concept"]
    squares: Float[Tensor, "unit concept"]

    def __getitem__(self, concepts: slice) -> "_Group":
        return _Group(
            self.size[concepts],
            self.origin[:, concepts],
            self.away[:, concepts],
            self.squares[:, concepts],
        )


def _join(*groups: _Group) -> _Group:
    """Put groups side by side."""
    return _Group(
        torch.cat([group.size for group in groups]),
        torch.cat([group.origin for group in groups], 1),
        torch.cat([group.away for group in groups], 1),
        torch.cat([group.squares for group in groups], 1),
    )


def _merge(left: _Group, right: _Group) -> _Group:
    """Merge groups pairwise, from the origin of the left one (Chan, Golub and LeVeque 1983)."""
    size = left.size + right.size
    share = right.size / size
    gap = (right.origin - left.origin) + (right.away - left.away)
    return _Group(
        size,
        left.origin,
        left.away + gap * share,
        left.squares + right.squares + gap.square() * (left.size * share),
    )


def _up_to(groups: _Group) -> _Group:
    """Merge each group with all before it, by doubling how many are merged."""
    merged, step = groups, 1
    while step < len(groups.size):
        merged = _join(merged[:step], _merge(merged[:-step], merged[step:]))
        step *= 2
    return merged


def _from(groups: _Group) -> _Group:
    """Merge each group with all after it."""
    merged, step = groups, 1
    while step < len(groups.size):
        merged = _join(_merge(merged[:-step], merged[step:]), merged[-step:])
        step *= 2
    return merged


def mean_difference_of(units: SortedUnits) -> Float[Tensor, "unit concept"]:
    """Give the `mean_difference` of units that are sorted."""
    responses, counts = units.by_concept, units.counts
    _, exponent = torch.frexp(responses.abs().amax(1, keepdim=True))
    # By a power of two, which rounds nothing and leaves d' as it is: no square overflows.
    responses = responses * torch.exp2(-exponent.clamp(min=-LARGEST_SHIFT).double())
    size = counts.double()
    origin = responses[:, counts.cumsum(0) - counts]
    shifted = responses - origin.repeat_interleave(counts, 1)
    mean = sum_by_concept(shifted, counts) / size
    squares = sum_by_concept((shifted - mean.repeat_interleave(counts, 1)).square(), counts)
    each = _Group(size, origin, mean, squares)
    before, after = _up_to(each), _from(each)
    # All others: those before and those after, of which the first has none and the last none.
    others = _join(after[1:2], _merge(before[:-2], after[2:]), before[-2:-1])
    difference = (origin - others.origin) + (mean - others.away)
    spread = ((squares / size + others.squares / others.size) / 2).sqrt()
    return torch.where(spread > 0, difference / spread, difference.sign() * INFINITE)


MEAN_DIFFERENCE = Score(mean_difference_of, title="d\N{PRIME}", column="d_prime")
