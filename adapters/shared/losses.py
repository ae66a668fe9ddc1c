"""How well a model predicts texts longer than its window: each token scored once."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steer_plugin.adapters.shared.tokens import Encoded, TokenBatch, Tokens
from steer_plugin.errors import ModelError

DEFAULT_CONTEXT = 1024
# Logits a batch: 1 GiB in float32. A vocabulary of 262,144 leaves 1,024 tokens a batch.
BATCH_LOGITS = 1 << 28
# Tokens whose logits are turned into losses at once, so that a wider copy of all is never made.
SCORED_AT_ONCE = 128


@dataclass(frozen=True)
class Window:
    """A stretch of one text, and which of its tokens are scored there.

    Attributes:
        text: which text.
        ids: of its tokens.
        first: index in the stretch of the first token that no earlier window scored.
        start: index in the text of the stretch's first token.
    """

    text: int
    ids: list[int]
    first: int
    start: int


@dataclass(frozen=True)
class WindowBatch:
    """Some windows side by side.

    Attributes:
        batch: the windows, its rows their indices in the list of windows, padded on the right.
        scored: the tokens that are scored here.
    """

    batch: TokenBatch
    scored: Bool[Tensor, "window token"]

    @property
    def shape(self) -> tuple[int, int]:
        """How many windows, and how many tokens each with its padding."""
        return self.batch.shape

    def part(self, places: slice) -> "WindowBatch":
        """Take some of the windows."""
        part = self.batch.part(places)
        return WindowBatch(part, self.scored[places, : part.ids.shape[1]])

    def wanted(self, forward: Callable[..., Any]) -> dict[str, int]:
        """Ask a model for the logits from the first that is needed on, where it can be asked.

        Args:
            forward: of the model.
        """
        if "logits_to_keep" not in inspect.signature(forward).parameters:
            return {}
        first = int(self.scored.any(0).int().argmax())
        return {"logits_to_keep": self.scored.shape[1] - first + 1}


def windows(
    tokens: Tokens, texts: Sequence[str], context: int | None, stride: int | None
) -> tuple[list[Encoded], list[Window]]:
    """Encode texts and cut them into windows, text after text; see `Adapter.losses`.

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
    text_windows: list[Window] = []
    # A document is no message, whatever its model is asked.
    plain = replace(tokens, limit=None, chat=False)
    encoded = plain.encode(texts)
    plain.require_plain(texts, encoded)
    for text, ids in enumerate(whole.ids for whole in encoded):
        if len(ids) < 2:
            raise ModelError(f"text {text} has {len(ids)} tokens; a loss needs at least two")
        scored, start = 1, 0
        while scored < len(ids):
            end = min(start + width, len(ids))
            text_windows.append(Window(text, ids[start:end], scored - start, start))
            scored, start = end, start + step
    return encoded, text_windows


def window_batches(
    tokens: Tokens, text_windows: Sequence[Window], batch_tokens: int, config: Any
) -> Iterator[WindowBatch]:
    """Put windows of similar length side by side.

    Args:
        tokens: of the model.
        text_windows: as `windows` gives them.
        batch_tokens: padded tokens a batch, fewer where their logits would be more than
            `BATCH_LOGITS`; a longer window is a batch of its own.
        config: of the model.
    """
    affordable = BATCH_LOGITS // config.get_text_config().vocab_size
    ids = [Encoded(window.ids) for window in text_windows]
    for batch in tokens.side_by_side(ids, min(batch_tokens, affordable)):
        first = torch.tensor([text_windows[row].first for row in batch.rows])
        scored = batch.attention & (torch.arange(batch.ids.shape[1]) >= first[:, None])
        yield WindowBatch(batch, scored)


def token_losses(
    logits: Float[Tensor, "text last_token vocabulary"],
    ids: Int[Tensor, "text token"],
    scored: Bool[Tensor, "text token"],
) -> Float[Tensor, " scored"]:
    """Give the negative log-likelihood of each scored token, in nats, text after text.

    In float32, or in float64 for float64 logits.

    Args:
        logits: of the token that follows each of the last tokens, or of all.
        ids: what the tokens are.
        scored: which of them to score; never the first of a text.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    ids = ids.to(logits.device)
    left_out = ids.shape[1] - logits.shape[1]
    losses = []
    for places in torch.split(scored.nonzero().to(logits.device), SCORED_AT_ONCE):
        text, token = places.unbind(1)
        before = logits[text, token - 1 - left_out].to(wide)
        losses.append(torch.nn.functional.cross_entropy(before, ids[text, token], reduction="none"))
    return torch.cat(losses)


def by_text(
    text_windows: Sequence[Window],
    answers: Iterable[tuple[WindowBatch, Float[Tensor, " _scored"]]],
) -> list[Float[np.ndarray, " token"]]:
    """Put the losses of windows together, text by text.

    Args:
        text_windows: the windows, text after text.
        answers: batches of them, in any order, each with its losses on the CPU.
    """
    of_window: dict[int, Tensor] = {}
    for group, losses in answers:
        parts = torch.split(losses, group.scored.sum(1).tolist())
        of_window |= zip(group.batch.rows, parts, strict=True)
    of_text: dict[int, list[Tensor]] = {}
    for number, window in enumerate(text_windows):
        of_text.setdefault(window.text, []).append(of_window[number])
    return [torch.cat(parts).numpy() for parts in of_text.values()]
