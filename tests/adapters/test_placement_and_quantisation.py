"""Models whose weights are quantised, or are not all where the computing is."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import nnsight
import numpy as np
import pytest
import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import FINAL_NORM

from support import tiny_models
from support.oracle import PATHS, Oracle
from support.plans import intervention, plan
from support.quantised import QUANTISED
from support.tiny_models import N_LAYERS

TOLERANCE = 1e-5
NAME = "llama"
TEXTS = ["air ant bay", "sea ship fox hill key", "owl"]
PROMPTS = ["air cat", "sea"]


def bridged(model: Any, tokenizer: Any) -> BridgeAdapter:
    bridge: Any = TransformerBridge.boot_transformers(
        f"tiny-{NAME}", hf_model=model, tokenizer=copy.deepcopy(tokenizer), device="cpu"
    )
    return BridgeAdapter(bridge, tokenizer=tokenizer, bos=True, batch_tokens=1)


def traced(model: Any, tokenizer: Any) -> TraceAdapter:
    return TraceAdapter(nnsight.NNsight(model), tokenizer=tokenizer, bos=True, batch_tokens=1)


def assert_as_the_oracle(adapter: Adapter, oracle: Oracle) -> None:
    act = plan("mlp.hook_post", "blend")
    given = intervention(act)
    readings = [Reading(site, "max") for site in PATHS[NAME]]
    for acts in (None, act):
        found = gather(adapter, TEXTS, readings, intervention=None if acts is None else given)
        for reading in readings:
            layers = range(1 if reading.site == FINAL_NORM else N_LAYERS)
            keys = [(reading.site, layer) for layer in layers]
            wanted = oracle.responses(TEXTS, keys, "max", acts)
            np.testing.assert_allclose(
                found[reading], wanted, rtol=0, atol=TOLERANCE, err_msg=str(reading)
            )
    # One by one, as activations may be quantised by the largest of the batch.
    for prompt in PROMPTS:
        assert adapter.generate(
            [prompt], intervention=given, max_new_tokens=5, temperature=0
        ).texts == (oracle.greedy(prompt, 5, act),)
    (losses,) = adapter.losses(TEXTS[1:2], intervention=given, context=64, stride=63)
    np.testing.assert_allclose(losses, oracle.losses(TEXTS[1], 64, 63, act), atol=TOLERANCE)


@pytest.mark.parametrize("kind", QUANTISED)
def test_a_quantised_model_is_read_and_steered_as_plain_hooks_do_it(
    kind: str, shipped: Callable[[str], Any]
) -> None:
    quantise, dtype = QUANTISED[kind]
    quantised = quantise(tiny_models.model(NAME))
    oracle = Oracle(NAME, quantised, shipped(NAME), bos=True)
    exact = Oracle(NAME, tiny_models.model(NAME), shipped(NAME), bos=True)
    key = [("hook_resid_post", 2)]

    differs = oracle.responses(TEXTS, key, "max") - exact.responses(TEXTS, key, "max")
    assert np.abs(differs).max() > 100 * TOLERANCE
    for host in (bridged, traced):
        adapter = host(quantise(tiny_models.model(NAME)), shipped(NAME))
        assert adapter.info.dtype == dtype
        assert_as_the_oracle(adapter, oracle)


def test_a_model_whose_weights_are_fetched_as_they_are_needed_is_read_and_steered(
    shipped: Callable[[str], Any],
) -> None:
    oracle = Oracle(NAME, tiny_models.model(NAME), shipped(NAME), bos=True)

    def offloaded() -> Any:
        return accelerate.cpu_offload(tiny_models.model(NAME), execution_device=torch.device("cpu"))

    assert_as_the_oracle(bridged(offloaded(), shipped(NAME)), oracle)
    with pytest.raises(
        ModelError, match=r"first weights are offloaded.*; keep the embeddings on a"
    ):
        traced(offloaded(), shipped(NAME))


def test_a_model_whose_last_blocks_are_on_disk_is_read_and_steered(
    tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    tiny_models.model(NAME).save_pretrained(tmp_path / "model")
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.rotary_emb": "cpu"}
    places |= {"model.layers.1": "disk", "model.layers.2": "disk"}
    places |= {"model.norm": "cpu", "lm_head": "cpu"}
    oracle = Oracle(NAME, tiny_models.model(NAME), shipped(NAME), bos=True)

    def load() -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "model",
            device_map=places,
            offload_folder=tmp_path / "offload",
            attn_implementation="eager",
        )

    for host in (bridged, traced):
        assert_as_the_oracle(host(load(), shipped(NAME)), oracle)
