"""Generation settings and sampling that mean the same on every host, whatever the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from transformers import GenerationConfig, TopPLogitsWarper

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
# In transformers 5.23 what one run leaves in the cache of these changes the next, or the next text.
_FALSE_CACHES = {"recurrent_gemma", "rwkv"}
# Scores over less than this may be no numbers; what it samples is the likeliest token anyway.
LEAST_TEMPERATURE = 1e-6
# What is a model's own all the same, and what is no setting.
_OF_THE_MODEL = {"eos_token_id", "bos_token_id", "decoder_start_token_id", "transformers_version"}


def generation_settings(model: Any, tokenizer: Any, *, max_new_tokens: int) -> dict[str, Any]:
    """Say how to continue a prompt: with the likeliest token, which `choose` sees to.

    Of the model's own settings only the end tokens are left to take effect.

    Args:
        model: of transformers.
        tokenizer: of the model.
        max_new_tokens: at most so many tokens more.

    Returns:
        What `generate` takes by name, every setting that the model may have among it.
    """
    kind: Any = GenerationConfig
    names = {*kind().to_dict(), *model.generation_config.to_dict()} - _OF_THE_MODEL
    settings: dict[str, Any] = dict.fromkeys(name for name in names if not name.startswith("_"))
    settings |= _NEUTRAL
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return settings | {
        "do_sample": False,
        "use_cache": model.config.model_type not in _FALSE_CACHES,
        "max_new_tokens": max_new_tokens,
        "pad_token_id": pad,
    }


def draws(
    streams: Sequence[tuple[int, int]], max_new_tokens: int
) -> Float64[Tensor, "text new_token"]:
    """Draw what each new token of each prompt is chosen by: numbers from 0 to below 1.

    A prompt has a stream of random numbers of its own, so that what it is continued with depends
    neither on the batch it is in nor on the device.

    Args:
        streams: see `Writing.streams`, of these prompts.
        max_new_tokens: numbers a prompt; fewer are the first of more.
    """
    drawn = [np.random.default_rng(stream).random(max_new_tokens) for stream in streams]
    return torch.from_numpy(np.stack(drawn))


def choose(
    _: Int[Tensor, "text token"],
    scores: Float[Tensor, "text vocabulary"],
    *,
    temperature: float,
    top_p: float,
    uniform: Float64[Tensor, "text new_token"],
    log_probabilities: list[Float[Tensor, " text"]],
    tell: Callable[[Int[Tensor, " text"]], None] | None,
) -> Float[Tensor, "text vocabulary"]:
    """Choose each text's next token and leave `generate` no other: its `logits_processor`.

    Args:
        scores: of the tokens that may be next; changed in place.
        temperature: of the sampling; below `LEAST_TEMPERATURE` the likeliest token is next.
        top_p: sample from the likeliest tokens that together have this probability.
        uniform: as `draws` gives them.
        log_probabilities: where those of the chosen tokens are put, one tensor a new token; they
            are the model's, whatever temperature and `top_p`.
        tell: told the ids of the chosen tokens; None tells nobody.
    """
    if temperature < LEAST_TEMPERATURE:
        chosen = scores.argmax(-1, keepdim=True)
    else:
        kept = scores / temperature if temperature != 1 else scores
        if top_p < 1:
            kept = nucleus(_, kept, top_p=top_p)
        # On a device that has no float64 the sums are rounded a little more.
        wide = torch.float32 if scores.device.type == "mps" else torch.float64
        sums = kept.softmax(-1).cumsum(-1, dtype=wide)
        whole = sums[:, -1:]
        place = uniform[:, len(log_probabilities), None].to(scores.device, wide) * whole
        below = torch.nextafter(whole, torch.zeros_like(whole))
        # The first token whose sum is above; where scores are no numbers, there is none.
        chosen = torch.searchsorted(sums, torch.minimum(place, below), right=True)
        chosen = chosen.clamp(max=scores.shape[-1] - 1)
    log_probabilities.append((scores.gather(-1, chosen) - scores.logsumexp(-1, keepdim=True))[:, 0])
    if tell is not None:
        tell(chosen[:, 0].cpu())
    return scores.scatter_(-1, chosen, float("inf"))


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
