"""Whether two expert tables are the same: to the last bit, or but for the rounding of two hosts."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from steer_plugin import Adapter, ExpertTable, Reading
from steer_plugin.responses.forward_pass import gather


def assert_same(found: ExpertTable, wanted: ExpertTable) -> None:
    np.testing.assert_array_equal(found.scores, wanted.scores)
    for name in ("concepts", "space", "score", "chance", "provenance"):
        assert getattr(found, name) == getattr(wanted, name)
    assert found.statistics.keys() == wanted.statistics.keys()
    for name, values in wanted.statistics.items():
        np.testing.assert_array_equal(found.statistics[name], values)


def assert_same_but_for_rounding(
    tables: tuple[ExpertTable, ExpertTable],
    adapters: tuple[Adapter, Adapter],
    texts: Sequence[str],
    reading: Reading,
) -> None:
    """Two responses may be so close that each host's rounding puts them in another order.

    Nearly all units have the same order on both, and then the same scores; where two neighbours
    change places, that is one of all the pairs an AUROC counts.
    """
    found, wanted = tables
    one, other = (
        rankdata(gather(adapter, texts, [reading])[reading], axis=0) for adapter in adapters
    )
    same = (one == other).all(0)
    assert same.mean() > 0.98
    np.testing.assert_array_equal(found.scores[:, same], wanted.scores[:, same])
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=0.01)
