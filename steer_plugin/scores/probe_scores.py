"""Any score by name, and typical responses, from whatever of a probe they are computed from."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from steer_plugin.errors import ScoreError
from steer_plugin.responses.probe import Probe
from steer_plugin.responses.unit_chunks import MEMORY
from steer_plugin.scores.mean_difference import mean_difference_of
from steer_plugin.scores.rank_scores import RANK_MEASURES, check_score
from steer_plugin.scores.token_scores import activation_frequency, lape
from steer_plugin.scores.typical_responses import typical_responses_of
from steer_plugin.scores.unit_measures import Measure, SortedUnits, measure_units
from steer_plugin.settings.names import ScoreName
from steer_plugin.settings.probe import QUANTILES, check_quantiles

Scores = Float[np.ndarray, "concept unit"]
# The scores by responses; the others count tokens.
MEASURES: dict[str, Measure] = {**RANK_MEASURES, "mean_difference": mean_difference_of}


def probe_scores(probe: Probe, name: ScoreName, *, memory: int = MEMORY) -> Scores:
    """Score every unit of a probe as a detector of each concept against the others.

    Args:
        probe: the responses; see `steer_plugin.responses.probe.probe_units`.
        name: one of `steer_plugin.settings.names.SCORES`.
        memory: bytes of working memory.

    Raises:
        ScoreError: there is no such score, a response is NaN or infinite, or the probe has not read
            which tokens are active where that is needed.
    """
    check_score(name)
    if name in MEASURES:
        score = MEASURES[name]
        return measure_units(
            probe.responses, probe.labels, lambda units: {"score": score(units)}, memory=memory
        )["score"]
    if probe.active is None:
        raise ScoreError(
            f"{name} counts active tokens, which this probe has not read; give active=True"
        )
    of_tokens = activation_frequency if name == "activation_frequency" else lape
    return of_tokens(probe.active, probe.tokens, probe.labels, memory=memory)


def scores_and_typical_responses(
    probe: Probe,
    name: ScoreName,
    quantiles: Sequence[float] = QUANTILES,
    *,
    lines: bool = False,
    memory: int = MEMORY,
) -> tuple[Scores, dict[str, Scores]]:
    """Give `probe_scores` and `typical_responses` of a probe, both from one sort of each unit.

    Arguments and errors are those of these.
    """
    check_quantiles(quantiles)
    check_score(name)
    score = MEASURES.get(name)

    def measures(units: SortedUnits) -> dict[str, Float[Tensor, "unit concept"]]:
        own = {} if score is None else {"score": score(units)}
        return own | typical_responses_of(units, quantiles, lines=lines)

    of_tokens = probe_scores(probe, name, memory=memory) if score is None else None
    statistics = measure_units(probe.responses, probe.labels, measures, memory=memory)
    return statistics.pop("score") if of_tokens is None else of_tokens, statistics
