"""Plain Hugging Face models: PyTorch hooks on their modules, class and weights left as they are.

May import: adapters.shared and the core; no other host.
"""

from steer_plugin.adapters.transformers.hooks import steered
from steer_plugin.adapters.transformers.model_adapter import ModelAdapter

__all__ = [
    "ModelAdapter",
    "steered",
]
