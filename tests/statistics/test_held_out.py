"""The interval of a held-out AUROC holds where units are at their most variable."""

import numpy as np
import pytest

from steer_plugin.analyses.statistics.held_out import auroc_interval


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_it_holds_at_least_95_percent_of_the_time_at_the_largest_variance(share: float) -> None:
    # A unit that fires on a share of the concept's sentences and on no other: of such a one the
    # AUROC is 1/2 + a proportion / 2, and of one that outranks all others or none, a proportion.
    rng = np.random.default_rng(0)
    sentences, held = 40, 0
    for hits in rng.binomial(sentences, share, size=4000):
        low, high = auroc_interval(hits / sentences, sentences)
        held += low <= share <= high
    assert held / 4000 >= 0.93


def test_a_perfect_score_of_few_sentences_is_not_sure() -> None:
    low, high = auroc_interval(1.0, 3)
    assert low < 0.5 < high
    assert auroc_interval(1.0, 200)[0] > 0.98
    assert auroc_interval(0.0, 200)[1] < 0.02
