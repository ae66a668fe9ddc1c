"""Models that carry a state from token to token, which padding before a text would change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from steer_plugin import ModelSettings
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.errors import ModelError

from support import saved_models
from support.oracle import Oracle

PROMPTS = ["air ant bay bell bird", "cat", "desk ear", "key", ""]
NAMES = ("recurrent_gemma", "rwkv", "granitemoehybrid")


@pytest.mark.filterwarnings(
    "ignore:Module .* has a submodule named:UserWarning"
)  # nnsight, of RWKV
@pytest.mark.parametrize(
    ("name", "host"),
    [
        *((name, host) for name in NAMES for host in ("transformer_lens", "nnsight")),
        ("minimax", "nnsight"),  # TransformerLens 4.3 has none
    ],
)
def test_prompts_of_several_lengths_give_what_each_gives_alone(
    name: str, host: str, tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    folder = saved_models.save_model(tmp_path / name, name)
    adapter = load_adapter(ModelSettings(str(folder), host=host))
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    oracle = Oracle(name, plain, shipped(name), bos=True)

    together = adapter.generate(PROMPTS, max_new_tokens=6, temperature=0).texts

    assert together == tuple(oracle.greedy(prompt, 6) for prompt in PROMPTS)


@pytest.mark.parametrize("name", NAMES)
def test_sampled_texts_are_those_of_their_seed_on_every_host(name: str, tmp_path: Path) -> None:
    folder = saved_models.save_model(tmp_path / name, name)
    hosts = ("transformer_lens",) if name == "rwkv" else ("transformer_lens", "nnsight")
    adapters = [load_adapter(ModelSettings(str(folder), host=host)) for host in hosts]

    texts = [
        adapter.generate(PROMPTS, max_new_tokens=6, seed=seed).texts
        for adapter in adapters
        for seed in (5, 5, 6)
    ]

    assert texts[0] == texts[1] != texts[2]
    assert all(text == other for text, other in zip(texts, texts[3:], strict=False))


def test_a_granite_that_transformer_lens_cannot_run_is_refused_and_nnsight_runs_it(
    tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    """It says that it has no rotary embedding by saying nothing of one."""
    folder = saved_models.save_model(tmp_path / "granite", "granitemoehybrid")
    settings = json.loads((folder / "config.json").read_text())
    settings["position_embedding_type"] = None
    (folder / "config.json").write_text(json.dumps(settings))

    with pytest.raises(
        ModelError, match="would run rotary_emb, which GraniteMoeHybridFor"
    ) as error:
        load_adapter(str(folder))
    assert "\n" not in str(error.value)

    adapter = load_adapter(ModelSettings(str(folder), host="nnsight"))
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    oracle = Oracle("granitemoehybrid", plain, shipped("llama"), bos=True)
    texts = adapter.generate(PROMPTS, max_new_tokens=4, temperature=0).texts
    assert texts == tuple(oracle.greedy(prompt, 4) for prompt in PROMPTS)
