"""What units typically respond with to each concept: what they can be set to or moved by."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.errors import ScoreError
from steer_plugin.sorting import sort_units, sorted_values, stable_argsort
from steer_plugin.transport import fit_sorted
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

QUANTILES = (0.05, 0.25, 0.75, 0.95)
STEEPEST = float(np.finfo(np.float32).max)


def check_quantiles(quantiles: Sequence[float]) -> None:
    """Refuse numbers that are no quantiles.

    Raises:
        ScoreError: one is not from 0 to 1.
    """
    if not all(0 <= quantile <= 1 for quantile in quantiles):
        raise ScoreError(f"quantiles are {quantiles}; give numbers from 0 to 1")


def typical_responses(
    responses: Matrix,
    labels: Labels,
    quantiles: Sequence[float] = QUANTILES,
    *,
    memory: int = MEMORY,
) -> dict[str, Float[np.ndarray, "concept unit"]]:
    """Describe each unit's responses to each concept, all from one sort of each unit.

    Args:
        responses: any floating dtype, finite.
        labels: the concept of each sentence, in 0..C-1, each concept at least once, C >= 2.
        quantiles: which of them to give, each in [0, 1].
        memory: bytes of working memory to stay within.

    Returns:
        In float32: of the concept's sentences `mean`, `median` and quantiles such as `q05`
        (linearly interpolated); `off_mean`, the mean over all other sentences; `mean_difference`,
        mean - off_mean; and Linear-AcT from the other sentences to the concept's, `act_gain`,
        `act_offset`, `act_low` and `act_high` (see `steer_plugin.transport.linear_transport`). A
        line too steep for a float32 comes from others that hardly differ: it is drawn as if they
        did not.

    Raises:
        ScoreError: a response is NaN or infinite, a statistic is beyond a float32, or labels or
            quantiles are not as described.
    """
    check_quantiles(quantiles)
    matrix = as_matrix(responses)
    concept = as_tensor(labels).to(matrix.device)
    counts = count_concepts(concept, len(matrix))

    def describe(
        chunk: Float[Tensor, "sentence chunk"], first_unit: int
    ) -> dict[str, Float[np.ndarray, "concept chunk"]]:
        keys, sorted_labels, finite = sort_units(chunk, concept)
        if not finite:
            check_finite(chunk, first_unit)
        ascending = sorted_values(keys).cpu().numpy()
        return _describe(ascending, sorted_labels.cpu(), counts.cpu().numpy(), quantiles)

    parts = map_units(describe, matrix, memory)
    try:
        with np.errstate(over="raise"):
            return {
                name: np.concatenate([part[name] for part in parts], 1).astype(np.float32)
                for name in sorted(parts[0])
            }
    except FloatingPointError as error:
        raise ScoreError(
            "a typical response is larger than a float32; check the model's weights and dtype"
        ) from error


def _describe(
    ascending: Float[np.ndarray, "unit sentence"],
    labels: Int[Tensor, "unit sentence"],
    counts: Int[np.ndarray, " concept"],
    quantiles: Sequence[float],
) -> dict[str, Float[np.ndarray, "concept unit"]]:
    """Describe units whose responses ascend, each with its label."""
    order = stable_argsort(labels, len(counts)).numpy()
    wide = ascending.astype(np.float64)
    own = np.split(np.take_along_axis(wide, order, 1), counts.cumsum()[:-1], axis=1)
    sums = np.stack([responses.sum(1) for responses in own])
    rows: dict[str, list[Float[np.ndarray, " unit"]]] = {}
    for concept, responses in enumerate(own):
        rest = wide[labels.numpy() != concept].reshape(len(wide), -1)
        mean = sums[concept] / counts[concept]
        # Not the sum of all less the concept's own: what is small beside that would be lost.
        off_mean = np.delete(sums, concept, 0).sum(0) / rest.shape[1]
        named = {
            "mean": mean,
            "off_mean": off_mean,
            "mean_difference": mean - off_mean,
            "median": _quantile(responses, 0.5),
            **{f"q{100 * level:02g}": _quantile(responses, level) for level in quantiles},
            **_line(rest, responses, mean - off_mean),
        }
        for name, values in named.items():
            rows.setdefault(name, []).append(values)
    return {name: np.stack(values) for name, values in rows.items()}


def _quantile(
    ascending: Float[np.ndarray, "unit sentence"], level: float
) -> Float[np.ndarray, " unit"]:
    place = level * (ascending.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ascending.shape[1] - 1)
    share = place - below
    return np.asarray((1 - share) * ascending[:, below] + share * ascending[:, above])


def _line(
    rest: Float[np.ndarray, "unit other_sentence"],
    own: Float[np.ndarray, "unit sentence"],
    difference: Float[np.ndarray, " unit"],
) -> dict[str, Float[np.ndarray, " unit"]]:
    gain, offset, low, high = fit_sorted(rest, own)
    fits = (np.abs(gain) <= STEEPEST) & (np.abs(offset) <= STEEPEST)
    return {
        "act_gain": np.where(fits, gain, 1.0),
        "act_offset": np.where(fits, offset, difference),
        "act_low": low,
        "act_high": high,
    }
