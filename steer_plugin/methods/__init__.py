"""Ways to steer by name, steering vectors among them.

May import: experts and what that may.
"""

from steer_plugin.methods.catalogue import METHODS, plan_method
from steer_plugin.methods.steering_vectors import SteeringVectors, find_vectors

__all__ = [
    "METHODS",
    "SteeringVectors",
    "find_vectors",
    "plan_method",
]
