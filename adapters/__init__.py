"""Hosts as adapters. A host is imported only if the model that is given is one of its own."""

import sys
from contextlib import AbstractContextManager
from typing import Any

from steer_plugin.errors import ModelError
from steer_plugin.interventions import Intervention
from steer_plugin.protocols import Adapter


def adapt(model: Any, *, tokenizer: Any = None, bos: bool | None = None) -> Adapter:
    """Put a model behind the three verbs that every analysis uses.

    Args:
        model: a TransformerLens `TransformerBridge`.
        tokenizer: the tokenizer as the model ships it; None loads it from where the model is from.
        bos: whether BOS is put before each text; None does as the tokenizer ships.

    Raises:
        ModelError: the model is of no host that is known here, or its tokenizer cannot be loaded.
    """
    _require_bridge(model)
    from steer_plugin.adapters.bridge import BridgeAdapter

    return BridgeAdapter(model, tokenizer=tokenizer, bos=bos)


def steered(model: Any, intervention: Intervention) -> AbstractContextManager[Any]:
    """Steer every forward pass of a model inside the block, and none after it.

    Args:
        model: a TransformerLens `TransformerBridge`.
        intervention: what to do to it.

    Raises:
        ModelError: the model is of no host that is known here.
        SiteError: the model lacks the site or one of the units.
    """
    _require_bridge(model)
    from steer_plugin.adapters import bridge_hooks

    return bridge_hooks.steered(model, intervention)


def _require_bridge(model: Any) -> None:
    host = sys.modules.get("transformer_lens.model_bridge")
    if host is None or not isinstance(model, host.TransformerBridge):
        raise ModelError(
            f"{type(model).__module__}.{type(model).__qualname__} is no model that can be adapted; "
            "give a TransformerLens TransformerBridge"
        )
