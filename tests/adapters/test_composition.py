"""Plans of several steps: on every host, PyTorch hooks that were set one after another."""

import nnsight
import numpy as np
import pytest
import torch

from steer_plugin import Intervention, Plan, apply_in_trace, steered
from steer_plugin.analyses.generation.texts import score_documents
from steer_plugin.errors import AnalysisError, SiteError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support.oracle import Oracle
from support.plans import composed, intervention, plan
from support.tiny_models import Tiny

pytestmark = pytest.mark.parametrize("model", ["gpt2", "gemma3"], indirect=True)

TOLERANCE = 1e-5
TEXTS = ["air ant apple bark bay", "cat", "rain owl garden sea ship fox"]
PROMPTS = ["air", "sea ship fox hill"]

# The same units twice, by operations that do not commute; the same layers at other sites, so that
# steps follow each other within a pass, and against its order.
SAME = (
    plan("mlp.hook_post", "scale", strength=1.0, seed=3),
    plan("mlp.hook_post", "add", strength=1.0, seed=3),
)
CASES = {
    "same units": SAME,
    "same units, backwards": SAME[::-1],
    "late before early": (
        plan("hook_resid_post", "blend", layers=(2,)),
        plan("attn.hook_z", "set", layers=(0, 1), bos=False),
        plan("mlp.hook_post", "affine", layers=(1,), positions="prompt", seed=1),
    ),
    "prompt, then generated": (
        plan("mlp.hook_post", "set", units=8, positions="prompt", seed=2),
        plan("mlp.hook_post", "set", units=8, positions="generated", seed=2),
        plan("hook_mlp_out", "scale", bos=False),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_verb_takes_a_plan(name: str, adapter: Adapter, oracle: Oracle) -> None:
    chosen, given = CASES[name], composed(CASES[name])
    assert isinstance(given, Plan)
    reading = Reading("ln_final.hook_out", "mean")

    found = gather(adapter, TEXTS, [reading], intervention=given)[reading]
    losses = adapter.losses(TEXTS[::2], intervention=given, context=8, stride=4)
    texts = adapter.generate(PROMPTS, intervention=given, max_new_tokens=6, temperature=0).texts

    wanted = oracle.responses(TEXTS, [("ln_final.hook_out", 0)], "mean", chosen)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)
    for scores, text in zip(losses, TEXTS[::2], strict=True):
        np.testing.assert_allclose(scores, oracle.losses(text, 8, 4, chosen), atol=TOLERANCE)
    assert texts == tuple(oracle.greedy(prompt, 6, chosen) for prompt in PROMPTS)


@pytest.mark.parametrize("name", CASES)
def test_hooks_blocks_and_traces_take_a_plan(
    name: str, model: Tiny, traced: nnsight.NNsight, oracle: Oracle
) -> None:
    given, ids = composed(CASES[name]), oracle.ids(TEXTS[0])
    wanted, _ = oracle.forward(ids, CASES[name])

    hooked = model.bridge.run_with_hooks(TEXTS[0], fwd_hooks=given.fwd_hooks(model.bridge))
    with steered(model.bridge, given), torch.no_grad():
        inside = model.bridge(torch.tensor([ids]))
    with traced.trace(torch.tensor([ids])):
        apply_in_trace(traced, given)
        trace = traced.output.logits.save()

    for logits in (hooked, inside, trace):
        np.testing.assert_allclose(logits[0].detach(), wanted, rtol=0, atol=TOLERANCE)
    assert model.hooks() == []


def test_the_order_of_steps_at_the_same_units_counts(adapter: Adapter) -> None:
    reading = Reading("mlp.hook_post", "max")
    one, other = (
        gather(adapter, TEXTS, [reading], intervention=given)[reading]
        for given in (composed(SAME), composed(SAME[::-1]))
    )
    assert (one - other).abs().max() > 0.1


def test_a_step_that_does_nothing_leaves_the_others_as_they_are(adapter: Adapter) -> None:
    reading = Reading("ln_final.hook_out", "mean")
    alone = intervention(SAME[0])
    nothing = Intervention("hook_resid_post", (99,), (0,), (1.0,), "add", strength=0.0)

    for given in (nothing + alone, alone + nothing, Plan((alone,))):
        assert torch.equal(
            gather(adapter, TEXTS, [reading], intervention=given)[reading],
            gather(adapter, TEXTS, [reading], intervention=alone)[reading],
        )


def test_a_step_for_another_model_is_refused(adapter: Adapter) -> None:
    wrong = intervention(SAME[0]) + Intervention("hook_mlp_out", (1,), (99,), (1.0,))

    with pytest.raises(SiteError, match="unit L1N99 does not exist: hook_mlp_out has 16 units"):
        adapter.generate(PROMPTS, intervention=wrong)


def test_perplexity_is_refused_where_a_step_steers_what_is_generated(adapter: Adapter) -> None:
    with pytest.raises(AnalysisError, match="the plan steers generated tokens"):
        score_documents(adapter, TEXTS, composed(CASES["prompt, then generated"]))
