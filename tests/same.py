"""Whether two expert tables are the same, to the last bit."""

import numpy as np

from steer_plugin import ExpertTable


def assert_same(found: ExpertTable, wanted: ExpertTable) -> None:
    np.testing.assert_array_equal(found.scores, wanted.scores)
    for name in ("concepts", "space", "score", "chance", "provenance"):
        assert getattr(found, name) == getattr(wanted, name)
    assert found.statistics.keys() == wanted.statistics.keys()
    for name, values in wanted.statistics.items():
        np.testing.assert_array_equal(found.statistics[name], values)
