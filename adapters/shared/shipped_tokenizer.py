"""The tokenizer of a model, from where the model is from."""

from typing import Any

from transformers import AutoTokenizer

from steer_plugin.errors import ModelError
from steer_plugin.storage.artifacts import one_line


def shipped_tokenizer(source: str) -> Any:
    """Load a tokenizer as it ships.

    Args:
        source: a hub id or a folder.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot load the tokenizer of {source!r} as it ships: {one_line(error)}; "
            "give adapt(..., tokenizer=...)"
        ) from error
