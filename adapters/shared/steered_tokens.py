"""Which units and which tokens of a forward pass an intervention touches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steer_plugin.adapters.shared.heads import meant_values
from steer_plugin.adapters.shared.losses import Window
from steer_plugin.adapters.shared.probing_passes import probing
from steer_plugin.adapters.shared.tokens import Encoded, TokenBatch
from steer_plugin.adapters.shared.touched_tokens import (
    Touched,
    require_told,
    touched_from,
    touched_in_pass,
    touched_tokens,
)
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.interventions.arithmetic import moved, steer_units
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan, acting_steps

Writer = Callable[[Tensor], Tensor]
Steered = tuple[Intervention, Touched]
"""What is done, and to which tokens."""


@dataclass(frozen=True, eq=False)
class Run:
    """A call to `generate`.

    Attributes:
        ids: of the prompts, as they were given, padding among them; None where they are not known.
        attention: their mask, where one was given.
    """

    ids: Int[Tensor, "text token"] | None = None
    attention: Bool[Tensor, "text token_and_past"] | None = None


@dataclass(frozen=True)
class PassContext:
    """What surrounds a forward pass.

    Attributes:
        past: how many tokens the cache holds that the pass is given.
        attention: the mask that the pass is given, where it is a plain one.
        run: the call to `generate` that the pass is in; None outside.
    """

    past: int = 0
    attention: Bool[Tensor, "text token_and_past"] | None = None
    run: Run | None = None


ALONE = PassContext()


class SteeredTokens:
    """Follows the token ids of a model's forward passes, prompt and generation alike.

    Where a pass is in its text is told by the length of the cache that it is given. Without
    `touched`, a call to `generate` begins a text, and outside of one a pass without a cache does.

    Args:
        step: what is done, and where.
        bos_id: the BOS token's id, or None.
        touched: what the step touches of the one prompt that all passes belong to, where it is
            known; see `touched_tokens`.
        prompt_length: how many tokens each prompt has, padding included; needed, without `touched`,
            only where prompts are given in several passes outside of `generate`.
        pad_id: the pad token's id, or None; needed only without `touched`, as is `eos_id`.
        eos_id: the end token's id, or None.
    """

    def __init__(
        self,
        step: Intervention,
        bos_id: int | None,
        *,
        touched: Touched | None = None,
        prompt_length: int | None = None,
        pad_id: int | None = None,
        eos_id: int | None = None,
    ) -> None:
        """Start before the first pass."""
        self._step = step
        self._bos_id = bos_id
        self._known = touched is not None
        self._touched = touched
        self._prompt_length = prompt_length
        self._pad_id = pad_id
        self._eos_id = eos_id
        self._run: Run | None = None
        self._seen = 0
        self._ids: Tensor | None = None
        self._where: Bool[Tensor, "text token"] | bool = False
        # What the last pass with gradients was steered at, and whether others were elsewhere.
        self._kept: Bool[Tensor, "text token"] | None = None
        self._several = False

    def follow(self, ids: Int[Tensor, "text token"], context: PassContext = ALONE) -> None:
        """Work out which tokens are steered in the pass that begins with these ids.

        Raises:
            InterventionError: which of them are meant cannot be told.
        """
        if probing():
            return
        with refused_as_ours():
            touched = self._touched
            if touched is None or self._begins(ids, touched[0], context):
                touched = self._touched = self._of_prompt(ids, context)
                self._run = context.run
            elif not self._known and context.run is None:
                require_told(self._step.positions, context.past, ids, self._prompt_length)
            self._where = touched_in_pass(touched, context.past, ids)
        self._seen = context.past + ids.shape[1]
        self._ids = ids

    def keep_for_backward(self) -> None:
        """Note what a pass with gradients is steered at, as parts of it may be run again."""
        if not torch.is_grad_enabled():
            return
        shape = self._ids.shape if self._ids is not None else ()
        where = self._where
        if isinstance(where, bool):
            where = torch.full(shape, where)
        kept = self._kept
        self._several = kept is not None and (self._several or not torch.equal(kept, where))
        self._kept = where

    def require_one_pass(self) -> None:
        """Refuse to steer again parts of one pass of several that are steered at other tokens.

        Raises:
            InterventionError: there are such.
        """
        if self._several:
            raise InterventionError(
                "gradient checkpointing runs parts of a pass again, of several that the plan "
                "touches at different tokens, and which is not told; run backward after each pass"
            )
        self._kept = None

    def forget(self) -> None:
        """Begin a pass that has no token ids."""
        self._ids = None

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

    def flat(self, activations: Float[Tensor, "*shape"]) -> Float[Tensor, "text token unit"]:
        """Give activations of the pass that was followed last with all units of a token in a row.

        Some blocks put the tokens of all texts in one row, and some their heads side by side.
        """
        ids = self._ids
        if ids is not None and activations.dim() == 2 and len(activations) == ids.numel():
            return activations.reshape(*ids.shape, -1)
        return activations.flatten(2) if activations.dim() > 2 else activations[None]

    def _begins(self, ids: Tensor, prompt: Tensor, context: PassContext) -> bool:
        """Tell whether a pass begins a text, or brings more of a prompt in several passes."""
        if self._known:
            return False
        if context.run is not self._run or 0 < context.past < prompt.shape[1]:
            return True
        if context.run is not None:
            return False
        return (
            context.past == 0
            or context.past > self._seen
            or len(ids) != len(prompt)
            # Whatever it is of, its mask says what is padding.
            or (self._step.positions == "all" and ids.shape[1] > 1)
        )

    def _of_prompt(self, ids: Tensor, context: PassContext) -> Touched:
        attention, run = context.attention, context.run or Run()
        if attention is None or attention.shape != (len(ids), context.past + ids.shape[1]):
            attention = None
        if attention is None and context.past == 0:
            attention = without_padding(ids, self._pad_id, self._bos_id, self._eos_id)
        if run.attention is not None and len(ids) % len(run.attention) == 0:
            attention = run.attention.repeat_interleave(len(ids) // len(run.attention), 0)
        length = self._prompt_length
        if run.ids is not None and length is None:
            # Where `generate` is given a cache, its ids may be those of the new tokens alone.
            masked = 0 if run.attention is None else run.attention.shape[1]
            length = max(run.ids.shape[1], masked)
        return touched_from(
            self._step,
            ids,
            self._bos_id,
            past=context.past,
            attention=attention,
            whole=run.ids,
            prompt_length=length,
            texts=None if run.ids is None else len(run.ids),
        )


def writers(step: Intervention, tokens: SteeredTokens, config: Any) -> Iterator[tuple[int, Writer]]:
    """List, layer by layer, what makes steered activations of those at a step's site.

    Args:
        step: what is done, and where.
        tokens: follows the passes.
        config: the model's.
    """

    def writer(layer: int, indices: Tensor, parameters: Tensor) -> Writer:
        @cache
        def placed(device: torch.device, dtype: torch.dtype, width: int) -> tuple[Tensor, Tensor]:
            try:
                values = meant_values(step, layer, indices, parameters, config, width)
            except LookupError as error:
                raise SiteError(error.args[0]) from error
            return moved(*values, device, dtype)

        def write(activations: Tensor) -> Tensor:
            if probing():
                return activations
            flat = tokens.flat(activations)
            where = tokens.where(flat)
            values = placed(flat.device, flat.dtype, flat.shape[2])
            return steer_units(flat, *values, step, where).view_as(activations)

        return write

    for layer, (indices, parameters) in step.units.items():
        yield layer, writer(layer, indices, parameters)


@contextmanager
def refused_as_ours() -> Iterator[None]:
    """Turn what `touched_tokens` refuses, which travels to servers, into an error of ours.

    Raises:
        InterventionError: the block raised ValueError.
    """
    try:
        yield
    except ValueError as error:
        raise InterventionError(str(error)) from error


def steered_in_batch(
    plan: AnyPlan | None, batch: TokenBatch, bos_id: int | None, texts: int
) -> list[Steered]:
    """List what acts of a plan, and which tokens of a batch it touches.

    Args:
        plan: if there is one.
        batch: some of the texts.
        bos_id: the BOS token's id, or None.
        texts: how many texts there are.

    Raises:
        InterventionError: a mask or function does not suit the texts.
    """
    with refused_as_ours():
        return [
            (
                step,
                touched_tokens(
                    step, batch.ids, batch.attention, bos_id, batch.rows, texts, batch.content
                ),
            )
            for step in acting_steps(plan)
        ]


def steered_in_windows(
    plan: AnyPlan | None,
    windows: Sequence[Window],
    encoded: Sequence[Encoded],
    bos_id: int | None,
) -> Callable[[TokenBatch], list[Steered]]:
    """Give what lists what acts of a plan, and which tokens of some windows it touches.

    It touches in a window what it touches of the whole text.

    Args:
        plan: if there is one.
        windows: of all texts.
        encoded: the ids of each text.
        bos_id: the BOS token's id, or None.

    Raises:
        InterventionError: a mask or function does not suit the texts.
    """
    texts = [torch.tensor([text.ids]) for text in encoded]
    with refused_as_ours():
        wholes = [
            (
                step,
                [
                    touched_tokens(
                        step, ids, ids >= 0, bos_id, [text], len(texts), encoded[text].content[None]
                    )[0][0]
                    for text, ids in enumerate(texts)
                ],
            )
            for step in acting_steps(plan)
        ]

    def in_batch(batch: TokenBatch) -> list[Steered]:
        steps: list[Steered] = []
        for step, whole in wholes:
            prompt = torch.zeros_like(batch.attention)
            for place, number in enumerate(batch.rows):
                window = windows[number]
                cut = whole[window.text][window.start : window.start + len(window.ids)]
                prompt[place, batch.attention[place]] = cut
            steps.append((step, (prompt, False)))
        return steps

    return in_batch


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
