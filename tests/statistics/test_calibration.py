"""How often the intervals hold, over repeated samples of a population with groups and heavy tails.

`make calibration` does the same for more designs, and writes docs/statistics.md.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.measures.every_measure import all_figures
from steer_plugin.analyses.statistics.figures import Figures, joined

from support.checks import without_checks
from support.populations import Population, repeated

SAMPLES = 200
SENTENCES, CLUSTER = 240, 3


def every_figure(embeddings: dict[str, Any], groups: Any) -> Figures:
    tables = all_figures(embeddings, target="deu_Latn", groups=groups)
    return joined(list(tables.values()))


@pytest.fixture(scope="module")
def calibrated() -> pd.DataFrame:
    """Give the coverage and the ratio of every figure's change that has an interval."""
    population = Population(CLUSTER)
    with without_checks():
        change, error, half = repeated(every_figure, population, SENTENCES, SAMPLES)
    before, _, groups = population.sample(SENTENCES, 0)
    frame = every_figure(before, groups).index.assign(
        coverage=(np.abs(change - change.mean(0)) <= half).mean(0),
        ratio=error.mean(0) / change.std(0),
    )
    return frame[~np.isnan(half).any(0)]


def test_every_interval_holds_the_true_change_about_19_times_in_20(
    calibrated: pd.DataFrame,
) -> None:
    # Over the figures of a measure and centring, of 200 samples each: three standard errors of one
    # figure are 0.046.
    by_measure = calibrated.groupby(["measure", "centring"])["coverage"].mean()
    assert len(by_measure) > 18
    # 0.92 to 0.98, less what 200 samples leave unsure.
    off = by_measure[(by_measure < 0.905) | (by_measure > 0.985)]
    assert off.empty, off
    assert calibrated["coverage"].min() > 0.87


def test_every_standard_error_is_the_spread_over_samples(calibrated: pd.DataFrame) -> None:
    by_measure = calibrated.groupby(["measure", "centring"])["ratio"].mean()
    off = by_measure[(by_measure < 0.85) | (by_measure > 1.15)]
    assert off.empty, off
