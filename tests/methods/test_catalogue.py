"""The rival methods: what each plans, and that it is done alike on every host."""

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import nnsight
import numpy as np
import pytest
import torch

from steer_plugin import ProbeSettings
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import InterventionError, SelectionError, SiteError
from steer_plugin.experts.selection import Choice
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.methods.catalogue import (
    plan_method,
    suited_methods,
)
from steer_plugin.methods.steering_vectors import SteeringVectors, find_vectors
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.responses.probe import Probe, probe_under, probe_units
from steer_plugin.scores.transport import linear_transport
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.settings.parts import METHODS

from support import tiny_models
from support.oracle import Oracle, Plan
from support.tiny_models import Tiny

CONCEPTS = ("deu_Latn", "eng_Latn", "fra_Latn")
SENTENCES, UNITS = 20, 8
TOP_K = 3


def _probe(site: str) -> Probe:
    generator = np.random.default_rng(len(site))
    labels, sentences = np.indices((len(CONCEPTS), SENTENCES)).reshape(2, -1)
    responses = generator.normal(size=(len(labels), 2 * UNITS))
    responses[labels == 1, ::3] += 1.0
    return Probe(
        responses=torch.from_numpy(responses),
        active=None,
        tokens=np.ones(len(labels), dtype=np.int64),
        labels=labels,
        concepts=CONCEPTS,
        sentences=sentences,
        space=UnitSpace(site, (0, 3), (UNITS, UNITS)),
        provenance={"model": "planted"},
    )


PROBE = _probe("mlp.hook_post")


@cache
def _experts(score: str = "auroc") -> ExpertTable:
    return score_units(PROBE, score, lines=True)


def _under(plan: AnyPlan | None, layer: int) -> Probe:
    """Give the responses of a layer of a model in which what a plan does doubles the concept's."""
    units = PROBE.space.layer_slice(layer)
    moved = 0.0 if plan is None else 1.0
    sign = torch.from_numpy(np.where(PROBE.labels == 1, 2.0, 1.0))[:, None]
    return replace(
        PROBE,
        responses=PROBE.responses[:, units] * sign**moved,
        space=UnitSpace(PROBE.space.site, (layer,), (UNITS,)),
    )


@pytest.fixture(scope="module")
def vectors() -> SteeringVectors:
    return find_vectors(_probe("hook_resid_post"))


def _plan(
    name: str,
    vectors: SteeringVectors | None,
    concept: str = "eng_Latn",
    layer: int = 3,
    score: str = "auroc",
) -> Intervention:
    return plan_method(
        name,
        _experts(score),
        vectors,
        concept,
        top_k=TOP_K,
        layer=layer,
        positions="prompt",
        bos=False,
        probe_under=_under,
    )


def _own_and_others(plan: Intervention) -> tuple[np.ndarray, np.ndarray]:
    """Give the responses of the plan's units to the concept's sentences, and to all others."""
    units = [UNITS * (0, 3).index(at) + i for at, i in zip(plan.layers, plan.indices, strict=True)]
    chosen = PROBE.responses.numpy()[:, units]
    return chosen[PROBE.labels == 1], chosen[PROBE.labels != 1]


def test_the_methods_are_those_of_the_literature_in_this_order() -> None:
    assert list(METHODS) == [
        "set-mean",
        "set-median",
        "blend-mean",
        "add-mean-difference",
        "linear-act",
        "linear-act-incremental",
        "aura",
        "zero",
        "steer-mean-difference",
        "steer-pca",
    ]


def test_each_has_a_title_of_its_own_and_says_who_proposed_it() -> None:
    assert len({method.title for method in METHODS.values()}) == len(METHODS)
    assert all(method.title and method.citation for method in METHODS.values())


