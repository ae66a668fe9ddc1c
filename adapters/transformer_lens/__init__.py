"""TransformerLens: a `TransformerBridge` as an adapter, and plans as its hooks.

May import: adapters.shared and the core; transformer_lens, never nnsight.
"""

from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.adapters.transformer_lens.hooks import fwd_hooks, steered

__all__ = [
    "BridgeAdapter",
    "fwd_hooks",
    "steered",
]
