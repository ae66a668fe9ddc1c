"""Interventions and readings as TransformerLens hooks, and which hook each site really is."""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from torch import Tensor
from transformer_lens.hook_points import HookFunction, HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.exceptions import StopAtLayerException
from transformer_lens.model_bridge.generalized_components import MoERouterBridge

from steer_plugin.activations.sites import hook_name, tensor_site
from steer_plugin.adapters.shared.causal_models import require_causal
from steer_plugin.adapters.shared.component_paths import EXCEPTIONS
from steer_plugin.adapters.shared.model_locks import in_one_thread
from steer_plugin.adapters.shared.steered_tokens import (
    PassContext,
    SteeredTokens,
    Writer,
    writers,
)
from steer_plugin.adapters.shared.transformer_lens_version import advice
from steer_plugin.adapters.transformer_lens.deviations import require_agreement
from steer_plugin.adapters.transformer_lens.passes import watch_passes
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan, acting_steps, check_intervention
from steer_plugin.settings.names import FINAL_NORM, ROUTER
from steer_plugin.settings.parts import SITES

Hook = Callable[..., Tensor | None]
NamedHook = tuple[str, Hook]
Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

EMBEDDING_IN = "embed.hook_in"


def fwd_hooks(
    bridge: TransformerBridge, intervention: AnyPlan, prompt_length: int | None = None
) -> list[NamedHook]:
    """List a plan as `(hook_name, function)` pairs; see `Intervention.fwd_hooks`.

    Padding is told by the attention mask; without one, pad ids at the edges of a prompt are taken
    for padding. Where the end token is the pad token, those at the end are not, and of those at the
    start as many as all texts have.
    """
    tokenizer = bridge.tokenizer
    check_intervention(intervention)
    require_causal(cast("Any", bridge.original_model).config)
    require_agreement(bridge)
    steps = acting_steps(intervention)
    if not steps:
        return []
    watch = watch_passes(bridge)
    hooks: list[NamedHook] = []
    for step in steps:
        tokens = SteeredTokens(
            step,
            getattr(tokenizer, "bos_token_id", None),
            prompt_length=prompt_length,
            pad_id=getattr(tokenizer, "pad_token_id", None),
            eos_id=getattr(tokenizer, "eos_token_id", None),
        )
        hooks += steering_hooks(bridge, step, tokens, watch.context)
    return hooks


@contextlib.contextmanager
def steered(
    bridge: TransformerBridge, intervention: AnyPlan, prompt_length: int | None = None
) -> Iterator[TransformerBridge]:
    """Steer every forward pass of the bridge inside the block, and none after it.

    Composes with `run_with_cache`, `run_with_hooks`, `generate`, and hooks set before or after:
    hooks act in the order they were set, so a cache sees the steered values. `reset_hooks` inside
    the block leaves it steered. However the block ends, the model is left as it was.

    Raises:
        ModelError: the model is an encoder-decoder, or the bridge computes otherwise than it.
        SiteError: the model lacks the site or one of the units.
        InterventionError: the hooks were removed inside the block, as permanent ones too, or by an
            autoencoder of SAELens in their place; or another thread is in such a block with the
            same model.
    """
    model: Any = bridge.original_model
    with in_one_thread(model, str(bridge.cfg.model_name)):
        yield from _steered(bridge, intervention, prompt_length)


def _steered(
    bridge: TransformerBridge, intervention: AnyPlan, prompt_length: int | None
) -> Iterator[TransformerBridge]:
    hooks = fwd_hooks(bridge, intervention, prompt_length)
    before = hook_points(bridge)
    points = [before[name] for name, _ in hooks]
    handles = []
    for point, (_, hook) in zip(points, hooks, strict=True):
        # Of a plain hook `reset_hooks` would leave nothing.
        point.add_hook(cast("HookFunction", hook), is_permanent=True)
        handles.append(point.fwd_hooks[-1])  # TransformerLens 3.9 hands out none
    try:
        yield bridge
        now = hook_points(bridge)
        if any(
            now[name] is not point or handle not in point.fwd_hooks
            for (name, _), point, handle in zip(hooks, points, handles, strict=True)
        ):
            raise InterventionError(
                "the plan's hooks were removed inside the block, so not all of it was steered; "
                "leave out reset_hooks(including_permanent=True) there, and attach no autoencoder "
                "of SAELens at its sites"
            )
    finally:
        for point, handle in zip(points, handles, strict=True):
            handle.hook.remove()
            point.fwd_hooks = [kept for kept in point.fwd_hooks if kept is not handle]


def steering_hooks(
    bridge: TransformerBridge,
    intervention: Intervention,
    tokens: SteeredTokens,
    context: Callable[[], PassContext],
) -> list[NamedHook]:
    """List an intervention as hooks that touch the tokens which `tokens` tells.

    Args:
        bridge: the model.
        intervention: one step of a plan, which does something.
        tokens: follows the passes.
        context: describes the pass that runs.

    Raises:
        SiteError: the model lacks the site or, once a hook acts, one of the units.
    """

    config = cast("Any", bridge.original_model).config

    def follow(ids: Tensor, hook: object) -> None:  # noqa: ARG001 (TransformerLens calls it hook)
        tokens.follow(ids, context())

    def hook_of(write: Writer) -> Hook:
        return lambda activations, hook: write(activations)  # noqa: ARG005

    hooks: list[NamedHook] = [(EMBEDDING_IN, follow)]
    for layer, write in writers(intervention, tokens, config):
        require_site(bridge, intervention.site, layer)
        hooks.append((hook_name(intervention.site, layer), hook_of(write)))
    return hooks


