"""Which units and which tokens of a forward pass an intervention touches."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.interventions.plan import Intervention, check_intervention
from steer_plugin.settings.names import Positions


def require_units(
    space: Callable[[str, tuple[int, ...]], UnitSpace], intervention: Intervention | None
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
    if intervention is None or intervention.changes_nothing:
        return
    layers = intervention.by_layer()
    widths = space(intervention.site, tuple(layers)).widths
    for (layer, (indices, _)), width in zip(layers.items(), widths, strict=True):
        if int(indices[-1]) >= width:
            raise SiteError(missing_unit(intervention.site, layer, int(indices[-1]), width))


def missing_unit(site: str, layer: int, index: int, width: int) -> str:
    """Say that a layer has no such unit."""
    return (
        f"unit L{layer}N{index} does not exist: {site} has {width} units in layer {layer}; "
        "was the plan made for another model?"
    )


class SteeredTokens:
    """Follows the token ids of a model's forward passes, prompt and generation alike.

    A pass that continues the one before it, with a cache (one token) or without (the same ids and
    one more), is generation; every other pass is a prompt.

    Args:
        positions: `all`, `prompt` or `generated`.
        bos: whether the BOS token is touched.
        bos_id: the BOS token's id, or None.
        attention: the real tokens of the one prompt that all passes belong to, where they are
            known. None takes any pass for a new prompt that does not continue the one before it,
            and pad ids at its edges for padding.
        pad_id: the pad token's id, or None; needed only without `attention`.
    """

    def __init__(
        self,
        positions: Positions,
        bos: bool,
        bos_id: int | None,
        *,
        attention: Bool[Tensor, "text token"] | None = None,
        pad_id: int | None = None,
    ) -> None:
        """Start before the first pass."""
        self._positions = positions
        self._bos = bos
        self._bos_id = bos_id
        self._attention = attention
        self._pad_id = pad_id
        self._before: Tensor | None = None
        self._prompt: Tensor | None = None
        self._where: Bool[Tensor, "text token"] | bool = False

    def follow(self, ids: Int[Tensor, "text token"]) -> None:
        """Work out which tokens are steered in the pass that begins with these ids."""
        prompt = self._prompt
        if prompt is None or (self._attention is None and not self._continues(ids)):
            prompt = self._prompt = ids
        fresh = prompt is ids
        has_prompt = ids.shape[1] >= prompt.shape[1] and (fresh or ids.shape[1] > 1)
        self._where = steered_tokens(
            ids,
            self._real(prompt) if has_prompt else None,
            self._positions,
            self._bos,
            self._bos_id,
        )
        self._before = ids

    def where(
        self, activations: Float[Tensor, "text token unit"]
    ) -> Bool[Tensor, "text token"] | bool:
        """Give what `steer_units` takes for a tensor of the pass that was followed last.

        Raises:
            InterventionError: the tensor is of another pass, which began without token ids.
        """
        if self._before is None or self._before.shape != activations.shape[:2]:
            raise InterventionError(
                "this forward pass began without token ids, so which of its tokens to steer "
                "cannot be told; give ids, not embeddings"
            )
        return self._where

    def _real(self, prompt: Tensor) -> Tensor:
        if self._attention is not None:
            return self._attention
        return without_padding(prompt, self._pad_id, self._bos_id)

    def _continues(self, ids: Tensor) -> bool:
        before = self._before
        if before is None or len(ids) != len(before):
            return False
        if ids.shape[1] == 1:
            return self._bos_id is None or not bool((ids == self._bos_id).all())
        grown = ids.shape[1] == before.shape[1] + 1
        return grown and bool(torch.equal(ids[:, :-1], before))


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
    ids: Int[Tensor, "text token"], pad_id: int | None, bos_id: int | None
) -> Bool[Tensor, "text token"]:
    """Tell real tokens from padding where no mask is at hand: pad ids at either edge are padding.

    Where BOS is also the pad token, the last one of a leading run is BOS.
    """
    if pad_id is None:
        return torch.ones_like(ids, dtype=torch.bool)
    other = ids != pad_id
    leading = other.cumsum(1) == 0
    trailing = other.flip(1).cumsum(1).flip(1) == 0
    if bos_id == pad_id:
        leading &= leading.roll(-1, 1)
    return ~(leading | trailing) | (leading & trailing)
