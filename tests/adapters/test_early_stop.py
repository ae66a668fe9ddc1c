"""A pass ends with the last tensor that is read, and leaves the model as it was."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import nnsight
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import SiteError
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import FINAL_NORM

from support import tiny_models
from support.covering import pairwise
from support.oracle import PATHS
from support.plans import intervention, plan
from support.tiny_models import N_LAYERS, Tiny

TEXTS = ["air ant bay", "sea ship fox hill key", "owl"]
PROMPTS = ["air cat", "sea"]
NAMES = ("llama", "gemma3")
LAST = [
    ("mlp.hook_post", 0),
    ("mlp.hook_pre", 1),
    ("attn.hook_z", 1),
    ("hook_attn_out", 2),
    ("hook_mlp_out", 1),
    ("hook_resid_post", 1),
    ("mlp.hook_post", 2),
    (FINAL_NORM, 0),
]

Adapters = dict[str, BridgeAdapter | TraceAdapter]


@pytest.fixture(scope="module")
def adapters_of(tiny_model: Callable[[str], Tiny]) -> Callable[[str], Adapters]:
    @cache
    def make(name: str) -> Adapters:
        model = tiny_model(name)
        traced = nnsight.NNsight(copy.deepcopy(model.plain))
        return {
            "bridge": BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True),
            "trace": TraceAdapter(traced, tokenizer=model.tokenizer, bos=True),
        }

    return make


def module_of(adapter: BridgeAdapter | TraceAdapter) -> Any:
    if isinstance(adapter, TraceAdapter):
        return adapter.model._module
    return adapter.bridge.original_model


def expected_flops(model: Tiny, site: str, layer: int) -> int:
    """Count what a plain pass over the texts has multiplied when it has computed a site."""
    path, side = PATHS[model.architecture][site]
    module = model.plain.get_submodule(path.format(layer))
    adapter = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)
    (batch,) = adapter.tokens.batches(TEXTS, 2048)
    reached: list[int] = []
    with FlopCounterMode(display=False) as counter, torch.no_grad():

        def reach(*_: Any) -> None:
            reached.append(counter.get_total_flops())

        handle = (
            module.register_forward_pre_hook(reach)
            if side == "input"
            else module.register_forward_hook(reach)
        )
        model.plain(batch.ids, attention_mask=batch.attention.long())
        handle.remove()
    return reached[0]


@pytest.mark.parametrize(("last", "host", "name"), pairwise(LAST, ["bridge", "trace"], NAMES))
def test_nothing_is_run_after_the_last_tensor_that_is_read(
    last: tuple[str, int],
    host: str,
    name: str,
    adapters_of: Callable[[str], Adapters],
    tiny_model: Callable[[str], Tiny],
) -> None:
    adapter, (site, layer) = adapters_of(name)[host], last
    readings = [
        Reading(site, "max", (layer,)),
        Reading(site, "mean", (layer,)),
        Reading("attn.hook_z", "max", (0,)),
    ]
    wanted = expected_flops(tiny_model(name), site, layer)
    adapter.space(site, (layer,))
    adapter.space("attn.hook_z", (0,))

    with FlopCounterMode(display=False) as counter:
        gather(adapter, TEXTS, readings)

    assert counter.get_total_flops() == wanted > 0


@pytest.mark.parametrize(
    ("name", "host", "steered"),
    pairwise([*NAMES, "gpt2", "bloom"], ["bridge", "trace"], [True, False]),
)
def test_what_is_read_is_the_same_to_the_last_bit_as_in_a_whole_pass(
    name: str, steered: bool, host: str, adapters_of: Callable[[str], Adapters]
) -> None:
    adapter = adapters_of(name)[host]
    # Steered in later layers than are read, too.
    given = intervention(plan("hook_resid_post", "add", layers=(0, 2))) if steered else None
    for site in ("mlp.hook_post", "hook_resid_post"):
        early, every = Reading(site, "mean", (0, 1)), Reading(site, "mean")

        stopped = gather(adapter, TEXTS, [early], intervention=given)
        whole = gather(adapter, TEXTS, [every, Reading(FINAL_NORM, "max")], intervention=given)

        width = stopped[early].shape[1]
        assert width == whole[every].shape[1] // N_LAYERS * 2
        assert torch.equal(stopped[early], whole[every][:, :width])


@pytest.mark.parametrize("host", ["bridge", "trace"])
@pytest.mark.parametrize("name", [*NAMES, "gpt2"])
def test_a_pass_that_ended_early_leaves_the_model_as_it_was(
    name: str, host: str, adapters_of: Callable[[str], Adapters], tiny_model: Callable[[str], Tiny]
) -> None:
    adapter = adapters_of(name)[host]
    ids = torch.tensor([[1, 5, 6, 7]])
    given = intervention(plan("mlp.hook_post", "set", layers=(2,)))

    def state() -> list[Any]:
        with torch.no_grad():
            logits = module_of(adapter)(ids).logits
        greedy = adapter.generate(
            PROMPTS, intervention=given, max_new_tokens=4, temperature=0
        ).texts
        losses = adapter.losses(TEXTS[:2])
        return [logits.tolist(), greedy, [one.tolist() for one in losses]]

    before = state()
    for reading in (Reading("mlp.hook_post", "max", (0,)), Reading("attn.hook_z", "max", (1,))):
        gather(adapter, TEXTS, [reading], intervention=given)
        assert state() == before

    assert tiny_model(name).hooks() == []


def test_a_users_hooks_act_before_the_pass_ends_and_are_still_there_afterwards(
    shipped: Callable[[str], Any],
) -> None:
    model = tiny_models.boot("gpt2", shipped("gpt2"))
    adapter = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)
    reading = Reading("mlp.hook_post", "mean", (1,))
    plain = gather(adapter, TEXTS, [reading])[reading]
    calls: list[str] = []

    def count(name: str) -> Callable[..., None]:
        return lambda *_, **__: calls.append(name)

    def double(activations: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        return 2 * activations

    model.bridge.add_hook("blocks.1.mlp.hook_post", double)
    for name in ("blocks.0.hook_out", "blocks.1.mlp.hook_post", "blocks.2.hook_out"):
        model.bridge.add_hook(name, count(name))

    doubled = gather(adapter, TEXTS, [reading])[reading]
    read = list(calls)
    model.bridge("air")

    assert torch.equal(doubled, 2 * plain)
    assert read == ["blocks.0.hook_out", "blocks.1.mlp.hook_post"]
    assert calls == [*read, *read, "blocks.2.hook_out"]


@pytest.mark.parametrize("host", ["bridge", "trace"])
def test_an_error_on_the_way_is_the_users_to_see(
    host: str, adapters_of: Callable[[str], Adapters], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = adapters_of("llama")[host]
    reading = Reading("mlp.hook_post", "mean", (1,))
    before = gather(adapter, TEXTS, [reading])[reading]
    act = module_of(adapter).model.layers[0].mlp.act_fn

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("on the way")

    with monkeypatch.context() as patch:
        patch.setattr(act, "forward", fail)
        with pytest.raises(ZeroDivisionError, match="on the way"):
            gather(adapter, TEXTS, [reading])

    assert torch.equal(gather(adapter, TEXTS, [reading])[reading], before)


def test_a_unit_that_is_not_there_is_refused_before_anything_is_read(
    adapters_of: Callable[[str], Adapters],
) -> None:
    given = intervention(plan("mlp.hook_post", "set", width=99, layers=(2,), units=90))
    for adapter in adapters_of("llama").values():
        with pytest.raises(SiteError, match=r"unit L2N\d+ does not exist: .* has 24 units in"):
            gather(adapter, TEXTS, [Reading("mlp.hook_post", "max", (0,))], intervention=given)
