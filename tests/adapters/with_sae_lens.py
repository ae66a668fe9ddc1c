"""Autoencoders of SAELens and our plans on one bridge.

No `test_` in the name: SAELens takes TransformerLens 3 alone, so `.ci/run` names this file in the
environment that has both, and no other run collects it. Missing, SAELens is an error there.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from steer_plugin import Reading, adapt, gather, steered
from steer_plugin.errors import InterventionError, SiteError

from support import tiny_models
from support.oracle import Oracle
from support.plans import intervention, plan
from support.tiny_models import D_MODEL, Tiny

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge
    from sae_lens.saes.sae import SAEMetadata

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "other-analyses.md"
TEXT = "bird boat key lake leaf"
LAYER = 1
WIDTHS = {"hook_resid_post": D_MODEL, "mlp.hook_post": 24}
PLAN = plan("mlp.hook_post", "set", layers=(0,))
TOLERANCE = 1e-5


@pytest.fixture
def model(shipped: Callable[[str], Any]) -> Tiny:
    """Give a bridge of the test's own, since a place is not what it was once SAELens left it."""
    return tiny_models.boot("llama", shipped("llama"))


@pytest.fixture
def oracle(model: Tiny) -> Oracle:
    return Oracle("llama", model.plain, model.tokenizer, bos=True)


@pytest.fixture
def bridge(model: Tiny) -> Iterator[Any]:
    """Give the bridge as `SAETransformerBridge.boot_transformers` makes it: of another class."""
    held: Any = model.bridge
    kind = type(held)
    held.__class__ = SAETransformerBridge
    held._acts_to_saes, held._transcoder_output_hooks = {}, {}
    yield held
    held.reset_saes()
    held.__class__ = kind
    assert model.hooks() == []


def autoencoder(site: str) -> Any:
    torch.manual_seed(0)
    sae = StandardSAE(
        StandardSAEConfig(
            d_in=WIDTHS[site],
            d_sae=40,
            metadata=SAEMetadata(hook_name=f"blocks.{LAYER}.{site}"),
        )
    )
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.normal_()
    return sae


def features(sae: Any, activations: Tensor) -> Tensor:
    """Encode as the paper says it, without SAELens."""
    with torch.no_grad():
        return torch.relu((activations - sae.b_dec) @ sae.W_enc + sae.b_enc)


def close(answer: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(answer, wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("site", WIDTHS)
def test_features_of_the_steered_model_are_those_of_plain_hooks(
    site: str, model: Tiny, oracle: Oracle
) -> None:
    sae = autoencoder(site)
    name = sae.cfg.metadata.hook_name
    ids = oracle.ids(TEXT)

    with steered(model.bridge, intervention(PLAN)), torch.no_grad():
        _, cache = model.bridge.run_with_cache(torch.tensor([ids]), names_filter=[name])
        answer = sae.encode(cache[name])[0]

    _, read = oracle.forward(ids, PLAN, read=[(site, LAYER)])
    wanted = features(sae, read[site, LAYER])
    assert 0 < (wanted > 0).float().mean() < 1
    close(answer, wanted)
    _, unsteered = oracle.forward(ids, read=[(site, LAYER)])
    assert (features(sae, unsteered[site, LAYER]) - wanted).abs().max() > 0.1


@pytest.mark.parametrize("site", WIDTHS)
@pytest.mark.parametrize("plan_first", [True, False])
def test_a_plan_acts_with_an_autoencoder_in_place(
    plan_first: bool, site: str, bridge: Any, oracle: Oracle
) -> None:
    sae = autoencoder(site)
    ids = oracle.ids(TEXT)
    blocks = [steered(bridge, intervention(PLAN)), bridge.saes(saes=[sae])]

    first, second = blocks if plan_first else blocks[::-1]
    with first, second, torch.no_grad():
        logits, cache = bridge.run_with_cache(torch.tensor([ids]))
        held = cache[bridge.get_sae_hook_name(sae)][0]

    module, side = oracle.module(site, LAYER)
    wanted: dict[str, Tensor] = {}

    def reconstruct(tensor: Tensor) -> Tensor:
        wanted["features"] = features(sae, tensor)
        return (wanted["features"] @ sae.W_dec + sae.b_dec).detach()

    register = {
        "input": lambda: module.register_forward_pre_hook(lambda _, args: reconstruct(args[0])),
        "output": lambda: module.register_forward_hook(lambda _, __, output: reconstruct(output)),
    }
    handle = register[side]()
    reference, _ = oracle.forward(ids, PLAN)
    handle.remove()
    close(held, wanted["features"][0])
    close(logits[0], reference)


def test_experts_are_read_with_an_autoencoder_in_place_elsewhere(
    model: Tiny, bridge: Any, oracle: Oracle
) -> None:
    adapter = adapt(bridge, tokenizer=model.tokenizer, bos=True)
    reading = Reading("mlp.hook_post", "max", (0,))
    alone = gather(adapter, [TEXT], [reading])[reading]

    with bridge.saes(saes=[autoencoder("hook_resid_post")]):
        beside = gather(adapter, [TEXT], [reading])[reading]

    _, read = oracle.forward(oracle.ids(TEXT), read=[("mlp.hook_post", 0)])
    close(beside[0], read["mlp.hook_post", 0][1:].amax(0))
    assert torch.equal(alone, beside)


def test_the_place_of_an_autoencoder_is_refused(model: Tiny, bridge: Any) -> None:
    sae = autoencoder("mlp.hook_post")
    there = intervention(plan("mlp.hook_post", "set", layers=(LAYER,)))
    adapter = adapt(bridge, tokenizer=model.tokenizer)
    reading = Reading("mlp.hook_post", "max", (LAYER,))
    refusal = r"_SAEWrapper is attached there; detach it \(SAELens: bridge.reset_saes\(\)\)"
    gather(adapter, [TEXT], [reading])

    with bridge.saes(saes=[sae]):
        with pytest.raises(SiteError, match=refusal), steered(bridge, there):
            pass
        with pytest.raises(SiteError, match=refusal):
            gather(adapter, [TEXT], [reading])
    with pytest.raises(InterventionError, match="attach no autoencoder"), steered(bridge, there):
        bridge.run_with_saes(TEXT, saes=[sae])


def test_the_example_of_the_docs_runs(
    model: Tiny, oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = autoencoder("hook_resid_post")
    monkeypatch.chdir(tmp_path)
    sae.save_model("sae")
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    ids = oracle.ids(TEXT)
    names: dict[str, Any] = {
        "bridge": model.bridge,
        "plan": intervention(PLAN),
        "steered": steered,
        "tokens": torch.tensor([ids]),
        "torch": torch,
    }

    exec(block, names)  # noqa: S102

    _, read = oracle.forward(ids, PLAN, read=[("hook_resid_post", LAYER)])
    close(names["features"][0], features(sae, read["hook_resid_post", LAYER]))
