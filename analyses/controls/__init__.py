"""What does as much without what is claimed: plans, moves of embeddings, chance.

May import: measures, statistics and the core; no host.
"""

from steer_plugin.analyses.controls.expert_controls import ControlContext

__all__ = [
    "ControlContext",
]
