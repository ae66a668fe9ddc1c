"""The nnsight adapter against plain Hugging Face models and against TransformerLens."""

import copy
import dataclasses
import itertools
import random
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from nnsight.modeling.language import LanguageModel
from nnsight.modeling.transformers import TransformersModel

from steer_plugin import ParallelCorpus, ProbeSettings, adapt, embed, find_experts, steered
from steer_plugin.activations.pooling import ACTIVE
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.shared.module_paths import (
    MODULE_PATHS,
    ModulePaths,
    register_module_paths,
)
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ModelError, SiteError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.settings.parts import OPERATIONS, POOLINGS

from support import saved_models, tiny_models
from support.covering import pairwise
from support.oracle import PATHS, Key, Oracle, pooled
from support.plans import POSITIONS, SITES, intervention, plan
from support.same_answers import assert_same_but_for_rounding
from support.tiny_models import ARCHITECTURES, MAX_TOKENS, MORE_ARCHITECTURES, N_LAYERS, Tiny

TOLERANCE = 1e-5
ALL = (*ARCHITECTURES, *MORE_ARCHITECTURES)
MODEL_TYPES = {"gemma3": "gemma3_text", "neox": "gpt_neox"}


def sentence(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(tiny_models.WORDS, k=words))  # noqa: S311


TEXTS = [sentence(words, seed) for seed, words in enumerate((4, 1, 40, 9, 2))]
PROMPTS = [sentence(words, 40 + words) for words in (2, 6, 1)]
# No two sentences begin alike: what a model makes of equal beginnings is equal but for rounding,
# and rounding would break the ties.
CORPUS = ParallelCorpus.read(
    {
        language: [
            f"{tiny_models.WORDS[10 * start + words]} {sentence(words + 1, 10 * start + words)}"
            for words in range(10)
        ]
        for start, language in enumerate(("eng_Latn", "deu_Latn", "fra_Latn"))
    }
)


@dataclasses.dataclass(frozen=True)
class Hosts:
    """One model three times: the oracle's, nnsight's and TransformerLens's."""

    oracle: Oracle
    trace: TraceAdapter
    bridge: BridgeAdapter


@pytest.fixture(scope="module")
def hosts_of(tiny_model: Callable[[str], Tiny]) -> Callable[[str], Hosts]:
    @cache
    def make(name: str) -> Hosts:
        model = tiny_model(name)
        traced = nnsight.NNsight(copy.deepcopy(model.plain))
        return Hosts(
            Oracle(name, model.plain, model.tokenizer, bos=True),
            TraceAdapter(traced, tokenizer=model.tokenizer, bos=True, batch_tokens=64),
            BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True, batch_tokens=64),
        )

    return make


def keys_of(site: str) -> list[Key]:
    return [(site, layer) for layer in range(1 if site == FINAL_NORM else N_LAYERS)]


def mlp_means(adapter: Adapter, given: Intervention | None = None) -> np.ndarray:
    reading = Reading("mlp.hook_post", "mean")
    return gather(adapter, TEXTS, [reading], intervention=given)[reading].numpy()


def assert_close(found: Any, wanted: np.ndarray, message: str = "") -> None:
    """Compare float32 activations of up to about 10, in which rounding grows with their size."""
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE, err_msg=message)


# Reading


