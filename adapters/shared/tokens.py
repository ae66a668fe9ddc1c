"""From texts to padded token ids, with every mask explicit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from steer_plugin.errors import ModelError

AT_ONCE = 1024  # texts, since of each a tokenizer holds some kilobytes until it is done


@dataclass(frozen=True)
class TokenBatch:
    """Some texts as token ids.

    Attributes:
        rows: which texts, as indices into the list that was given.
        ids: padded on the right, or on the left for generation.
        attention: real tokens, BOS among them.
        bos: the BOS tokens that were put in front.
    """

    rows: tuple[int, ...]
    ids: Int[Tensor, "text token"]
    attention: Bool[Tensor, "text token"]
    bos: Bool[Tensor, "text token"]

    @property
    def content(self) -> Bool[Tensor, "text token"]:
        """The tokens of the text itself: no padding, no BOS."""
        return self.attention & ~self.bos

    @property
    def positions(self) -> Int[Tensor, "text token"]:
        """The place of each real token in its text, from 0; 0 for padding."""
        return (self.attention.cumsum(1) - 1).clamp(min=0)


@dataclass(frozen=True)
class Tokens:
    """A tokenizer with an explicit BOS policy.

    Attributes:
        tokenizer: a Hugging Face tokenizer as its model ships it.
        bos: whether the BOS token is put before each text.
        limit: how many tokens the model can take, or None where there is no bound.
    """

    tokenizer: Any
    bos: bool
    limit: int | None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Give each text's ids, BOS included where the policy says so.

        Raises:
            ModelError: there are no texts, or one has more tokens than the model can take.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ModelError(f"{texts!r} was given; give a list of at least one text")
        plain = [
            ids
            for start in range(0, len(texts), AT_ONCE)
            for ids in self.tokenizer(
                list(texts[start : start + AT_ONCE]), add_special_tokens=False
            )["input_ids"]
        ]
        front = [self.tokenizer.bos_token_id] if self.bos else []
        encoded = [front + ids for ids in plain]
        for row, ids in enumerate(encoded):
            if self.limit is not None and len(ids) > self.limit:
                raise ModelError(
                    f"text {row} has {len(ids)} tokens, the model takes {self.limit}; split it: "
                    f"{texts[row][:60]!r}..."
                )
        return encoded

    def prompts(self, prompts: Sequence[str], max_new_tokens: int) -> TokenBatch:
        """Put prompts side by side for generation, padded on the left.

        An empty prompt is BOS alone, as in the generation check of Sundar et al. 2025
        (arXiv 2502.15639), also where no BOS is put before texts.

        Raises:
            ModelError: a prompt is empty and the tokenizer has no BOS, or prompt and new tokens
                together are more than the model can take.
        """
        alone = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        texts = self.encode(prompts)
        encoded = [ids or alone for ids in texts]
        for row, ids in enumerate(encoded):
            if not ids:
                raise ModelError(
                    f"prompt {row} has no tokens and the tokenizer has no BOS; give it some text"
                )
        batch = self.pad(range(len(encoded)), encoded, left=True)
        batch.bos[[not ids for ids in texts], -1] = True
        width = batch.ids.shape[1]
        if self.limit is not None and width + max_new_tokens > self.limit:
            raise ModelError(
                f"{max_new_tokens} new tokens after a prompt of {width} are more than the "
                f"{self.limit} the model takes; ask for fewer"
            )
        return batch

    def batches(self, texts: Sequence[str], batch_tokens: int) -> Iterator[TokenBatch]:
        """Cut texts into batches of similar length.

        Args:
            texts: in any order.
            batch_tokens: padded tokens a batch; a longer text is a batch of its own.

        Raises:
            ModelError: a text has nothing to pool over, or is too long.
        """
        yield from self.side_by_side(self._with_content(texts), batch_tokens)

    def batch_rows(self, texts: Sequence[str], batch_tokens: int) -> list[Int[np.ndarray, " text"]]:
        """Give the rows of each batch that `batches` would make, in its order.

        Whole batches, their texts in ascending order of rows or one batch after another, are cut
        into the same batches again.

        Raises:
            ModelError: as `batches` does.
        """
        return [np.array(rows) for rows in _cut(self._with_content(texts), batch_tokens)]

    def _with_content(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self.encode(texts)
        for row, ids in enumerate(encoded):
            if len(ids) == self.bos:
                raise ModelError(f"text {row} has no tokens to pool over: {texts[row]!r}")
        return encoded

    def side_by_side(
        self, encoded: Sequence[Sequence[int]], batch_tokens: int
    ) -> Iterator[TokenBatch]:
        """Put encoded texts into batches of similar length, the longest first; see `batches`."""
        for rows in _cut(encoded, batch_tokens):
            yield self.pad(rows, encoded, left=False)

    def pad(
        self, rows: Sequence[int], encoded: Sequence[Sequence[int]], *, left: bool
    ) -> TokenBatch:
        """Put some of the encoded texts side by side, padded with id 0 outside the mask."""
        width = max(len(encoded[row]) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.int64)
        attention = torch.zeros((len(rows), width), dtype=torch.bool)
        bos = torch.zeros((len(rows), width), dtype=torch.bool)
        for place, row in enumerate(rows):
            start = width - len(encoded[row]) if left else 0
            end = start + len(encoded[row])
            ids[place, start:end] = torch.tensor(encoded[row])
            attention[place, start:end] = True
            bos[place, start] = self.bos
        return TokenBatch(tuple(rows), ids, attention, bos)


def _cut(encoded: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Fill one batch after another, the longest texts first, those of one length by row."""
    rows: list[int] = []
    for row in sorted(range(len(encoded)), key=lambda row: (-len(encoded[row]), row)):
        if rows and len(encoded[rows[0]]) * (len(rows) + 1) > batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def tokens_for(tokenizer: Any, bos: bool | None, config: Any) -> Tokens:
    """Put a tokenizer together with what its model takes.

    Args:
        tokenizer: as its model ships it.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        config: of the model.

    Raises:
        ModelError: `bos` is True and the tokenizer has no BOS.
    """
    if bos and tokenizer.bos_token_id is None:
        raise ModelError("bos=True, but the tokenizer has no BOS token; leave bos out")
    return Tokens(
        tokenizer=tokenizer,
        bos=adds_bos(tokenizer) if bos is None else bos,
        limit=getattr(config.get_text_config(), "max_position_embeddings", None),
    )


def adds_bos(tokenizer: Any) -> bool:
    """Say whether a tokenizer, as shipped, puts BOS before a text."""
    bos = tokenizer.bos_token_id
    return bos is not None and tokenizer("a")["input_ids"][:1] == [bos]
