"""The tokenizer of a model, from where the model is from."""

import copy
import gc
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from steer_plugin.adapters.shared.tokens import template_of
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
        return read_tokenizer(source)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot load the tokenizer of {source!r} as it ships: {one_line(error)}; "
            "give adapt(..., tokenizer=...)"
        ) from error


def read_tokenizer(pretrained_model_name_or_path: str | Path, **settings: Any) -> Any:
    """Load a tokenizer as transformers does, without looking for garbage among its words.

    Of Gemma 3's, a million objects, that takes 2 of 5 seconds.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **settings)
    finally:
        if enabled:
            gc.enable()


def copied_tokenizer(tokenizer: Any) -> Any:
    """Copy a tokenizer for a host, since hosts change the one that they are given.

    The words and merges that it was made of, which nobody changes, stay shared: of Gemma 3's they
    take 4 seconds.
    """
    made_of = [vars(tokenizer).get(name) for name in ("_vocab", "_merges")]
    return copy.deepcopy(tokenizer, {id(part): part for part in made_of if part is not None})


def puts_bos(tokenizer: Any) -> bool:
    """Tell whether a tokenizer puts BOS, and nothing else, around each text.

    Raises:
        ModelError: it does not put the text's own ids between what it puts.
    """
    return template_of(tokenizer) == ((tokenizer.bos_token_id,), ())


def copied_for_bridge(tokenizer: Any) -> Any:
    """Copy a tokenizer so that a bridge takes it as it is, where it puts BOS.

    Else the bridge loads it once more, for the sake of this: of Gemma 3's that takes seconds.
    """
    copied = copied_tokenizer(tokenizer)
    if puts_bos(copied):
        copied.init_kwargs["add_bos_token"] = True
    return copied