@pytest.mark.parametrize("name", ALL)
def test_every_site_and_pooling_in_one_pass_is_the_same_on_all_hosts(
    name: str, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    readings = [Reading(site, pooling) for site in PATHS[name] for pooling in (*POOLINGS, ACTIVE)]
    # In an order that no forward pass has.
    random.Random(0).shuffle(readings)  # noqa: S311

    traced = gather(hosts.trace, TEXTS, readings)
    hooked = gather(hosts.bridge, TEXTS, readings)

    assert traced.tokens.tolist() == [len(hosts.oracle.ids(text)) - 1 for text in TEXTS]
    every = [key for site in PATHS[name] for key in keys_of(site)]
    expected = [hosts.oracle.activations(text, every) for text in TEXTS]
    for reading in readings:
        wanted = np.stack(
            [
                np.concatenate([pooled(of[key], reading.pooling) for key in keys_of(reading.site)])
                for of in expected
            ]
        )
        assert traced[reading].dtype == torch.float32
        space = hosts.trace.space(reading.site)
        assert len(space) == wanted.shape[1]
        assert space == hosts.bridge.space(reading.site)
        for found in (traced[reading], hooked[reading]):
            assert_close(found, wanted, str(reading))


@pytest.mark.parametrize("host", ["trace", "bridge"])
def test_every_other_batch_alone_gives_the_same_responses_to_the_last_bit(
    host: str, hosts_of: Callable[[str], Hosts]
) -> None:
    adapter: Adapter = getattr(hosts_of("gemma3"), host)
    reading = Reading("hook_resid_post", "mean")
    texts = [sentence(words, words) for words in range(1, 24)]

    planned = adapter.batches(texts)
    whole = list(adapter.collect(texts, [reading]))
    rows = np.sort(np.concatenate(planned[::2]))
    part = list(adapter.collect([texts[row] for row in rows], [reading]))

    assert len(planned) > 5
    assert [list(one) for one in planned] == [list(batch.rows) for batch in whole]
    for batch, same in zip(whole[::2], part, strict=True):
        assert list(batch.rows) == list(rows[same.rows])
        assert torch.equal(batch.responses[reading], same.responses[reading])


@pytest.mark.parametrize("name", ALL)
def test_the_experts_are_the_same(name: str, hosts_of: Callable[[str], Hosts]) -> None:
    site = "mlp.hook_post" if "mlp.hook_post" in PATHS[name] else "hook_mlp_out"
    hosts = hosts_of(name)

    traced, hooked = (
        find_experts(adapter, CORPUS, ProbeSettings(site=site))
        for adapter in (hosts.trace, hosts.bridge)
    )

    assert_same_but_for_rounding(
        (traced, hooked), (hosts.trace, hosts.bridge), CORPUS.labelled()[0], Reading(site, "max")
    )


# Steering


def steered_cases() -> list[tuple[str, str, str]]:
    """Give each pair of an operation and a site the next architecture that has the site."""
    names, cases = [*ALL], []
    for operation, site in pairwise([*OPERATIONS], [*SITES]):
        name = next(name for name in names if site in PATHS[name])
        names.remove(name)
        names.append(name)
        cases.append((name, operation, site))
    assert {name for name, _, _ in cases} == {*ALL}
    return cases


@pytest.mark.parametrize(("name", "operation", "site"), steered_cases())
def test_embeddings_after_each_operation_are_the_same_on_all_hosts(
    name: str, operation: str, site: str, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    layers = (0,) if site == FINAL_NORM else (0, 2)
    chosen = plan(site, operation, layers=layers)
    reading = Reading(FINAL_NORM, "mean")

    found = [
        gather(adapter, TEXTS, [reading], intervention=intervention(chosen))[reading].numpy()
        for adapter in (hosts.trace, hosts.bridge)
    ]

    wanted = hosts.oracle.responses(TEXTS, keys_of(FINAL_NORM), "mean", chosen)
    for one in found:
        assert_close(one, wanted)
    before = hosts.oracle.responses(TEXTS, keys_of(FINAL_NORM), "mean")
    assert np.abs(wanted - before).max() > 1e-3


@pytest.mark.parametrize("site", SITES)
def test_what_is_steered_is_read_as_it_was_written(
    site: str, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of("gemma3")
    chosen = plan(site, "set", layers=(0,) if site == FINAL_NORM else (0, 2))

    found = gather(hosts.trace, TEXTS, [Reading(site, "max")], intervention=intervention(chosen))[
        Reading(site, "max")
    ]

    wanted = hosts.oracle.responses(TEXTS, keys_of(site), "max", chosen)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "positions"), [*zip(ALL, itertools.cycle(POSITIONS), strict=False)]
)
def test_greedy_texts_under_intervention_are_the_same_on_all_hosts(
    name: str, positions: str, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    chosen = plan("hook_resid_post", "add", positions=positions, strength=1.0)

    found = [
        adapter.generate(
            PROMPTS, intervention=intervention(chosen), max_new_tokens=5, temperature=0
        ).texts
        for adapter in (hosts.trace, hosts.bridge)
    ]

    wanted = tuple(hosts.oracle.greedy(prompt, 5, chosen) for prompt in PROMPTS)
    assert found == [wanted, wanted]


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("positions", POSITIONS)
def test_bos_is_steered_only_where_the_plan_says_so(
    positions: str, bos: bool, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of("gpt2")
    chosen = plan("mlp.hook_post", "set", width=64, positions=positions, bos=bos)

    found = hosts.trace.losses(
        TEXTS, intervention=intervention(chosen), context=MAX_TOKENS, stride=MAX_TOKENS - 1
    )

    for text, losses in zip(TEXTS, found, strict=True):
        wanted = hosts.oracle.losses(text, MAX_TOKENS, MAX_TOKENS - 1, chosen)
        np.testing.assert_allclose(losses, wanted, rtol=0, atol=TOLERANCE)


def test_sampled_texts_depend_on_the_seed_and_are_those_of_transformer_lens(
    hosts_of: Callable[[str], Hosts],
) -> None:
    hosts = hosts_of("llama")
    chosen = intervention(plan("mlp.hook_post", "set"))

    def sampled(adapter: Adapter, seed: int) -> tuple[str, ...]:
        return adapter.generate(
            PROMPTS, intervention=chosen, max_new_tokens=8, top_p=0.9, seed=seed
        ).texts

    state = torch.get_rng_state()
    assert sampled(hosts.trace, 3) == sampled(hosts.bridge, 3) != sampled(hosts.trace, 4)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom"])
def test_losses_in_windows_are_those_of_the_oracle(
    name: str, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    chosen = plan("mlp.hook_post", "blend")
    texts = [text for text in TEXTS if len(text.split()) > 2]

    found = hosts.trace.losses(texts, intervention=intervention(chosen), context=16, stride=8)

    for text, losses in zip(texts, found, strict=True):
        wanted = hosts.oracle.losses(text, 16, 8, chosen)
        np.testing.assert_allclose(losses, wanted, rtol=0, atol=TOLERANCE)


def test_nothing_stays_steered(hosts_of: Callable[[str], Hosts]) -> None:
    trace = hosts_of("llama").trace
    before = mlp_means(trace)

    after = mlp_means(trace, intervention(plan("mlp.hook_post", "set")))
    trace.generate(PROMPTS, intervention=intervention(plan("mlp.hook_post", "set")))

    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(mlp_means(trace), before)


# Models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.save_model(tmp_path_factory.mktemp("models") / "llama")


def test_a_transformers_model_gives_what_a_bare_one_gives(
    folder: Path, hosts_of: Callable[[str], Hosts], shipped: Callable[[str], Any]
) -> None:
    model = TransformersModel(
        str(folder),
        task="text-generation",
        tokenizer=copy.deepcopy(shipped("llama")),
        dispatch=True,
        device_map="cpu",
    )
    adapter = adapt(model)

    assert_close(mlp_means(adapter), mlp_means(hosts_of("llama").trace))
    assert adapter.info == dataclasses.replace(
        hosts_of("llama").trace.info, name=str(folder), host=f"nnsight {nnsight.__version__}"
    )
    assert (
        adapter.generate(PROMPTS, temperature=0).texts
        == hosts_of("llama").trace.generate(PROMPTS, temperature=0).texts
    )


def test_a_deprecated_language_model_still_works(
    folder: Path, hosts_of: Callable[[str], Hosts], shipped: Callable[[str], Any]
) -> None:
    with pytest.warns(nnsight.NNsightDeprecationWarning):
        model = LanguageModel(str(folder), tokenizer=copy.deepcopy(shipped("llama")), dispatch=True)

    assert_close(mlp_means(adapt(model)), mlp_means(hosts_of("llama").trace))


def test_a_model_without_weights_is_not_loaded_behind_the_users_back(
    folder: Path, shipped: Callable[[str], Any]
) -> None:
    model = TransformersModel(str(folder), task="text-generation", tokenizer=shipped("llama"))

    with pytest.raises(ModelError, match=r"no weights here; load it with dispatch=True, or give"):
        adapt(model)
    assert not model.dispatched


def test_a_float64_model_answers_in_float64_to_its_full_precision(
    shipped: Callable[[str], Any],
) -> None:
    model = tiny_models.model("gpt2", dtype=torch.float64)
    oracle = Oracle("gpt2", copy.deepcopy(model), shipped("gpt2"), bos=True)
    adapter = adapt(nnsight.NNsight(model), tokenizer=shipped("gpt2"))

    found = mlp_means(adapter)

    assert found.dtype == np.float64
    wanted = oracle.responses(TEXTS, keys_of("mlp.hook_post"), "mean")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


def test_a_bfloat16_model_is_steered_in_its_own_dtype(shipped: Callable[[str], Any]) -> None:
    model = tiny_models.model("llama", dtype=torch.bfloat16)
    adapter = adapt(nnsight.NNsight(model), tokenizer=shipped("llama"))

    found = mlp_means(adapter, intervention(plan("hook_resid_post", "add")))

    assert adapter.info.dtype == "bfloat16"
    assert np.isfinite(found).all()


def test_a_model_without_its_head_is_read_as_well(
    hosts_of: Callable[[str], Hosts], shipped: Callable[[str], Any]
) -> None:
    base = copy.deepcopy(hosts_of("llama").oracle.model.model)

    found = mlp_means(adapt(nnsight.NNsight(base), tokenizer=shipped("llama")))

    assert_close(found, mlp_means(hosts_of("llama").trace))


def test_a_model_in_training_mode_is_put_out_of_it(shipped: Callable[[str], Any]) -> None:
    model = tiny_models.model("gpt2").train()

    adapt(nnsight.NNsight(model), tokenizer=shipped("gpt2"))

    assert not model.training


# What cannot be done is said


@pytest.mark.parametrize(
    ("name", "site", "why"),
    [
        ("mixtral", "mlp.hook_post", "its MLP is a mixture of experts"),
        ("qwen3_moe", "mlp.hook_pre", "its MLP is a mixture of experts"),
        ("phi3", "mlp.hook_pre_linear", "its MLP computes both halves in one projection"),
        ("gpt2", "mlp.hook_pre_linear", "it has no such tensor"),
    ],
)
def test_a_site_that_cannot_be_reached_is_refused_by_name(
    name: str, site: str, why: str, hosts_of: Callable[[str], Hosts]
) -> None:
    trace = hosts_of(name).trace

    for act in (
        lambda: trace.space(site),
        lambda: gather(trace, TEXTS, [Reading(site, "max")]),
        lambda: trace.generate(PROMPTS, intervention=Intervention(site, (0,), (0,), (1.0,))),
    ):
        with pytest.raises(SiteError, match=rf"{name} has no {site} in layer 0: {why}.*hook_resid"):
            act()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": (7,)}, "layer 7 does not exist; the model has blocks 0..2"),
        ({"indices": (24,)}, "unit L0N24 does not exist: mlp.hook_post has 24 units in layer 0"),
        ({"site": FINAL_NORM, "layers": (1,)}, "is one place, layer 0; layer 1 was given"),
    ],
)
def test_a_plan_for_another_model_is_refused_before_anything_runs(
    wrong: dict[str, Any], message: str, hosts_of: Callable[[str], Hosts]
) -> None:
    trace = hosts_of("llama").trace
    fields = {"site": "mlp.hook_post", "layers": (0,), "indices": (0,), "values": (1.0,), **wrong}
    given = Intervention(**fields)

    for act in (
        lambda: gather(trace, TEXTS, [Reading("mlp.hook_post", "max")], intervention=given),
        lambda: trace.generate(PROMPTS, intervention=given),
        lambda: trace.losses(TEXTS, intervention=given),
    ):
        with pytest.raises(SiteError, match=message):
            act()


def homemade() -> Any:
    model = tiny_models.model("llama")
    model.__class__ = type("Homemade", (type(model),), {})
    model.config.model_type = "homemade"
    model.config.architectures = ["Homemade"]
    return model


def test_an_unknown_architecture_is_named_and_can_be_registered(
    shipped: Callable[[str], Any],
) -> None:
    model = homemade()
    adapter = adapt(nnsight.NNsight(model), tokenizer=shipped("llama"))
    with pytest.raises(
        SiteError, match=r"where a 'homemade' model \(Homemade\) has its sites is not known"
    ):
        adapter.space("mlp.hook_post")

    register_module_paths(
        "homemade",
        ModulePaths("layers", {"mlp.hook_post": "mlp.down_proj.input"}, "norm.output"),
    )

    try:
        assert len(adapter.space("mlp.hook_post")) == 72
        assert np.isfinite(
            mlp_means(adapter, Intervention("mlp.hook_post", (1,), (2,), (3.0,)))
        ).all()
    finally:
        del MODULE_PATHS["homemade"]


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (
            {"mlp.hook_post": "mlp.c_proj.input"},
            r"in layer 0: there is no module 'model.layers.0.mlp.c_proj'",
        ),
        (
            {"hook_resid_post": "output", "mlp.hook_post": "mlp.down_proj.input"},
            r"does not reach its sites in the order in which its module paths list them: '.*input",
        ),
    ],
)
def test_wrong_module_paths_are_told_from_a_wrong_model(
    sites: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    shipped: Callable[[str], Any],
) -> None:
    model = homemade()
    monkeypatch.setitem(MODULE_PATHS, "homemade", ModulePaths("layers", sites, "norm.output"))
    adapter = adapt(nnsight.NNsight(model), tokenizer=shipped("llama"))

    with pytest.raises(SiteError, match=message):
        gather(adapter, TEXTS, [Reading(site, "max") for site in sites])


