"""Conversations as the tokenizer's own chat template writes them, and where the user's text is."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from steer_plugin.errors import ModelError
from steer_plugin.models.generation import Messages, Prompt
from steer_plugin.storage.artifacts import one_line

# Stands for a user's text while the template is asked what it puts around it; no text has it.
_PLACE = "\ue000{}\ue001"
_PLACES = re.compile("\ue000([0-9]+)\ue001")
# What templates do to a message's content.
_TAKEN: tuple[Callable[[str], str], ...] = (str, str.strip, str.rstrip, str.lstrip)


@dataclass(frozen=True)
class Conversation:
    """A conversation as one string.

    Attributes:
        text: what the template writes.
        spans: where the texts of the user are in it, each from its first character to past its
            last.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


def messages_of(prompt: Prompt) -> Messages:
    """Give a conversation: a text is what the user says."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def written(tokenizer: Any, conversation: Messages, *, answer: bool) -> Conversation:
    """Write a conversation by the tokenizer's own chat template.

    Args:
        tokenizer: as the model ships it.
        conversation: its messages; the user says something.
        answer: whether the model is to answer.

    Raises:
        ModelError: there is no template, it refuses the messages, or changes what the user says.
    """
    _check(conversation)
    places = [_PLACE.format(number) for number in range(len(conversation))]
    of_user = [message["role"] == "user" for message in conversation]
    marked = [
        {**message, "content": place} if user else message
        for message, place, user in zip(conversation, places, of_user, strict=True)
    ]
    text = _rendered(tokenizer, conversation, answer)
    pieces = _PLACES.split(_rendered(tokenizer, marked, answer))
    # Every other piece is the number of a message.
    texts = [conversation[int(number)]["content"] for number in pieces[1::2]]
    if len(texts) == sum(of_user):
        for take in _TAKEN:
            contents = [*map(take, texts), ""]
            spans = [*_spans(pieces[::2], contents)]
            if text == "".join(
                before + content for before, content in zip(pieces[::2], contents, strict=True)
            ):
                return Conversation(text, tuple(spans[:-1]))
    raise ModelError(
        "the tokenizer's chat template does not write what the user says as it is, so where it is "
        f"cannot be told: {text[:80]!r}; give the text without a template"
    )


def tokens_within(
    offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Give the tokens that hold characters of some spans, each from its first to past its last.

    Args:
        offsets: of each token, its first character and the one after its last.
        spans: of characters.
    """
    chosen = [
        [place for place, (start, end) in enumerate(offsets) if start < last and end > first]
        for first, last in spans
        if first < last
    ]
    return tuple((places[0], places[-1] + 1) for places in chosen if places)


def _spans(before: Sequence[str], contents: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = 0
    for piece, content in zip(before, contents, strict=True):
        start += len(piece)
        yield start, start + len(content)
        start += len(content)


def _check(conversation: Any) -> None:
    if isinstance(conversation, Mapping):
        raise ModelError(
            f"the message {str(conversation)[:80]} was given as a prompt; each prompt is a "
            "conversation, a list of messages, so give a list of lists: [[{...}]]"
        )
    whole = isinstance(conversation, Sequence) and all(
        isinstance(message, Mapping)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
        for message in conversation
    )
    if not whole or not any(message["role"] == "user" for message in conversation):
        raise ModelError(
            f"{str(conversation)[:80]} is no conversation; give a list of messages such as "
            '{"role": "user", "content": "Hello"}, one of the user\'s among them'
        )


def require_template(tokenizer: Any) -> None:
    """Refuse a tokenizer without a chat template.

    Raises:
        ModelError: it has none.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no chat template; give a model that "
            "was trained to chat, or leave --chat (chat=True, messages) out"
        )


def _rendered(tokenizer: Any, conversation: Messages, answer: bool) -> str:
    require_template(tokenizer)
    try:
        text: str = tokenizer.apply_chat_template(
            [dict(message) for message in conversation],
            tokenize=False,
            add_generation_prompt=answer,
        )
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"the tokenizer's chat template refuses {str(conversation)[:80]}: {one_line(error)}"
        ) from error
    return text
