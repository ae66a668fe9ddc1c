"""Linear-AcT layer after layer: on every host, the maps that plain hooks and NumPy give."""

from functools import partial

import numpy as np
import pytest

from steer_plugin import ParallelCorpus, ProbeSettings, find_experts
from steer_plugin.errors import InterventionError
from steer_plugin.experts.selection import TOP
from steer_plugin.methods.catalogue import plan_method, suited_methods
from steer_plugin.models.adapter import Adapter
from steer_plugin.responses import probe_under

from support.oracle import Oracle, Plan

pytestmark = pytest.mark.parametrize("model", ["gpt2", "gemma3"], indirect=True)

SITE, POOLING, CONCEPT = "mlp.hook_post", "mean", "deu_Latn"
CORPUS = ParallelCorpus.read(
    {
        "eng_Latn": ["air ant", "cat dog day", "fire", "key lake", "moon sea hill", "oak ice"],
        "deu_Latn": ["book pen", "milk", "rain river road", "salt ship", "nut owl pear", "eye ear"],
    }
)
TOP_K = 12


def oracles_plan(oracle: Oracle, units: dict[int, list[int]]) -> Plan:
    """Fit each layer's lines to the responses under those of the layers below it."""
    plan = Plan(SITE, (), "affine")
    for layer, indices in units.items():
        others, own = (
            np.sort(oracle.responses(texts, [(SITE, layer)], POOLING, plan)[:, indices], axis=0)
            for texts in (CORPUS.sentences["eng_Latn"], CORPUS.sentences["deu_Latn"])
        )
        fitted = [np.polyfit(x, y, 1) for x, y in zip(others.T, own.T, strict=True)]
        more = [(layer, unit, float(line[1])) for unit, line in zip(indices, fitted, strict=True)]
        lines = [
            (float(line[0]), float(low), float(high))
            for line, low, high in zip(fitted, others[0], others[-1], strict=True)
        ]
        plan = Plan(SITE, (*plan.units, *more), "affine", lines=(*plan.lines, *lines))
    return plan


def test_each_layers_maps_are_of_responses_under_those_before(
    adapter: Adapter, oracle: Oracle
) -> None:
    settings = ProbeSettings(site=SITE, pooling=POOLING, lines=True)
    experts = find_experts(adapter, CORPUS, settings)
    planned = partial(
        plan_method, experts=experts, vectors=None, concept=CONCEPT, top_k=TOP_K, layer=0
    )

    layer_after_layer = partial(
        planned, "linear-act-incremental", probe_under=probe_under(adapter, CORPUS, settings)
    )
    (plan,) = layer_after_layer().steps
    (of_generated,) = layer_after_layer(positions="generated").steps
    (at_once,) = planned("linear-act").steps

    units = {layer: indices.tolist() for layer, (indices, _) in plan.units.items()}
    assert len(units) > 1
    wanted = oracles_plan(oracle, units)
    found = [plan.values, plan.gains, plan.lows, plan.highs]
    expected = [[unit[2] for unit in wanted.units], *zip(*wanted.lines, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert (plan.layers, plan.indices) == (at_once.layers, at_once.indices)
    lowest = len(next(iter(units.values())))
    np.testing.assert_allclose(plan.gains[:lowest], at_once.gains[:lowest], rtol=1e-5)
    assert np.abs(np.subtract(plan.gains, at_once.gains)).max() > 1e-2
    assert plan.provenance["method"] == "linear-act-incremental"
    np.testing.assert_array_equal(of_generated.gains, plan.gains)
    assert of_generated.positions == "generated"


def test_it_is_planned_with_a_model_at_hand_and_where_it_is_named(adapter: Adapter) -> None:
    experts = find_experts(adapter, CORPUS, ProbeSettings(site=SITE))
    with pytest.raises(InterventionError, match="reads responses under its own plan; give probe"):
        plan_method("linear-act-incremental", experts, None, CONCEPT, top_k=1, layer=0)
    assert "linear-act-incremental" not in suited_methods(TOP)
    nothing = plan_method(
        *("linear-act-incremental", experts, None, CONCEPT),
        top_k=0,
        layer=0,
        probe_under=probe_under(adapter, CORPUS),
    )
    assert nothing.changes_nothing
