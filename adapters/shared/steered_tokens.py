"""Which units and which tokens of a forward pass an intervention touches."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.interventions.plan import AnyPlan, acting_steps, check_intervention
from steer_plugin.settings.names import Positions


def require_units(
    space: Callable[[str, tuple[int, ...]], UnitSpace], intervention: AnyPlan | None
) -> None:
    """Refuse, before anything runs, a plan that names what a model lacks.

    Args:
        space: of the model's adapter.
        intervention: the plan, if there is one.

    Raises:
        InterventionError: it is no plan.
        SiteError: the model lacks the site, a layer or a unit.
    """
    check_intervention(intervention)
    for step in acting_steps(intervention):
        layers = step.by_layer()
        widths = space(step.site, tuple(layers)).widths
        for (layer, (indices, _)), width in zip(layers.items(), widths, strict=True):
            if int(indices[-1]) >= width:
                raise SiteError(missing_unit(step.site, layer, int(indices[-1]), width))


def missing_unit(site: str, layer: int, index: int, width: int) -> str:
    """Say that a layer has no such unit."""
    return (
        f"unit L{layer}N{index} does not exist: {site} has {width} units in layer {layer}; "
        "was the plan made for another model?"
    )


@dataclass(frozen=True)
class PassContext:
    """What surrounds a forward pass.

    Attributes:
        past: how many tokens the cache holds that the pass is given.
        attention: the mask that the pass is given, where it is a plain one.
        run: the call to `generate` that the pass is in, as an object of its own; None outside.
    """

    past: int = 0
    attention: Bool[Tensor, "text token_and_past"] | None = None
    run: object | None = None


ALONE = PassContext()


class SteeredTokens:
    """Follows the token ids of a model's forward passes, prompt and generation alike.

    Args:
        positions: `all`, `prompt` or `generated`.
        bos: whether the BOS token is touched.
        bos_id: the BOS token's id, or None.
        attention: the real tokens of the one prompt that all passes belong to, where they are
            known. None takes any pass for a new prompt but the later ones of a call to `generate`
            and one token that is given with a cache; its real tokens are those of its mask or,
            without one, all but the pad ids at its edges.
        pad_id: the pad token's id, or None; needed only without `attention`, as is `eos_id`.
        eos_id: the end token's id, or None.
    """

    def __init__(
        self,
        positions: Positions,
        bos: bool,
        bos_id: int | None,
        *,
        attention: Bool[Tensor, "text token"] | None = None,
        pad_id: int | None = None,
        eos_id: int | None = None,
    ) -> None:
        """Start before the first pass."""
        self._positions = positions
        self._bos = bos
        self._bos_id = bos_id
        self._attention = attention
        self._pad_id = pad_id
        self._eos_id = eos_id
        self._run: object | None = None
        self._ids: Tensor | None = None
        self._real: Tensor | None = None
        self._where: Bool[Tensor, "text token"] | bool = False

    def follow(self, ids: Int[Tensor, "text token"], context: PassContext = ALONE) -> None:
        """Work out which tokens are steered in the pass that begins with these ids."""
        begins = self._real is None or (
            self._attention is None and not self._continues(ids, context)
        )
        if begins:
            self._run = context.run
            self._real = self._real_tokens(ids, context)
        self._where = steered_tokens(
            ids,
            self._real if begins or ids.shape[1] > 1 else None,
            self._positions,
            self._bos,
            self._bos_id,
        )
        self._ids = ids

    def where(
        self, activations: Float[Tensor, "text token unit"]
    ) -> Bool[Tensor, "text token"] | bool:
        """Give what `steer_units` takes for a tensor of the pass that was followed last.

        Raises:
            InterventionError: the tensor is of another pass, which began without token ids.
        """
        if self._ids is None or self._ids.shape != activations.shape[:2]:
            raise InterventionError(
                "this forward pass began without token ids, so which of its tokens to steer "
                "cannot be told; give ids, not embeddings"
            )
        return self._where

    def _real_tokens(self, prompt: Tensor, context: PassContext) -> Tensor:
        if self._attention is not None:
            return self._attention
        if context.attention is not None and context.attention.shape == prompt.shape:
            return context.attention
        return without_padding(prompt, self._pad_id, self._bos_id, self._eos_id)

    def _continues(self, ids: Tensor, context: PassContext) -> bool:
        if context.run is not None:
            return context.run is self._run
        return context.past > 0 and ids.shape[1] == 1


def steered_tokens(
    ids: Int[Tensor, "text token"],
    prompt: Bool[Tensor, "text prompt_token"] | None,
    positions: Positions,
    bos: bool,
    bos_id: int | None,
) -> Bool[Tensor, "text token"] | bool:
    """Tell which tokens of one forward pass are steered.

    Args:
        ids: the pass's tokens.
        prompt: the real tokens of the prompt that the pass begins with; None where all of its
            tokens are generated.
        positions: `all`, `prompt` or `generated`.
        bos: whether the BOS token is steered.
        bos_id: its id, or None.

    Returns:
        Which; True for all of them, False for none.
    """
    if prompt is None:
        return positions != "prompt"
    real = torch.ones_like(ids, dtype=torch.bool)
    width = prompt.shape[1]
    real[:, :width] = prompt
    if not bos and bos_id is not None:
        first = real & (real.cumsum(1) == 1)
        real &= ~(first & (ids == bos_id))
    if positions == "prompt":
        real[:, width:] = False
    if positions == "generated":
        real[:, :width] = False
    return real


def without_padding(
    ids: Int[Tensor, "text token"],
    pad_id: int | None,
    bos_id: int | None,
    eos_id: int | None = None,
) -> Bool[Tensor, "text token"]:
    """Tell real tokens from padding where no mask is at hand: pad ids at either edge are padding.

    Where BOS is also the pad token, the last one of a leading run is BOS. Where the end token is,
    all at the end are real, since what is steered there changes nothing before it, and as many at
    the start as all texts have, since the longest text has no padding.
    """
    if pad_id is None:
        return torch.ones_like(ids, dtype=torch.bool)
    other = ids != pad_id
    leading = other.cumsum(1) == 0
    trailing = other.flip(1).cumsum(1).flip(1) == 0
    if eos_id == pad_id:
        return trailing | ~(leading & leading.roll(-int(leading.sum(1).min()), 1))
    if bos_id == pad_id:
        leading = leading & leading.roll(-1, 1)
    return ~(leading | trailing) | (leading & trailing)
