"""Which passes a bridge runs, and in which calls to `generate`."""

from transformer_lens.model_bridge import TransformerBridge

from steer_plugin.adapters.shared.passes import PassWatch, note_generations


def watch_passes(bridge: TransformerBridge) -> PassWatch:
    """Note the context of each forward pass of a bridge, for as long as what is given lives."""
    for name in ("generate", "generate_stream"):
        note_generations(TransformerBridge, name)
    return PassWatch(bridge.original_model, owners=(bridge,))
