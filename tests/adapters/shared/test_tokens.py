"""From texts to padded token ids."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin.adapters.shared.tokens import TokenBatch, Tokens, adds_bos
from steer_plugin.errors import ModelError

from support.tiny_models import BOS, EOS, SPECIAL, UNK, WORDS

BOS_ID, UNK_ID = SPECIAL.index(BOS), SPECIAL.index(UNK)

Shipped = Callable[[str], Any]
LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=[True, False])
def tokens(request: pytest.FixtureRequest, shipped: Shipped) -> Tokens:
    return Tokens(shipped("gpt2"), bos=request.param, limit=None)


def _texts(lengths: list[int]) -> list[str]:
    return [" ".join(WORDS[start : start + length]) for start, length in enumerate(lengths)]


def _rows(batch: TokenBatch) -> list[list[int]]:
    return [ids[real].tolist() for ids, real in zip(batch.ids, batch.attention, strict=True)]


@pytest.mark.parametrize("name", ["gpt2", "bloom"])
def test_bos_is_put_in_front_by_policy_whatever_the_tokenizer_does(
    name: str, shipped: Shipped
) -> None:
    plain = [[4, 5], [6], [UNK_ID]]
    texts = [f"{WORDS[0]} {WORDS[1]}", WORDS[2], "xyzzy"]

    assert Tokens(shipped(name), bos=False, limit=None).encode(texts) == plain
    assert Tokens(shipped(name), bos=True, limit=None).encode(texts) == [
        [BOS_ID, *ids] for ids in plain
    ]


def test_a_tokenizer_that_adds_bos_is_told_from_one_that_does_not(shipped: Shipped) -> None:
    none = shipped("bloom").from_pretrained(shipped("bloom").name_or_path, bos_token=None)

    assert adds_bos(shipped("gpt2"))
    assert not adds_bos(shipped("bloom"))
    assert not adds_bos(none)


def test_special_tokens_in_a_text_are_its_own_content(tokens: Tokens) -> None:
    (batch,) = tokens.batches([f"air {BOS} ant {EOS}"], 100)

    assert int(batch.content.sum()) == 4
    assert int(batch.bos.sum()) == tokens.bos


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
        assert _rows(batch) == tokens.encode([texts[row] for row in batch.rows])
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
        assert torch.equal(batch.bos, same.bos)


@given(lengths=LENGTHS, left=st.booleans())
def test_padding_bos_and_positions_are_explicit(
    tokens: Tokens, lengths: list[int], left: bool
) -> None:
    encoded = tokens.encode(_texts(lengths))

    batch = tokens.pad(range(len(encoded)), encoded, left=left)

    width = max(map(len, encoded))
    assert batch.ids.shape == (len(encoded), width)
    assert not batch.ids[~batch.attention].any()
    for row, ids in enumerate(encoded):
        start = width - len(ids) if left else 0
        places = range(start, start + len(ids))
        assert batch.attention[row].nonzero()[:, 0].tolist() == list(places)
        assert batch.ids[row, start : start + len(ids)].tolist() == ids
        assert batch.bos[row].nonzero()[:, 0].tolist() == list(places[: int(tokens.bos)])
        assert batch.content[row].nonzero()[:, 0].tolist() == list(places[int(tokens.bos) :])
        assert batch.positions[row][batch.attention[row]].tolist() == list(range(len(ids)))
        assert int(batch.positions.min()) == 0
    assert batch.ids.dtype == batch.positions.dtype == torch.int64


def test_only_the_rows_asked_for_are_padded_in_the_order_asked(tokens: Tokens) -> None:
    encoded = tokens.encode(_texts([3, 1, 9]))

    batch = tokens.pad([1, 0], encoded, left=False)

    assert batch.rows == (1, 0)
    assert _rows(batch) == [encoded[1], encoded[0]]


def test_a_limit_counts_bos(shipped: Shipped) -> None:
    five = _texts([5])

    assert len(Tokens(shipped("gpt2"), bos=False, limit=5).encode(five)[0]) == 5
    with pytest.raises(ModelError, match=r"text 0 has 6 tokens, the model takes 5; split it: 'air"):
        Tokens(shipped("gpt2"), bos=True, limit=5).encode(five)


def test_a_text_without_tokens_is_refused_only_where_it_is_pooled(tokens: Tokens) -> None:
    assert tokens.encode(["air", ""])[1] == [BOS_ID] * tokens.bos
    for cut in (tokens.batches, tokens.batch_rows):
        with pytest.raises(ModelError, match="text 1 has no tokens to pool over: ''"):
            list(cut(["air", ""], 100))


@pytest.mark.parametrize("texts", [[], "air ant", ""])
def test_one_bare_text_or_none_is_refused(tokens: Tokens, texts: list[str] | str) -> None:
    with pytest.raises(ModelError, match="give a list of at least one text"):
        tokens.encode(texts)