@pytest.mark.parametrize(
    ("name", "operation", "strength"),
    [
        ("set-mean", "set", 1.0),
        ("set-median", "set", 1.0),
        ("blend-mean", "blend", 0.5),
        ("add-mean-difference", "add", 1.0),
        ("zero", "set", 1.0),
    ],
)
def test_a_method_of_units_does_what_its_name_says_to_the_experts(
    name: str, operation: str, strength: float
) -> None:
    plan = _plan(name, None)

    own, others = _own_and_others(plan)
    value = {
        "set-mean": own.mean(0),
        "set-median": np.median(own, 0),
        "blend-mean": own.mean(0),
        "add-mean-difference": own.mean(0) - others.mean(0),
        "zero": np.zeros(TOP_K),
    }[name]
    np.testing.assert_allclose(plan.values, value, rtol=1e-6)
    assert (plan.site, plan.operation, plan.strength) == ("mlp.hook_post", operation, strength)
    assert plan.gains == ()
    best = _experts().intervention("eng_Latn", top_k=TOP_K)
    assert (plan.layers, plan.indices) == (best.layers, best.indices)


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("steer-")])
@pytest.mark.parametrize(
    "choice", [Choice("bottom"), Choice(per_layer=True), Choice(layers=(3, 3))], ids=str
)
def test_every_method_of_units_steers_those_that_are_chosen(name: str, choice: Choice) -> None:
    planned = partial(
        plan_method, name, _experts(), None, "eng_Latn", top_k=TOP_K, layer=3, probe_under=_under
    )
    if METHODS[name].auroc and choice.selection == "bottom":
        assert name not in suited_methods(choice)
        with pytest.raises(InterventionError, match="selection='bottom', but 'aura'"):
            planned(choice=choice)
        return
    plan = planned(choice=choice)

    chosen = _experts().intervention("eng_Latn", top_k=TOP_K, choice=choice)
    assert (plan.layers, plan.indices) == (chosen.layers, chosen.indices)
    best = _experts().intervention("eng_Latn", top_k=TOP_K)
    assert (plan.layers, plan.indices) != (best.layers, best.indices)


