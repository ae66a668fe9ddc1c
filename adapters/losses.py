"""How well a model predicts texts longer than its window: each token scored once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.adapters.tokens import TokenBatch, Tokens
from steer_plugin.errors import ModelError

DEFAULT_CONTEXT = 1024


@dataclass(frozen=True)
class Window:
    """A stretch of one text, and which of its tokens are scored there.

    Attributes:
        row: which text.
        batch: the stretch as a batch of one.
        first: index in the stretch of the first token that no earlier window scored.
    """

    row: int
    batch: TokenBatch
    first: int


def windows(
    tokens: Tokens, texts: Sequence[str], context: int | None, stride: int | None
) -> Iterator[Window]:
    """Cut texts into windows; see `Adapter.losses`.

    Raises:
        ModelError: a text is too short, or the window does not fit.
    """
    limit = tokens.limit
    width = min(limit or DEFAULT_CONTEXT, DEFAULT_CONTEXT) if context is None else context
    step = width // 2 if stride is None else stride
    if not 1 <= step < width:
        raise ModelError(f"stride {step} and context {width}: 1 <= stride < context is needed")
    if limit is not None and width > limit:
        raise ModelError(f"context {width} is more than the {limit} tokens the model takes")
    encoded = Tokens(tokens.tokenizer, tokens.bos, None).encode(texts)
    for row, ids in enumerate(encoded):
        if len(ids) < 2:
            raise ModelError(f"text {row} has {len(ids)} tokens; a loss needs at least two")
        scored, start = 1, 0
        while scored < len(ids):
            end = min(start + width, len(ids))
            batch = tokens.pad([0], [ids[start:end]], left=False)
            yield Window(row, batch, scored - start)
            scored, start = end, start + step


def token_losses(
    logits: Float[Tensor, "token vocabulary"], ids: Int[Tensor, " token"], first: int
) -> Float[Tensor, " scored"]:
    """Give the negative log-likelihood of each token from `first` on, in nats."""
    before = logits[first - 1 : -1].float()
    return torch.nn.functional.cross_entropy(
        before, ids[first:].to(before.device), reduction="none"
    )
