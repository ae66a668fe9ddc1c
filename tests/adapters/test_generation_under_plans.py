"""Generation under every operation: with and without a cache, in a batch and one by one."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin import ParallelCorpus, apply_in_trace, embed, embed_layers, steered
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.shared.sampling import generation_settings, nucleus
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import InterventionError
from steer_plugin.settings.parts import OPERATIONS

from support import tiny_models
from support.covering import pairwise
from support.oracle import Oracle, Plan
from support.plans import POSITIONS, intervention, plan
from support.tiny_models import Tiny

# Learned positions, and rotary ones within a window of five tokens.
NAMES = ("gpt2", "mistral")
PROMPTS = [
    " ".join(tiny_models.WORDS[start : start + words])
    for start, words in ((3, 2), (9, 12), (40, 1), (24, 7))
]
NEW_TOKENS = 6

NEURONS = {"width": 24, "layers": (0, 1, 2), "units": 20}
STREAM = {"width": tiny_models.D_MODEL, "layers": (1,), "units": tiny_models.D_MODEL}
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
    def wanted(self, chosen: Plan | None) -> tuple[str, ...]:
        """Continue each prompt alone, the whole text anew for each token."""
        return tuple(self.oracle.greedy(prompt, NEW_TOKENS, chosen) for prompt in PROMPTS)


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
) -> tuple[str, ...]:
    """Generate as the package does, with a cache."""
    return adapter.generate(
        prompts, intervention=intervention(act), max_new_tokens=NEW_TOKENS, temperature=0
    ).texts


def by_bridge(hosts: Hosts, prompts: Sequence[str], act: Plan, use_cache: bool) -> tuple[str, ...]:
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


def by_trace(hosts: Hosts, prompts: Sequence[str], act: Plan, use_cache: bool) -> tuple[str, ...]:
    """Generate by nnsight's own means."""
    model, tokens = hosts.trace.model, hosts.trace.tokens
    encoded = tokens.prompts(list(prompts), NEW_TOKENS)
    batch = tokens.pad(range(len(encoded)), encoded, left=True)
    settings = generation_settings(model._module, tokens.tokenizer, max_new_tokens=NEW_TOKENS)
    settings["use_cache"] = use_cache
    inputs = {"input_ids": batch.ids, "attention_mask": batch.attention.long()}
    given = intervention(act)
    with model.trace(**inputs, **settings, fn="generate") as tracer:
        apply_in_trace(model, given)
        ids = tracer.result.save()
    return decoded(hosts, ids)


def decoded(hosts: Hosts, ids: torch.Tensor) -> tuple[str, ...]:
    tokenizer: Any = hosts.oracle.tokenizer
    return tuple(tokenizer.batch_decode(ids[:, -NEW_TOKENS:], skip_special_tokens=True))


@pytest.mark.parametrize(("done", "positions", "name"), pairwise([*PLANS], POSITIONS, NAMES))
def test_texts_are_those_without_a_cache_in_a_batch_and_one_by_one_on_every_host(
    name: str, done: str, positions: str, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    act = dataclasses.replace(PLANS[done], positions=positions)
    wanted = hosts.wanted(act)

    for adapter in (hosts.bridge, hosts.trace):
        assert by_adapter(adapter, PROMPTS, act) == wanted
        # The longest and the shortest, which in the batch is padded most.
        for row in (1, 2):
            assert by_adapter(adapter, PROMPTS[row : row + 1], act) == wanted[row : row + 1]


@pytest.mark.parametrize(
    ("done", "positions", "name", "use_cache", "generate"),
    pairwise([*PLANS], POSITIONS, NAMES, [True, False], [by_bridge, by_trace]),
)
def test_texts_by_the_hosts_own_means_are_the_same_with_a_cache_and_without(
    name: str,
    done: str,
    positions: str,
    use_cache: bool,
    generate: Callable[[Hosts, Sequence[str], Plan, bool], tuple[str, ...]],
    hosts_of: Callable[[str], Hosts],
) -> None:
    hosts = hosts_of(name)
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


# Sampling

SCORES = st.one_of(
    # Ties everywhere, tokens that are ruled out, and both zeros.
    arrays.arrays(
        np.float32, (3, 9), elements=st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 1.0, 1.0, 3.5])
    ),
    arrays.arrays(np.float32, (2, 40), elements=st.floats(-30, 30, width=32)),
    st.integers(0, 1000).map(
        lambda seed: 9 * np.random.default_rng(seed).standard_normal((2, 3000), np.float32)
    ),
)


@given(scores=SCORES, top_p=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])))
def test_the_tokens_that_can_be_sampled_are_those_of_transformers_to_the_last_bit(
    scores: np.ndarray, top_p: float
) -> None:
    given_ = torch.from_numpy(scores)
    ids = torch.zeros((len(scores), 1), dtype=torch.int64)

    found = nucleus(ids, given_.clone(), top_p=top_p)

    wanted = transformers.TopPLogitsWarper(top_p)(ids, given_)
    assert torch.equal(found, wanted)
    assert torch.equal(found.softmax(-1).nan_to_num(), wanted.softmax(-1).nan_to_num())


