"""Find expert units of a multilingual language model, steer them, and measure what changes.

The system of Sundar et al. 2025, "Steering into New Embedding Spaces" (arXiv 2502.15639), for
TransformerLens and nnsight.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steer_plugin.adapters import adapt, steered
    from steer_plugin.adapters.in_trace import apply_in_trace
    from steer_plugin.corpus import ParallelCorpus
    from steer_plugin.embeddings import embed, embed_layers
    from steer_plugin.errors import SteerError
    from steer_plugin.experts import ExpertTable, score_units
    from steer_plugin.finding import find_experts
    from steer_plugin.interventions import Intervention
    from steer_plugin.probing import probe_units
    from steer_plugin.protocols import Adapter, Reading
    from steer_plugin.selection import Choice
    from steer_plugin.sites import SITES
    from steer_plugin.steering_vectors import find_vectors

# Loaded on first use: the command line answers before torch is imported.
_HOMES = {
    "SITES": "sites",
    "Adapter": "protocols",
    "Choice": "selection",
    "ExpertTable": "experts",
    "Intervention": "interventions",
    "ParallelCorpus": "corpus",
    "Reading": "protocols",
    "SteerError": "errors",
    "adapt": "adapters",
    "apply_in_trace": "adapters.in_trace",
    "embed": "embeddings",
    "embed_layers": "embeddings",
    "find_experts": "finding",
    "find_vectors": "steering_vectors",
    "probe_units": "probing",
    "score_units": "experts",
    "steered": "adapters",
}

__all__ = [
    "SITES",
    "Adapter",
    "Choice",
    "ExpertTable",
    "Intervention",
    "ParallelCorpus",
    "Reading",
    "SteerError",
    "adapt",
    "apply_in_trace",
    "embed",
    "embed_layers",
    "find_experts",
    "find_vectors",
    "probe_units",
    "score_units",
    "steered",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'steer_plugin' has no attribute {name!r}")
    return getattr(import_module(f"steer_plugin.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
