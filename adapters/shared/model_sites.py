"""The sites of one model: where each is, and that what stands there is what its name says."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from steer_plugin.activations.sites import of_heads, tensor_site
from steer_plugin.adapters.shared.heads import head_count
from steer_plugin.adapters.shared.model_locks import alone
from steer_plugin.adapters.shared.module_hooks import module_hooks
from steer_plugin.adapters.shared.module_paths import ModulePaths, Place, locate, paths_of
from steer_plugin.adapters.shared.placement import input_device
from steer_plugin.adapters.shared.probing_passes import unsteered
from steer_plugin.adapters.shared.tokens import TokenBatch
from steer_plugin.errors import SiteError
from steer_plugin.settings.parts import SITES

# Two texts of three tokens, so that no axis is taken for another.
TOKENS = torch.ones((2, 3), dtype=torch.bool)
PROBE = TokenBatch((0, 1), TOKENS.long(), TOKENS, TOKENS)

Note = Callable[[int, Tensor], None]
"""Is given a layer, and what stands at a site there."""

_WIDTHS: "WeakKeyDictionary[Any, dict[tuple[str, Place], int]]" = WeakKeyDictionary()


class ModelSites:
    """Where a model of transformers has its sites.

    Args:
        model: of transformers.
        name: for errors.
    """

    def __init__(self, model: Any, name: str) -> None:
        """Look nothing up yet."""
        self._model = model
        self._name = name
        self._widths = _WIDTHS.setdefault(model, {})

    def paths(self) -> ModulePaths:
        """Say where the sites of the architecture are.

        Raises:
            SiteError: it is not known.
        """
        try:
            return paths_of(self._model)
        except LookupError as error:
            raise SiteError(f"{self._name}: {error.args[0]}") from error

    def locate(self, site: str, layer: int) -> Place:
        """Give the path of the module that a site is at, and its side.

        Raises:
            SiteError: the model has no such site or layer.
        """
        paths = self.paths()
        tensor = tensor_site(site)
        try:
            return locate(self._model, paths, tensor, layer, SITES[tensor].paths)
        except LookupError as error:
            raise SiteError(f"{self._name}: {error.args[0]}") from error

    def widths(self, site: str, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Count the units of a site, by a pass over a few tokens.

        Raises:
            SiteError: the model has no such site or layer, or a module there runs more than once a
                pass, or its tensor is none of texts and tokens.
        """
        places = {layer: self.locate(site, layer) for layer in layers}
        missing = [layer for layer in layers if (site, places[layer]) not in self._widths]

        def hooks(note: Note) -> AbstractContextManager[Any]:
            return module_hooks(
                self._model, [(places[layer], partial(note, layer)) for layer in missing]
            )

        measured = measured_widths(self._model, self._name, site, missing, hooks)
        self._widths.update({(site, places[layer]): width for layer, width in measured.items()})
        return tuple(self._widths[site, places[layer]] for layer in layers)


def measured_widths(
    model: Any,
    name: str,
    site: str,
    layers: Sequence[int],
    hooks: Callable[[Note], AbstractContextManager[Any]],
) -> dict[int, int]:
    """Count the units of a site in some layers, by a pass over a few tokens.

    Args:
        model: of transformers.
        name: for errors.
        site: that is there.
        layers: none take no pass.
        hooks: sets hooks inside a block that give what stands there to a note.

    Raises:
        SiteError: what is there is not one tensor, or none of texts and tokens.
    """
    if not layers:
        return {}
    shapes: dict[int, list[torch.Size]] = {layer: [] for layer in layers}

    def note(layer: int, activations: Tensor) -> None:
        shapes[layer].append(activations.shape)

    base = model.base_model
    inputs = PROBE.inputs(base.forward, input_device(model))
    with alone(model), torch.inference_mode(), unsteered(), hooks(note):
        base(**inputs, use_cache=False)
    return {
        layer: _width_of(seen, site, model.config, f"{name} has no {site} in layer {layer}")
        for layer, seen in shapes.items()
    }


def _width_of(shapes: list[torch.Size], site: str, config: Any, lacks: str) -> int:
    """Count the units of what was seen at a place during a pass over `PROBE`.

    Args:
        shapes: of each tensor.
        site: that is there.
        config: the model's.
        lacks: how an error begins.

    Raises:
        SiteError: there is not one tensor, or not one of units for each text and token.
    """
    if len(shapes) != 1:
        times = "is not run" if not shapes else f"is run {len(shapes)} times"
        raise SiteError(
            f"{lacks}: what is there {times} in a pass, so no one tensor is it; choose another "
            "site or layer"
        )
    (shape,) = shapes
    texts, tokens = TOKENS.shape
    whole = tuple(shape[:2]) == (texts, tokens) and len(shape) > 2
    if whole or (len(shape) == 2 and shape[0] == texts * tokens):
        width = shape.numel() // (texts * tokens)
        try:
            return head_count(config, width) if of_heads(site) else width
        except LookupError as error:
            raise SiteError(f"{lacks}: {error.args[0]}") from error
    raise SiteError(
        f"{lacks}: what is there has shape {list(shape)} for {texts} texts of {tokens} tokens; "
        "choose another site"
    )
