"""Models on their hosts: `adapt` and `load_adapter`; a host is imported only for its own models.

May import: the core; never an analysis.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.shared.module_paths import ModulePaths, register_module_paths
from steer_plugin.adapters.transformers.wrappers import is_transformers_model
from steer_plugin.errors import ModelError
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.model import BATCH_TOKENS, ModelSettings

__all__ = ["ModulePaths", "adapt", "load_adapter", "register_module_paths", "steered"]


def adapt(
    model: Any,
    *,
    tokenizer: Any = None,
    bos: bool | None = None,
    name: str | None = None,
    revision: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
    chat: bool = False,
    remote: bool = False,
    ndif_url: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Adapter:
    """Put a model behind the few verbs that every analysis uses.

    Args:
        model: a causal language model of transformers, also one wrapped by PEFT or torch.compile, a
            TransformerLens `TransformerBridge`, or an nnsight `TransformersModel`, `LanguageModel`
            or `NNsight`. A hub id or a folder (of adapters too) or a file is loaded first, as
            `load_adapter` does.
        tokenizer: the tokenizer as the model ships it; None takes the model's own, or loads it
            from where the model is from.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        name: what results record as the model's name; None takes the one it was loaded by.
        revision: which weights these are, as results record it; None takes the commit where it is
            known. Answers of a model on a server are kept only where it is known.
        batch_tokens: padded tokens a batch, fewer from where memory ends on.
        chat: whether each text is what the user says, in the tokenizer's chat template.
        remote: whether an NDIF server runs the nnsight model, which then needs no weights here.
        ndif_url: of that server; None takes nnsight's own setting, as for the API key.
        say: told, a line each, when memory ends, and what takes long on a server; None tells
            nobody.

    Raises:
        ModelError: the model is of no host that is known here, is an encoder-decoder, has no
            weights though it is to run here, its tokenizer cannot be loaded, or the server does not
            answer.
    """
    if not remote and ndif_url is not None:
        raise ModelError("ndif_url is for a model that runs remotely; give remote=True")
    if isinstance(model, (str, Path)):
        named = {"tokenizer": tokenizer, "name": name, "revision": revision}
        given = [word for word, value in named.items() if value is not None]
        if given:
            raise ModelError(
                f"{' and '.join(given)} cannot be given for {str(model)!r}, which is loaded with "
                "its own; leave that out, or load the model yourself and give it"
            )
        settings = ModelSettings(
            str(model),
            host="ndif" if remote else ModelSettings.host,
            bos=bos,
            batch_tokens=batch_tokens,
            chat=chat,
            ndif_url=ndif_url,
        )
        return load_adapter(settings, say=say)
    shared: dict[str, Any] = {
        "tokenizer": tokenizer,
        "bos": bos,
        "name": name,
        "revision": revision,
        "batch_tokens": batch_tokens,
        "chat": chat,
        "say": say,
    }
    if remote and not _is_nnsight(model):
        raise ModelError(f"{_name(model)} runs here; NDIF runs nnsight models")
    if _is_bridge(model):
        from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter

        return BridgeAdapter(model, **shared)
    if _is_nnsight(model):
        from steer_plugin.adapters.nnsight.ndif import NDIF
        from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter

        ndif = NDIF(model, url=ndif_url, say=say) if remote else None
        return TraceAdapter(model, ndif=ndif, **shared)
    if is_transformers_model(model):
        from steer_plugin.adapters.transformers.model_adapter import ModelAdapter

        return ModelAdapter(model, **shared)
    raise ModelError(
        f"{_name(model)} is no model that can be adapted; give a causal language model of "
        "transformers, a TransformerLens TransformerBridge, or an nnsight TransformersModel or "
        "NNsight"
    )


def steered(
    model: Any, intervention: AnyPlan, *, prompt_length: int | None = None
) -> AbstractContextManager[Any]:
    """Steer every forward pass of a model inside the block, and none after it.

    What `generate` is given is a prompt. Outside of it the tokens of a pass without a cache are,
    and single ones that come with a cache are generated.

    Args:
        model: a model of transformers, also one wrapped by PEFT or torch.compile, or a
            TransformerLens `TransformerBridge`.
        intervention: what to do to it.
        prompt_length: how many tokens each prompt has, padding included; needed only where prompts
            are given in several passes outside of `generate`.

    Raises:
        ModelError: the model is of another host, an encoder-decoder, or a bridge that computes
            otherwise than its model.
        SiteError: the model lacks the site or one of the units.
    """
    if _is_nnsight(model):
        raise ModelError("an nnsight model is steered in its traces; call apply_in_trace there")
    if _is_bridge(model):
        from steer_plugin.adapters.transformer_lens import hooks as bridge_hooks

        return bridge_hooks.steered(model, intervention, prompt_length)
    if is_transformers_model(model):
        from steer_plugin.adapters.transformers import hooks

        return hooks.steered(model, intervention, prompt_length)
    raise ModelError(
        f"{_name(model)} cannot be steered; give a model of transformers or a TransformerLens "
        "TransformerBridge"
    )


def _is_bridge(model: Any) -> bool:
    host = sys.modules.get("transformer_lens.model_bridge")
    return host is not None and isinstance(model, host.TransformerBridge)


def _is_nnsight(model: Any) -> bool:
    host = sys.modules.get("nnsight.intervention.envoy")
    return host is not None and isinstance(model, host.Envoy)


def _name(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"
