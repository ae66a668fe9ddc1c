"""Generation settings that mean the same on every host."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, TemperatureLogitsWarper, TopPLogitsWarper

# A model's own settings fill in whatever is left out, so all are given: these where None is no
# value for them, and None for the rest.
_NEUTRAL: dict[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "early_stopping": False,
    "length_penalty": 1.0,
    "diversity_penalty": 0.0,
    "min_length": 0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
}
_NEUTRAL_SAMPLING: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
# In transformers 5.23 what one run leaves in the cache of these changes the next, or the next text.
_FALSE_CACHES = {"recurrent_gemma", "rwkv"}
# What is a model's own all the same, and what is no setting.
_ITS_OWN = {"eos_token_id", "bos_token_id", "decoder_start_token_id", "transformers_version"}


def generation_settings(
    model: Any, tokenizer: Any, *, max_new_tokens: int, temperature: float
) -> dict[str, Any]:
    """Say how to continue a prompt: greedily at temperature 0, else by sampling.

    Of the model's own settings only the end tokens are left to take effect.

    Args:
        model: of transformers.
        tokenizer: of the model.
        max_new_tokens: at most so many tokens more.
        temperature: of the sampling; `sampling` sees to it.

    Returns:
        What `generate` takes by name, every setting that the model may have among it.
    """
    kind: Any = GenerationConfig
    names = {*kind().to_dict(), *model.generation_config.to_dict()} - _ITS_OWN
    settings: dict[str, Any] = dict.fromkeys(name for name in names if not name.startswith("_"))
    settings |= _NEUTRAL
    if temperature > 0:
        settings |= _NEUTRAL_SAMPLING
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return settings | {
        "do_sample": temperature > 0,
        "use_cache": model.config.model_type not in _FALSE_CACHES,
        "max_new_tokens": max_new_tokens,
        "pad_token_id": pad,
    }


def sampling(temperature: float, top_p: float, keep: Callable[..., Tensor]) -> list[Any]:
    """List what `generate` does to the scores before it samples a token: its `logits_processor`.

    Args:
        temperature: of the sampling; 0 for none.
        top_p: sample from the likeliest tokens that together have this probability.
        keep: `nucleus`, or a copy of it that travels.
    """
    steps: list[Any] = []
    if temperature not in (0, 1):
        steps.append(TemperatureLogitsWarper(temperature))
    if temperature > 0 and top_p < 1:
        steps.append(partial(keep, top_p=top_p))
    return steps


def nucleus(
    _: Int[Tensor, "text token"], scores: Float[Tensor, "text vocabulary"], *, top_p: float
) -> Float[Tensor, "text vocabulary"]:
    """Do what transformers' `TopPLogitsWarper` does, to the last bit, in a fraction of the time.

    It sorts the vocabulary together with its indices, which takes as long as a small model. Unless
    tokens tie at the edge, the sorted scores alone tell which tokens are kept.
    """
    whole: Callable[..., Tensor] = TopPLogitsWarper(top_p)
    if scores.device.type != "cpu":
        return whole(None, scores)
    ascending = scores.clone(memory_format=torch.contiguous_format)
    ascending.numpy().sort(axis=-1)
    dropped = (ascending.softmax(-1).cumsum(-1) <= 1 - top_p).sum(-1, keepdim=True)
    dropped = dropped.clamp(max=scores.shape[-1] - 1)
    least = ascending.gather(-1, dropped)
    if bool(((ascending.gather(-1, (dropped - 1).clamp(min=0)) == least) & (dropped > 0)).any()):
        return whole(None, scores)
    return scores.masked_fill(scores < least, float("-inf"))