def test_memory_that_does_not_suffice_is_told(
    monkeypatch: pytest.MonkeyPatch, hosts_of: Callable[[str], Hosts]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    trace = hosts_of("llama").trace
    monkeypatch.setattr(trace.model._module.model.layers[1], "forward", full)

    told = r"ran out of memory at one text of \d+ tokens \(CUDA .*give shorter texts"
    with pytest.raises(ModelError, match=told):
        mlp_means(trace)


@pytest.mark.parametrize(
    ("sites", "final_norm", "message"),
    [
        ({"mlp.hook_pots": "mlp.output"}, "norm.output", "'mlp.hook_pots' is not a site"),
        ({"hook_mlp_out": "mlp"}, "norm.output", "'mlp' must end in the side"),
        ({"hook_mlp_out": "mlp.output"}, "norm", "'norm' must end in the side"),
        ({FINAL_NORM: "norm.output"}, "norm.output", "give its path as final_norm"),
    ],
)
def test_paths_that_cannot_be_are_refused(
    sites: dict[str, str], final_norm: str, message: str
) -> None:
    with pytest.raises(SiteError, match=message):
        ModulePaths("layers", sites, final_norm)


def test_steered_is_not_for_nnsight_models(hosts_of: Callable[[str], Hosts]) -> None:
    with pytest.raises(ModelError, match="steered in its traces; call apply_in_trace there"):
        steered(hosts_of("llama").trace.model, intervention(plan("mlp.hook_post", "set")))


def test_what_only_a_server_does_is_refused_here(
    hosts_of: Callable[[str], Hosts], tiny_model: Callable[[str], Tiny]
) -> None:
    model = hosts_of("llama").trace.model
    with pytest.raises(ModelError, match="give remote=True"):
        adapt(model, ndif_url="http://127.0.0.1:1")
    with pytest.raises(ModelError, match="TransformerBridge runs here; NDIF runs nnsight models"):
        adapt(tiny_model("llama").bridge, remote=True)
    with pytest.raises(ModelError, match="only a model that a server can load by its name"):
        adapt(model, remote=True, ndif_url="http://127.0.0.1:1")


# Threads


def test_several_threads_share_a_model_and_get_their_own_answers(
    hosts_of: Callable[[str], Hosts], shipped: Callable[[str], Any]
) -> None:
    model = hosts_of("llama").trace.model
    plans = [intervention(plan("mlp.hook_post", "set", seed=seed)) for seed in range(6)]
    wanted = [mlp_means(hosts_of("llama").trace, given) for given in plans]
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        own = TraceAdapter(model, tokenizer=shipped("llama"), bos=True, batch_tokens=64)
        found[number] = mlp_means(own, plans[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(plans))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, expected in enumerate(wanted):
        np.testing.assert_array_equal(found[number], expected)


def test_embeddings_of_a_corpus_are_the_same_on_both_hosts(
    hosts_of: Callable[[str], Hosts],
) -> None:
    hosts = hosts_of("neox")
    given = intervention(plan("mlp.hook_post", "set"))

    for layer in ("final", 1):
        found, wanted = (
            embed(adapter, CORPUS, intervention=given, layer=layer)
            for adapter in (hosts.trace, hosts.bridge)
        )
        for language in CORPUS.languages:
            np.testing.assert_allclose(found[language], wanted[language], rtol=0, atol=TOLERANCE)
