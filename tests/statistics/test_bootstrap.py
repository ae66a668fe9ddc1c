import numpy as np
import pytest

from steer_plugin.analyses.statistics.bootstrap import interval, resamples
from steer_plugin.errors import AnalysisError


def test_a_resample_draws_as_many_units_as_there_are_with_replacement() -> None:
    drawn = 12 * resamples(12, count=2000, seed=3)
    np.testing.assert_allclose(drawn, drawn.round(), atol=1e-9)
    np.testing.assert_allclose(drawn.sum(1), 12)
    # Each unit is drawn Binomial(12, 1/12) times.
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.1)
    np.testing.assert_allclose(drawn.var(0), 11 / 12, atol=0.12)


def test_a_seed_settles_the_resamples() -> None:
    np.testing.assert_array_equal(resamples(9, seed=1), resamples(9, seed=1))
    assert (resamples(9, seed=1) != resamples(9, seed=2)).any()
    assert len(resamples(9)) == 1000


def test_an_interval_leaves_undefined_replicates_out() -> None:
    replicates = np.stack([np.arange(41.0), np.full(41, np.nan)], axis=1)
    replicates[1::2, 0] = np.nan
    low, high = interval(replicates)
    assert (low[0], high[0]) == (1, 39)
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize("units", [0, 1])
def test_a_bootstrap_needs_two_units(units: int) -> None:
    with pytest.raises(AnalysisError, match=f"over {units} unit is empty"):
        resamples(units)


def test_a_bootstrap_needs_a_resample() -> None:
    with pytest.raises(AnalysisError, match="0 resamples give no interval"):
        resamples(5, count=0)
