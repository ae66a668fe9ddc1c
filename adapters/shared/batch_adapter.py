"""What all hosts do alike: batches of texts, given how a host runs one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.activations.sites import UnitSpace, chosen_layers
from steer_plugin.adapters.shared.generation import Asked, Continued, continue_in_batches
from steer_plugin.adapters.shared.heads import meant_values
from steer_plugin.adapters.shared.losses import WindowBatch, by_text, window_batches, windows
from steer_plugin.adapters.shared.memory import Memory
from steer_plugin.adapters.shared.steered_tokens import (
    Steered,
    steered_in_batch,
    steered_in_windows,
)
from steer_plugin.adapters.shared.tokens import TokenBatch, Tokens
from steer_plugin.errors import SiteError
from steer_plugin.interventions.plan import AnyPlan, acting_steps, check_intervention
from steer_plugin.models.adapter import ModelInfo
from steer_plugin.models.generation import Generation, Prompt, Writing


class BatchAdapter(ABC):
    """A model behind the verbs of an `Adapter`, batch by batch.

    Args:
        model: of transformers, in evaluation mode, with its weights here or on a server.
        info: which model it is.
        tokens: its tokenizer, and what is put around each text.
        batch_tokens: padded tokens a batch, fewer from where memory ends on.
        say: told, a line each, when memory ends; None tells nobody.
    """

    def __init__(
        self,
        model: Any,
        info: ModelInfo,
        tokens: Tokens,
        batch_tokens: int,
        say: Callable[[str], None] | None,
    ) -> None:
        """Hold the model; nothing is run yet."""
        self._model = model
        self._info = info
        self.tokens = tokens
        self._batch_tokens = batch_tokens
        self._say = say

    @property
    def _streams(self) -> bool:
        """Whether what chooses tokens runs here, where it can tell."""
        return True

    @abstractmethod
    def _widths_of(self, site: str, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Count the units of a site; refuse one that the model lacks."""

    @abstractmethod
    def _continue(
        self,
        batch: TokenBatch,
        steps: Sequence[Steered],
        settings: dict[str, Any],
        choice: dict[str, Any],
    ) -> Continued:
        """Continue a batch of prompts, by settings of `generate` and those of `choose`."""

    @abstractmethod
    def _scored(
        self, groups: Iterable[WindowBatch], steered: Callable[[TokenBatch], list[Steered]]
    ) -> Iterator[tuple[WindowBatch, Tensor]]:
        """Give the losses of each batch of windows, or of parts of it."""

    @property
    def info(self) -> ModelInfo:
        """Say which model this is."""
        return self._info

    def space(self, site: str, layers: tuple[int, ...] | None = None) -> UnitSpace:
        """Number the units that the model has at a site; see `Adapter.space`.

        Raises:
            SiteError: the model lacks the site, or it holds something else under that name.
        """
        chosen = chosen_layers(site, layers, self._info.n_layers)
        return UnitSpace(site, chosen, self._widths_of(site, chosen))

    def check_plan(self, intervention: AnyPlan | None) -> None:
        """Refuse a plan that names what the model lacks; see `Adapter.check_plan`."""
        check_intervention(intervention)
        for step in acting_steps(intervention):
            widths = self.space(step.tensor_site, tuple(step.units)).widths
            for (layer, units), width in zip(step.units.items(), widths, strict=True):
                try:
                    meant_values(step, layer, *units, self._model.config, width)
                except LookupError as error:
                    raise SiteError(error.args[0]) from error

    def batches(self, texts: Sequence[Prompt]) -> list[Int[np.ndarray, " text"]]:
        """Give the rows of each batch that `collect` makes; see `Adapter.batches`.

        Raises:
            ModelError: a text has no tokens, or too many.
        """
        return self.tokens.batch_rows(texts, self._batch_tokens)

    def _memory(self, room: int = 0) -> Memory:
        return Memory(self._info.name, self._say, room)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        rows: Sequence[int] | None = None,
        intervention: AnyPlan | None = None,
        max_new_tokens: int = 32,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int | Sequence[int] = 0,
        told: Callable[[int, str], None] | None = None,
        progress: str | None = None,
    ) -> Generation:
        """Continue each prompt; see `Adapter.generate`.

        The model's own generation settings (penalties, top-k and the like) are left out; its end
        tokens count. A server tells what it wrote a batch at a time.

        Raises:
            SiteError: the model lacks the intervention's site or one of its units.
            ModelError: a prompt is empty and the model has no BOS token, or prompt and new tokens
                together are more than the model can take.
        """
        writing = Writing(
            max_new_tokens, temperature, top_p, tuple(seed) if isinstance(seed, Sequence) else seed
        )
        self.check_plan(intervention)

        def run(batch: TokenBatch, settings: dict[str, Any], choice: dict[str, Any]) -> Continued:
            steps = steered_in_batch(intervention, batch, self.tokens.bos_id, len(prompts))
            return self._continue(batch, steps, settings, choice)

        return continue_in_batches(
            Asked(prompts, rows, intervention, writing, told, progress),
            run,
            info=self._info,
            model=self._model,
            tokens=self.tokens,
            batch_tokens=self._batch_tokens,
            memory=self._memory(max_new_tokens),
            streams=self._streams,
        )

    def losses(
        self,
        texts: Sequence[str],
        *,
        intervention: AnyPlan | None = None,
        context: int | None = None,
        stride: int | None = None,
    ) -> list[Float[np.ndarray, " token"]]:
        """Give each text's negative log-likelihood a token; see `Adapter.losses`.

        Windows of `context` tokens move on by `stride`; only tokens that no earlier window scored
        are scored (PAPER step 10: stride 512). The first token has no context and no loss. All
        tokens of a text are a prompt: a plan for `generated` positions touches none of them.
        Windows of similar length run side by side; a batch's logits leave the device as losses.

        Args:
            texts: each at least two tokens long, BOS included.
            intervention: what is done to the model meanwhile.
            context: window in tokens; None takes what the model can take, at most 1,024.
            stride: how far windows move; None takes half of `context`.

        Returns:
            For each text, one loss for each token but the first; float32 (float64 for a float64
            model).

        Raises:
            ModelError: a text is too short, or the window does not fit.
        """
        self.check_plan(intervention)
        encoded, text_windows = windows(self.tokens, texts, context, stride)
        steered = steered_in_windows(intervention, text_windows, encoded, self.tokens.bos_id)
        groups = window_batches(self.tokens, text_windows, self._batch_tokens, self._model.config)
        return by_text(text_windows, self._scored(groups, steered))
