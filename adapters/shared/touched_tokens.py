"""Which tokens a step touches, in functions that travel to servers.

They name nothing of this package but one another, and so raise no errors of its own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from steer_plugin.interventions.positions import mask_of_others

Touched = tuple[Bool[Tensor, "text prompt_token"], bool]
"""Which tokens of prompts a step touches, and whether it touches all that follow them."""


def cached_tokens(inputs: Any, width: int) -> int:
    """Count the tokens that come before those of a pass, by the cache that it is given.

    Args:
        inputs: what the model is called with, by name.
        width: how many tokens the pass is of.
    """
    cache = inputs.get("past_key_values", inputs.get("cache_params"))
    if cache is None:
        return 0
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    mask = inputs.get("attention_mask")
    return 0 if mask is None or mask.dim() != 2 else int(mask.shape[1]) - width


def require_told(
    positions: Any, past: int, ids: Int[Tensor, "text token"], prompt_length: int | None
) -> None:
    """Refuse to guess whether several tokens that follow others are a prompt's or generated.

    Raises:
        ValueError: it is not told, and matters.
    """
    if past and ids.shape[1] > 1 and prompt_length is None and positions != "all":
        raise ValueError(
            f"this pass gives {ids.shape[1]} tokens to a cache of {past}, and which of them are of "
            "the prompt is not told; say how long it is: prompt_length=..."
        )


def touched_from(
    step: Any,
    ids: Int[Tensor, "text token"],
    bos_id: int | None,
    *,
    past: int,
    attention: Bool[Tensor, "text known_token"] | None,
    whole: Int[Tensor, "prompt whole_token"] | None,
    prompt_length: int | None,
    texts: int | None,
) -> Touched:
    """Tell what a step touches of the prompts that a pass begins, and of what follows them.

    Args:
        step: what is done, and where.
        ids: of the pass.
        bos_id: the BOS token's id, or None.
        past: how many tokens the cache holds that the pass is given.
        attention: the real tokens, as far as they are known; all others are.
        whole: the last tokens of the prompts, or all of them, each once, where they are known.
        prompt_length: how many tokens each prompt has; None takes those of the pass.
        texts: how many prompts there are; None for one a row. Beams of a prompt are neighbours.

    Raises:
        ValueError: which tokens are meant cannot be told.
    """
    rows, width = ids.shape
    length = past + width if prompt_length is None else prompt_length
    if past and prompt_length is None and step.positions != "all":
        raise ValueError(
            f"this pass is given a cache of {past} tokens from before the plan was set, and which "
            "are of the prompt is not told; say how long it is: prompt_length=..."
        )
    count = rows if texts is None else texts
    if rows % count:
        raise ValueError(f"a pass of {rows} rows is no whole number of beams for {count} prompts")
    real = torch.ones((rows, length), dtype=torch.bool)
    if attention is not None:
        real[:, : attention.shape[1]] = attention[:, :length].cpu()
    text = torch.full((rows, max(length, past + width)), -1)
    text[:, past : past + width] = ids.cpu()
    if whole is not None:
        start = length - whole.shape[1]
        text[:, start:length] = whole.cpu().repeat_interleave(rows // count, 0)
    text = text[:, :length]
    if hasattr(step.positions, "function") and bool((text[real] == -1).any()):
        raise ValueError(
            f"positions by {step.positions.name} need the whole prompt, and it comes in several "
            "passes; give it in one, or to generate"
        )
    owners = [row // (rows // count) for row in range(rows)]
    return touched_tokens(step, text, real, bos_id, owners, count)


def touched_tokens(
    step: Any,
    ids: Int[Tensor, "text token"],
    real: Bool[Tensor, "text token"],
    bos_id: int | None,
    owners: Sequence[int],
    texts: int,
    content: Bool[Tensor, "text token"] | None = None,
) -> Touched:
    """Tell which tokens of prompts a step touches, and whether it touches what follows them.

    Args:
        step: what is done, and where.
        ids: of the prompts.
        real: their real tokens; the others are padding.
        bos_id: the BOS token's id, or None.
        owners: which text each row is of, from 0.
        texts: how many there are.
        content: which tokens are the texts themselves; None where that is not known.

    Raises:
        ValueError: its mask or function does not suit the texts, or it touches the texts
            themselves, and where they are is not known.
    """
    positions = step.positions
    if positions == "text" and content is None:
        raise ValueError(
            "positions 'text' leave out what a template puts around a text, which token ids alone "
            "do not tell; ask the verbs of adapt(...), or give a slice or a mask"
        )
    if isinstance(positions, tuple) and len(positions) != texts:
        raise ValueError(mask_of_others(len(positions), texts))
    prompt = torch.zeros_like(real)
    if positions in ("all", "prompt"):
        prompt |= real
    elif positions == "text":
        prompt |= content
    elif positions != "generated":
        for row, owner in enumerate(owners):
            prompt[row, real[row]] = chosen_in_text(positions, ids[row, real[row]], owner)
    if not step.bos and bos_id is not None:
        first = real & (real.cumsum(1) == 1)
        prompt &= ~(first & (ids == bos_id))
    return prompt, positions in ("all", "generated")


def chosen_in_text(
    positions: Any, ids: Int[Tensor, " token"], owner: int
) -> Bool[Tensor, " token"]:
    """Tell which tokens of one text a slice, a mask or a function chooses.

    Args:
        positions: as a plan holds them.
        ids: of the text, without padding.
        owner: which text it is.

    Raises:
        ValueError: the mask or function does not suit the text.
    """
    count = len(ids)
    if isinstance(positions, str):
        chosen = torch.zeros(count, dtype=torch.bool)
        cut = "-1:" if positions == "last" else positions
        ends = [int(end) if end else None for end in cut.split(":")]
        chosen[torch.tensor([*range(count)[slice(*ends)]], dtype=torch.int64)] = True
        return chosen
    if isinstance(positions, tuple):
        row = positions[owner]
        if len(row) < count or "1" in row[count:]:
            raise ValueError(
                f"text {owner} has {count} tokens, and its row of the mask of positions has "
                f"{len(row)} places, {row.count('1')} of them True; give one for each token, "
                "counted without padding, and False for what comes after"
            )
        return torch.tensor([bit == "1" for bit in row[:count]], dtype=torch.bool)
    text = ids[None].cpu()
    try:
        answer = positions.function(text, torch.ones_like(text, dtype=torch.bool))
    except Exception as error:
        raise ValueError(
            f"positions by {positions.name} failed with {type(error).__name__}: {error}"
        ) from error
    shape, dtype = tuple(getattr(answer, "shape", ())), getattr(answer, "dtype", type(answer))
    if shape != tuple(text.shape) or dtype != torch.bool:
        raise ValueError(
            f"positions by {positions.name} gave {dtype} of shape {shape}, for ids of shape "
            f"{tuple(text.shape)}; give a boolean tensor of that shape"
        )
    return torch.as_tensor(answer[0]).cpu()


def touched_in_pass(
    touched: Touched, past: int, ids: Int[Tensor, "text token"]
) -> Bool[Tensor, "text token"] | bool:
    """Tell which tokens of one forward pass are touched.

    Args:
        touched: of the pass's text.
        past: how many tokens the cache holds that the pass is given.
        ids: of the pass.

    Returns:
        Which; True for all of them, False for none.

    Raises:
        ValueError: the pass is of other texts.
    """
    prompt, generated = touched
    rest = prompt[:, past : past + ids.shape[1]]
    if not rest.shape[1]:
        return generated
    if len(ids) % len(prompt):
        raise ValueError(
            f"a pass of {len(ids)} rows is no whole number of beams for {len(prompt)} prompts"
        )
    where = torch.full(ids.shape, generated, dtype=torch.bool)
    where[:, : rest.shape[1]] = rest.repeat_interleave(len(ids) // len(prompt), 0)
    return where.to(ids.device)
