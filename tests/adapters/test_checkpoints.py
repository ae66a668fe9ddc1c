"""Checkpoints that lack weights, or hold what their model has no place for, on every host."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from nnsight.modeling.transformers import TransformersModel

from steer_plugin import ModelSettings, adapt
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support import saved_models, tiny_models
from support.oracle import Oracle

HOSTS = ("transformer_lens", "nnsight")
TEXTS = ["air ant bay", "cat", "desk ear fire hand " * 2]
Weights = dict[str, torch.Tensor]


def without(weights: Weights, part: str) -> Weights:
    return {name: tensor for name, tensor in weights.items() if part not in name}


# Each with what is wrong with it, in an error's words.
DAMAGED: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "no MLP": (
        lambda weights: without(weights, "layers.1.mlp"),
        r"lacks 6 tensors: model\.layers\.1\.mlp\.down_proj\.bias, .*up_proj\.weight, which",
    ),
    "no head": (lambda weights: without(weights, "lm_head"), "lacks 1 tensor: lm_head.weight,"),
    "no blocks": (lambda weights: without(weights, "layers"), r"lacks 48 tensors: .* and 40 more,"),
    "another width": (
        lambda weights: {**weights, "model.norm.weight": torch.ones(9)},
        r"other shapes than its config\.json tells: 1 tensor: model.norm.weight \[9\] for \[16\]",
    ),
    "norms of queries": (
        lambda weights: {**weights, "model.layers.0.self_attn.q_norm.weight": torch.ones(8)},
        r"holds 1 tensor: model\.layers\.0\.self_attn\.q_norm\.weight, for which LlamaForCausalLM",
    ),
    "a bias of the head": (
        lambda weights: {**weights, "lm_head.bias": torch.ones(3)},
        "holds 1 tensor: lm_head.bias, for which",
    ),
    "a fourth block": (
        lambda weights: {**weights, "model.layers.3.mlp.up_proj.weight": torch.ones(3)},
        r"holds 1 tensor: model\.layers\.3\.mlp\.up_proj\.weight, for which",
    ),
    "a fourth block, without the base's name": (
        lambda weights: {
            **{name.removeprefix("model."): tensor for name, tensor in weights.items()},
            "layers.3.mlp.up_proj.weight": torch.ones(3),
        },
        r"holds 1 tensor: layers\.3\.mlp\.up_proj\.weight, for which",
    ),
}
HARMLESS: dict[str, Callable[[Weights], Weights]] = {
    "a vision tower": lambda weights: {**weights, "vision_tower.norm.weight": torch.ones(3)},
    "another head": lambda weights: {**weights, "score.weight": torch.ones(3)},
    "rotary tables": lambda weights: {
        **weights,
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "model.layers.0.self_attn.rotary_emb.cos_cached": torch.ones(4),
    },
    "a mask": lambda weights: {
        **weights,
        "model.layers.0.self_attn.attention.masked_bias": torch.ones(1),
    },
}


def change(folder: Path, act: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    weights = act(safetensors.torch.load_file(file))
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})


def means(adapter: Adapter) -> torch.Tensor:
    reading = Reading("ln_final.hook_out", "mean")
    return gather(adapter, TEXTS, [reading])[reading]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_checkpoint_that_is_not_its_model_is_refused_by_tensors(
    damage: str, host: str, tmp_path: Path
) -> None:
    act, message = DAMAGED[damage]
    folder = saved_models.save_model(tmp_path / "llama")
    change(folder, act)

    with pytest.raises(ModelError, match=message) as error:
        load_adapter(ModelSettings(str(folder), host=host))

    assert str(error.value).startswith("llama ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("addition", HARMLESS)
def test_tensors_that_the_model_can_do_without_are_left_out(
    addition: str, host: str, tmp_path: Path
) -> None:
    folder = saved_models.save_model(tmp_path / "llama")
    settings = ModelSettings(str(folder), host=host)
    wanted = means(load_adapter(settings))
    change(folder, HARMLESS[addition])

    assert torch.equal(means(load_adapter(settings)), wanted)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", [*tiny_models.ARCHITECTURES, *tiny_models.MORE_ARCHITECTURES])
def test_what_a_model_saves_of_itself_is_whole(name: str, host: str, tmp_path: Path) -> None:
    """Tied heads, which are saved once, among them."""
    folder = saved_models.save_model(tmp_path / name, name)

    assert load_adapter(ModelSettings(str(folder), host=host)).info.n_layers == 3


def test_a_model_that_is_given_in_memory_is_taken_as_it_is(
    tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    folder = saved_models.save_model(tmp_path / "llama")
    change(folder, DAMAGED["no MLP"][0])

    traced = TransformersModel(
        str(folder), task="text-generation", tokenizer=shipped("llama"), dispatch=True
    )

    assert torch.isfinite(means(adapt(traced))).all()


# GGUF


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"blk.1.ffn_up.weight": None}, r"lacks 1 tensor: model\.layers\.1\.mlp\.up_proj\.weight"),
        # transformers reads no configuration that tells of biases.
        ({"blk.0.attn_q.bias": torch.ones(16)}, r"holds 1 tensor: blk\.0\.attn_q\.bias, which"),
        ({"blk.3.ffn_up.weight": torch.ones(24, 16)}, r"holds 1 tensor: blk\.3\.ffn_up\.weight"),
        ({"rope_factors_long.weight": torch.ones(4)}, "holds 1 tensor: rope_factors_long.weight"),
        ({"rope_freqs.weight": torch.ones(5)}, "5 divisors of rotary frequencies .* has no such"),
    ],
)
def test_a_gguf_file_that_is_not_its_model_is_refused_by_tensors(
    changed: dict[str, torch.Tensor | None], message: str, host: str, tmp_path: Path
) -> None:
    file = saved_models.save_gguf(tmp_path / "tiny.gguf", changed=changed)

    with pytest.raises(ModelError, match=message):
        load_adapter(ModelSettings(str(file), host=host))


@pytest.mark.parametrize("host", HOSTS)
def test_the_rotary_divisors_of_a_gguf_file_are_those_that_llama_3_scales_with(
    host: str, tmp_path: Path
) -> None:
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    file = saved_models.save_gguf(tmp_path / "plain.gguf")
    source = {"pretrained_model_name_or_path": tmp_path, "gguf_file": file.name}
    settings = transformers.AutoConfig.from_pretrained(**source)
    unscaled = transformers.AutoModelForCausalLM.from_pretrained(**source)
    settings.rope_parameters = scaling
    oracle = Oracle(
        "llama",
        transformers.AutoModelForCausalLM.from_pretrained(
            **source, config=settings, attn_implementation="eager"
        ).eval(),
        transformers.AutoTokenizer.from_pretrained(**source),
        bos=load_adapter(str(file)).info.bos,
    )
    frequencies = [model.model.rotary_emb.inv_freq for model in (unscaled, oracle.model)]
    assert not torch.equal(*frequencies)
    saved_models.save_gguf(file, changed={"rope_freqs.weight": frequencies[0] / frequencies[1]})

    found = means(load_adapter(ModelSettings(str(file), host=host)))

    wanted = oracle.responses(TEXTS, [("ln_final.hook_out", 0)], "mean")
    torch.testing.assert_close(found.double(), torch.from_numpy(wanted), rtol=0, atol=1e-5)
    assert not torch.allclose(found, means(adapt_plain(tmp_path)), rtol=0, atol=1e-4)


def adapt_plain(folder: Path) -> Adapter:
    return load_adapter(str(saved_models.save_gguf(folder / "plain.gguf")))


def test_a_gguf_file_is_read_like_the_format_says(tmp_path: Path) -> None:
    import gguf

    from steer_plugin.adapters.shared.gguf_file import read_header

    file = saved_models.save_gguf(tmp_path / "tiny.gguf")

    header = read_header(file)

    reader = gguf.GGUFReader(file)
    assert header.architecture == "llama"
    assert {
        name: (tensor.shape, tensor.kind, tensor.start) for name, tensor in header.tensors.items()
    } == {
        tensor.name: (
            tuple(map(int, tensor.shape)),
            int(tensor.tensor_type),
            int(tensor.data_offset),
        )
        for tensor in reader.tensors
    }
