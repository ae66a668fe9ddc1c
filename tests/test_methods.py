"""The rival methods: what each plans, from the statistics that it is defined by."""

from pathlib import Path

import numpy as np
import pytest
import torch

from steer_plugin.errors import InterventionError, SelectionError, SiteError
from steer_plugin.experts import ExpertTable, score_units
from steer_plugin.interventions import Intervention
from steer_plugin.methods import METHODS, UnitMethod, VectorMethod, plan_method
from steer_plugin.probing import Probe
from steer_plugin.scores import ScoreName
from steer_plugin.sites import UnitSpace
from steer_plugin.steering_vectors import SteeringVectors, find_vectors
from steer_plugin.transport import linear_transport

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


def _experts(score: ScoreName = "auroc") -> ExpertTable:
    return score_units(PROBE, score)


@pytest.fixture(scope="module")
def vectors() -> SteeringVectors:
    return find_vectors(_probe("hook_resid_post"))


def _plan(
    name: str,
    vectors: SteeringVectors | None,
    concept: str = "eng_Latn",
    layer: int = 3,
    score: ScoreName = "auroc",
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


def test_what_is_missing_is_told(vectors: SteeringVectors) -> None:
    with pytest.raises(InterventionError, match="'caa' is not a method; choose one of: set-mean, "):
        _plan("caa", vectors)
    for name, method in METHODS.items():
        assert isinstance(method, UnitMethod | VectorMethod)
        if isinstance(method, VectorMethod):
            with pytest.raises(InterventionError, match=f"'{name}' adds a steering vector; give v"):
                _plan(name, None)
            with pytest.raises(SiteError, match="layer 1 has no units at hook_resid_post"):
                _plan(name, vectors, layer=1)
        with pytest.raises(SelectionError, match="'ita_Latn'"):
            _plan(name, vectors, concept="ita_Latn")
