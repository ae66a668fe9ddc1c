"""Linear-AcT: the straight line that carries a unit's responses from one sample to another.

Rodriguez et al. 2024, "Controlling Language and Diffusion Models by Transporting Activations"
(arXiv 2410.23054), section 3.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.errors import ScoreError

# So many numbers of each sample at a time fit a processor's cache.
CHUNK = 1 << 18


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
