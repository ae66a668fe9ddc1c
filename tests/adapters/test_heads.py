"""Attention heads as units: on every host, what plain hooks do to all values of a head."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from nnsight.intervention.serialization import dumps

from steer_plugin import Intervention, apply_in_trace, steered
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support.oracle import Oracle, Plan, pooled
from support.tiny_models import N_LAYERS, Tiny

# One key a head, grouped and wide heads, tensors flattened over texts.
ARCHITECTURES = ["gpt2", "gemma3", "opt", "bloom"]
pytestmark = pytest.mark.parametrize("model", ARCHITECTURES, indirect=True)

TOLERANCE = 1e-5
TEXTS = ["air ant apple bark bay", "cat", "rain owl garden sea ship fox"]
PROMPTS = ["air", "sea ship fox hill"]
HEADS = 2
VALUES, NORMS = "attn.hook_z", "attn.hook_z.heads"


@pytest.fixture
def width(model: Tiny) -> int:
    """Give how many values a head has."""
    return {"gemma3": 10}.get(model.architecture, 8)


def both(units: dict[str, Any], operation: str, width: int, **fields: Any) -> tuple[Any, Plan]:
    """Plan something for heads, and for the oracle the same for each of their values."""
    plain = []
    for label, value in units.items():
        layer, head = map(int, label[1:].split("H"))
        numbers = value if isinstance(value, list) else [value] * width
        plain += [(layer, head * width + at, number) for at, number in enumerate(numbers)]
    plan = Intervention.of(units, site=VALUES, operation=operation, **fields)
    return plan, Plan(VALUES, tuple(plain), operation, **fields)


def cases(width: int) -> list[tuple[Any, Plan]]:
    vectors = {
        label: np.random.default_rng(head).normal(size=width).tolist()
        for head, label in enumerate(("L0H1", "L2H0", "L2H1"))
    }
    return [
        both({"L1H0": 0.0}, "set", width),
        both(vectors, "set", width, positions="prompt"),
        both({"L0H1": -1.5, "L2H0": 3.0}, "scale", width, strength=0.7, bos=False),
        both(vectors, "add", width, strength=2.0, positions=slice(-2, None)),
        both(vectors, "blend", width, strength=0.5),
        both({"L2H1": 0.9}, "aura", width),
    ]


@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
def test_a_head_responds_with_the_norm_of_its_values(
    pooling: str, adapter: Adapter, oracle: Oracle, width: int
) -> None:
    heads, values = Reading(NORMS, pooling), Reading(VALUES, pooling, (1,))

    space = adapter.space(NORMS)
    answers = gather(adapter, TEXTS, [values, heads, Reading("hook_resid_post", "mean")])

    assert (space.layers, space.widths) == (tuple(range(N_LAYERS)), (HEADS,) * N_LAYERS)
    assert [space.label(unit) for unit in (0, 3)] == ["L0H0", "L1H1"]
    keys = [(VALUES, layer) for layer in range(N_LAYERS)]
    for row, text in enumerate(TEXTS):
        activations = oracle.activations(text, keys)
        norms = [
            pooled(np.linalg.norm(tokens.reshape(-1, HEADS, width), axis=2), pooling)
            for tokens in activations.values()
        ]
        np.testing.assert_allclose(
            answers[heads][row], np.concatenate(norms), rtol=0, atol=TOLERANCE
        )
        np.testing.assert_allclose(
            answers[values][row], pooled(activations[VALUES, 1], pooling), rtol=0, atol=TOLERANCE
        )


def test_what_is_done_to_a_head_is_done_to_all_its_values(
    adapter: Adapter, oracle: Oracle, width: int
) -> None:
    reading = Reading("ln_final.hook_out", "mean")
    for plan, plain in cases(width):
        responses = gather(adapter, TEXTS, [reading], intervention=plan)[reading]
        wanted = oracle.responses(TEXTS, [("ln_final.hook_out", 0)], "mean", plain)
        np.testing.assert_allclose(responses, wanted, rtol=0, atol=TOLERANCE)
    plan, plain = cases(width)[1]
    texts = adapter.generate(PROMPTS, intervention=plan, max_new_tokens=5, temperature=0).texts
    losses = adapter.losses(TEXTS[:1], intervention=plan)
    assert list(texts) == [oracle.greedy(prompt, 5, plain) for prompt in PROMPTS]
    np.testing.assert_allclose(losses[0], oracle.losses(TEXTS[0], 64, 32, plain), atol=TOLERANCE)


def test_hooks_blocks_and_traces_steer_heads(
    model: Tiny, traced: nnsight.NNsight, oracle: Oracle, width: int
) -> None:
    ids = oracle.ids(TEXTS[0])
    for plan, plain in cases(width)[:2]:
        wanted, _ = oracle.forward(ids, plain)
        hooks = plan.fwd_hooks(model.bridge)
        hooked = model.bridge.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)
        with steered(model.bridge, plan), torch.no_grad():
            inside = model.bridge(torch.tensor([ids]))
        with traced.trace(torch.tensor([ids])):
            apply_in_trace(traced, plan)
            trace = traced.output.logits.save()
        for logits in (hooked, inside, trace):
            np.testing.assert_allclose(logits[0].detach(), wanted, rtol=0, atol=TOLERANCE)


def test_heads_that_a_model_lacks_are_refused(
    adapter: Adapter, adapters: Sequence[Adapter], width: int
) -> None:
    missing = Intervention.of({"L1H2": 0.0}, site=VALUES)
    longer = Intervention.of({"L1H1": [0.0] * (width + 1)}, site=VALUES)
    for plan, message in (
        (missing, "unit L1H2 does not exist: attn.hook_z has 2 heads in layer 1"),
        (longer, f"{width + 1} numbers for a head at attn.hook_z, and a head has {width} values"),
    ):
        with pytest.raises(SiteError, match=message):
            adapter.generate(PROMPTS, intervention=plan)
    bridge: Any = adapters[0]
    with (
        pytest.raises(SiteError, match="unit L1H2 does not exist"),
        steered(bridge.bridge, missing),
    ):
        bridge.bridge("air")


def test_a_plan_of_heads_travels_as_data(width: int) -> None:
    plan, _ = cases(width)[1]
    sent = dumps(dataclasses.replace(plan, provenance={"concept": "deu_Latn"}))
    assert b"steer_plugin.interventions" not in sent


def test_heads_and_single_values_are_not_mixed(width: int) -> None:
    for units, site, message in (
        ({"L1H0": 0.0, "L1N3": 0.0}, VALUES, "L1N3 is no head, and the units at .* are heads"),
        ({"L1H0": 0.0}, "mlp.hook_post", "has no attention heads; they are at attn.hook_z"),
        ({"L1N3": 0.0}, NORMS, "L1N3 is no head"),
    ):
        with pytest.raises(SiteError, match=message):
            Intervention.of(units, site=site)
    with pytest.raises(InterventionError, match="give each as many"):
        Intervention.of({"L1H0": [0.0] * width, "L1H1": 0.0}, site=VALUES)
    with pytest.raises(InterventionError, match="give one a unit"):
        Intervention.of({"L1N0": [0.0] * width}, site=VALUES)