def test_scores_that_are_no_numbers_are_left_to_whoever_samples() -> None:
    scores = torch.tensor([[float("nan"), 1.0, 2.0]])

    found = nucleus(torch.zeros((1, 1), dtype=torch.int64), scores, top_p=0.5)

    assert torch.equal(found.isnan(), scores.isnan())
    assert found[0, 1:].tolist() == [1.0, 2.0]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["embed", "embed and keep", "generate", "losses"])
@pytest.mark.parametrize("host", ["bridge", "trace"])
def test_several_plans_where_one_may_be_given_are_refused(
    host: str, name: str, hosts_of: Callable[[str], Hosts], tmp_path: Path
) -> None:
    plans: Any = [intervention(PLANS["set"]), intervention(PLANS["add"])]
    adapter = getattr(hosts_of("gpt2"), host)
    corpus = ParallelCorpus.read({"en": ["air"], "de": ["ant"]})
    calls: dict[str, Callable[[], Any]] = {
        "embed": lambda: embed(adapter, corpus, intervention=plans),
        "embed and keep": lambda: embed_layers(
            adapter, corpus, layers=["final"], intervention=plans, keep=tmp_path
        ),
        "generate": lambda: adapter.generate(PROMPTS, intervention=plans),
        "losses": lambda: adapter.losses(PROMPTS, intervention=plans),
    }
    with pytest.raises(
        InterventionError, match="of type list; give an Intervention, several in order"
    ):
        calls[name]()


@pytest.mark.usefixtures("unchecked")
def test_several_plans_in_a_block_are_refused(hosts_of: Callable[[str], Hosts]) -> None:
    plans: Any = [intervention(PLANS["set"]), intervention(PLANS["add"])]
    hosts = hosts_of("gpt2")
    with (
        pytest.raises(InterventionError, match="of type list"),
        steered(hosts.bridge.bridge, plans),
    ):
        pass
    with pytest.raises(ValueError, match="of type list; give an Intervention, or"):
        apply_in_trace(hosts.trace, plans)


# A checkpoint's own settings

OWN_SETTINGS: tuple[dict[str, Any], ...] = (
    {"min_p": 0.9},
    {"top_h": 0.2},
    {"top_k": 1, "do_sample": True},
    {"suppress_tokens": list(range(8, 40))},
    {"begin_suppress_tokens": list(range(8, 40))},
    {"bad_words_ids": [[number] for number in range(8, 40)]},
    {"sequence_bias": [[[12], 99.0]]},
    {"stop_strings": ["cat", "e"]},
    {"forced_eos_token_id": 5},
    {"num_return_sequences": 3, "do_sample": True},
    {"num_beams": 3},
    {"min_new_tokens": 3},
    {"max_time": 0.0},
    {"max_length": 2},
    {"guidance_scale": 2.0},
    {"prompt_lookup_num_tokens": 3},
    {"exponential_decay_length_penalty": [1, 9.0]},
    {"watermarking_config": {"bias": 9.0}},
    {"return_dict_in_generate": True, "output_scores": True},
    {"token_healing": True},
    {"is_assistant": True},
    # What transformers no longer knows.
    {"penalty_alpha": 0.6, "top_k": 4},
    {"dola_layers": "low"},
    {"constraints": [1]},
)


@cache
def texts_of(hosts: Hosts) -> list[tuple[str, ...]]:
    """Continue the prompts by both adapters, greedily and drawn."""
    return [
        adapter.generate(PROMPTS, max_new_tokens=NEW_TOKENS, **way).texts
        for adapter in (hosts.bridge, hosts.trace)
        for way in ({"temperature": 0.0}, {"temperature": 1.0, "seed": 3})
    ]


@pytest.mark.parametrize("own", OWN_SETTINGS, ids=lambda own: "-".join(own))
def test_of_a_checkpoints_own_settings_none_takes_effect(
    own: dict[str, Any], hosts_of: Callable[[str], Hosts], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = hosts_of("gpt2")
    wanted = texts_of(hosts)
    for model in (hosts.bridge.bridge.original_model, hosts.trace.model._module):
        changed = transformers.GenerationConfig.from_dict(
            {**model.generation_config.to_dict(), **own}
        )
        monkeypatch.setattr(model, "generation_config", changed)

    assert texts_of.__wrapped__(hosts) == wanted


def test_a_checkpoints_end_tokens_count(
    hosts_of: Callable[[str], Hosts], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = hosts_of("gpt2")
    tokenizer = hosts.oracle.tokenizer
    text = hosts.wanted(None)[1].split()
    ends = tokenizer.convert_tokens_to_ids([text[2], "sea"])

    for adapter, model in (
        (hosts.bridge, hosts.bridge.bridge.original_model),
        (hosts.trace, hosts.trace.model._module),
    ):
        changed = copy.deepcopy(model.generation_config)
        changed.eos_token_id = ends
        monkeypatch.setattr(model, "generation_config", changed)
        (ended,) = adapter.generate([PROMPTS[1]], max_new_tokens=NEW_TOKENS, temperature=0).texts
        assert ended.split() == text[: text.index(text[2]) + 1]
