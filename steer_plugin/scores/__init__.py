"""What makes a unit an expert, and what it typically responds with, from one sort of each unit.

May import: responses and what that may.
"""

from steer_plugin.scores.mean_difference import mean_difference
from steer_plugin.scores.probe_scores import probe_scores
from steer_plugin.scores.rank_scores import auroc, average_precision, scores
from steer_plugin.scores.token_scores import activation_frequency, lape
from steer_plugin.scores.transport import Transport, linear_transport
from steer_plugin.scores.typical_responses import typical_responses
from steer_plugin.scores.unit_measures import SortedUnits

__all__ = [
    "SortedUnits",
    "Transport",
    "activation_frequency",
    "auroc",
    "average_precision",
    "lape",
    "linear_transport",
    "mean_difference",
    "probe_scores",
    "scores",
    "typical_responses",
]
