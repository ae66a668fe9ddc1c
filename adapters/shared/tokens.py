"""From texts to padded token ids, with every mask explicit."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
        attention: real tokens, those of the template among them.
        template: the tokens that are put before and after each text.
    """

    rows: tuple[int, ...]
    ids: Int[Tensor, "text token"]
    attention: Bool[Tensor, "text token"]
    template: Bool[Tensor, "text token"]

    @property
    def content(self) -> Bool[Tensor, "text token"]:
        """The tokens of the text itself: no padding, no BOS, nothing else of the template."""
        return self.attention & ~self.template

    @property
    def positions(self) -> Int[Tensor, "text token"]:
        """The place of each real token in its text, from 0; 0 for padding."""
        return (self.attention.cumsum(1) - 1).clamp(min=0)

    def inputs(
        self, forward: Callable[..., Any], device: torch.device | None = None
    ) -> dict[str, Tensor]:
        """Give what a model is called with: ids, mask and, where it takes them, positions.

        Args:
            forward: of the model.
            device: where to; None leaves them here.
        """
        inputs = {"input_ids": self.ids, "attention_mask": self.attention.long()}
        if "position_ids" in inspect.signature(forward).parameters:
            inputs["position_ids"] = self.positions
        return {name: tensor.to(device=device) for name, tensor in inputs.items()}

    def by_length(self) -> "list[TokenBatch]":
        """Cut a batch that is padded on the left into ones without padding, the shortest first."""
        lengths = self.attention.sum(1)
        cuts = [
            ((lengths == length).nonzero()[:, 0], length) for length in sorted({*lengths.tolist()})
        ]
        return [
            TokenBatch(
                tuple(self.rows[row] for row in rows),
                self.ids[rows, -length:],
                self.attention[rows, -length:],
                self.template[rows, -length:],
            )
            for rows, length in cuts
        ]


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, and what is put around each text.

    Attributes:
        tokenizer: a Hugging Face tokenizer as its model ships it.
        prefix: the ids before each text, such as BOS.
        suffix: the ids after it.
        limit: how many tokens the model can take, or None where there is no bound.
    """

    tokenizer: Any
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    limit: int | None

    @property
    def bos_id(self) -> int | None:
        """The BOS token's id; None where the tokenizer has none."""
        bos_id: int | None = self.tokenizer.bos_token_id
        return bos_id

    @property
    def bos(self) -> bool:
        """Whether the BOS token is put before each text."""
        return self.prefix[:1] == (self.bos_id,)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Give each text's ids, prefix and suffix included.

        A text that already begins with the prefix, as a chat template writes it, or ends with the
        suffix does not get it twice.

        Raises:
            ModelError: there are no texts, or one has more tokens than the model can take.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ModelError(f"{texts!r} was given; give a list of at least one text")
        encoded = [
            self._around(ids)
            for start in range(0, len(texts), AT_ONCE)
            for ids in self.tokenizer(
                list(texts[start : start + AT_ONCE]), add_special_tokens=False
            )["input_ids"]
        ]
        for row, ids in enumerate(encoded):
            if self.limit is not None and len(ids) > self.limit:
                raise ModelError(
                    f"text {row} has {len(ids)} tokens, the model takes {self.limit}; split it: "
                    f"{texts[row][:60]!r}..."
                )
        return encoded

    def _around(self, ids: list[int]) -> list[int]:
        before, after = list(self.prefix), list(self.suffix)
        if ids[: len(before)] != before:
            ids = before + ids
        return ids if after == [] or ids[-len(after) :] == after else ids + after

    def prompts(self, prompts: Sequence[str], max_new_tokens: int) -> TokenBatch:
        """Put prompts side by side for generation, padded on the left, with no suffix.

        An empty prompt is the prefix alone, or BOS where there is none, as in the generation check
        of Sundar et al. 2025 (arXiv 2502.15639).

        Raises:
            ModelError: a prompt is empty and there is no prefix and no BOS, or prompt and new
                tokens together are more than the model can take; or see `require_plain`.
        """
        alone = [] if self.bos_id is None else [self.bos_id]
        unended = replace(self, suffix=())
        texts = unended.encode(prompts)
        self.require_plain(prompts, texts)
        encoded = [ids or alone for ids in texts]
        for row, ids in enumerate(encoded):
            if not ids:
                raise ModelError(
                    f"prompt {row} has no tokens and the tokenizer has no BOS; give it some text"
                )
        batch = unended.pad(range(len(encoded)), encoded, left=True)
        batch.template[[not ids for ids in texts], -1] = True
        width = batch.ids.shape[1]
        if self.limit is not None and width + max_new_tokens > self.limit:
            raise ModelError(
                f"{max_new_tokens} new tokens after a prompt of {width} are more than the "
                f"{self.limit} the model takes; ask for fewer"
            )
        return batch

    def decode(self, ids: Int[Tensor, "text token"]) -> list[str]:
        """Give the text of some ids, special tokens left out."""
        return list(self.tokenizer.batch_decode(ids, skip_special_tokens=True))

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
            if len(ids) <= len(self.prefix) + len(self.suffix):
                raise ModelError(f"text {row} has no tokens to pool over: {texts[row]!r}")
        self.require_plain(texts, encoded)
        return encoded

    def require_plain(self, texts: Sequence[str], encoded: Sequence[Sequence[int]]) -> None:
        """Refuse a text in which a special token, such as `<pad>`, is written as a word.

        A tokenizer reads it as the token. That is meant in what a chat template writes, which
        begins with such a token; padding is meant nowhere.

        Raises:
            ModelError: a text holds one.
        """
        padding = self.tokenizer.pad_token_id
        names = {
            number: token.content
            for number, token in self.tokenizer.added_tokens_decoder.items()
            if token.special
        }
        meant = tuple(name for number, name in names.items() if number != padding)
        for row, ids in enumerate(encoded):
            for token in names.keys() & ids:
                by_template = token != padding and texts[row].startswith(meant)
                if names[token] in texts[row] and not by_template:
                    raise ModelError(
                        f"text {row} holds {names[token]!r}, which the tokenizer reads as a token "
                        "of its own and not as text; take it out of the text or leave the text "
                        f"out: {texts[row][:60]!r}"
                    )

    def side_by_side(
        self, encoded: Sequence[Sequence[int]], batch_tokens: int
    ) -> Iterator[TokenBatch]:
        """Put encoded texts into batches of similar length, the longest first; see `batches`."""
        for rows in _cut(encoded, batch_tokens):
            yield self.pad(rows, encoded, left=False)

    def pad(
        self, rows: Sequence[int], encoded: Sequence[Sequence[int]], *, left: bool
    ) -> TokenBatch:
        """Put some of the encoded texts side by side, padded with id 0 outside the mask.

        Of a text that was cut into windows the template is told as if each were whole.
        """
        width = max(len(encoded[row]) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.int64)
        attention = torch.zeros((len(rows), width), dtype=torch.bool)
        template = torch.zeros((len(rows), width), dtype=torch.bool)
        for place, row in enumerate(rows):
            start = width - len(encoded[row]) if left else 0
            end = start + len(encoded[row])
            ids[place, start:end] = torch.tensor(encoded[row])
            attention[place, start:end] = True
            template[place, start : start + len(self.prefix)] = True
            template[place, end - len(self.suffix) : end] = True
        return TokenBatch(tuple(rows), ids, attention, template)


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
        bos: None puts around each text what the tokenizer does, so that a text's ids are those of
            `tokenizer(text)`; True sees to it that BOS is in front, False puts nothing there.
        config: of the model.

    Raises:
        ModelError: `bos` is True and the tokenizer has no BOS.
    """
    if bos and tokenizer.bos_token_id is None:
        raise ModelError("bos=True, but the tokenizer has no BOS token; leave bos out")
    prefix, suffix = template_of(tokenizer)
    if bos is False:
        prefix = ()
    elif bos and prefix[:1] != (tokenizer.bos_token_id,):
        prefix = (tokenizer.bos_token_id,)
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return Tokens(tokenizer, prefix, suffix, limit)


def template_of(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give the ids that a tokenizer, as shipped, puts before and after a text.

    Raises:
        ModelError: it does not put the text's own ids between them.
    """
    text = "a"
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = tokenizer(text)["input_ids"]
    for start in range(len(whole) - len(plain) + 1):
        end = start + len(plain)
        if whole[start:end] == plain:
            return tuple(whole[:start]), tuple(whole[end:])
    raise ModelError(
        f"the tokenizer makes {plain} of {text!r} without special tokens and {whole} with them, "
        "and puts nothing around it; give adapt(..., tokenizer=...) one that does"
    )


def runs_over_padding(model: Any) -> bool:
    """Say whether padding before a text changes what a model gives for the text.

    The recurrences of RecurrentGemma and RWKV run over what attention masks, and so does what
    MiniMax's linear attention keeps for the next token, in transformers 5.23.

    Args:
        model: of transformers.
    """
    layers = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return bool(getattr(model, "_is_stateful", False)) or "linear_attention" in layers
