"""What a tiny model writes and how well it predicts documents, against plain Hugging Face."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.analyses.generation.texts import (
    STRETCH,
    generate_texts,
    score_documents,
    texts_by_seed,
    texts_frame,
)
from steer_plugin.errors import AnalysisError
from steer_plugin.interventions.intervention import Intervention

from support import tiny_models
from support.oracle import Oracle
from support.plans import intervention, plan
from support.tiny_models import MAX_TOKENS, Tiny

TinyModel = Callable[[str], Tiny]
SMALL: dict[str, Any] = {"sentences": 10, "seeds": (3, 0), "max_new_tokens": 9}
ACTS = plan("mlp.hook_post", "set", units=6)


def sentence(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(tiny_models.WORDS, k=words))  # noqa: S311


DOCUMENTS = [sentence(words, words) for words in (40, 90, 3)]


@pytest.fixture(scope="module")
def adapter(tiny_model: TinyModel) -> BridgeAdapter:
    return BridgeAdapter(
        tiny_model("llama").bridge, tokenizer=tiny_model("llama").tokenizer, bos=True
    )


# Texts

Texts = dict[int, tuple[str, ...]]


@pytest.fixture(scope="module")
def unsteered(adapter: BridgeAdapter) -> Texts:
    return generate_texts(adapter, None, **SMALL)


def test_each_seed_writes_its_own_texts_after_bos_alone(unsteered: Texts) -> None:
    found = unsteered

    assert list(found) == [3, 0]
    assert all(len(texts) == 10 for texts in found.values())
    every = [text for texts in found.values() for text in texts]
    # No two texts share random numbers.
    assert len(set(every)) == len(every)
    assert all(set(text.split()) <= set(tiny_models.WORDS) for text in every)


def test_texts_depend_on_the_seed_and_not_on_the_other_seeds(
    adapter: BridgeAdapter, unsteered: Texts
) -> None:
    torch.manual_seed(0)
    assert generate_texts(adapter, None, **SMALL) == unsteered

    alone = generate_texts(adapter, None, **(SMALL | {"seeds": (0,)}))
    assert alone == {0: unsteered[0]}


def test_the_first_texts_are_the_same_however_many_are_written(
    adapter: BridgeAdapter, unsteered: Texts
) -> None:
    fewer = generate_texts(adapter, None, **(SMALL | {"sentences": 4}))

    assert fewer == {seed: texts[:4] for seed, texts in unsteered.items()}


def test_a_plan_changes_what_is_written_and_one_that_does_nothing_does_not(
    adapter: BridgeAdapter, unsteered: Texts
) -> None:
    strong = plan("hook_resid_post", "add", layers=(2,), units=12, strength=5.0)

    after = generate_texts(adapter, intervention(strong), **SMALL)
    same = generate_texts(adapter, Intervention("mlp.hook_post", (), (), ()), **SMALL)

    assert same == unsteered
    # Every word's share moves by far more than a hundred draws do by chance.
    words = [
        np.array([text.split().count(word) for texts in one.values() for text in texts]).sum()
        for one in (unsteered, after)
        for word in tiny_models.WORDS
    ]
    shares = np.array(words).reshape(2, -1) / np.array(words).reshape(2, -1).sum(1, keepdims=True)
    assert np.abs(shares[0] - shares[1]).sum() > 0.9


def test_a_mask_has_a_row_for_each_text_of_a_seed(adapter: BridgeAdapter, unsteered: Texts) -> None:
    strong = intervention(plan("hook_resid_post", "set", layers=(0, 1, 2), units=12))
    masked = replace(strong, positions=tuple((row % 2 == 0,) for row in range(10)))

    after = generate_texts(adapter, masked, **SMALL)

    for seed, texts in after.items():
        assert texts[1::2] == unsteered[seed][1::2]
        assert set(texts[::2]).isdisjoint(unsteered[seed][::2])


def test_sampling_settings_reach_the_model(
    adapter: BridgeAdapter, unsteered: Texts, tiny_model: TinyModel
) -> None:
    oracle = Oracle("llama", tiny_model("llama").plain, tiny_model("llama").tokenizer, bos=True)
    likeliest = oracle.greedy("", 9)

    for narrow in ({"temperature": 0.0}, {"top_p": 1e-6}):
        found = generate_texts(adapter, None, **(SMALL | {"seeds": (0,)} | narrow))
        assert set(found[0]) == {likeliest}
    assert set(unsteered[0]) != {likeliest}
    assert max(len(text.split()) for text in unsteered[0]) == 9


def test_a_model_whose_texts_have_no_bos_writes_from_bos_alone_like_any_other(
    unsteered: Texts, tiny_model: TinyModel
) -> None:
    model = tiny_model("llama")
    bare = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=False)

    assert generate_texts(bare, None, **SMALL) == unsteered


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sentences": 0}, "0 sentences for 2 seeds; give at least one of each"),
        ({"seeds": ()}, "10 sentences for 0 seeds; give at least one of each"),
        ({"seeds": (1, 2, 1)}, r"seeds \[1, 2, 1\]; give each once, from 0"),
        ({"seeds": (0, -1)}, r"seeds \[0, -1\]; give each once, from 0"),
    ],
)
def test_nothing_to_write_is_refused(
    wrong: dict[str, Any], message: str, adapter: BridgeAdapter
) -> None:
    with pytest.raises(AnalysisError, match=message):
        generate_texts(adapter, None, **(SMALL | wrong))


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=30)
@given(
    texts=st.dictionaries(
        st.integers(0, 2**32),
        st.lists(st.text(max_size=5), min_size=1, max_size=4).map(tuple),
        min_size=1,
        max_size=4,
    ),
    order=st.randoms(use_true_random=False),
)
def test_a_table_of_texts_gives_them_back_in_any_order_of_its_rows(
    texts: dict[int, tuple[str, ...]], order: random.Random
) -> None:
    frame = texts_frame(texts)
    rows = list(frame.index)
    order.shuffle(rows)

    assert list(texts_by_seed(frame)) == list(texts)
    assert texts_by_seed(frame) == texts
    assert texts_by_seed(frame.loc[rows]) == texts


# Losses


def test_losses_of_documents_add_up_to_those_of_plain_hugging_face(
    adapter: BridgeAdapter, tiny_model: TinyModel
) -> None:
    oracle = Oracle("llama", tiny_model("llama").plain, tiny_model("llama").tokenizer, bos=True)

    for acts in (None, ACTS):
        how = None if acts is None else intervention(acts)
        frame = score_documents(adapter, DOCUMENTS, how, context=24, stride=8)

        assert list(frame.columns) == ["document", "stretch", "nll", "tokens"]
        for document, text in enumerate(DOCUMENTS):
            losses = oracle.losses(text, 24, 8, acts)
            parts = [losses[start : start + STRETCH] for start in range(0, len(losses), STRETCH)]
            rows = frame[frame["document"] == document]
            assert list(rows["stretch"]) == list(range(len(parts)))
            assert list(rows["tokens"]) == [len(part) for part in parts]
            np.testing.assert_allclose(rows["nll"], [part.sum() for part in parts], atol=1e-4)


def test_windows_are_those_of_the_paper_where_a_model_can_take_them(
    tiny_model: TinyModel,
) -> None:
    model = tiny_model("bloom")
    adapter = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)
    long = sentence(1300, 0)

    frame = score_documents(adapter, [long], None)

    (wanted,) = adapter.losses([long], context=1024, stride=512)
    assert frame["tokens"].sum() == len(wanted) == 1300
    np.testing.assert_allclose(frame["nll"].sum(), wanted.astype(np.float64).sum(), rtol=1e-6)


def test_a_plan_for_generated_tokens_has_no_perplexity(adapter: BridgeAdapter) -> None:
    given_plan = intervention(plan("mlp.hook_post", "set", positions="generated"))
    settings: dict[str, Any] = {"context": MAX_TOKENS, "stride": 8}

    with pytest.raises(AnalysisError, match=r"a document has none.*give positions='all'"):
        score_documents(adapter, DOCUMENTS, given_plan, **settings)
    # It is a plan all the same where it does nothing.
    nothing = Intervention("mlp.hook_post", (), (), (), positions="generated")
    found = score_documents(adapter, DOCUMENTS, nothing, **settings)
    pd.testing.assert_frame_equal(found, score_documents(adapter, DOCUMENTS, None, **settings))


def test_a_loss_that_is_not_finite_is_refused_by_document_and_infinite_under_a_plan(
    shipped: Callable[[str], Any],
) -> None:
    model = tiny_models.boot("llama", shipped("llama"))
    adapter = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)
    with torch.no_grad():
        embedding = model.bridge.original_model.get_input_embeddings().weight
        embedding[tiny_models.WORDS.index("owl") + len(tiny_models.SPECIAL)] = float("nan")

    documents = ["air ant", "an owl ant"]
    window: dict[str, Any] = {"context": 8, "stride": 4}

    with pytest.raises(AnalysisError, match="document 1 has a loss that is not finite under the u"):
        score_documents(adapter, documents, None, **window)
    under_a_plan = score_documents(adapter, documents, intervention(ACTS), **window)
    assert np.isfinite(under_a_plan["nll"]).tolist() == [True, False]
    assert under_a_plan["nll"][1] == np.inf
