"""From texts to padded token ids, with every mask explicit."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from steer_plugin.adapters.shared import chat_template
from steer_plugin.adapters.shared.batch_cuts import cut_by_length
from steer_plugin.adapters.shared.causal_models import require_causal
from steer_plugin.errors import ModelError
from steer_plugin.models.generation import Prompt

AT_ONCE = 1024  # texts, since of each a tokenizer holds some kilobytes until it is done


@dataclass(frozen=True)
class Encoded:
    """A text as token ids.

    Attributes:
        ids: of all that runs.
        spans: where the text itself is among them, each from its first token to past its last: not
            BOS, nor what else a template puts around it.
    """

    ids: list[int]
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def content(self) -> Bool[Tensor, " token"]:
        """Which tokens are the text itself."""
        mask = torch.zeros(len(self.ids), dtype=torch.bool)
        for start, end in self.spans:
            mask[start:end] = True
        return mask


@dataclass(frozen=True)
class TokenBatch:
    """Some texts as token ids.

    Attributes:
        rows: which texts, as indices into the list that was given.
        ids: padded on the right, or on the left for generation.
        attention: real tokens, those of a template among them.
        content: the tokens of the text itself: no padding, no BOS, nothing else of a template.
    """

    rows: tuple[int, ...]
    ids: Int[Tensor, "text token"]
    attention: Bool[Tensor, "text token"]
    content: Bool[Tensor, "text token"]

    @property
    def shape(self) -> tuple[int, int]:
        """How many texts, and how many tokens each with its padding."""
        texts, width = self.ids.shape
        return texts, width

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

    def part(self, places: slice) -> "TokenBatch":
        """Take some of its texts, without the padding that none of them needs."""
        attention = self.attention[places]
        wanted = attention.any(0).nonzero()[:, 0]
        columns = slice(int(wanted[0]), int(wanted[-1]) + 1)
        return TokenBatch(
            self.rows[places],
            self.ids[places, columns],
            attention[:, columns],
            self.content[places, columns],
        )


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, and what is put around each text.

    Attributes:
        tokenizer: a Hugging Face tokenizer as its model ships it.
        prefix: the ids before each text, such as BOS.
        suffix: the ids after it.
        limit: how many tokens the model can take, or None where there is no bound.
        chat: whether each text is what the user says, in the tokenizer's chat template.
    """

    tokenizer: Any
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    limit: int | None
    chat: bool = False

    @property
    def bos_id(self) -> int | None:
        """The BOS token's id; None where the tokenizer has none."""
        bos_id: int | None = self.tokenizer.bos_token_id
        return bos_id

    @property
    def bos(self) -> bool:
        """Whether the BOS token is put before each text."""
        return self.prefix[:1] == (self.bos_id,)

    def encode(self, texts: Sequence[Prompt], *, answer: bool = False) -> list[Encoded]:
        """Give each text's ids, prefix and suffix included.

        A text that already begins with the prefix, as a chat template writes it, or ends with the
        suffix does not get it twice. Conversations, and with `chat` all texts, are written by the
        chat template, and what the user says is the text itself.

        Args:
            texts: at least one.
            answer: whether the chat template asks the model to answer.

        Raises:
            ModelError: there are no texts, one has more tokens than the model can take, or the
                chat template is not there or cannot write one.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ModelError(f"{texts!r} was given; give a list of at least one text")
        encoded: list[Encoded] = []
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            plain = [text for text in some if isinstance(text, str) and not self.chat]
            chats = [text for text in some if not isinstance(text, str) or self.chat]
            of_plain, of_chats = iter(self._plain(plain)), iter(self._conversations(chats, answer))
            encoded += [
                next(of_plain if isinstance(text, str) and not self.chat else of_chats)
                for text in some
            ]
        for row, text in enumerate(encoded):
            if self.limit is not None and len(text.ids) > self.limit:
                raise ModelError(
                    f"text {row} has {len(text.ids)} tokens, the model takes {self.limit}; split "
                    f"it: {str(texts[row])[:60]!r}..."
                )
        return encoded

    def _plain(self, texts: Sequence[str]) -> list[Encoded]:
        if not texts:
            return []
        ids = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [self._around(each) for each in ids]

    def _around(self, ids: list[int]) -> Encoded:
        before, after = list(self.prefix), list(self.suffix)
        if ids[: len(before)] != before:
            ids = before + ids
        if after and ids[-len(after) :] != after:
            ids = ids + after
        return Encoded(ids, ((len(before), len(ids) - len(after)),))

    def _conversations(self, texts: Sequence[Prompt], answer: bool) -> list[Encoded]:
        if not texts:
            return []
        conversations = [
            chat_template.written(self.tokenizer, chat_template.messages_of(text), answer=answer)
            for text in texts
        ]
        if not self.tokenizer.is_fast:
            raise ModelError(
                "where a text is in a conversation takes a fast tokenizer, which this model has "
                "not; give adapt(..., tokenizer=...) one, or texts without a chat template"
            )
        tokens = self.tokenizer(
            [conversation.text for conversation in conversations],
            add_special_tokens=False,
            return_offsets_mapping=True,
        )
        return [
            Encoded(ids, chat_template.tokens_within(offsets, conversation.spans))
            for ids, offsets, conversation in zip(
                tokens["input_ids"], tokens["offset_mapping"], conversations, strict=True
            )
        ]

    def prompts(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Encoded]:
        """Give each prompt's ids, for generation: prefix included, with no suffix.

        An empty prompt is the prefix alone, or BOS where there is none, as in the generation check
        of Sundar et al. 2025 (arXiv 2502.15639).

        Raises:
            ModelError: a prompt is empty and there is no prefix and no BOS, or prompt and new
                tokens together are more than the model can take; or as `encode` and
                `require_plain` do.
        """
        alone = Encoded([] if self.bos_id is None else [self.bos_id])
        texts = replace(self, suffix=()).encode(prompts, answer=True)
        self.require_plain(prompts, texts)
        encoded = [text if text.ids else alone for text in texts]
        for row, text in enumerate(encoded):
            if not text.ids:
                raise ModelError(
                    f"prompt {row} has no tokens and the tokenizer has no BOS; give it some text"
                )
            if self.limit is not None and len(text.ids) + max_new_tokens > self.limit:
                raise ModelError(
                    f"{max_new_tokens} new tokens after a prompt of {len(text.ids)} are more than "
                    f"the {self.limit} the model takes; ask for fewer"
                )
        return encoded

    def prompt_batches(
        self,
        encoded: Sequence[Encoded],
        rows: Sequence[int],
        room: int,
        batch_tokens: int,
        *,
        alike: bool,
    ) -> list[TokenBatch]:
        """Put prompts of similar length side by side, padded on the left.

        Args:
            encoded: as `prompts` gives them.
            rows: which of them.
            room: for how many tokens after each.
            batch_tokens: padded tokens a batch, that room among them; a longer prompt is a batch of
                its own.
            alike: whether all prompts of a batch must have one length.
        """
        lengths = {row: len(encoded[row].ids) for row in rows}
        return [
            self.pad(group, encoded, left=True)
            for group in cut_by_length(lengths, batch_tokens, room, alike)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of some ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def batches(self, texts: Sequence[Prompt], batch_tokens: int) -> Iterator[TokenBatch]:
        """Cut texts into batches of similar length.

        Args:
            texts: in any order.
            batch_tokens: padded tokens a batch; a longer text is a batch of its own.

        Raises:
            ModelError: a text has nothing to pool over, or is too long.
        """
        yield from self.side_by_side(self._with_content(texts), batch_tokens)

    def batch_rows(
        self, texts: Sequence[Prompt], batch_tokens: int
    ) -> list[Int[np.ndarray, " text"]]:
        """Give the rows of each batch that `batches` would make, in its order.

        Whole batches, their texts in ascending order of rows or one batch after another, are cut
        into the same batches again.

        Raises:
            ModelError: as `batches` does.
        """
        lengths = _lengths(self._with_content(texts))
        return [np.array(rows) for rows in cut_by_length(lengths, batch_tokens)]

    def _with_content(self, texts: Sequence[Prompt]) -> list[Encoded]:
        encoded = self.encode(texts)
        for row, text in enumerate(encoded):
            if not any(end > start for start, end in text.spans):
                raise ModelError(f"text {row} has no tokens to pool over: {texts[row]!r}")
        self.require_plain(texts, encoded)
        return encoded

    def require_plain(self, texts: Sequence[Prompt], encoded: Sequence[Encoded]) -> None:
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
        for row, (text, given) in enumerate(zip(encoded, texts, strict=True)):
            in_chat = self.chat or not isinstance(given, str)
            ids = [token for start, end in text.spans for token in text.ids[start:end]]
            messages = chat_template.messages_of(given)
            typed = [each["content"] for each in messages if each["role"] == "user"]
            by_template = not in_chat and typed[0].startswith(meant)
            for token in names.keys() & (ids if in_chat else text.ids):
                written = any(names[token] in content for content in typed)
                if written and not (by_template and token != padding):
                    raise ModelError(
                        f"text {row} holds {names[token]!r}, which the tokenizer reads as a token "
                        "of its own and not as text; take it out of the text or leave the text "
                        f"out: {str(given)[:60]!r}"
                    )

    def side_by_side(self, encoded: Sequence[Encoded], batch_tokens: int) -> Iterator[TokenBatch]:
        """Put encoded texts into batches of similar length, the longest first; see `batches`."""
        for rows in cut_by_length(_lengths(encoded), batch_tokens):
            yield self.pad(rows, encoded, left=False)

    def pad(self, rows: Sequence[int], encoded: Sequence[Encoded], *, left: bool) -> TokenBatch:
        """Put some of the encoded texts side by side, padded with id 0 outside the mask."""
        width = max(len(encoded[row].ids) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.int64)
        attention = torch.zeros((len(rows), width), dtype=torch.bool)
        content = torch.zeros((len(rows), width), dtype=torch.bool)
        for place, row in enumerate(rows):
            text = encoded[row]
            start = width - len(text.ids) if left else 0
            end = start + len(text.ids)
            ids[place, start:end] = torch.tensor(text.ids)
            attention[place, start:end] = True
            content[place, start:end] = text.content
        return TokenBatch(tuple(rows), ids, attention, content)


def _lengths(encoded: Sequence[Encoded]) -> dict[int, int]:
    return {row: len(text.ids) for row, text in enumerate(encoded)}


def tokens_for(tokenizer: Any, bos: bool | None, config: Any, chat: bool = False) -> Tokens:
    """Put a tokenizer together with what its model takes.

    Args:
        tokenizer: as its model ships it.
        bos: None puts around each text what the tokenizer does, so that a text's ids are those of
            `tokenizer(text)`; True sees to it that BOS is in front, False puts nothing there.
        config: of the model.
        chat: whether each text is what the user says, in the tokenizer's chat template, which then
            says what is in front.

    Raises:
        ModelError: `bos` is True and the tokenizer has no BOS; or `chat` is, and there is no chat
            template, or `bos` is given as well; or the model is an encoder-decoder.
    """
    require_causal(config)
    if chat:
        if bos is not None:
            raise ModelError(
                "chat and bos were given; a chat template says whether there is BOS, so leave bos "
                "out"
            )
        chat_template.require_template(tokenizer)
    if bos and tokenizer.bos_token_id is None:
        raise ModelError("bos=True, but the tokenizer has no BOS token; leave bos out")
    prefix, suffix = template_of(tokenizer)
    if bos is False:
        prefix = ()
    elif bos and prefix[:1] != (tokenizer.bos_token_id,):
        prefix = (tokenizer.bos_token_id,)
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return Tokens(tokenizer, prefix, suffix, limit, chat)


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
