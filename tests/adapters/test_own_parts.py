"""Somebody's own pooling and operation do the same on every host, and travel to a server."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nnsight
import numpy as np
import pytest
import torch
from nnsight.intervention.serialization import dumps
from torch import Tensor

from steer_plugin import Intervention
from steer_plugin.activations.pooling import pooler
from steer_plugin.adapters.nnsight.portable_code import portable
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import InterventionError, ModelError, SiteError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.parts import OPERATIONS, POOLINGS, SITES, Site

from support.own_parts import as_before
from support.plans import intervention, plan
from support.tiny_models import Tiny

TEXTS = ["air ant apple bark bay", "cat", "rain owl garden sea ship fox"]
SITE = "mlp.hook_post"
QUERIES = "attn.q.hook_out"


def part_way(h: Tensor, v: Tensor, share: float) -> Tensor:
    return torch.lerp(h, v.expand_as(h), share)


def counted(activations: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid.unsqueeze(-1).to(activations.device), activations, 0)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with as_before(OPERATIONS, POOLINGS, SITES):
        paths = {"gemma3_text": "self_attn.q_proj.output"}
        SITES.add(QUERIES, Site("queries", paths=paths, before="attn.hook_z"))

        @OPERATIONS.register("part-way", verb="move")
        def move(h: Tensor, v: Tensor, strength: float) -> Tensor:
            return part_way(h, v, strength)

        @POOLINGS.register("average")
        def average(activations: Tensor, valid: Tensor) -> Tensor:
            total = counted(activations, valid).sum(1)
            return total / valid.sum(1, keepdim=True).to(total.device)

        yield


@pytest.fixture(params=["transformer_lens", "nnsight"])
def adapter(request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]) -> Adapter:
    model = tiny_model("gemma3")
    if request.param == "nnsight":
        traced = nnsight.NNsight(copy.deepcopy(model.plain))
        return TraceAdapter(traced, tokenizer=model.tokenizer, bos=True)
    return BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)


def test_they_do_what_ours_of_the_same_arithmetic_do(adapter: Adapter) -> None:
    blend = intervention(plan(SITE, "blend", strength=0.5))
    theirs = replace(blend, operation="part-way")
    assert theirs.describe().startswith("move ")
    assert theirs.hash != blend.hash

    wanted, found = (
        gather(adapter, TEXTS, [Reading(SITE, pooling)], intervention=step)
        for pooling, step in (("mean", blend), ("average", theirs))
    )

    np.testing.assert_allclose(
        found[Reading(SITE, "average")], wanted[Reading(SITE, "mean")], rtol=0, atol=1e-6
    )


def test_a_site_of_ones_own_is_read_and_steered_alike_on_both_hosts(
    tiny_model: Callable[[str], Tiny],
) -> None:
    model = tiny_model("gemma3")
    seen: list[Tensor] = []
    projection = model.plain.model.layers[1].self_attn.q_proj
    handle = projection.register_forward_hook(lambda *given: seen.append(given[2]))
    with torch.no_grad():
        model.plain(torch.tensor([model.tokenizer(TEXTS[1])["input_ids"]]))
    handle.remove()
    step = Intervention(QUERIES, (1, 1), (0, 3), (2.0, -1.0), "set")
    readings = [Reading(QUERIES, "last", (1,)), Reading("hook_resid_post", "last", (1,))]

    answers = [
        gather(each, TEXTS, readings, intervention=plan_)
        for plan_ in (None, step)
        for each in (
            BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True),
            TraceAdapter(
                nnsight.NNsight(copy.deepcopy(model.plain)), tokenizer=model.tokenizer, bos=True
            ),
        )
    ]

    for reading in readings:
        for bridge, trace in (answers[:2], answers[2:]):
            np.testing.assert_allclose(bridge[reading], trace[reading], rtol=0, atol=1e-5)
    np.testing.assert_allclose(answers[0][readings[0]][1], seen[0][0, -1], atol=1e-5)
    np.testing.assert_allclose(answers[2][readings[0]][:, [0, 3]], [[2.0, -1.0]] * 3)
    assert (answers[2][readings[1]] - answers[0][readings[1]]).abs().max() > 1e-4
    nearest = r"^'attn\.k' is not a site; choose one of: .*, attn\.q\.hook_out"
    with pytest.raises(SiteError, match=nearest):
        BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True).space("attn.k")


def test_they_travel_as_source_to_where_neither_they_nor_this_package_are(tmp_path: Path) -> None:
    step = Intervention(SITE, (0,), (1,), (2.0,), "part-way", strength=0.5)
    sent = tmp_path / "sent"
    sent.write_bytes(dumps((step, portable(pooler("average").function))))
    program = f"""
import sys, torch
class Gone:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("steer_plugin", "tests", "support"):
            raise ImportError(name)
sys.meta_path.insert(0, Gone())
from nnsight.intervention.serialization import loads
step, average = loads(open({str(sent)!r}, "rb").read())
h = torch.ones(1, 2, 3)
print(step.arithmetic.function(h, torch.full((3,), 3.0), step.strength).flatten().tolist())
print(average(h, torch.ones(1, 2, dtype=torch.bool)).tolist())
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [str([2.0] * 6), "[[1.0, 1.0, 1.0]]"], done.stderr


def test_a_plan_is_saved_with_whose_operation_it_is_and_says_so_where_it_is_gone(
    tmp_path: Path,
) -> None:
    step = Intervention(SITE, (0,), (1,), (2.0,), "part-way", strength=0.5)
    step.save(tmp_path / "plan")
    assert Intervention.load(tmp_path / "plan") == step
    del OPERATIONS._parts["part-way"]

    message = f"^this was made with the operation 'part-way' of {__name__}, which is not registered"
    with pytest.raises(InterventionError, match=message):
        Intervention.load(tmp_path / "plan")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda h, *_: h[..., :1], "gave [(]2, 3, 1[)] for activations of shape"),
        (lambda h, v, *_: h + v, "changes activations at strength 0, which is none; let its"),
        (lambda h, *_: h.missing, "the operation 'wrong' of .* failed: AttributeError: "),
    ],
)
def test_an_operation_that_is_none_is_refused_before_a_model_runs(
    function: Callable[..., Tensor], message: str
) -> None:
    OPERATIONS.register("wrong")(function)
    with pytest.raises(InterventionError, match=message):
        Intervention(SITE, (0,), (1,), (2.0,), "wrong")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda activations, *_: activations, "gave [(]2, 3, 4[)] for 2 texts and 4 units; gi"),
        (lambda activations, *_: activations.sum(1), "looks at tokens that do not count, whic"),
        (lambda _, valid: valid.missing, "the pooling 'wrong' of .* failed: Attribute"),
    ],
)
def test_a_pooling_that_is_none_is_refused_before_a_model_runs(
    function: Callable[..., Tensor], message: str
) -> None:
    POOLINGS.register("wrong")(function)
    with pytest.raises(ModelError, match=message):
        pooler("wrong")
