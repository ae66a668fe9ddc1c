"""Which models are taken: causal language models, which read a text once, from left to right."""

from typing import Any

from steer_plugin.errors import ModelError


def require_causal(config: Any, error: type[Exception] = ModelError) -> None:
    """Refuse an encoder-decoder.

    Args:
        config: of the model.
        error: what to raise.

    Raises:
        ModelError: it is one; or whatever `error` is.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise error(
            f"{config.name_or_path or config.model_type} is an encoder-decoder; give a causal "
            "language model, see docs/models.md"
        )
