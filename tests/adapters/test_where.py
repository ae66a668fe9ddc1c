"""Every choice of positions: on every host, with a cache and without, what plain hooks do."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from nnsight.intervention.serialization import dumps

from steer_plugin import Intervention, apply_in_trace, steered
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import InterventionError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support import token_choosers
from support.covering import pairwise
from support.oracle import Oracle, Plan
from support.plans import composed, intervention, plan
from support.tiny_models import Tiny

TOLERANCE = 1e-5
# BOS and two, five and one words: batched, they are padded.
PROMPTS = ["air cat", "sea ship fox hill key", "owl"]
NEW = 6
ROWS = [[True, False, True], [False, True, False, False, True, True], [False, True]]
EMBEDDING = Reading("ln_final.hook_out", "mean")

Step = Callable[..., Plan]
STEP: Step = partial(plan, "mlp.hook_post", "set", width=24, layers=(0, 1), units=12, seed=2)
# What is given, and what the oracle takes for one of the prompts.
WHERES: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "all": ("all", lambda _: "all"),
    "prompt": ("prompt", lambda _: "prompt"),
    "generated": ("generated", lambda _: "generated"),
    "last": ("last", lambda _: "last"),
    "last two": ("-2:", lambda _: slice(-2, None)),
    "all but the first two": (slice(2, None), lambda _: slice(2, None)),
    "every other, backwards": ("::-2", lambda _: slice(None, None, -2)),
    "none": ("9:", lambda _: slice(9, None)),
    "mask": ([row + [False] * (6 - len(row)) for row in ROWS], ROWS.__getitem__),
    "function": (token_choosers.every_third, lambda _: token_choosers.every_third),
    "function that forgets padding": (
        token_choosers.before_the_last,
        lambda _: token_choosers.before_the_last,
    ),
}


def given(name: str, bos: bool = True) -> Intervention:
    step = intervention(STEP(bos=bos))
    return dataclasses.replace(step, positions=WHERES[name][0])


def wanted_of(name: str, row: int, bos: bool = True) -> Plan:
    return STEP(bos=bos, positions=WHERES[name][1](row))


# Learned positions, and rotary ones within a window of five tokens.
NAMES = ("gpt2", "mistral")


def inputs_of(oracle: Oracle, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
    """Put prompts side by side, padded on the left."""
    texts = [oracle.ids(prompt) for prompt in prompts]
    width = max(map(len, texts))
    ids = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    mask = [[0] * (width - len(text)) + [1] * len(text) for text in texts]
    return {"input_ids": ids, "attention_mask": torch.tensor(mask)}


def by_bridge(model: Tiny, act: Intervention, inputs: Any, settings: Any) -> torch.Tensor:
    with steered(model.bridge, act):
        return torch.as_tensor(model.bridge.original_model.generate(**inputs, **settings))


def by_trace(
    traced: nnsight.NNsight, act: Intervention, inputs: Any, settings: Any
) -> torch.Tensor:
    width = inputs["input_ids"].shape[1]
    with traced.trace(**inputs, **settings, fn="generate") as tracer:
        apply_in_trace(traced, act, prompt_length=width)
        ids = tracer.result.save()
    return torch.as_tensor(ids)


# The verbs


@pytest.mark.parametrize(
    ("name", "bos", "model"), pairwise([*WHERES], [True, False], NAMES), indirect=["model"]
)
def test_texts_in_a_batch_and_alone_are_touched_where_it_is_said(
    name: str, bos: bool, adapters: Sequence[Adapter], oracle: Oracle
) -> None:
    act, rows = given(name, bos), range(len(PROMPTS))
    key = [("ln_final.hook_out", 0)]
    wanted = np.concatenate(
        [oracle.responses([PROMPTS[row]], key, "mean", wanted_of(name, row, bos)) for row in rows]
    )
    texts = tuple(oracle.greedy(PROMPTS[row], NEW, wanted_of(name, row, bos)) for row in rows)
    losses = [oracle.losses(PROMPTS[row], 4, 2, wanted_of(name, row)) for row in rows]

    for adapter in adapters:
        found = gather(adapter, PROMPTS, [EMBEDDING], intervention=act)[EMBEDDING]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)
        generate = partial(adapter.generate, max_new_tokens=NEW, temperature=0)
        assert generate(PROMPTS, intervention=act).texts == texts
        scores = adapter.losses(PROMPTS, intervention=given(name), context=4, stride=2)
        for one, other in zip(scores, losses, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)
        if name != "mask":
            alone = [generate([prompt], intervention=act).texts for prompt in PROMPTS]
            assert alone == [(text,) for text in texts]


def test_positions_differ_and_so_does_what_is_written(oracle: Oracle) -> None:
    """Otherwise the tests here would pass without steering."""
    different = [name for name in WHERES if name not in ("prompt", "none")]
    logits = {
        oracle.forward(oracle.ids(PROMPTS[1]), wanted_of(name, 1))[0].numpy().tobytes()
        for name in different
    }
    assert len(logits) == len(different)


# The hosts' own generation

GENERATION: dict[str, dict[str, Any]] = {
    "cache": {"use_cache": True},
    "no cache": {"use_cache": False},
    "chunks of two": {"use_cache": True, "prefill_chunk_size": 2},
    "chunks of one": {"use_cache": True, "prefill_chunk_size": 1},
}


@pytest.mark.parametrize(
    ("name", "how", "model"), pairwise([*WHERES], [*GENERATION], NAMES), indirect=["model"]
)
def test_generation_is_touched_where_it_is_said(
    name: str, how: str, model: Tiny, traced: nnsight.NNsight, oracle: Oracle
) -> None:
    inputs = inputs_of(oracle, PROMPTS)
    settings = {**GENERATION[how], "max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    wanted = [oracle.greedy(PROMPTS[row], NEW, wanted_of(name, row)) for row in range(3)]
    act = given(name)

    calls = [partial(by_bridge, model)]
    if "function" not in name or "chunks" not in how:
        # Elsewhere a trace cannot know the whole prompt.
        calls.append(partial(by_trace, traced))
    for call in calls:
        ids = call(act, inputs, settings)[:, inputs["input_ids"].shape[1] :]
        assert oracle.tokenizer.batch_decode(ids, skip_special_tokens=True) == wanted


@pytest.mark.parametrize(
    ("name", "how", "model"),
    pairwise([*WHERES], ["cache", "no cache", "chunks of two"], NAMES),
    indirect=["model"],
)
def test_beams_are_touched_where_it_is_said(
    name: str, how: str, model: Tiny, traced: nnsight.NNsight, oracle: Oracle
) -> None:
    inputs = inputs_of(oracle, PROMPTS)
    settings = {
        **GENERATION[how],
        "max_new_tokens": NEW,
        "do_sample": False,
        "num_beams": 2,
        "pad_token_id": 0,
    }
    wanted = [oracle.beams(PROMPTS[row], NEW, wanted_of(name, row), 2) for row in range(3)]
    act = given(name)

    calls = [partial(by_bridge, model)]
    if "function" not in name or "chunks" not in how:
        calls.append(partial(by_trace, traced))
    for call in calls:
        found = call(act, inputs, settings)[:, inputs["input_ids"].shape[1] :].tolist()
        for one, other in zip(found, wanted, strict=True):
            assert one[: len(other)] == other
            assert not any(one[len(other) :])


@pytest.mark.parametrize("name", [name for name in WHERES if name != "mask"])
def test_prompt_lookup_is_touched_where_it_is_said(
    name: str, model: Tiny, traced: nnsight.NNsight, oracle: Oracle
) -> None:
    prompt = "air cat owl air cat owl air cat"
    inputs = inputs_of(oracle, [prompt])
    settings = {"max_new_tokens": 12, "do_sample": False, "prompt_lookup_num_tokens": 3}
    wanted = oracle.greedy(prompt, 12, wanted_of(name, 0))

    for call in (partial(by_bridge, model), partial(by_trace, traced)):
        ids = call(given(name), inputs, settings)[:, inputs["input_ids"].shape[1] :]
        assert oracle.tokenizer.batch_decode(ids, skip_special_tokens=True) == [wanted]


@pytest.mark.parametrize(
    ("name", "use_past_kv_cache", "model"),
    pairwise([*WHERES], [True, False], NAMES),
    indirect=["model"],
)
def test_generation_by_the_bridge_is_touched_where_it_is_said(
    name: str, use_past_kv_cache: bool, model: Tiny, oracle: Oracle
) -> None:
    with steered(model.bridge, given(name)):
        ids = model.bridge.generate(
            PROMPTS,
            max_new_tokens=NEW,
            do_sample=False,
            verbose=False,
            return_type="tokens",
            use_past_kv_cache=use_past_kv_cache,
        )

    found = oracle.tokenizer.batch_decode(ids[:, -NEW:], skip_special_tokens=True)
    assert found == [oracle.greedy(PROMPTS[row], NEW, wanted_of(name, row)) for row in range(3)]


# A loop of one's own


def loop(model: Any, ids: Sequence[int], parts: Sequence[int]) -> torch.Tensor:
    """Give a text in parts of so many tokens: the logits of all of them."""
    logits, cache, start = [], None, 0
    for part in parts:
        with torch.no_grad():
            answer = model(
                torch.tensor([ids[start : start + part]]), past_key_values=cache, use_cache=True
            )
        logits.append(answer.logits[0])
        cache, start = answer.past_key_values, start + part
    return torch.cat(logits)


@pytest.mark.parametrize(
    ("parts", "name", "model"),
    pairwise(
        [(6, 1, 1, 1), (2, 3, 1, 1, 1, 1), (1,) * 9, (4, 2, 3)],
        [name for name in WHERES if "function" not in name],
        NAMES,
    ),
    indirect=["model"],
)
def test_a_text_that_is_fed_in_parts_is_touched_by_its_place_in_the_cache(
    name: str, parts: tuple[int, ...], model: Tiny, oracle: Oracle
) -> None:
    ids = [*oracle.ids(PROMPTS[1]), 9, 7, 30]
    act = given(name)
    if name == "mask":
        act = dataclasses.replace(act, positions=[ROWS[1]])
    wanted, _ = oracle.forward(ids, wanted_of(name, 1), prompt_length=6)

    with steered(model.bridge, act, prompt_length=6):
        found = loop(model.bridge.original_model, ids, parts)
        again = loop(model.bridge.original_model, ids, parts)

    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=TOLERANCE)
    assert torch.equal(found, again)


def test_what_cannot_be_told_is_refused(model: Tiny, oracle: Oracle) -> None:
    ids, plain = oracle.ids(PROMPTS[1]), model.bridge.original_model
    with (
        steered(model.bridge, given("last two")),
        pytest.raises(
            InterventionError, match=r"gives 3 tokens to a cache of 2, .* prompt_length="
        ),
    ):
        loop(plain, ids, (2, 3))
    unsteered = plain(torch.tensor([ids]), use_cache=True)
    with (
        steered(model.bridge, given("generated")),
        pytest.raises(InterventionError, match="a cache of 6 tokens from before the plan was set"),
    ):
        plain(torch.tensor([[5]]), past_key_values=unsteered.past_key_values)
    with (
        steered(model.bridge, given("function"), prompt_length=6),
        pytest.raises(InterventionError, match="token_choosers:every_third need the whole prompt"),
    ):
        loop(plain, ids, (2, 4))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([[True] * 6], "the mask of positions has 1 rows, 3 texts were given"),
        (
            [[True] * 6] * 3,
            "text [02] has [23] tokens, and its row .* has 6 places, 6 of them True",
        ),
        ([[True] * 2] * 3, "text [01] has [36] tokens, and its row .* has 2 places, 2 of them"),
        (token_choosers.no_mask, r"no_mask gave torch.int64 of shape \(1,\), for ids of shape"),
        (token_choosers.fails, "fails failed with LookupError: '?1 texts, 1 masks"),
    ],
)
def test_a_mask_or_function_that_does_not_suit_the_texts_is_refused(
    positions: Any, message: str, adapters: Sequence[Adapter], model: Tiny
) -> None:
    act = dataclasses.replace(given("all"), positions=positions)

    for adapter in adapters:
        calls = [
            lambda adapter=adapter: gather(adapter, PROMPTS, [EMBEDDING], intervention=act),
            lambda adapter=adapter: adapter.generate(PROMPTS, intervention=act),
            lambda adapter=adapter: adapter.losses(PROMPTS, intervention=act),
        ]
        for call in calls:
            with pytest.raises(InterventionError, match=message) as caught:
                call()
            assert "\n" not in str(caught.value)
    with steered(model.bridge, act), pytest.raises(InterventionError, match=message):
        model.bridge.generate(PROMPTS, max_new_tokens=1, verbose=False)


def test_a_mask_is_of_the_texts_that_are_given_however_they_are_cut_into_batches(
    adapters: Sequence[Adapter], model: Tiny, traced: nnsight.NNsight
) -> None:
    ones = (
        BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True, batch_tokens=1),
        TraceAdapter(traced, tokenizer=model.tokenizer, bos=True, batch_tokens=1),
    )
    for together, alone in zip(adapters, ones, strict=True):
        found, wanted = (
            gather(adapter, PROMPTS, [EMBEDDING], intervention=given("mask"))[EMBEDDING]
            for adapter in (together, alone)
        )
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)


def test_steps_have_positions_of_their_own(adapters: Sequence[Adapter], oracle: Oracle) -> None:
    steps = [
        STEP(positions="last"),
        plan("hook_resid_post", "add", layers=(1,), seed=3, positions=slice(1, 3)),
        plan("attn.hook_z", "scale", layers=(0, 2), positions="generated"),
    ]
    whole = composed([dataclasses.replace(step, positions="all") for step in steps])
    whole = dataclasses.replace(
        whole,
        steps=tuple(
            dataclasses.replace(step, positions=one.positions)
            for step, one in zip(whole.steps, steps, strict=True)
        ),
    )
    wanted = tuple(oracle.greedy(prompt, NEW, steps) for prompt in PROMPTS)
    for adapter in adapters:
        assert (
            adapter.generate(PROMPTS, intervention=whole, max_new_tokens=NEW, temperature=0).texts
            == wanted
        )


def test_a_function_does_not_travel_and_a_mask_does() -> None:
    with pytest.raises(InterventionError, match="positions by a function do not travel") as caught:
        dumps(given("function"))
    assert "\n" not in str(caught.value)
    assert b"010011" in dumps(given("mask"))
