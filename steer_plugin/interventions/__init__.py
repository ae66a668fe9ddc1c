"""What is done to which units, as plans: pure data, and the arithmetic that every host does.

May import: activations, storage, settings.
"""

from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.operations import steer
from steer_plugin.interventions.plan import AnyPlan, Plan

__all__ = [
    "AnyPlan",
    "Intervention",
    "Plan",
    "steer",
]