def test_linear_act_moves_the_experts_from_the_others_to_the_concept() -> None:
    plan = _plan("linear-act", None)

    own, others = _own_and_others(plan)
    line = linear_transport(others, own)
    assert (plan.operation, plan.strength) == ("affine", 1.0)
    for found, wanted in (
        (plan.gains, line.gain),
        (plan.values, line.offset),
        (plan.lows, others.min(0)),
        (plan.highs, others.max(0)),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_aura_takes_each_experts_auroc_and_no_other_score() -> None:
    plan = _plan("aura", None)

    own, others = _own_and_others(plan)
    wanted = [
        np.mean([a > b for a in own[:, unit] for b in others[:, unit]]) for unit in range(TOP_K)
    ]
    np.testing.assert_allclose(plan.values, wanted)
    with pytest.raises(InterventionError, match=r"the table holds average_precision; .* by auroc"):
        _plan("aura", None, score="average_precision")


@pytest.mark.parametrize(
    ("name", "kind"), [("steer-mean-difference", "mean_difference"), ("steer-pca", "pca")]
)
def test_a_method_of_vectors_adds_its_vector_after_the_block(
    name: str, kind: str, vectors: SteeringVectors
) -> None:
    plan = _plan(name, vectors)

    assert plan == Intervention(
        "hook_resid_post",
        layers=(3,) * UNITS,
        indices=tuple(range(UNITS)),
        values=tuple(vectors.vectors[kind][1, UNITS:].tolist()),  # type: ignore[index]
        operation="add",
        positions="prompt",
        bos=False,
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_its_name_keeps_the_tokens_asked_for_and_is_saved_and_loaded_alike(
    name: str, vectors: SteeringVectors, tmp_path: Path
) -> None:
    plan = _plan(name, vectors)

    assert (plan.positions, plan.bos) == ("prompt", False)
    assert plan.provenance["method"] == name
    assert plan.provenance["concept"] == "eng_Latn"
    assert plan.provenance["model"] == "planted"
    plan.save(tmp_path / "plan")
    back = Intervention.load(tmp_path / "plan")
    assert back == plan
    assert back.hash == plan.hash
    assert back.provenance == plan.provenance


def test_no_two_methods_plan_the_same(vectors: SteeringVectors) -> None:
    assert len({_plan(name, vectors) for name in METHODS}) == len(METHODS)


# On real models


def _corpus() -> ParallelCorpus:
    """Give each language words of its own, sentence by sentence of one length."""
    draw = random.Random(0)  # noqa: S311 (no secret)
    lengths = [draw.randint(2, 9) for _ in range(12)]
    return ParallelCorpus.read(
        {
            language: [
                " ".join(draw.choices(tiny_models.WORDS[20 * row : 20 * row + 20], k=length))
                for length in lengths
            ]
            for row, language in enumerate(CONCEPTS)
        }
    )


def _as_oracle_takes_it(plan: Intervention) -> Plan:
    return Plan(
        plan.site,
        tuple(zip(plan.layers, plan.indices, plan.values, strict=True)),
        plan.operation,
        plan.strength,
        plan.positions,
        plan.bos,
        tuple(zip(plan.gains, plan.lows, plan.highs, strict=True)),
    )


@pytest.mark.parametrize("architecture", ["gpt2", "gemma3"])
def test_every_method_does_the_same_to_a_model_on_every_host(
    architecture: str, tiny_model: Callable[[str], Tiny]
) -> None:
    model = tiny_model(architecture)
    bridge = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)
    traced = nnsight.NNsight(copy.deepcopy(model.plain))
    trace = TraceAdapter(traced, tokenizer=model.tokenizer, bos=True)
    oracle = Oracle(architecture, model.plain, model.tokenizer, bos=True)
    corpus, reading = _corpus(), Reading(FINAL_NORM, "mean")
    experts = score_units(probe_units(bridge, corpus), "auroc", lines=True)
    vectors = find_vectors(
        probe_units(bridge, corpus, ProbeSettings(site="hook_resid_post", pooling="mean"))
    )
    texts = corpus.texts[0][:4]
    before = gather(bridge, texts, [reading])[reading].numpy()

    for name in METHODS:
        plan = plan_method(
            *(name, experts, vectors, "deu_Latn"),
            top_k=6,
            layer=1,
            probe_under=probe_under(bridge, corpus),
        )
        wanted = oracle.responses(texts, [(FINAL_NORM, 0)], "mean", _as_oracle_takes_it(plan))
        assert np.abs(wanted - before).max() > 1e-3
        for host in (bridge, trace):
            found = gather(host, texts, [reading], intervention=plan)[reading].numpy()
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5, err_msg=name)


def test_a_steering_vector_takes_the_mean_of_the_others_to_that_of_its_concept(
    tiny_model: Callable[[str], Tiny],
) -> None:
    model = tiny_model("llama")
    bridge = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)
    corpus = _corpus()
    probe = probe_units(bridge, corpus, ProbeSettings(site="hook_resid_post", pooling="mean"))
    vectors = find_vectors(probe)
    plan = plan_method(
        "steer-mean-difference", score_units(probe, "auroc"), vectors, "eng_Latn", top_k=1, layer=2
    )

    texts, labels = corpus.labelled()
    reading = Reading("hook_resid_post", "mean", (2,))
    found = gather(bridge, texts, [reading], intervention=plan)[reading].numpy()

    before = probe.responses.numpy()[:, probe.space.layer_slice(2)]
    np.testing.assert_allclose(found - before, [plan.values] * len(texts), atol=1e-5)
    others = found[labels != 1].mean(0)
    np.testing.assert_allclose(others, before[labels == 1].mean(0), atol=1e-5)


# What is not there


def test_what_is_missing_is_told(vectors: SteeringVectors) -> None:
    with pytest.raises(InterventionError, match="'caa' is not a method; choose one of: set-mean, "):
        _plan("caa", vectors)
    for name, method in METHODS.items():
        if method.vectors:
            with pytest.raises(InterventionError, match=f"'{name}' adds a steering vector; give v"):
                _plan(name, None)
            with pytest.raises(SiteError, match="layer 1 has no units at hook_resid_post"):
                _plan(name, vectors, layer=1)
        with pytest.raises(SelectionError, match="'ita_Latn'"):
            _plan(name, vectors, concept="ita_Latn")
