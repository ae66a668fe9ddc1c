"""Which tokens of a forward pass an intervention touches."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from steer_plugin.interventions import Positions


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
        self.where: Bool[Tensor, "text token"] | None = None

    def follow(self, ids: Int[Tensor, "text token"]) -> None:
        """Work out `where` for the pass that begins with these ids."""
        prompt = self._prompt
        if prompt is None or (self._attention is None and not self._continues(ids)):
            prompt = self._prompt = ids
        fresh = prompt is ids
        has_prompt = ids.shape[1] >= prompt.shape[1] and (fresh or ids.shape[1] > 1)
        self.where = steered_tokens(
            ids,
            self._real(prompt).to(ids.device),
            has_prompt,
            self._positions,
            self._bos,
            self._bos_id,
        )
        self._before = ids

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
    prompt: Bool[Tensor, "text prompt_token"],
    has_prompt: bool,
    positions: Positions,
    bos: bool,
    bos_id: int | None,
) -> Bool[Tensor, "text token"]:
    """Tell which tokens of one forward pass are steered.

    Args:
        ids: the pass's tokens.
        prompt: the real tokens of the prompt that the pass is, or continues.
        has_prompt: whether the pass begins with that prompt; else all its tokens are generated.
        positions: `all`, `prompt` or `generated`.
        bos: whether the BOS token is steered.
        bos_id: its id, or None.
    """
    real = torch.ones_like(ids, dtype=torch.bool)
    is_prompt = torch.zeros_like(real)
    if has_prompt:
        width = prompt.shape[1]
        real[:, :width] = prompt
        is_prompt[:, :width] = True
        if not bos and bos_id is not None:
            first = real & (real.cumsum(1) == 1)
            real &= ~(first & (ids == bos_id))
    if positions == "prompt":
        return real & is_prompt
    if positions == "generated":
        return real & ~is_prompt
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
