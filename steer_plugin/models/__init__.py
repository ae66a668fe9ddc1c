"""A model behind a few verbs, whatever host runs it, and what a result records of it.

May import: interventions, activations, corpora.
"""

from steer_plugin.models.adapter import Adapter, Batch, ModelInfo, Reading
from steer_plugin.models.generation import Generation
from steer_plugin.models.provenance import provenance

__all__ = [
    "Adapter",
    "Batch",
    "Generation",
    "ModelInfo",
    "Reading",
    "provenance",
]
