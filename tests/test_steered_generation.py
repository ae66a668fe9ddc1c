"""Generation under every operation: with and without a cache, in a batch and one by one."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import nnsight
import pytest
import torch

from steer_plugin import apply_in_trace, steered
from steer_plugin.adapters.bridge import BridgeAdapter
from steer_plugin.adapters.generation import generation_config
from steer_plugin.adapters.trace import TraceAdapter
from steer_plugin.interventions import OPERATIONS, POSITIONS

import tiny
from oracle import Oracle, Plan
from plans import intervention, plan
from tiny import Tiny

# Learned positions, and rotary ones within a window of five tokens.
NAMES = ("gpt2", "mistral")
PROMPTS = [
    " ".join(tiny.WORDS[start : start + words]) for start, words in ((3, 2), (9, 12), (40, 1))
]
NEW_TOKENS = 6

NEURONS = {"width": 24, "layers": (0, 1, 2), "units": 20}
STREAM = {"width": tiny.D_MODEL, "layers": (1,), "units": tiny.D_MODEL}
PLANS = {
    **{
        operation: plan("mlp.hook_post", operation, **NEURONS, strength=1.0, bos=False, seed=1)
        for operation in OPERATIONS
    },
    "steering vector": plan("hook_resid_post", "add", **STREAM, bos=False, seed=1),
}


@dataclasses.dataclass(frozen=True)
class Hosts:
    """One model three times: the oracle's, TransformerLens's and nnsight's."""

    oracle: Oracle
    bridge: BridgeAdapter
    trace: TraceAdapter

    @cache  # noqa: B019 (as many as there are tests)
    def wanted(self, chosen: Plan | None) -> list[str]:
        """Continue each prompt alone, the whole text anew for each token."""
        return [self.oracle.greedy(prompt, NEW_TOKENS, chosen) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def hosts_of(tiny_model: Callable[[str], Tiny]) -> Callable[[str], Hosts]:
    @cache
    def make(name: str) -> Hosts:
        model = tiny_model(name)
        traced = nnsight.NNsight(copy.deepcopy(model.plain))
        return Hosts(
            Oracle(name, model.plain, model.tokenizer, bos=True),
            BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True),
            TraceAdapter(traced, tokenizer=model.tokenizer, bos=True),
        )

    return make


def by_adapter(
    adapter: BridgeAdapter | TraceAdapter, prompts: Sequence[str], act: Plan
) -> list[str]:
    """Generate as the package does, with a cache."""
    return adapter.generate(
        prompts, intervention=intervention(act), max_new_tokens=NEW_TOKENS, temperature=0
    )


def by_bridge(hosts: Hosts, prompts: Sequence[str], act: Plan, use_cache: bool) -> list[str]:
    """Generate by TransformerLens's own means."""
    bridge = hosts.bridge.bridge
    with steered(bridge, intervention(act)):
        tokens = bridge.generate(
            list(prompts),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            verbose=False,
            return_type="tokens",
            use_past_kv_cache=use_cache,
        )
    return decoded(hosts, tokens)


def by_trace(hosts: Hosts, prompts: Sequence[str], act: Plan, use_cache: bool) -> list[str]:
    """Generate by nnsight's own means."""
    model, tokens = hosts.trace.model, hosts.trace.tokens
    batch = tokens.prompts(list(prompts), NEW_TOKENS)
    config = generation_config(
        tokens.tokenizer, max_new_tokens=NEW_TOKENS, temperature=0, top_p=1.0
    )
    config.use_cache = use_cache
    inputs = {"input_ids": batch.ids, "attention_mask": batch.attention.long()}
    given = intervention(act)
    with model.trace(**inputs, generation_config=config, fn="generate") as tracer:
        apply_in_trace(model, given)
        ids = tracer.result.save()
    return decoded(hosts, ids)


def decoded(hosts: Hosts, ids: torch.Tensor) -> list[str]:
    tokenizer: Any = hosts.oracle.tokenizer
    return list(tokenizer.batch_decode(ids[:, -NEW_TOKENS:], skip_special_tokens=True))


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("done", PLANS)
@pytest.mark.parametrize("name", NAMES)
def test_texts_are_those_without_a_cache_in_a_batch_and_one_by_one_on_every_host(
    name: str, done: str, positions: str, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    act = dataclasses.replace(PLANS[done], positions=positions)
    wanted = hosts.wanted(act)

    for adapter in (hosts.bridge, hosts.trace):
        assert by_adapter(adapter, PROMPTS, act) == wanted
        assert [by_adapter(adapter, [prompt], act)[0] for prompt in PROMPTS] == wanted


@pytest.mark.parametrize("generate", [by_bridge, by_trace])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("done", PLANS)
@pytest.mark.parametrize("name", NAMES)
def test_texts_by_the_hosts_own_means_are_the_same_with_a_cache_and_without(
    name: str,
    done: str,
    use_cache: bool,
    generate: Callable[[Hosts, Sequence[str], Plan, bool], list[str]],
    hosts_of: Callable[[str], Hosts],
) -> None:
    hosts = hosts_of(name)
    for positions in POSITIONS:
        act = dataclasses.replace(PLANS[done], positions=positions)

        assert generate(hosts, PROMPTS, act, use_cache) == hosts.wanted(act)


@pytest.mark.parametrize("done", PLANS)
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_and_each_choice_of_positions_leads_to_a_text_of_its_own(
    name: str, done: str, hosts_of: Callable[[str], Hosts]
) -> None:
    """Otherwise the tests above would pass without steering."""
    hosts = hosts_of(name)

    texts = [
        hosts.wanted(None),
        *(hosts.wanted(dataclasses.replace(PLANS[done], positions=where)) for where in POSITIONS),
    ]

    assert len(set(map(tuple, texts))) == len(texts)
