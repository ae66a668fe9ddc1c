"""What units typically respond with to each concept: what they can be set to or moved by."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.errors import ScoreError
from steer_plugin.responses.unit_chunks import MEMORY, Labels, Matrix
from steer_plugin.scores.concept_sums import sum_by_concept, sum_over_others
from steer_plugin.scores.transport import fit_from_others
from steer_plugin.scores.unit_measures import SortedUnits, measure_units
from steer_plugin.settings.probe import QUANTILES, check_quantiles

STEEPEST = float(np.finfo(np.float32).max)


def typical_responses(
    responses: Matrix,
    labels: Labels,
    quantiles: Sequence[float] = QUANTILES,
    *,
    lines: bool = False,
    memory: int = MEMORY,
) -> dict[str, Float[np.ndarray, "concept unit"]]:
    """Describe each unit's responses to each concept, all from one sort of each unit.

    Nothing here depends on the order of the sentences: what is added up is so in ascending order.

    Args:
        responses: any floating dtype, finite.
        labels: the concept of each sentence, in 0..C-1, each concept at least once, C >= 2.
        quantiles: which of them to give, each in [0, 1].
        lines: whether to fit Linear-AcT as well, which takes most of the time.
        memory: bytes of working memory to stay within.

    Returns:
        In float32: of the concept's sentences `mean`, `median` and quantiles such as `q05`
        (linearly interpolated); `off_mean`, the mean over all other sentences; `mean_difference`,
        mean - off_mean; and with `lines` Linear-AcT from the other sentences to the concept's,
        `act_gain`, `act_offset`, `act_low` and `act_high` (see `transport.linear_transport`). A
        line too steep for a float32 comes from others that hardly differ: it is drawn as if they
        did not.

    Raises:
        ScoreError: a response is NaN or infinite, a statistic is beyond a float32, or labels or
            quantiles are not as described.
    """
    check_quantiles(quantiles)
    return measure_units(
        responses,
        labels,
        lambda units: typical_responses_of(units, quantiles, lines=lines),
        memory=memory,
    )


def typical_responses_of(
    units: SortedUnits, quantiles: Sequence[float], *, lines: bool
) -> dict[str, Float[Tensor, "unit concept"]]:
    """Give the `typical_responses` of units that are sorted."""
    responses, counts = units.by_concept, units.counts
    sums = sum_by_concept(responses, counts)
    mean = sums / counts
    off_mean = sum_over_others(sums) / (responses.shape[1] - counts)
    described = {
        "mean": mean,
        "off_mean": off_mean,
        "mean_difference": mean - off_mean,
        "median": _quantile(responses, counts, 0.5),
        **{f"q{100 * level:02g}": _quantile(responses, counts, level) for level in quantiles},
    }
    if lines:
        gain, offset, low, high = fit_from_others(units)
        # NaN, where there is no line, is no number that fits.
        fits = (gain.abs() <= STEEPEST) & (offset.abs() <= STEEPEST)
        described |= {
            "act_gain": gain.where(fits, 1.0),
            "act_offset": offset.where(fits, mean - off_mean),
            "act_low": low,
            "act_high": high,
        }
    return {name: _narrowed(values) for name, values in described.items()}


def _narrowed(values: Float[Tensor, "unit concept"]) -> Float[Tensor, "unit concept"]:
    narrow = values.float()
    if not bool(narrow.isfinite().all()):
        raise ScoreError(
            "a typical response is larger than a float32; check the model's weights and dtype"
        )
    return narrow


def _quantile(
    responses: Float[Tensor, "unit sentence"], counts: Int[Tensor, " concept"], level: float
) -> Float[Tensor, "unit concept"]:
    """Interpolate between the two responses of each concept that are next to a quantile."""
    place = level * (counts - 1).double()
    below = place.long()
    above = torch.minimum(below + 1, counts - 1)
    share = place - below
    start = counts.cumsum(0) - counts
    return (1 - share) * responses[:, start + below] + share * responses[:, start + above]
