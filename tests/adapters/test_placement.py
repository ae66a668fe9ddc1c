"""Where a model is loaded, in which dtype, and in how many bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.shared import placement
from steer_plugin.adapters.shared.placement import Placement
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.model import ModelSettings
from steer_plugin.settings.names import FINAL_NORM, QUANTIZE

from support import saved_models
from support.oracle import Oracle

HOSTS = ("transformer_lens", "nnsight")
TEXTS = ["air ant bay", "sea ship fox hill key", "owl"]
Accelerators = Callable[..., None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model in bfloat16."""
    path = tmp_path_factory.mktemp("model") / "llama"
    saved_models.save_model(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    model.save_pretrained(path)
    return path


@pytest.fixture
def accelerators(monkeypatch: pytest.MonkeyPatch) -> Accelerators:
    """Let torch tell of accelerators that this machine may lack."""

    def tell(count: int, kind: str = "cuda") -> None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))

    return tell


@pytest.mark.parametrize(
    ("count", "kind", "device", "dtype"),
    [
        (0, "cuda", "cpu", torch.float32),
        (1, "cuda", "cuda", None),
        (1, "mps", "mps", None),
        (8, "cuda", "auto", None),
    ],
)
def test_auto_is_the_accelerator_there_is_in_the_checkpoints_dtype(
    count: int, kind: str, device: str, dtype: Any, accelerators: Accelerators
) -> None:
    accelerators(count, kind)
    chosen = Placement.of(ModelSettings("m"))
    assert (chosen.device, chosen.dtype, chosen.quantization) == (device, dtype, None)
    assert chosen.spread == (count > 1)
    # What is asked for goes first.
    asked = Placement.of(ModelSettings("m", device="cpu", dtype="float16"))
    assert (asked.device, asked.dtype) == ("cpu", torch.float16)


def test_the_checkpoints_dtype_is_read_off_its_configuration(folder: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(folder)
    assert Placement("cuda", None).dtype_for(config) == torch.bfloat16
    assert Placement("cuda", torch.float16).dtype_for(config) == torch.float16
    config.dtype = None
    assert Placement("cuda", None).dtype_for(config) == torch.float32


@pytest.mark.parametrize("host", HOSTS)
def test_where_a_model_is_and_in_which_dtype_is_recorded(
    host: Any, folder: Path, accelerators: Accelerators
) -> None:
    accelerators(0)
    assert load(folder, host).dtype == "float32"
    # Spread by accelerate, as over several devices.
    for settings in ({}, {"device": "sequential", "dtype": "bfloat16"}):
        info = load(folder, host, **settings)
        assert (info.device, info.dtype) == ("cpu", settings.get("dtype", "float32"))


def load(folder: Path, host: str, **settings: Any) -> Any:
    return load_adapter(ModelSettings(str(folder), host=host, **settings)).info


@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("quantize", QUANTIZE)
def test_a_quantised_model_answers_as_transformers_quantises_it(
    quantize: Any,
    host: Any,
    folder: Path,
    accelerators: Accelerators,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accelerators(0)
    kinds = {
        "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "int8": {"load_in_8bit": True},
    }
    # The oracle's CPU knows no bfloat16, and ours does, whatever this machine has.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
    plain: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        device_map="cpu",
        quantization_config=transformers.BitsAndBytesConfig(**kinds[quantize]),
        attn_implementation="eager",
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    oracle = Oracle("llama", plain, tokenizer, bos=True)
    settings = ModelSettings(str(folder), host=host, quantize=quantize, bos=True, batch_tokens=1)
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)

    adapter = load_adapter(settings)

    assert "float32, weights " in adapter.info.dtype
    reading = Reading(FINAL_NORM, "max")
    np.testing.assert_allclose(
        gather(adapter, TEXTS, [reading])[reading],
        oracle.responses(TEXTS, [(FINAL_NORM, 0)], "max"),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("host", HOSTS)
def test_a_checkpoint_in_4_bits_computes_in_the_dtype_that_is_recorded(
    host: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
    kind = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    plain: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=kind, attn_implementation="eager"
    )
    plain.save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    settings = ModelSettings(
        str(tmp_path), host=host, device="cpu", dtype="float32", bos=True, batch_tokens=1
    )

    adapter = load_adapter(settings)

    reading = Reading(FINAL_NORM, "max")
    np.testing.assert_allclose(
        gather(adapter, TEXTS, [reading])[reading],
        Oracle("llama", plain, tokenizer, bos=True).responses(TEXTS, [(FINAL_NORM, 0)], "max"),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_quantised_is_refused_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="'int3' is not a quantisation; choose one of: nf4, int8"):
        ModelSettings("m", quantize="int3")  # type: ignore[arg-type]
    for name in ("demo", "some.GGUF"):
        with pytest.raises(ModelError, match=f"nf4 was given for {name}, whose weights come quant"):
            ModelSettings(name, quantize="nf4")
    with pytest.raises(ModelError, match="device cpu and quantize nf4 given for the host ndif"):
        ModelSettings("m", host="ndif", device="cpu", quantize="nf4")
    monkeypatch.setattr(placement, "find_spec", {}.get)
    with pytest.raises(ModelError, match=r"takes bitsandbytes, .*'steer-plugin\[quantize\]'"):
        load_adapter(ModelSettings(str(folder), quantize="nf4"))
