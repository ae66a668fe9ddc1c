"""Loads the model that a command is given."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.options import say
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.model import ADAPTER_CONFIG, DEMO, ModelSettings

if TYPE_CHECKING:
    from steer_plugin.adapters.nnsight.ndif import Traffic
    from steer_plugin.models.adapter import Adapter


def load_model(settings: ModelSettings, budget: Budget | None = None) -> "Adapter":
    """Load a model, and tell at the end what went over the wire, if something did.

    Args:
        settings: which model, and what runs it.
        budget: where a converted file is kept, and what it may take; None takes the defaults.

    Raises:
        ModelError: there is no such model, or it cannot be read.
    """
    # The libraries read these when they are imported, below.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    folder = Path(settings.model)
    # The base of adapters may be on a hub, wherever they are themselves.
    if settings.model == DEMO or (folder.exists() and not (folder / ADAPTER_CONFIG).exists()):
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    say(f"Loading {settings.model}")
    from steer_plugin.adapters.demo_weights import DEMO_TERMS
    from steer_plugin.adapters.loader import load_adapter

    if settings.model == DEMO:
        say(DEMO_TERMS)
    adapter = load_adapter(settings, budget=budget, say=say)
    if device := adapter.info.device:
        say(f"It runs on {device} in {adapter.info.dtype}")
    ndif = getattr(adapter, "ndif", None)
    if ndif is not None:
        click.get_current_context().call_on_close(partial(_tell_traffic, ndif.traffic))
    return adapter


def _tell_traffic(traffic: "Traffic") -> None:
    say(
        f"NDIF: {traffic.requests} requests ({traffic.again} made again), "
        f"{traffic.sent:,} bytes sent, {traffic.received:,} received"
    )
