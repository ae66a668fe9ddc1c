"""Where sites are, as TransformerLens maps the components of an architecture to modules.

Needs the configuration and the module tree of a model; no weights, and no bridge.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from steer_plugin.adapters.shared.causal_models import require_causal
from steer_plugin.adapters.shared.transformer_lens_version import advice
from steer_plugin.settings.names import FINAL_NORM, ROUTER
from steer_plugin.settings.parts import SITES, Site

FUSED_EXPERTS = "its MLP is a mixture of experts, so no tensor holds a token's neurons"
FUSED_GATE = "its MLP computes both halves in one projection, so neither is a tensor of its own"
SCALED = "the block scales it before adding it, and no module's output is the scaled tensor"
STREAMS = "its blocks hand on several residual streams side by side, so none is the tensor"
NO_TENSOR = "it has no such tensor"
NO_ROUTER = "transformers records no router in its MLP"
NOT_FIRST = "its router hands on another tensor first, and a hook sees the first alone"

# What the mapping names though it is another tensor, or does not name; `tests/adapters/
# test_conformance.py` holds each to what the model computes.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "bert": {FINAL_NORM: "its last block ends in a norm, and the one in its head belongs to that"},
    "falcon_h1": {
        "hook_attn_out": "attention and a Mamba mixer are scaled and added to the stream as one"
    },
    "gemma3n": {
        "attn.hook_z": "TransformerLens maps its attention whole, without the output projection"
    },
    "modernbert-decoder": {"mlp.hook_pre": FUSED_GATE},
    "olmo_hybrid": {
        "hook_attn_out": "in some layers a norm follows attention that precedes the MLP in others"
    },
    "nanochat": {FINAL_NORM: "it runs one norm twice a pass, before its blocks and after them"},
}
# Where the linear half of a gated MLP is computed before its gate.
LINEAR_FIRST = {"falcon_h1"}
_PATCHING = threading.RLock()
# Our sites in the order in which a forward pass reaches them.
ORDER = (
    "attn.hook_z",
    "hook_attn_out",
    "mlp.hook_pre",
    "mlp.hook_pre_linear",
    "mlp.hook_post",
    ROUTER,
    "hook_mlp_out",
    "hook_resid_post",
)


@dataclass(frozen=True)
class DerivedPaths:
    """What `ModulePaths` is made of; see there.

    Attributes:
        blocks: path from the base model to the list of blocks.
        sites: for each site the places from the block.
        final_norm: place from the base model; empty where there is none.
        lacks: for each site that the architecture lacks, the reason.
    """

    blocks: str
    sites: dict[str, tuple[str, ...]]
    final_norm: str
    lacks: dict[str, str]


def derived(model: Any) -> DerivedPaths:
    """Say where a model of transformers has its sites.

    Raises:
        LookupError: it is an encoder-decoder, or TransformerLens does not know its architecture, or
            none of its blocks.
    """
    require_causal(model.config, LookupError)
    kind = model.config.model_type
    mapping = _component_mapping(model)
    exceptions = EXCEPTIONS.get(kind, {})
    if "blocks" not in mapping:
        raise LookupError(
            f"a {kind!r} model runs its blocks in cycles, so a layer is no single place in a pass"
        )
    block = mapping["blocks"]
    prefix = f"{model.base_model_prefix}."
    sites: dict[str, tuple[str, ...]] = {}
    lacks: dict[str, str] = dict(exceptions)
    order = list(ORDER)
    if kind in LINEAR_FIRST:
        gate = order.index("mlp.hook_pre")
        order[gate : gate + 2] = reversed(order[gate : gate + 2])
    for site in SITES:  # somebody's own
        if site not in order and site != FINAL_NORM and SITES[site].heads_of is None:
            after = SITES[site].before
            order.insert(order.index(after) if after in order else len(order), site)
    blocks = block.name.removeprefix(prefix)
    tree = _blocks_of(model, block.name, blocks)
    for site in order:
        if site in exceptions:
            continue
        if site == ROUTER:
            sites[site], lacks[site] = _router(model, tree)
            continue
        named = _places(block, site, SITES[site])
        places = tuple(place for place in named if any(_has(each, place) for each in tree))
        if places:
            sites[site] = places
        else:
            lacks[site] = _reason(block, site, bool(named))
    sites = {site: places for site, places in sites.items() if places}
    final = mapping.get("ln_final")
    final_norm = ""
    if final is not None and FINAL_NORM not in exceptions:
        final_norm = f"{final.name.removeprefix(prefix)}.output"
    return DerivedPaths(blocks, sites, final_norm, lacks)


@contextlib.contextmanager
def texts_alone() -> Iterator[None]:
    """Let TransformerLens map a model without the libraries that read its images (torchvision).

    It refuses to even name the parts of some models without them, though no text needs them.
    """
    from transformer_lens.model_bridge.architecture_adapter import ArchitectureAdapter

    with _PATCHING:
        check = ArchitectureAdapter._check_required_libraries
        setattr(ArchitectureAdapter, check.__name__, lambda _: None)
        try:
            yield
        finally:
            setattr(ArchitectureAdapter, check.__name__, check)


def _component_mapping(model: Any) -> dict[str, Any]:
    with texts_alone():
        return _mapping_of(model)


def _mapping_of(model: Any) -> dict[str, Any]:
    from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_config_from_hf
    from transformer_lens.model_bridge.sources.transformers import (
        determine_architecture_from_hf_config,
    )

    config = model.config
    names = [type(model).__name__]
    with contextlib.suppress(ValueError):  # where the configuration does not tell
        names.append(determine_architecture_from_hf_config(config))  # type: ignore[no-untyped-call]
    for architecture in names:
        try:
            settings = build_bridge_config_from_hf(config, architecture, "", torch.float32)
            adapter = ArchitectureAdapterFactory.select_architecture_adapter(settings)
        except ValueError:
            continue
        mapping = adapter.component_mapping
        if mapping is not None:
            return dict(mapping)
    raise LookupError(
        f"where a {config.model_type!r} model ({names[0]}) has its sites is not known; tell it "
        "with steer_plugin.adapters.register_module_paths"
    )


def _blocks_of(model: Any, *paths: str) -> Any:
    for path in paths:
        try:
            return model.get_submodule(path)
        except AttributeError:
            continue
    raise LookupError(f"{type(model).__name__} has no modules {paths[0]!r}, where its blocks are")


def _places(component: Any, name: str, site: Site) -> list[str]:
    """List the places, from the block, that a hook's name stands for and that are the site."""
    return [
        ".".join([*filter(None, [path]), side])
        for hook, path, side in _hooks(component, name)
        if hook in (site.hooks or (hook,))
        and (name != "hook_resid_post" or component.hook_out_is_single_residual_stream)
    ]


