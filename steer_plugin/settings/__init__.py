"""Choices and their defaults, said once for the library, the command line and run files.

May import: errors, registry. Nothing slow: the command line reads it before it answers.
"""

from steer_plugin.settings.budget import Budget
from steer_plugin.settings.model import ModelSettings
from steer_plugin.settings.parts import (
    CONTROLS,
    MEASURES,
    METHODS,
    OPERATIONS,
    POOLINGS,
    READERS,
    SCORES,
    SITES,
    Arithmetic,
    Pooler,
    Score,
    Site,
)
from steer_plugin.settings.probe import ProbeSettings

__all__ = [
    "CONTROLS",
    "MEASURES",
    "METHODS",
    "OPERATIONS",
    "POOLINGS",
    "READERS",
    "SCORES",
    "SITES",
    "Arithmetic",
    "Budget",
    "ModelSettings",
    "Pooler",
    "ProbeSettings",
    "Score",
    "Site",
]
