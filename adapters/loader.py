"""From a hub id, a folder or a file to a model behind an adapter."""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from steer_plugin.adapters.model_source import Source, source_of
from steer_plugin.adapters.shared.checkpoint_weights import ATTENTION, WholeCheckpoint
from steer_plugin.adapters.shared.component_paths import texts_alone
from steer_plugin.adapters.shared.gguf_conversion import GGUFLoader, LoadedFile
from steer_plugin.adapters.shared.installers import installers
from steer_plugin.adapters.shared.placement import Placement
from steer_plugin.adapters.shared.shipped_tokenizer import (
    copied_for_bridge,
    copied_tokenizer,
    puts_bos,
)
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.cache import default_cache
from steer_plugin.settings.model import ModelSettings
from steer_plugin.storage.artifacts import one_line
from steer_plugin.storage.file_hashes import FileHashes


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
    source = source_of(settings, hashes)
    try:
        with installers() as refused:
            adapter = _load(source, settings, budget, hashes, say)
    except ModelError:
        raise
    except Exception as error:  # readers of model files raise whatever they stumble over
        hint = "" if source.gguf is None else "; it may be cut short, fetch it again"
        if "home directory" in str(error):  # of pathlib, which nnsight asks for its settings
            hint = "; set HOME to a folder of yours"
        reason = f"{_with_cause(error)}{hint}"
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


def _with_cause(error: Exception) -> str:
    """Say what failed, and why.

    Of a connection that broke transformers says that a file is not there; what a hub answered it
    says itself.
    """
    cause = error.__cause__
    what = one_line(error)[:300]
    if cause is None or isinstance(cause, HfHubHTTPError) or one_line(cause) in one_line(error):
        return what
    return f"{what} ({one_line(cause)[:300]})"


def _load(
    source: Source,
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
    }
    file = None
    remote = settings.host == "ndif"
    placement = None if remote else Placement.of(settings)
    if source.gguf is not None and placement is not None:
        dtype = str(placement.dtype or torch.float32).removeprefix("torch.")
        loader = GGUFLoader(source.gguf, source.sha256, dtype, {"device_map": placement.device})
        file = loader.load(budget, hashes, say)
    tokenizer = source.tokenizer() if file is None else file.tokenizer
    config = None if file is not None else AutoConfig.from_pretrained(**source.at)
    shared["revision"] = source.revision_with(config)
    if settings.host == "transformer_lens" and placement is not None:
        from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter

        with texts_alone():
            if file is None:
                bridge = _load_bridge(source, config, placement, tokenizer)
            else:
                bridge = _bridge_of(file, source.name)
        return BridgeAdapter(bridge, tokenizer=tokenizer, **shared)
    if settings.host == "transformers" and placement is not None:
        from steer_plugin.adapters.transformers.model_adapter import ModelAdapter

        plain = _load_model(source, _class_of(config), placement) if file is None else file.model
        return ModelAdapter(plain, tokenizer=tokenizer, **shared)
    from nnsight.modeling.transformers import TransformersModel

    from steer_plugin.adapters.nnsight.ndif import NDIF
    from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter

    if file is not None:
        model = file.model
    elif placement is None:
        model = source.path
    else:
        model = _load_model(source, _class_of(config), placement)
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


def _class_of(config: Any) -> Any:
    """Choose what loads a model by its configuration, of those that read images as well."""
    reads_images = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    alone = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or not reads_images
    return AutoModelForCausalLM if alone else AutoModelForImageTextToText


def _load_model(source: Source, model_class: Any, placement: Placement) -> Any:
    model = WholeCheckpoint(source.name, model_class).from_pretrained(
        **source.at,
        dtype=placement.dtype or "auto",
        device_map=placement.device,
        attn_implementation=ATTENTION,
        **placement.quantized,
    )
    return model if source.adapter is None else source.adapter.merged_into(model)


def _load_bridge(source: Source, config: Any, placement: Placement, tokenizer: Any) -> Any:
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources.transformers import (
        determine_architecture_from_hf_config,
        get_hf_model_class_for_architecture,
    )

    architecture = determine_architecture_from_hf_config(config)  # type: ignore[no-untyped-call]
    model_class = get_hf_model_class_for_architecture(architecture)
    if placement.quantization is not None or source.adapter is not None:
        model = _load_model(source, model_class, placement)
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
