"""Figures as functions of weights on sentences, their bootstrap and false-discovery control.

May import: errors. Knows nothing of models, runs or reports.
"""

from steer_plugin.analyses.statistics.bootstrap import (
    compare,
    compare_controls,
    interval,
    resamples,
)
from steer_plugin.analyses.statistics.false_discoveries import control_false_discoveries

__all__ = [
    "compare",
    "compare_controls",
    "control_false_discoveries",
    "interval",
    "resamples",
]