def _hooks(component: Any, name: str) -> Iterator[tuple[str, str, str]]:
    """Follow the aliases of a hook's name to hooks of modules: name, path and side of each."""
    targets = component.hook_aliases.get(name)
    if targets is not None:
        for target in [targets] if isinstance(targets, str) else targets:
            yield from _hooks(component, target)
        return
    head, _, rest = name.partition(".")
    if not rest:
        sides = {"hook_in": "input", "hook_out": "output"}
        if name in sides:
            yield name, "", sides[name]
        return
    part = component.submodules.get(head)
    if part is not None:
        for hook, path, side in _hooks(part, rest):
            yield f"{head}.{hook}", ".".join(filter(None, [part.name, path])), side


def _router(model: Any, blocks: Any) -> tuple[tuple[str, ...], str]:
    """Say where a block has its router, as transformers itself records it, or why it has none."""
    recorders = next(filter(None, map(_recorded_router, model.modules())), ())
    places = {
        name: recorder.index
        for block in blocks
        for name, part in block.named_modules()
        for recorder in recorders
        if type(part) is recorder.target_class
        # Of a plain linear layer transformers says by its name which one it is.
        and f".{recorder.layer_name or name}." in f".{name}."
    }
    if any(index != 0 for index in places.values()):
        return (), NOT_FIRST
    return tuple(f"{name}.output" for name in places), NO_ROUTER


def _recorded_router(part: Any) -> Sequence[Any]:
    recorded = (getattr(part, "_can_record_outputs", None) or {}).get("router_logits", ())
    recorders = recorded if isinstance(recorded, (list, tuple)) else [recorded]
    return [recorder for recorder in recorders if hasattr(recorder, "target_class")]


def _has(block: Any, place: str) -> bool:
    try:
        block.get_submodule(place.rpartition(".")[0])
    except AttributeError:
        return False
    return True


def _reason(block: Any, site: str, named: bool) -> str:
    """Say why no module's input or output is a site."""
    from transformer_lens.model_bridge.generalized_components import (
        JointGateUpMLPBridge,
        MoEBridge,
    )

    if site == "hook_resid_post":
        return STREAMS
    mlp = block.submodules.get("mlp")
    if isinstance(mlp, MoEBridge) and SITES[site].neurons:
        return FUSED_EXPERTS
    if named and isinstance(mlp, JointGateUpMLPBridge):
        return FUSED_GATE
    if hasattr(block, "residual_contribution_scale"):
        return SCALED
    return f"{NO_TENSOR}{advice()}"
