"""Choices and their defaults, said once for the library, the command line and run files.

May import: errors, registry. Nothing slow: the command line reads it before it answers.
"""

from steer_plugin.settings.budget import Budget
from steer_plugin.settings.model import ModelSettings
from steer_plugin.settings.names import SITES
from steer_plugin.settings.parts import SCORES, Score
from steer_plugin.settings.probe import ProbeSettings

__all__ = [
    "SCORES",
    "SITES",
    "Budget",
    "ModelSettings",
    "ProbeSettings",
    "Score",
]
