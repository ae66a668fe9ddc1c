"""Ways to steer by name, steering vectors among them.

May import: experts and what that may.
"""

from steer_plugin.methods.catalogue import MethodContext, plan_method, unit_method
from steer_plugin.methods.steering_vectors import SteeringVectors, find_vectors

__all__ = [
    "MethodContext",
    "SteeringVectors",
    "find_vectors",
    "plan_method",
    "unit_method",
]
