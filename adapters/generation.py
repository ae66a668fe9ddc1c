"""Generation settings that mean the same on every host."""

from typing import Any

from transformers import GenerationConfig

# A model's own settings fill in whatever is left out, so what would change the text is set.
_NEUTRAL: dict[str, Any] = {
    "num_beams": 1,
    "min_length": 0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
_NEUTRAL_SAMPLING: dict[str, Any] = {
    "top_k": 0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}


def generation_config(
    tokenizer: Any, *, max_new_tokens: int, temperature: float, top_p: float
) -> GenerationConfig:
    """Say how to continue a prompt; greedily at temperature 0.

    Of the model's own settings only the end tokens are left to take effect.

    Args:
        tokenizer: of the model.
        max_new_tokens: at most so many tokens more.
        temperature: of the sampling.
        top_p: sample from the likeliest tokens that together have this probability.
    """
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    settings: dict[str, Any] = {**_NEUTRAL, "max_new_tokens": max_new_tokens, "pad_token_id": pad}
    if temperature > 0:
        settings |= {**_NEUTRAL_SAMPLING, "temperature": temperature, "top_p": top_p}
    kind: Any = GenerationConfig
    config: GenerationConfig = kind(do_sample=temperature > 0, **settings)
    return config
