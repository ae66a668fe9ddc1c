"""Resamples with replacement, for what a model writes and for what it costs in perplexity."""

import numpy as np
from jaxtyping import Float

from steer_plugin.errors import AnalysisError

RESAMPLES = 1000
CONFIDENCE = (0.025, 0.975)

Weights = Float[np.ndarray, "resample unit"]
Replicates = Float[np.ndarray, "resample figure"]


def resamples(units: int, *, count: int = RESAMPLES, seed: int = 0) -> Weights:
    """Draw bootstrap weights: units with replacement, so many as there are.

    Args:
        units: how many to draw from; at least 2.
        count: how many resamples; at least 1.
        seed: of the generator.

    Raises:
        AnalysisError: fewer than two units, or no resamples.
    """
    if units < 2:
        raise AnalysisError(f"a bootstrap over {units} unit is empty; give at least two")
    if count < 1:
        raise AnalysisError(f"{count} resamples give no interval; draw at least one")
    generator = np.random.default_rng(seed)
    return generator.multinomial(units, np.full(units, 1 / units), size=count) / units


def interval(replicates: Replicates) -> Float[np.ndarray, "2 figure"]:
    """Give the 95% percentile interval of each figure (Efron and Tibshirani 1993, chapter 13).

    Returns:
        The low ends, then the high ends. A replicate that is not defined (NaN) says nothing; where
        none is defined both ends are NaN.
    """
    ends = np.full((2, replicates.shape[1]), np.nan)
    defined = ~np.isnan(replicates).all(0)
    ends[:, defined] = np.nanquantile(replicates[:, defined], CONFIDENCE, axis=0)
    return ends
