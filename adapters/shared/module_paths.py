"""Where each site is in a Hugging Face module tree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from steer_plugin.activations.sites import check_site
from steer_plugin.adapters.shared import component_paths
from steer_plugin.errors import SiteError
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.settings.parts import SITES

Place = tuple[str, str]
"""The path of a module, and its side, `input` or `output`."""

_DERIVED: "WeakKeyDictionary[Any, tuple[tuple[str, ...], ModulePaths]]" = WeakKeyDictionary()


@dataclass(frozen=True)
class ModulePaths:
    """Where the sites of an architecture are.

    Attributes:
        blocks: path from the base model (the model without its head) to the list of blocks.
        sites: for each site in a block, in the order in which a forward pass reaches them, the
            path from the block to a module, and which side of it: `mlp.down_proj.input`,
            `mlp.output`, or just `output` for the block's own. Of several, the first that a block
            has.
        final_norm: the same for `ln_final.hook_out`, from the base model; empty where there is
            none.
        unreachable: for a site that no module's input or output is, the reason.

    Raises:
        SiteError: a name is no site, or a path ends in neither `input` nor `output`.
    """

    blocks: str
    sites: Mapping[str, str | Sequence[str]]
    final_norm: str = ""
    unreachable: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the names and the ends of the paths."""
        for site in (*self.sites, *self.unreachable):
            check_site(site)
        if FINAL_NORM in self.sites:
            raise SiteError(f"{FINAL_NORM} is in no block; give its path as final_norm")
        places = [place for places in self.sites.values() for place in alternatives(places)]
        for place in (*places, *filter(None, [self.final_norm])):
            if place.rpartition(".")[2] not in ("input", "output"):
                raise SiteError(f"{place!r} must end in the side of the module: .input or .output")


MODULE_PATHS: dict[str, ModulePaths] = {}
"""What was told by `register_module_paths`, by `config.model_type`; it goes before what follows
from the component mapping of TransformerLens."""


def register_module_paths(model_type: str, paths: ModulePaths) -> None:
    """Tell where the sites of one more architecture are, or of a known one anew.

    Args:
        model_type: what the model's configuration calls itself, `config.model_type`.
        paths: its sites.
    """
    MODULE_PATHS[model_type] = paths


def paths_of(model: Any) -> ModulePaths:
    """Say where a model has its sites: as registered, or as TransformerLens maps its components.

    Args:
        model: of transformers, with weights or without.

    Raises:
        LookupError: neither knows the architecture.
    """
    kind = model.config.model_type
    if kind in MODULE_PATHS:
        return MODULE_PATHS[kind]
    sites = tuple(SITES)
    known = _DERIVED.get(model)
    if known is None or known[0] != sites:
        derived = component_paths.derived(model)
        known = sites, ModulePaths(derived.blocks, derived.sites, derived.final_norm, derived.lacks)
        _DERIVED[model] = known
    return known[1]


def alternatives(places: str | Sequence[str]) -> Sequence[str]:
    """List the places that a site may be at, of which a block has the first that it has."""
    return [places] if isinstance(places, str) else places


def locate(
    model: Any, paths: ModulePaths, site: str, layer: int, site_paths: Mapping[str, str]
) -> tuple[str, str]:
    """Give the path of the module that a site is at, and its side, `input` or `output`.

    It travels to servers.

    Args:
        model: of transformers.
        paths: of the model.
        site: one of `steer_plugin.settings.parts.SITES`.
        layer: a block's index; 0 for the final norm.
        site_paths: the `Site.paths` of the site.

    Raises:
        LookupError: the architecture has no such site or block.
    """
    kind = model.config.model_type
    prefix = model.base_model_prefix
    base = [prefix] if hasattr(model, prefix) else []
    choices = ", ".join([*paths.sites, *([FINAL_NORM] if paths.final_norm else [])])
    if site == FINAL_NORM and layer != 0:
        raise LookupError(f"{FINAL_NORM} is one place, layer 0; layer {layer} was given")
    places = site_paths.get(kind) or paths.sites.get(site)
    if site == FINAL_NORM:
        places = paths.final_norm
    if not places:
        reason = paths.unreachable.get(site, "it has no such tensor")
        where = "" if site == FINAL_NORM else f" in layer {layer}"
        raise LookupError(f"{kind} has no {site}{where}: {reason}; choose one of: {choices}")
    root = base
    if site != FINAL_NORM:
        blocks = ".".join([*base, paths.blocks])
        count = len(model.get_submodule(blocks))
        if not 0 <= layer < count:
            raise LookupError(f"layer {layer} does not exist; the model has blocks 0..{count - 1}")
        root = [*base, paths.blocks, str(layer)]
    for place in alternatives(places):
        module, _, side = place.rpartition(".")
        path = ".".join([*root, *filter(None, [module])])
        try:
            model.get_submodule(path)
        except AttributeError:
            continue
        return path, side
    raise LookupError(
        f"{kind} has no {site} in layer {layer}: there is no module {path!r}; choose other layers, "
        f"or one of: {choices}"
    )
