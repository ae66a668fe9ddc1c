"""Figures with their influence, what is sure of their changes, and false-discovery control.

May import: errors. Knows nothing of models, runs or reports.
"""

from steer_plugin.analyses.statistics.bootstrap import interval, resamples
from steer_plugin.analyses.statistics.comparison import compare, compare_controls
from steer_plugin.analyses.statistics.false_discoveries import control_false_discoveries
from steer_plugin.analyses.statistics.figures import Figures, weighted_means

__all__ = [
    "Figures",
    "compare",
    "compare_controls",
    "control_false_discoveries",
    "interval",
    "resamples",
    "weighted_means",
]
