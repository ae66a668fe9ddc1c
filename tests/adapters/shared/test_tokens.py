"""From texts to padded token ids."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from steer_plugin.adapters.shared.losses import windows
from steer_plugin.adapters.shared.tokens import TokenBatch, Tokens, template_of, tokens_for
from steer_plugin.errors import ModelError

from support.tiny_models import BOS, EOS, PAD, SPECIAL, UNK, WORDS

BOS_ID, EOS_ID, UNK_ID = (SPECIAL.index(token) for token in (BOS, EOS, UNK))

Shipped = Callable[[str], Any]
LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=[True, False])
def tokens(request: pytest.FixtureRequest, shipped: Shipped) -> Tokens:
    return tokens_of(shipped("gpt2"), bos=request.param)


def tokens_of(tokenizer: Any, bos: bool | None = None, limit: int | None = None) -> Tokens:
    config = SimpleNamespace(max_position_embeddings=limit)
    return tokens_for(tokenizer, bos, SimpleNamespace(get_text_config=lambda: config))


def templated(shipped: Shipped, single: str, **special: str) -> Any:
    """Give a tokenizer that puts a template around each text, such as `<eos> $A`."""
    tokenizer = copy.deepcopy(shipped("gpt2"))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(token, SPECIAL.index(token)) for token in SPECIAL]
    )
    for name, token in special.items():
        setattr(tokenizer, name, token)
    return tokenizer


def _texts(lengths: list[int]) -> list[str]:
    return [" ".join(WORDS[start : start + length]) for start, length in enumerate(lengths)]


def _ids(tokens: Tokens, texts: list[str]) -> list[list[int]]:
    return [text.ids for text in tokens.encode(texts)]


def _rows(batch: TokenBatch) -> list[list[int]]:
    return [ids[real].tolist() for ids, real in zip(batch.ids, batch.attention, strict=True)]


@pytest.mark.parametrize("name", ["gpt2", "bloom"])
def test_bos_is_put_in_front_by_policy_whatever_the_tokenizer_does(
    name: str, shipped: Shipped
) -> None:
    plain = [[4, 5], [6], [UNK_ID]]
    texts = [f"{WORDS[0]} {WORDS[1]}", WORDS[2], "xyzzy"]

    assert _ids(tokens_of(shipped(name), bos=False), texts) == plain
    assert _ids(tokens_of(shipped(name), bos=True), texts) == [[BOS_ID, *ids] for ids in plain]


TEMPLATES = ["$A", f"{BOS} $A", f"{EOS} $A", f"$A {EOS}", f"{EOS} {BOS} $A {EOS} {UNK}"]


@pytest.mark.parametrize("single", TEMPLATES)
def test_what_runs_is_what_the_tokenizer_gives_and_its_template_is_no_content(
    single: str, shipped: Shipped
) -> None:
    tokenizer = templated(shipped, single)
    texts = [*_texts([3, 1, 7]), "xyzzy"]
    tokens = tokens_of(tokenizer)

    assert _ids(tokens, texts) == [tokenizer(text)["input_ids"] for text in texts]
    for batch in tokens.batches(texts, 20):
        for row, ids, content in zip(batch.rows, batch.ids, batch.content, strict=True):
            plain = tokenizer(texts[row], add_special_tokens=False)["input_ids"]
            assert ids[content].tolist() == plain
    before, _, after = single.partition("$A")
    assert template_of(tokenizer) == tuple(
        tuple(SPECIAL.index(token) for token in part.split()) for part in (before, after)
    )


@pytest.mark.parametrize(
    ("single", "bos", "front"),
    [
        (f"{EOS} $A {UNK}", True, [BOS_ID]),
        (f"{EOS} $A {UNK}", False, []),
        (f"{BOS} {EOS} $A {UNK}", True, [BOS_ID, EOS_ID]),
        (f"{BOS} {EOS} $A {UNK}", False, []),
    ],
)
def test_bos_given_says_what_is_in_front_and_leaves_the_end(
    single: str, bos: bool, front: list[int], shipped: Shipped
) -> None:
    tokens = tokens_of(templated(shipped, single), bos)

    assert _ids(tokens, ["air"]) == [[*front, len(SPECIAL), UNK_ID]]
    assert tokens.bos == bos


def test_a_tokenizer_that_adds_bos_is_told_from_one_that_does_not(shipped: Shipped) -> None:
    none = shipped("bloom").from_pretrained(shipped("bloom").name_or_path, bos_token=None)

    assert tokens_of(shipped("gpt2")).bos
    assert not tokens_of(shipped("bloom")).bos
    assert not tokens_of(none).bos
    assert not tokens_of(templated(shipped, f"{EOS} $A")).bos


def test_a_tokenizer_that_puts_nothing_around_a_text_but_changes_it_is_refused() -> None:
    def reverse(_: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [3, 2] if add_special_tokens else [2, 3]}

    with pytest.raises(ModelError, match="puts nothing around it"):
        template_of(reverse)


@pytest.mark.parametrize("single", [f"{BOS} $A", f"{EOS} {BOS} $A {EOS}"])
def test_a_text_that_begins_and_ends_as_the_template_does_gets_it_once(
    single: str, shipped: Shipped
) -> None:
    tokens = tokens_of(templated(shipped, single))
    written = single.replace("$A", "air ant")

    assert tokens.encode([written, "air ant"]) == [tokens.encode(["air ant"])[0]] * 2
    (batch,) = tokens.batches([written, "air ant"], 100)
    for ids, content in zip(batch.ids, batch.content, strict=True):
        assert ids[content].tolist() == [len(SPECIAL), len(SPECIAL) + 1]
    (prompt,) = tokens.prompts([f"{tokens.tokenizer.decode(tokens.prefix)} air"], 1)
    assert prompt.ids == [*tokens.prefix, len(SPECIAL)]


def test_prompts_have_the_prefix_and_not_the_suffix(shipped: Shipped) -> None:
    tokens = tokens_of(templated(shipped, f"{EOS} {BOS} $A {EOS}"))

    encoded = tokens.prompts(["air", ""], 1)

    assert [text.ids for text in encoded] == [[EOS_ID, BOS_ID, len(SPECIAL)], [EOS_ID, BOS_ID]]
    assert [int(text.content.sum()) for text in encoded] == [1, 0]


@pytest.mark.parametrize(
    ("single", "bos", "wanted"),
    [("$A", None, BOS_ID), (f"{EOS} $A", None, EOS_ID), (f"{EOS} $A", False, BOS_ID)],
)
def test_an_empty_prompt_is_the_prefix_or_else_bos(
    single: str, bos: bool | None, wanted: int, shipped: Shipped
) -> None:
    (prompt,) = tokens_of(templated(shipped, single), bos).prompts([""], 1)

    assert (prompt.ids, prompt.content.tolist()) == ([wanted], [False])


@pytest.mark.parametrize("special", SPECIAL)
def test_a_special_token_that_is_written_in_a_sentence_is_named(
    special: str, tokens: Tokens
) -> None:
    texts = ["air", f"ant {special} bay", "xyzzy"]

    for read in (tokens.batch_rows, lambda texts, _: windows(tokens, texts, 8, 4)):
        with pytest.raises(ModelError, match=f"text 1 holds '{special}', which the tokenizer"):
            read(texts, 100)
    if special == PAD:
        with pytest.raises(ModelError, match="text 0 holds"):
            tokens.batch_rows([f"{PAD} air"], 100)


def test_what_a_chat_template_writes_is_read_as_it_means_it(tokens: Tokens) -> None:
    (batch,) = tokens.batches([f"{BOS} air {EOS} {BOS} ant"], 100)

    assert _rows(batch) == [[BOS_ID, len(SPECIAL), EOS_ID, BOS_ID, len(SPECIAL) + 1]]
    assert int(batch.content.sum()) == 5 - tokens.bos


@given(lengths=LENGTHS, batch_tokens=st.integers(0, 100))
def test_batches_hold_each_text_once_sorted_by_length_within_their_size(
    tokens: Tokens, lengths: list[int], batch_tokens: int
) -> None:
    texts = _texts(lengths)

    batches = list(tokens.batches(texts, batch_tokens))

    rows = [row for batch in batches for row in batch.rows]
    assert sorted(rows) == list(range(len(texts)))
    by_length = sorted(range(len(texts)), key=lambda row: (-lengths[row], row))
    assert rows == by_length
    for batch in batches:
        assert batch.ids.numel() <= batch_tokens or len(batch.rows) == 1
        assert _rows(batch) == _ids(tokens, [texts[row] for row in batch.rows])
    for batch in batches[:-1]:
        assert (len(batch.rows) + 1) * batch.ids.shape[1] > batch_tokens, "one more would fit"


@given(lengths=LENGTHS, batch_tokens=st.integers(0, 100), in_order=st.booleans(), data=st.data())
def test_whole_batches_alone_are_cut_into_the_same_batches_again(
    tokens: Tokens, lengths: list[int], batch_tokens: int, in_order: bool, data: st.DataObject
) -> None:
    texts = _texts(lengths)
    planned = tokens.batch_rows(texts, batch_tokens)
    run = list(tokens.batches(texts, batch_tokens))
    kept = sorted(data.draw(st.sets(st.sampled_from(range(len(planned))), min_size=1)))
    rows = np.concatenate([planned[batch] for batch in kept])
    rows = np.sort(rows) if in_order else rows

    again = list(tokens.batches([texts[row] for row in rows], batch_tokens))

    assert [tuple(one) for one in planned] == [batch.rows for batch in run]
    assert len(again) == len(kept)
    for batch, same in zip([run[batch] for batch in kept], again, strict=True):
        assert batch.rows == tuple(rows[list(same.rows)])
        assert torch.equal(batch.ids, same.ids)
        assert torch.equal(batch.attention, same.attention)
        assert torch.equal(batch.content, same.content)


@given(lengths=LENGTHS, left=st.booleans())
def test_padding_bos_and_positions_are_explicit(
    tokens: Tokens, lengths: list[int], left: bool
) -> None:
    texts = tokens.encode(_texts(lengths))

    batch = tokens.pad(range(len(texts)), texts, left=left)

    encoded = [text.ids for text in texts]
    width = max(map(len, encoded))
    assert batch.ids.shape == (len(encoded), width)
    assert not batch.ids[~batch.attention].any()
    for row, ids in enumerate(encoded):
        start = width - len(ids) if left else 0
        places = range(start, start + len(ids))
        assert batch.attention[row].nonzero()[:, 0].tolist() == list(places)
        assert batch.ids[row, start : start + len(ids)].tolist() == ids
        assert batch.content[row].nonzero()[:, 0].tolist() == list(places[int(tokens.bos) :])
        assert batch.positions[row][batch.attention[row]].tolist() == list(range(len(ids)))
        assert int(batch.positions.min()) == 0
    assert batch.ids.dtype == batch.positions.dtype == torch.int64


def test_only_the_rows_asked_for_are_padded_in_the_order_asked(tokens: Tokens) -> None:
    encoded = tokens.encode(_texts([3, 1, 9]))

    batch = tokens.pad([1, 0], encoded, left=False)

    assert batch.rows == (1, 0)
    assert _rows(batch) == [encoded[1].ids, encoded[0].ids]


def test_a_limit_counts_bos(shipped: Shipped) -> None:
    five = _texts([5])

    assert len(tokens_of(shipped("gpt2"), bos=False, limit=5).encode(five)[0].ids) == 5
    with pytest.raises(ModelError, match=r"text 0 has 6 tokens, the model takes 5; split it: 'air"):
        tokens_of(shipped("gpt2"), bos=True, limit=5).encode(five)


def test_a_text_without_tokens_is_refused_only_where_it_is_pooled(tokens: Tokens) -> None:
    assert tokens.encode(["air", ""])[1].ids == [BOS_ID] * tokens.bos
    for cut in (tokens.batches, tokens.batch_rows):
        with pytest.raises(ModelError, match="text 1 has no tokens to pool over: ''"):
            list(cut(["air", ""], 100))


@pytest.mark.parametrize("texts", [[], "air ant", ""])
def test_one_bare_text_or_none_is_refused(tokens: Tokens, texts: list[str] | str) -> None:
    with pytest.raises(ModelError, match="give a list of at least one text"):
        tokens.encode(texts)
