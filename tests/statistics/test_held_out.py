"""The interval of a held-out AUROC holds where units are at their most variable."""

import numpy as np
import pytest
from scipy.stats import binom

from steer_plugin.analyses.statistics.held_out import auroc_interval


@pytest.mark.parametrize("units", [4, 10, 40])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_it_holds_at_least_95_percent_of_the_time_at_the_largest_variance(
    share: float, units: int
) -> None:
    # Of a unit that outranks all other sentences or none, the AUROC is a proportion.
    hits = np.arange(units + 1)
    ends = [auroc_interval(n / units, units) for n in hits]
    held = [low <= share <= high for low, high in ends]
    assert binom.pmf(hits, units, share)[held].sum() >= 0.95


def test_a_perfect_score_of_few_sentences_is_not_sure() -> None:
    low, high = auroc_interval(1.0, 3)
    assert low < 0.5 < high
    assert auroc_interval(1.0, 200)[0] > 0.98
    assert auroc_interval(0.0, 200)[1] < 0.02
