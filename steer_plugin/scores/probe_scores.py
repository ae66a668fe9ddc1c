"""Any score by name, from whatever of a probe it is computed from."""

import numpy as np
from jaxtyping import Float

from steer_plugin.errors import ScoreError
from steer_plugin.responses.probe import Probe
from steer_plugin.responses.unit_chunks import MEMORY
from steer_plugin.scores.mean_difference import mean_difference
from steer_plugin.scores.rank_scores import check_score, scores
from steer_plugin.scores.token_scores import activation_frequency, lape
from steer_plugin.settings.names import RANK_SCORES, ScoreName


def probe_scores(
    probe: Probe, name: ScoreName, *, memory: int = MEMORY
) -> Float[np.ndarray, "concept unit"]:
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
    if name in RANK_SCORES:
        return scores(probe.responses, probe.labels, (name,), memory=memory)[name]
    if name == "mean_difference":
        return mean_difference(probe.responses, probe.labels, memory=memory)
    if probe.active is None:
        raise ScoreError(
            f"{name} counts active tokens, which this probe has not read; give active=True"
        )
    of_tokens = activation_frequency if name == "activation_frequency" else lape
    return of_tokens(probe.active, probe.tokens, probe.labels, memory=memory)
