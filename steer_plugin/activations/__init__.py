"""Where activations are read and written, and how the tokens of a text become one number.

May import: errors, settings.
"""

from steer_plugin.activations.pooling import pool
from steer_plugin.activations.sites import UnitSpace

__all__ = [
    "UnitSpace",
    "pool",
]
