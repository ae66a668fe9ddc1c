"""Any score by name, and typical responses, from whatever of a probe they are computed from."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.errors import ScoreError
from steer_plugin.responses.probe import Probe
from steer_plugin.responses.unit_chunks import MEMORY
from steer_plugin.scores.typical_responses import typical_responses_of
from steer_plugin.scores.unit_measures import SortedUnits, measure_units
from steer_plugin.settings.parts import SCORES
from steer_plugin.settings.probe import QUANTILES, check_quantiles

Scores = Float[np.ndarray, "concept unit"]


def probe_scores(probe: Probe, name: str, *, memory: int = MEMORY) -> Scores:
    """Score every unit of a probe as a detector of each concept against the others.

    Args:
        probe: the responses; see `steer_plugin.responses.probe.probe_units`.
        name: one of `steer_plugin.settings.parts.SCORES`.
        memory: bytes of working memory.

    Raises:
        ScoreError: there is no such score, a response is NaN or infinite, the probe has not read
            which tokens are active where that is needed, or somebody's own score fails or gives
            something else than a finite number for each unit and concept.
    """
    if not SCORES[name].counts_tokens:
        return measure_units(
            probe.responses,
            probe.labels,
            lambda units: {"score": _score_of(name, units)},
            memory=memory,
        )["score"]
    if probe.active is None:
        raise ScoreError(
            f"{name} counts active tokens, which this probe has not read; give active=True"
        )
    with SCORES.calling(name):
        scores = SCORES[name].function(probe.active, probe.tokens, probe.labels, memory=memory)
    shape = (len(probe.concepts), len(probe.space))
    return _checked(name, torch.as_tensor(scores), shape).numpy()


def chance_levels(name: str, labels: Int[np.ndarray, " sentence"]) -> Float[np.ndarray, " concept"]:
    """Give what a unit that knows nothing scores for each concept.

    0.5 for AUROC, the concept's share of the sentences for average precision, 0 for our others.

    Raises:
        ScoreError: there is no such score, or somebody's own gives no number for each concept.
    """
    counts, chance = np.bincount(labels), SCORES[name].chance
    with SCORES.calling(name):
        levels = np.asarray(chance(counts) if callable(chance) else chance, dtype=np.float64)
        return np.broadcast_to(levels, counts.shape).copy()


def scores_and_typical_responses(
    probe: Probe,
    name: str,
    quantiles: Sequence[float] = QUANTILES,
    *,
    lines: bool = False,
    memory: int = MEMORY,
) -> tuple[Scores, dict[str, Scores]]:
    """Give `probe_scores` and `typical_responses` of a probe, both from one sort of each unit.

    Arguments and errors are those of these.
    """
    check_quantiles(quantiles)
    of_tokens = probe_scores(probe, name, memory=memory) if SCORES[name].counts_tokens else None

    def measures(units: SortedUnits) -> dict[str, Float[Tensor, "unit concept"]]:
        score = {} if of_tokens is not None else {"score": _score_of(name, units)}
        return score | typical_responses_of(units, quantiles, lines=lines)

    statistics = measure_units(probe.responses, probe.labels, measures, memory=memory)
    return statistics.pop("score") if of_tokens is None else of_tokens, statistics


def _score_of(name: str, units: SortedUnits) -> Float[Tensor, "unit concept"]:
    with SCORES.calling(name):
        scores = SCORES[name].function(units)
    return _checked(name, scores, (len(units.keys), len(units.counts)))


def _checked(name: str, scores: object, shape: tuple[int, int]) -> Float[Tensor, "_ _"]:
    """Refuse what is no finite number for each unit and concept; give it in float64."""
    if not isinstance(scores, Tensor) or tuple(scores.shape) != shape:
        given = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ScoreError(
            f"the score {name!r} gave {given}, where a tensor of shape {shape} was expected; give "
            "one number for each unit and concept",
            page="own-parts",
        )
    wide = scores.double()
    if not bool(wide.isfinite().all()):
        unit, concept = (int(i) for i in (~wide.isfinite()).nonzero()[0])
        raise ScoreError(
            f"the score {name!r} is {float(wide[unit, concept])} at {(unit, concept)} of "
            f"{shape}; give finite numbers, 0 where nothing can be told"
        )
    return wide
