"""Interventions among TransformerLens's own tools, and the tokens they touch."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformer_lens.hook_points import HookPoint

from steer_plugin import steered
from steer_plugin.adapters.shared.steered_tokens import (
    PassContext,
    Run,
    SteeredTokens,
    without_padding,
)
from steer_plugin.adapters.shared.touched_tokens import touched_tokens
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.settings.parts import OPERATIONS

from support import tiny_models
from support.covering import pairwise
from support.oracle import PATHS, Oracle
from support.plans import POSITIONS, intervention, plan
from support.tiny_models import BOS, EOS, N_LAYERS, PAD, SPECIAL, WORDS, Tiny

TOLERANCE = 1e-5
BOS_ID, PAD_ID = SPECIAL.index(BOS), SPECIAL.index(PAD)
TEXT = "air cat rain owl garden"
IDS = [BOS_ID, *(len(SPECIAL) + WORDS.index(word) for word in TEXT.split())]
PROMPTS = ["air", "sea ship fox hill", "key map"]

TinyModel = Callable[[str], Tiny]
Read = dict[tuple[str, int], torch.Tensor]


@pytest.fixture(params=["gpt2", "gemma3"])
def model(request: pytest.FixtureRequest, tiny_model: TinyModel) -> Iterator[Tiny]:
    """Give a model, one plain and one gated, and see that the test leaves no hook on it."""
    made = tiny_model(request.param)
    yield made
    assert made.hooks() == []


@pytest.fixture
def oracle(model: Tiny) -> Oracle:
    return Oracle(model.architecture, model.plain, model.tokenizer, bos=True)


def _logits(model: Tiny) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model.bridge(torch.tensor([IDS])))


def _close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-6, atol=TOLERANCE)


# Composition


@pytest.mark.parametrize("site", ["mlp.hook_post", "attn.hook_z", "hook_resid_post"])
def test_fwd_hooks_go_into_run_with_hooks(site: str, model: Tiny, oracle: Oracle) -> None:
    acts = plan(site, "blend")
    hooks = intervention(acts).fwd_hooks(model.bridge)

    found = model.bridge.run_with_hooks(TEXT, fwd_hooks=hooks)

    _close(found[0], oracle.forward(IDS, acts)[0])
    assert not torch.equal(found, _logits(model))


@pytest.mark.parametrize("bos", [True, False])
def test_a_cache_taken_inside_shows_the_steered_values(
    bos: bool, model: Tiny, oracle: Oracle
) -> None:
    acts = plan("mlp.hook_post", "set", bos=bos)
    keys = [(site, layer) for site in PATHS[model.architecture] for layer in range(N_LAYERS)]
    keys = [key for key in keys if key[0] != "ln_final.hook_out"]

    with steered(model.bridge, intervention(acts)) as bridge:
        logits, cache = bridge.run_with_cache(TEXT)

    wanted, read = oracle.forward(IDS, acts, read=keys)
    _close(logits[0], wanted)
    for site, layer in keys:
        _close(cache[f"blocks.{layer}.{site}"].flatten(2)[0], read[site, layer])
    layer, index, value = acts.units[0]
    written = cache[f"blocks.{layer}.mlp.hook_post"][0, :, index]
    _close(written[1:], torch.full((len(IDS) - 1,), value))
    assert bos == bool((written[0] - value).abs() < TOLERANCE)


@pytest.mark.parametrize(
    ("positions", "bos", "use_past_kv_cache"), pairwise(POSITIONS, [True, False], [True, False])
)
def test_bridge_generate_is_steered_with_and_without_a_cache(
    bos: bool, positions: str, use_past_kv_cache: bool, model: Tiny, oracle: Oracle
) -> None:
    acts = plan("mlp.hook_post", "set", positions=positions, bos=bos, units=8, seed=2)

    def generate(prompt: str) -> torch.Tensor:
        return torch.as_tensor(
            model.bridge.generate(
                prompt,
                max_new_tokens=6,
                do_sample=False,
                verbose=False,
                return_type="tokens",
                use_past_kv_cache=use_past_kv_cache,
            )
        )

    with steered(model.bridge, intervention(acts)):
        found = [generate(prompt) for prompt in PROMPTS]

    for prompt, tokens in zip(PROMPTS, found, strict=True):
        start = len(oracle.ids(prompt))
        text = model.tokenizer.decode(tokens[0, start:], skip_special_tokens=True)
        assert text == oracle.greedy(prompt, 6, acts)
    assert any(not torch.equal(a, generate(b)) for a, b in zip(found, PROMPTS, strict=True))


@pytest.mark.parametrize("use_past_kv_cache", [True, False])
@pytest.mark.parametrize("positions", POSITIONS)
def test_bridge_generate_steers_a_left_padded_list_like_each_prompt_alone(
    positions: str, use_past_kv_cache: bool, model: Tiny, oracle: Oracle
) -> None:
    acts = plan("mlp.hook_post", "set", positions=positions, bos=False, units=8, seed=2)

    with steered(model.bridge, intervention(acts)):
        tokens = model.bridge.generate(
            PROMPTS,
            max_new_tokens=4,
            do_sample=False,
            verbose=False,
            return_type="tokens",
            use_past_kv_cache=use_past_kv_cache,
        )

    found = model.tokenizer.batch_decode(tokens[:, -4:], skip_special_tokens=True)
    assert found == [oracle.greedy(prompt, 4, acts) for prompt in PROMPTS]


def test_a_right_padded_batch_is_steered_at_its_real_tokens_only(
    model: Tiny, oracle: Oracle
) -> None:
    acts = plan("mlp.hook_post", "set", layers=(1,))
    ids = torch.tensor([IDS, [*IDS[:3], PAD_ID, PAD_ID, PAD_ID]])
    name = "blocks.1.mlp.hook_post"

    _, before = model.bridge.run_with_cache(ids, names_filter=[name])
    with steered(model.bridge, intervention(acts)):
        logits, after = model.bridge.run_with_cache(ids, names_filter=["unembed.hook_out", name])

    assert torch.equal((before[name] != after[name]).any(-1), ids != PAD_ID)
    _close(logits[1, :3], oracle.forward(IDS[:3], acts)[0])


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_a_batch_padded_with_bos_as_gpt2_pads_is_steered_at_its_real_tokens_only(
    padding_side: str, shipped: Callable[[str], Any]
) -> None:
    own = shipped("gpt2").from_pretrained(shipped("gpt2").name_or_path, pad_token=BOS)
    model = tiny_models.boot("gpt2", own)
    acts = intervention(plan("mlp.hook_post", "set", layers=(1,)))
    name = "blocks.1.mlp.hook_post"
    ids = model.bridge.to_tokens(PROMPTS, padding_side=padding_side)
    mask = {"attention_mask": torch.as_tensor(_alone(model, padding_side, ids)).long()}

    _, before = model.bridge.run_with_cache(ids, names_filter=[name], **mask)
    with steered(model.bridge, acts):
        _, after = model.bridge.run_with_cache(ids, names_filter=[name], **mask)

    assert (ids == BOS_ID).sum() > len(PROMPTS)
    assert torch.equal((before[name] != after[name]).any(-1), mask["attention_mask"].bool())


def _alone(model: Tiny, padding_side: str, ids: torch.Tensor) -> list[list[bool]]:
    """Mark as many tokens of each prompt as it has when it is alone."""
    width = ids.shape[1]
    lengths = [model.bridge.to_tokens(prompt).shape[1] for prompt in PROMPTS]
    if padding_side == "left":
        return [[place >= width - length for place in range(width)] for length in lengths]
    return [[place < length for place in range(width)] for length in lengths]


def test_the_logit_lens_reads_the_steered_residual_stream(model: Tiny, oracle: Oracle) -> None:
    acts = plan("mlp.hook_post", "set")

    with steered(model.bridge, intervention(acts)):
        logits, cache = model.bridge.run_with_cache(TEXT)
        # By hand, since TransformerLens has moved its own.
        lens = model.bridge.unembed(model.bridge.ln_final(cache.accumulated_resid()))

    keys = [("hook_resid_post", layer) for layer in range(N_LAYERS)]
    _, read = oracle.forward(IDS, acts, read=keys)
    norm, _ = oracle.module("ln_final.hook_out", 0)
    for entry, key in enumerate(keys, start=1):
        with torch.no_grad():
            wanted = oracle.model.lm_head(norm(read[key][None]))
        _close(lens[entry].detach(), wanted)
        _close(cache.accumulated_resid()[entry][0], read[key])
    _close(lens[-1].detach(), logits.detach())


@pytest.mark.parametrize("name", ["blocks.2.hook_resid_post", "blocks.0.mlp.hook_post"])
def test_activation_patching_inside_puts_the_clean_run_back(name: str, model: Tiny) -> None:
    acts = plan("mlp.hook_post", "set", layers=(0,))
    clean, cache = model.bridge.run_with_cache(TEXT)

    def patch(activations: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return torch.as_tensor(cache[name])

    with steered(model.bridge, intervention(acts)):
        dirty = model.bridge(TEXT)
        patched = model.bridge.run_with_hooks(TEXT, fwd_hooks=[(name, patch)])
        again = model.bridge(TEXT)

    assert torch.equal(patched, clean)
    assert not torch.equal(dirty, clean)
    assert torch.equal(again, dirty)


def test_steered_values_can_be_patched_into_a_clean_run(model: Tiny, oracle: Oracle) -> None:
    acts = plan("mlp.hook_post", "set", layers=(0,))
    name = "blocks.0.mlp.hook_post"
    with steered(model.bridge, intervention(acts)):
        _, cache = model.bridge.run_with_cache(TEXT)

    found = model.bridge.run_with_hooks(TEXT, fwd_hooks=[(name, lambda *_, **__: cache[name])])

    _close(found[0].detach(), oracle.forward(IDS, acts)[0])


def test_nested_interventions_act_from_the_outside_in(model: Tiny) -> None:
    units = ((0, 3, 2.0), (1, 5, -1.5))
    move = plan("mlp.hook_post", "add")
    shift, twice, force = (
        intervention(type(move)("mlp.hook_post", units, operation, strength))
        for operation, strength in (("add", 1.0), ("add", 2.0), ("set", 1.0))
    )
    bridge = model.bridge

    with steered(bridge, shift):
        with steered(bridge, shift):
            both = bridge(TEXT)
        with steered(bridge, force):
            inner_set = bridge(TEXT)
        once = bridge(TEXT)
    with steered(bridge, twice):
        double = bridge(TEXT)
    with steered(bridge, force):
        forced = bridge(TEXT)
        with steered(bridge, shift):
            inner_shift = bridge(TEXT)
    with steered(bridge, shift):
        alone = bridge(TEXT)

    _close(both, double.detach())
    assert torch.equal(inner_set, forced)
    assert torch.equal(once, alone)
    assert not torch.equal(inner_shift, forced)


def test_hooks_set_before_see_the_model_and_hooks_set_after_see_the_steering(model: Tiny) -> None:
    name = "blocks.1.mlp.hook_post"
    acts = Intervention("mlp.hook_post", (1,), (4,), (2.5,))
    seen: dict[str, torch.Tensor] = {}

    def look(label: str) -> tuple[str, Callable[..., None]]:
        def hook_function(activations: torch.Tensor, hook: object) -> None:  # noqa: ARG001
            seen[label] = activations[0, :, 4].detach().clone()

        return name, hook_function

    with (
        model.bridge.hooks(fwd_hooks=[look("before")]),
        steered(model.bridge, acts),
        model.bridge.hooks(fwd_hooks=[look("after")]),
    ):
        model.bridge(TEXT)

    assert (seen["before"] != 2.5).all()
    assert (seen["after"] == 2.5).all()


def test_a_users_own_hooks_are_still_there_afterwards(tiny_model: TinyModel) -> None:
    model = tiny_model("gpt2")
    calls: list[int] = []

    def count(activations: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        calls.append(1)

    model.bridge.add_perma_hook("blocks.1.mlp.hook_post", count)
    model.bridge.add_hook("blocks.1.mlp.hook_post", count)
    try:
        with steered(model.bridge, intervention(plan("mlp.hook_post", "set"))):
            pass
        model.bridge(TEXT)
        assert calls == [1, 1]
    finally:
        # HookPoints are shared by the session; the permanent one has to go as well.
        model.bridge.hook_dict["blocks.1.mlp.hook_post"].remove_hooks(including_permanent=True)


def test_gradients_flow_past_the_units_that_are_set(model: Tiny) -> None:
    acts = Intervention("mlp.hook_post", (1,), (4,), (2.5,))
    gradients: list[torch.Tensor] = []

    def keep(gradient: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        gradients.append(gradient.detach().clone())

    with (
        model.bridge.hooks(bwd_hooks=[("blocks.1.mlp.in.hook_out", keep)]),
        steered(model.bridge, acts),
    ):
        model.bridge(TEXT, return_type="loss").backward()
    model.bridge.original_model.zero_grad()

    (gradient,) = gradients
    assert not gradient[0, :, 4].any()
    assert gradient[0, :, 5].any()


# What is left behind


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("inside_a_pass", [True, False])
def test_an_exception_inside_leaves_the_model_bit_identical(
    inside_a_pass: bool, error: type[BaseException], model: Tiny
) -> None:
    before = _logits(model)
    weights = {name: p.detach().clone() for name, p in model.bridge.named_parameters()}

    def fail(*_: object, **__: object) -> None:
        raise error

    def go_wrong() -> None:
        with steered(model.bridge, intervention(plan("mlp.hook_post", "set"))):
            assert len(model.hooks()) == 3
            if inside_a_pass:
                model.bridge.run_with_hooks(TEXT, fwd_hooks=[("blocks.1.hook_resid_post", fail)])
            fail()

    with pytest.raises(error):
        go_wrong()

    assert model.hooks() == []
    assert torch.equal(_logits(model), before)
    for name, parameter in model.bridge.named_parameters():
        assert torch.equal(parameter, weights[name])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("none", ["no units", "no strength"])
def test_no_units_or_no_strength_is_bit_identical_to_no_intervention(
    none: str, operation: str, model: Tiny
) -> None:
    units = {"units": 0} if none == "no units" else {"strength": 0.0}
    nothing = intervention(plan("mlp.hook_post", operation, **units))

    with steered(model.bridge, nothing):
        found = _logits(model)
        assert model.hooks() == []

    assert torch.equal(found, _logits(model))
    assert nothing.fwd_hooks(model.bridge) == []


def test_a_strength_that_is_not_zero_is_no_such_thing(model: Tiny) -> None:
    for operation in OPERATIONS:
        some = intervention(plan("mlp.hook_post", operation, units=1))
        with steered(model.bridge, some):
            found = _logits(model)
        assert not torch.equal(found, _logits(model))


# Which tokens


def test_a_second_prompt_in_the_same_block_is_a_prompt_again(model: Tiny, oracle: Oracle) -> None:
    acts = plan("mlp.hook_post", "set", positions="prompt")

    with steered(model.bridge, intervention(acts)):
        first = model.bridge(TEXT)
        second = model.bridge("sea ship")
        third = model.bridge("sea ship")

    _close(first[0], oracle.forward(IDS, acts)[0])
    _close(second[0], oracle.forward(oracle.ids("sea ship"), acts)[0])
    assert torch.equal(second, third)


@pytest.mark.parametrize("positions", POSITIONS)
def test_prompts_of_one_token_and_growing_prefixes_in_one_block_are_prompts_each(
    positions: str, model: Tiny, oracle: Oracle
) -> None:
    acts = plan("mlp.hook_post", "set", positions=positions)
    prompts = [[7], [8], [9], IDS[:2], IDS[:3], IDS[:4]]

    with steered(model.bridge, intervention(acts)):
        found = [model.bridge(torch.tensor([ids])) for ids in prompts]

    for logits, ids in zip(found, prompts, strict=True):
        _close(logits[0], oracle.forward(ids, acts)[0])


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_loop_of_ones_own_with_a_cache_is_told_by_the_cache(
    positions: str, model: Tiny, oracle: Oracle
) -> None:
    acts = plan("mlp.hook_post", "set", positions=positions)
    hooks = intervention(acts).fwd_hooks(model.bridge)

    with model.bridge.hooks(fwd_hooks=hooks):
        for _ in range(2):
            answer = model.bridge.original_model(torch.tensor([IDS[:3]]), use_cache=True)
            for place in (3, 4):
                answer = model.bridge.original_model(
                    torch.tensor([IDS[place : place + 1]]),
                    past_key_values=answer.past_key_values,
                    use_cache=True,
                )
            _close(answer.logits[0, -1], oracle.forward(IDS[:5], acts, 3)[0][-1])


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_cache_of_a_model_that_passes_by_its_base_model_is_seen(
    positions: str, tiny_model: TinyModel
) -> None:
    model = tiny_model("opt")
    oracle = Oracle("opt", model.plain, model.tokenizer, bos=True)
    acts = plan("hook_resid_post", "add", positions=positions, strength=1.0)

    with steered(model.bridge, intervention(acts)):
        ids = model.bridge.original_model.generate(
            torch.tensor([IDS]), max_new_tokens=5, do_sample=False
        )

    text = model.tokenizer.decode(ids[0, len(IDS) :], skip_special_tokens=True)
    assert text == oracle.greedy(TEXT, 5, acts)


def test_a_sentence_that_ends_in_a_pad_token_that_is_the_end_token_is_steered_to_its_end(
    shipped: Callable[[str], Any],
) -> None:
    same = shipped("gpt2").from_pretrained(shipped("gpt2").name_or_path, pad_token=EOS)
    model = tiny_models.boot("gpt2", same)
    oracle = Oracle("gpt2", model.plain, same, bos=True)
    acts, ids = plan("mlp.hook_post", "set"), [*IDS, SPECIAL.index(EOS)]
    padded = torch.tensor([ids, [*IDS[:3], *[ids[-1]] * 4]])
    mask = torch.ones_like(padded)
    mask[1, 4:] = 0

    with steered(model.bridge, intervention(acts)):
        alone = model.bridge(torch.tensor([ids]))
        together = [model.bridge(padded), model.bridge(padded, attention_mask=mask)]
    by_hooks = model.bridge.run_with_hooks(
        torch.tensor([ids]), fwd_hooks=intervention(acts).fwd_hooks(model.bridge)
    )

    for logits in (alone, by_hooks, *together):
        _close(logits[0], oracle.forward(ids, acts)[0])
    for logits in together:
        _close(logits[1, :4], oracle.forward(padded[1, :4].tolist(), acts)[0])

    with steered(model.bridge, intervention(acts)):
        logits = model.bridge([f"air cat {EOS}", TEXT])
    ended = [BOS_ID, *same(f"air cat {EOS}", add_special_tokens=False)["input_ids"]]
    _close(logits[0, : len(ended)], oracle.forward(ended, acts)[0])
    _close(logits[1], oracle.forward(IDS, acts)[0])


def test_hooks_that_are_reset_inside_leave_the_block_steered(model: Tiny, oracle: Oracle) -> None:
    acts = plan("mlp.hook_post", "set")

    with steered(model.bridge, intervention(acts)) as bridge:
        bridge.reset_hooks()
        found = bridge(TEXT)
    assert model.hooks() == []
    _close(found[0], oracle.forward(IDS, acts)[0])

    with (
        pytest.raises(InterventionError, match="removed inside the block"),
        steered(model.bridge, intervention(acts)) as bridge,
    ):
        bridge.reset_hooks(including_permanent=True)


def _attach(bridge: Any, module: torch.nn.Module) -> None:
    """Put a module in the place of a hook, as SAELens does."""
    bridge.blocks[1].mlp.out.hook_in = module
    bridge._hook_registry["blocks.1.mlp.out.hook_in"] = module


def test_the_place_of_what_is_attached_instead_of_a_hook_is_refused(
    shipped: Callable[[str], Any],
) -> None:
    bridge = tiny_models.boot("gpt2", shipped("gpt2")).bridge
    acts = intervention(plan("mlp.hook_post", "set", layers=(1,)))

    # Detached again, it leaves a hook of its own, without the plan.
    with pytest.raises(InterventionError, match="attach no autoencoder"), steered(bridge, acts):
        _attach(bridge, HookPoint())
    _attach(bridge, torch.nn.Identity())
    with pytest.raises(SiteError, match="Identity is attached there"), steered(bridge, acts):
        pass


def test_nothing_stays_on_the_model_once_hooks_are_gone(model: Tiny) -> None:
    gc.collect()
    modules = (model.bridge.original_model, model.bridge.original_model.base_model)
    before = [dict(module._forward_pre_hooks) for module in modules]
    hooks = intervention(plan("mlp.hook_post", "set")).fwd_hooks(model.bridge)
    model.bridge.run_with_hooks(TEXT, fwd_hooks=hooks)

    del hooks
    gc.collect()

    assert [dict(module._forward_pre_hooks) for module in modules] == before


def _followed(
    passes: list[list[list[int]]],
    positions: Any = "all",
    bos: bool = True,
    contexts: Sequence[PassContext] | None = None,
    **known: Any,
) -> list[list[list[int]]]:
    step = Intervention("mlp.hook_post", (0,), (0,), (1.0,), positions=positions, bos=bos)
    if "attention" in known:
        real, first = known.pop("attention"), torch.tensor(passes[0])
        known["touched"] = touched_tokens(step, first, real, BOS_ID, range(len(real)), len(real))
    tokens = SteeredTokens(step, BOS_ID, **known)
    touched = []
    for ids, context in zip(passes, contexts or [PassContext()] * len(passes), strict=True):
        tokens.follow(torch.tensor(ids), context)
        where = tokens.where(torch.zeros((*torch.tensor(ids).shape, 1)))
        touched.append((torch.zeros_like(torch.tensor(ids)) + where).tolist())
    return touched


CACHED = [[[0, 1, 7], [1, 8, 9]], [[5], [6]], [[4], [4]]]
WHOLE = [[[0, 1, 7], [1, 8, 9]], [[0, 1, 7, 5], [1, 8, 9, 6]], [[0, 1, 7, 5, 4], [1, 8, 9, 6, 4]]]


@pytest.mark.parametrize(
    ("positions", "bos", "first", "later"),
    [
        ("all", True, [[0, 1, 1], [1, 1, 1]], 1),
        ("all", False, [[0, 0, 1], [0, 1, 1]], 1),
        ("prompt", True, [[0, 1, 1], [1, 1, 1]], 0),
        ("prompt", False, [[0, 0, 1], [0, 1, 1]], 0),
        ("generated", True, [[0, 0, 0], [0, 0, 0]], 1),
        ("generated", False, [[0, 0, 0], [0, 0, 0]], 1),
    ],
)
def test_tokens_are_followed_from_prompt_to_generation(
    positions: str, bos: bool, first: list[list[int]], later: int
) -> None:
    attention = torch.tensor([[0, 1, 1], [1, 1, 1]], dtype=torch.bool)
    run = Run()
    for known in ({"attention": attention}, {"pad_id": PAD_ID}, {"mask": attention}):
        mask = known.pop("mask", None)
        begin, *later_ones = (PassContext(past, run=run) for past in (0, 3, 4))
        contexts = [replace(begin, attention=mask), *later_ones]
        cached = _followed(CACHED, positions, bos, contexts, **known)
        contexts = [replace(begin, attention=mask), begin, begin]
        whole = _followed(WHOLE, positions, bos, contexts, **known)

        assert cached == [first, [[later]] * 2, [[later]] * 2]
        assert whole == [first] + [[row + [later] * n for row in first] for n in (1, 2)]


def test_a_known_prompt_is_the_only_one() -> None:
    attention = torch.ones((1, 2), dtype=torch.bool)
    passes = [[[BOS_ID, 7]], [[BOS_ID]], [[5]]]
    contexts = [PassContext(past) for past in (0, 2, 3)]

    assert _followed(passes, "generated", contexts=contexts, attention=attention) == [
        [[0, 0]],
        [[1]],
        [[1]],
    ]


@pytest.mark.parametrize(
    "after", [[[BOS_ID, 8, 9]], [[BOS_ID, 7, 8, 9]], [[5], [6]], [[BOS_ID, 7], [BOS_ID, 8]]]
)
def test_a_pass_that_does_not_continue_the_one_before_is_a_prompt(after: list[list[int]]) -> None:
    everywhere = [[1] * len(row) for row in after]

    assert _followed([[[BOS_ID, 7]], after], "prompt") == [[[1, 1]], everywhere]


def test_one_token_with_a_cache_is_generated_and_without_one_a_prompt() -> None:
    passes = [[[BOS_ID, 7]], [[5]], [[BOS_ID]], [[5]], [[6]], [[BOS_ID, 7]], [[BOS_ID, 7, 8]]]
    contexts = [PassContext(past) for past in (0, 2, 0, 1, 0, 0, 0)]

    assert _followed(passes, "prompt", contexts=contexts) == [
        [[1, 1]], [[0]], [[1]], [[0]], [[1]], [[1, 1]], [[1, 1, 1]]
    ]  # fmt: skip


def test_each_call_to_generate_has_a_prompt_of_its_own() -> None:
    runs = [PassContext(run=Run()) for _ in range(2)]
    passes = [[[7]], [[7, 5]], [[7, 5]], [[7, 5, 6]]]
    contexts = [runs[0], runs[0], runs[1], runs[1]]

    assert _followed(passes, "prompt", contexts=contexts) == [
        [[1]], [[1, 0]], [[1, 1]], [[1, 1, 0]]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "pad", "bos", "real"),
    [
        ([0, 0, 1, 7, 0, 8], 0, 1, [0, 0, 1, 1, 1, 1]),
        ([1, 7, 8, 0, 0], 0, 1, [1, 1, 1, 0, 0]),
        ([2, 2, 2, 7, 8], 2, 2, [0, 0, 1, 1, 1]),
        ([2, 7, 8, 2, 2], 2, 2, [1, 1, 1, 0, 0]),
        ([2], 2, 2, [1]),
        ([0, 7], None, 1, [1, 1]),
    ],
)
def test_pad_ids_at_the_edges_are_padding_but_for_a_bos_of_the_same_id(
    ids: list[int], pad: int | None, bos: int, real: list[int]
) -> None:
    assert without_padding(torch.tensor([ids]), pad, bos)[0].int().tolist() == real


@pytest.mark.parametrize(
    ("ids", "real"),
    [
        ([[1, 7, 2]], [[1, 1, 1]]),
        ([[1, 7, 8, 2], [1, 7, 2, 2]], [[1, 1, 1, 1], [1, 1, 1, 1]]),
        ([[1, 7, 8, 9], [1, 7, 2, 2]], [[1, 1, 1, 1], [1, 1, 1, 1]]),
        ([[2, 1, 7, 8], [2, 2, 1, 7]], [[1, 1, 1, 1], [0, 1, 1, 1]]),
        ([[2, 2]], [[1, 1]]),
    ],
)
def test_an_end_token_that_is_the_pad_token_is_real_at_the_end_and_where_all_texts_have_it(
    ids: list[list[int]], real: list[list[int]]
) -> None:
    assert without_padding(torch.tensor(ids), 2, 1, 2).int().tolist() == real


def test_a_pass_without_token_ids_is_refused_rather_than_steered_at_random(model: Tiny) -> None:
    embedded = model.bridge.original_model.get_input_embeddings()(torch.tensor([IDS]))
    with (
        steered(model.bridge, intervention(plan("mlp.hook_post", "set"))),
        pytest.raises(InterventionError, match="token ids"),
    ):
        model.bridge(embedded)