@contextlib.contextmanager
def reading_hooks(
    bridge: TransformerBridge,
    steering: Sequence[NamedHook],
    readers: Mapping[Key, tuple[str, Callable[[Tensor], Answer]]],
) -> Iterator[dict[Key, Answer]]:
    """Read from a forward pass inside the block, which ends with the last tensor that is read.

    Args:
        bridge: the model.
        steering: hooks that act before anything is read.
        readers: for each answer the name of a hook, and what to make of its tensor.

    Yields:
        The answers; complete when the block is left.

    Raises:
        SiteError: something else than a hook stands at one of the names.
    """
    answers: dict[Key, Answer] = {}

    def reader(key: Key, read: Callable[[Tensor], Answer]) -> Hook:
        def hook_function(activations: Tensor, hook: object) -> None:  # noqa: ARG001
            answers[key] = read(activations)
            if len(answers) == len(readers):
                raise StopAtLayerException(activations)

        return hook_function

    hooks = [*steering, *((name, reader(key, read)) for key, (name, read) in readers.items())]
    with contextlib.suppress(StopAtLayerException), hooked(bridge, hooks):
        yield answers


def bridge_hook(bridge: TransformerBridge, site: str, layer: int) -> str:
    """Name the hook of a bridge that a site is; that of a router stands under names of its own."""
    name = hook_name(site, layer)
    blocks: Any = getattr(bridge, "blocks", ())
    if site != ROUTER or not 0 <= layer < len(blocks):
        return name
    mlp = getattr(blocks[layer], "mlp", None)
    for part_name in getattr(mlp, "submodules", ()):
        part = getattr(mlp, part_name, None)
        if isinstance(part, MoERouterBridge) and part.logits_index == 0:
            return f"blocks.{layer}.mlp.{part_name}.hook_out"
    return name


def require_site(bridge: TransformerBridge, site: str, layer: int) -> None:
    """Refuse a site that the model lacks, or that is another tensor under the same name.

    Raises:
        SiteError: `site` in block `layer` is not there, or not itself.
    """
    site = tensor_site(site)
    place = SITES[site]
    points = hook_points(bridge)
    name = bridge_hook(bridge, site, layer)
    kind = cast("Any", bridge.original_model).config.model_type
    reason = EXCEPTIONS.get(kind, {}).get(site)
    if reason is not None:
        raise SiteError(f"{bridge.cfg.model_name} has no {site}: {reason}; choose another site")
    if site == FINAL_NORM:
        if name not in points:
            raise SiteError(f"{bridge.cfg.model_name} has no final norm ({name})")
        if layer != 0:
            raise SiteError(f"{FINAL_NORM} is one place, layer 0; layer {layer} was given")
        _require_hook_point(points, name)
        return
    blocks = bridge.cfg.n_layers
    if not 0 <= layer < blocks:
        raise SiteError(f"layer {layer} does not exist; the model has blocks 0..{blocks - 1}")
    if name not in points:
        reason = ": its bridge hooks no router" if site == ROUTER else ""
        raise SiteError(f"{bridge.cfg.model_name} has no {site} in layer {layer}{reason}{advice()}")
    _require_hook_point(points, name)
    if site == ROUTER:
        return
    meant = [f"blocks.{layer}.{canonical}" for canonical in place.hooks or (site,)]
    gated = f"blocks.{layer}.mlp.gate.hook_out" in points
    owns = any(points[name] is points.get(canonical) for canonical in meant)
    neurons = not place.neurons or f"blocks.{layer}.mlp.out.hook_in" in points
    if not owns or not neurons or (place.gated and not gated):
        held = next(
            (other for other, point in points.items() if point is points[name] and other != name),
            "another tensor",
        )
        raise SiteError(
            f"{bridge.cfg.model_name} has no {site} in layer {layer}: the name stands for {held} "
            f"there (a fused or mixture-of-experts block); choose another site{advice()}"
        )


def hook_points(bridge: TransformerBridge) -> dict[str, HookPoint]:
    """Give every hook by each of its names; SAELens's kind of bridge tells one name each."""
    points: dict[str, HookPoint] = TransformerBridge.hook_dict.__get__(bridge)
    return points


def hooked(
    bridge: TransformerBridge, hooks: Sequence[NamedHook]
) -> contextlib.AbstractContextManager[Any]:
    """Set hooks inside the block, by any of their names.

    Raises:
        SiteError: something else than a hook stands at one of the names.
    """
    points, known = hook_points(bridge), bridge.hook_dict
    for name, _ in hooks:
        _require_hook_point(points, name)
    # Not `point.name`: what SAELens leaves behind has another.
    names = {id(point): name for name, point in known.items()}
    named = [(name if name in known else names[id(points[name])], hook) for name, hook in hooks]
    context: contextlib.AbstractContextManager[Any] = bridge.hooks(fwd_hooks=named)
    return context


def _require_hook_point(points: Mapping[str, object], name: str) -> None:
    """Refuse a hook in whose place there is a module, as SAELens attaches autoencoders."""
    if not isinstance(points[name], HookPoint):
        raise SiteError(
            f"{name} is not what the model computes: {type(points[name]).__name__} is attached "
            "there; detach it (SAELens: bridge.reset_saes()), or choose another site"
        )
