"""Linear-AcT: the straight line that carries a unit's responses from one sample to another.

Rodriguez et al. 2024, "Controlling Language and Diffusion Models by Transporting Activations"
(arXiv 2410.23054), section 3.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from steer_plugin.errors import ScoreError
from steer_plugin.scores.concept_sums import least_of_others, sum_by_concept, sum_over_others
from steer_plugin.scores.unit_measures import SortedUnits

# So many numbers of each sample at a time fit a processor's cache.
CHUNK = 1 << 18
# Others that span a smaller share of what all sentences span are fitted on a scale of their own.
NARROW = 0.25


@dataclass(frozen=True, eq=False)
class Transport:
    """h -> gain h + offset for each unit, and where in h it holds.

    Attributes:
        gain: 0 or more.
        offset: in the units of the responses.
        low: the least response in the source.
        high: the largest.
    """

    gain: Float[np.ndarray, " unit"]
    offset: Float[np.ndarray, " unit"]
    low: Float[np.ndarray, " unit"]
    high: Float[np.ndarray, " unit"]


def linear_transport(
    source: Float[np.ndarray, "sentence unit"],
    target: Float[np.ndarray, "other_sentence unit"],
) -> Transport:
    """Fit each unit's least-squares line from the sorted source to the sorted target.

    Samples of n and m sentences are compared at lcm(n, m) quantiles: each sorted response stands
    as often as brings both to that length. This is the optimal transport plan between the two
    empirical distributions (Peyré and Cuturi 2019, "Computational Optimal Transport", remark 2.30),
    and for n = m it is the pairing of the paper. So target = a * source + b with a > 0 gives gain a
    and offset b, however often either sample is repeated.

    A unit that responds alike to the whole source has gain 1 and, as offset, the difference of
    means (PAPER.md).

    Args:
        source: responses to the sentences that are carried away from.
        target: responses of the same units to those that are carried to.

    Returns:
        In float64, as all of the arithmetic is.

    Raises:
        ScoreError: a sample is empty, the units differ, a response is NaN or infinite, or a line
            is steeper than a float64 can say.
    """
    if min(len(source), len(target)) == 0 or source.shape[1] != target.shape[1]:
        raise ScoreError(
            f"the source has shape {source.shape}, the target {target.shape}; give at least one "
            "sentence each, and the same units"
        )
    units = source.shape[1]
    step = max(1, CHUNK // max(len(source), len(target)))
    line = np.empty((4, units))
    for start in range(0, units, step):
        chunk = slice(start, start + step)
        line[:, chunk] = fit_sorted(_sorted(source[:, chunk]), _sorted(target[:, chunk]))
    bad = np.flatnonzero(~np.isfinite(line).all(0))
    if len(bad):
        raise ScoreError(
            f"unit {bad[0]} has no line from source to target: a response is NaN or infinite, or "
            "the source hardly varies while the target does; check the model's weights and dtype"
        )
    return Transport(*line)


def _pairing(
    sources: int, targets: int
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """Tell which sorted responses meet, by rank, and the share of quantiles at which they do."""
    edges = np.union1d(np.arange(sources + 1) * targets, np.arange(targets + 1) * sources)
    shares = np.diff(edges) / (sources * targets)
    return edges[:-1] // targets, edges[:-1] // sources, shares


def _sorted(responses: Float[np.ndarray, "sentence unit"]) -> Float[np.ndarray, "unit sentence"]:
    ascending = np.sort(np.ascontiguousarray(responses.T), axis=1)
    return ascending.astype(np.float64, copy=False)


def fit_sorted(
    source: Float[np.ndarray, "unit sentence"],
    target: Float[np.ndarray, "unit other_sentence"],
) -> Float[np.ndarray, "4 unit"]:
    """Give gain, offset, low and high of samples that ascend; see `linear_transport`.

    They are not finite where there is no line.
    """
    source_ranks, target_ranks, shares = _pairing(source.shape[1], target.shape[1])
    low, high = source[:, 0], source[:, -1]
    bottom = target[:, 0]
    # What is not finite is told by unit, by the caller.
    with np.errstate(all="ignore"):
        spread = high - low
        constant = spread == 0
        # Shifted and scaled to [0, 1]: neither a large mean nor a tiny spread costs precision.
        place = (source - low[:, None]) / np.where(constant, 1.0, spread)[:, None]
        rise = target - bottom[:, None]
        centre, mean_rise = place.mean(1), rise.mean(1)
        place -= centre[:, None]
        # Not a product of matrices, whose rounding depends on how many units are fitted at once.
        together = place.take(source_ranks, 1) * rise.take(target_ranks, 1) * shares
        slope = together.sum(1) / np.where(constant, 1.0, np.square(place).mean(1))
        gain = np.where(constant, 1.0, slope / np.where(constant, 1.0, spread))
        # At the mean of the source the line is at the mean of the target.
        offset = bottom + mean_rise - gain * low - np.where(constant, 0.0, slope * centre)
    return np.stack([gain, offset, low, high])


def fit_from_others(units: SortedUnits) -> Float[Tensor, "4 unit concept"]:
    """Give gain, offset, low and high from all other sentences to each concept's.

    The lines of `fit_sorted`, for all concepts in the time of a few passes over the responses: what
    the others have up to a quantile is what all sentences have less what the concept has, both read
    from running sums. These are of whole numbers, so that no digit is lost in a difference. They
    are not finite where there is no line.
    """
    ascending, responses = units.ascending, units.by_concept
    order, counts = units.order, units.counts
    sentences = ascending.shape[1]
    ends = counts.cumsum(0)
    bottom, top = responses[:, ends - counts], responses[:, ends - 1]
    low, high = least_of_others(bottom), -least_of_others(-top)
    least = ascending[:, :1]
    spread = ascending[:, -1:] - least
    constant = spread == 0
    divisor = spread.masked_fill(constant, 1.0)
    # In [0, scale], where all places together stay below 2**62.
    scale = 2.0 ** (62 - sentences.bit_length())
    place = ((ascending - least) / divisor * scale).round().long()
    own_place = place.gather(1, order)
    others = sentences - counts
    total = sum_over_others(sum_by_concept(own_place, counts))
    centre = total.double() / others / scale
    squares = sum_by_concept((own_place.double() / scale).square(), counts)
    variance = sum_over_others(squares) / others - centre.square()

    met = _met_by_each(place, own_place, order, counts, total) / scale
    away = met / others.repeat_interleave(counts) - (centre / counts).repeat_interleave(counts, 1)
    rise = responses - bottom.repeat_interleave(counts, 1)
    slope = sum_by_concept(away * rise, counts) / variance.masked_fill(constant, 1.0)
    gain = (slope / divisor).masked_fill(constant, 1.0)
    mean_rise = sum_by_concept(rise, counts) / counts
    # At the mean of the source the line is at the mean of the target.
    offset = bottom + mean_rise - gain * least - slope * centre
    lines = torch.stack([gain, offset, low, high])

    narrow = (high - low < NARROW * spread) & ~constant
    for concept in narrow.any(0).nonzero().flatten().tolist():
        rows = narrow[:, concept].nonzero().flatten()
        its = slice(int(ends[concept] - counts[concept]), int(ends[concept]))
        other = torch.ones_like(ascending[rows], dtype=torch.bool)
        other.scatter_(1, order[rows, its], value=False)
        rest = ascending[rows][other].view(len(rows), -1)
        fitted = fit_sorted(rest.cpu().numpy(), responses[rows, its].cpu().numpy())
        lines[:, rows, concept] = torch.from_numpy(fitted).to(lines.device)
    return lines


def _met_by_each(
    place: Int[Tensor, "unit sentence"],
    own_place: Int[Tensor, "unit sentence"],
    order: Int[Tensor, "unit sentence"],
    counts: Int[Tensor, " concept"],
    total: Int[Tensor, "unit concept"],
) -> Float[Tensor, "unit sentence"]:
    """Add up, for each of a concept's m sentences, the places of the others that it meets.

    The i-th meets the others' quantiles from i/m to (i+1)/m: of n others in ascending order those
    from i n / m to (i+1) n / m, of which the first and the last in part.

    Args:
        place: of all sentences, ascending.
        own_place: of concept 0's sentences, ascending, then of concept 1's.
        order: where these are in `place`.
        counts: how many sentences each concept has.
        total: of all places of the others.
    """
    units, sentences = order.shape
    column = torch.arange(sentences, device=order.device)
    concept = torch.arange(len(counts), device=order.device).repeat_interleave(counts)
    m, n = counts[concept], sentences - counts[concept]
    start = (counts.cumsum(0) - counts)[concept]
    i = column - start
    whole, part = i * n // m, (i * n % m).double() / m
    # A sentence that d others precede is passed once i n / m reaches d. Exact: d m / n is a whole
    # number, or further from one than a float64's rounding.
    passed_at = (((order - i) * m).double() / n).ceil().long()
    # One more column a concept, for those that only the last quantile passes.
    bins = order.new_zeros((units, sentences + len(counts)))
    bins.scatter_add_(1, passed_at + (start + concept), torch.ones_like(order))
    passed = bins.cumsum(1)[:, column + concept]
    at = whole - start + passed
    running, own_running = pad(place.cumsum(1), (1, 0)), pad(own_place.cumsum(1), (1, 0))
    below = running.gather(1, at) - own_running.gather(1, passed) + own_running[:, start]
    begun = place.gather(1, at) * part
    ends = counts.cumsum(0) - 1
    below_next, begun_next = below.roll(-1, 1), begun.roll(-1, 1)
    below_next[:, ends], begun_next[:, ends] = total, 0.0
    return (below_next - below).double() + (begun_next - begun)
