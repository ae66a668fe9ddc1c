"""Tables of scored units: how they are made within memory and disk, chosen from, and summed up.

May import: scores and what that may.
"""

from steer_plugin.experts.search import find_experts
from steer_plugin.experts.selection import Choice
from steer_plugin.experts.shards import Shard, merge_shards, read_shard
from steer_plugin.experts.summaries import experts_by_layer, overlap, score_curve
from steer_plugin.experts.table import ExpertTable, score_units

__all__ = [
    "Choice",
    "ExpertTable",
    "Shard",
    "experts_by_layer",
    "find_experts",
    "merge_shards",
    "overlap",
    "read_shard",
    "score_curve",
    "score_units",
]
