"""Find expert units of a multilingual language model, steer them, and measure what changes.

The system of Sundar et al. 2025, "Steering into New Embedding Spaces" (arXiv 2502.15639), for
TransformerLens and nnsight.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steer_plugin.adapters import adapt, steered
    from steer_plugin.adapters.nnsight.plan_in_trace import apply_in_trace
    from steer_plugin.corpora.parallel import ParallelCorpus
    from steer_plugin.errors import SteerError
    from steer_plugin.experts.search import find_experts
    from steer_plugin.experts.selection import Choice
    from steer_plugin.experts.table import ExpertTable, score_units
    from steer_plugin.interventions.plan import Intervention
    from steer_plugin.methods.steering_vectors import find_vectors
    from steer_plugin.models.adapter import Adapter, Reading
    from steer_plugin.responses.embeddings import embed, embed_layers
    from steer_plugin.responses.probe import probe_units
    from steer_plugin.settings.names import SITES

# Loaded on first use: the command line answers before torch is imported.
_HOMES = {
    "SITES": "settings.names",
    "Adapter": "models.adapter",
    "Choice": "experts.selection",
    "ExpertTable": "experts.table",
    "Intervention": "interventions.plan",
    "ParallelCorpus": "corpora.parallel",
    "Reading": "models.adapter",
    "SteerError": "errors",
    "adapt": "adapters",
    "apply_in_trace": "adapters.nnsight.plan_in_trace",
    "embed": "responses.embeddings",
    "embed_layers": "responses.embeddings",
    "find_experts": "experts.search",
    "find_vectors": "methods.steering_vectors",
    "probe_units": "responses.probe",
    "score_units": "experts.table",
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
