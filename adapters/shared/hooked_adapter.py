"""What the hosts that set hooks on a model here do alike: all verbs, given how hooks are set."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.activations.pooling import pool, pooler
from steer_plugin.activations.sites import UnitSpace, chosen_layers, of_heads
from steer_plugin.adapters.shared.fingerprint import identified
from steer_plugin.adapters.shared.generation import Asked, Continued, continue_in_batches
from steer_plugin.adapters.shared.heads import head_norms
from steer_plugin.adapters.shared.losses import (
    WindowBatch,
    by_text,
    token_losses,
    window_batches,
    windows,
)
from steer_plugin.adapters.shared.memory import Memory
from steer_plugin.adapters.shared.model_locks import alone
from steer_plugin.adapters.shared.sampling import choose
from steer_plugin.adapters.shared.steered_tokens import (
    Steered,
    require_units,
    steered_in_batch,
    steered_in_windows,
)
from steer_plugin.adapters.shared.tokens import TokenBatch, Tokens
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Batch, ModelInfo, Reading
from steer_plugin.models.generation import Generation, Prompt, Writing

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")
Reader = tuple[str, int, Callable[[Tensor], Answer]]
"""A site, a layer, and what to make of the tensor there."""


class HookedAdapter(ABC):
    """A model that runs here and takes hooks, behind the verbs of an `Adapter`.

    Args:
        model: of transformers, in evaluation mode.
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

    @abstractmethod
    def _widths_of(self, site: str, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Count the units of a site; refuse one that the model lacks."""

    @abstractmethod
    def _steered(self, steps: Sequence[Steered]) -> AbstractContextManager[Any]:
        """Steer the passes inside the block."""

    @abstractmethod
    def _reading(
        self, steps: Sequence[Steered], readers: Mapping[Key, Reader[Answer]]
    ) -> AbstractContextManager[dict[Key, Answer]]:
        """Steer a pass inside the block and read from it; it ends with the last that is read."""

    @property
    def info(self) -> ModelInfo:
        """Say which model this is."""
        return self._info

    def identify(self) -> ModelInfo:
        """Say which model would answer just now; see `Adapter.identify`."""
        return identified(self, self._model, self.tokens.tokenizer)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._model.get_input_embeddings().weight.device
        # Weights that are offloaded are nowhere yet, and move their inputs along with them.
        return torch.device("cpu") if device.type == "meta" else device

    def space(self, site: str, layers: tuple[int, ...] | None = None) -> UnitSpace:
        """Number the units that the model has at a site; see `Adapter.space`.

        Raises:
            SiteError: the model lacks the site, or it holds something else under that name.
        """
        chosen = chosen_layers(site, layers, self._info.n_layers)
        return UnitSpace(site, chosen, self._widths_of(site, chosen))

    def _inputs(self, module: Any, batch: TokenBatch) -> dict[str, Any]:
        return {**batch.inputs(module.forward, self._device), "use_cache": False}

    def batches(self, texts: Sequence[Prompt]) -> list[Int[np.ndarray, " text"]]:
        """Give the rows of each batch that `collect` makes; see `Adapter.batches`.

        Raises:
            ModelError: a text has no tokens, or too many.
        """
        return self.tokens.batch_rows(texts, self._batch_tokens)

    def collect(
        self,
        texts: Sequence[Prompt],
        readings: Sequence[Reading],
        *,
        intervention: AnyPlan | None = None,
    ) -> Iterator[Batch]:
        """Run the model over texts and pool each reading in its hook; see `Adapter.collect`.

        Raises:
            SiteError: the model lacks a site.
            ModelError: a text has no tokens, or too many.
        """
        spaces = {reading: self.space(reading.site, reading.layers) for reading in readings}
        for reading in readings:
            pooler(reading.pooling)
        require_units(self.space, intervention, self._model.config)
        memory = self._memory()

        def read(batch: TokenBatch) -> dict[tuple[Reading, int], Tensor]:
            readers = {
                (reading, layer): (
                    reading.site,
                    layer,
                    _pooler(batch.content, reading, width),
                )
                for reading, space in spaces.items()
                for layer, width in zip(space.layers, space.widths, strict=True)
            }
            steps = steered_in_batch(intervention, batch, self.tokens.bos_id, len(texts))
            # The blocks and the final norm run as far as they are read, not the unembedding.
            transformer = self._model.base_model
            with (
                alone(self._model),
                torch.inference_mode(),
                self._reading(steps, readers) as answers,
            ):
                transformer(**self._inputs(transformer, batch))
            return answers

        for batch in self.tokens.batches(texts, self._batch_tokens):
            for part, pooled in memory.run(batch, read):
                yield Batch(
                    np.array(part.rows),
                    {
                        # Layers may be on several devices.
                        reading: torch.cat(
                            [pooled[reading, layer].cpu() for layer in space.layers], 1
                        )
                        for reading, space in spaces.items()
                    },
                    part.content.sum(1).numpy(),
                )

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
        seed: int = 0,
        told: Callable[[int, str], None] | None = None,
        progress: str | None = None,
    ) -> Generation:
        """Continue each prompt; see `Adapter.generate`.

        The model's own generation settings (penalties, top-k and the like) are left out; its end
        tokens count.

        Raises:
            ModelError: a prompt is empty and the model has no BOS token, or prompt and new tokens
                together are more than the model can take.
        """
        writing = Writing(max_new_tokens, temperature, top_p, seed)
        require_units(self.space, intervention, self._model.config)

        def run(batch: TokenBatch, settings: dict[str, Any], choice: dict[str, Any]) -> Continued:
            steps = steered_in_batch(intervention, batch, self.tokens.bos_id, len(prompts))
            log_probabilities: list[Tensor] = []
            with (
                alone(self._model),
                torch.inference_mode(),
                self._steered(steps),
            ):
                ids = self._model.generate(
                    batch.ids.to(self._device),
                    attention_mask=batch.attention.long().to(self._device),
                    logits_processor=[
                        partial(choose, log_probabilities=log_probabilities, **choice)
                    ],
                    **settings,
                )
            return ids.cpu(), torch.stack(log_probabilities, 1).cpu()

        return continue_in_batches(
            Asked(prompts, rows, intervention, writing, told, progress),
            run,
            info=self._info,
            model=self._model,
            tokens=self.tokens,
            batch_tokens=self._batch_tokens,
            memory=self._memory(max_new_tokens),
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
        require_units(self.space, intervention, self._model.config)
        encoded, text_windows = windows(self.tokens, texts, context, stride)
        steered = steered_in_windows(intervention, text_windows, encoded, self.tokens.bos_id)

        memory = self._memory()

        def score(group: WindowBatch) -> Tensor:
            inputs = self._inputs(self._model, group.batch) | group.wanted(self._model.forward)
            with (
                alone(self._model),
                torch.inference_mode(),
                self._steered(steered(group.batch)),
            ):
                logits = self._model(**inputs).logits
                return token_losses(logits, group.batch.ids, group.scored).cpu()

        groups = window_batches(self.tokens, text_windows, self._batch_tokens, self._model.config)
        answers = (answer for group in groups for answer in memory.run(group, score))
        return by_text(text_windows, answers)


def _pooler(content: Tensor, reading: Reading, width: int) -> Callable[[Tensor], Tensor]:
    def pooled(activations: Tensor) -> Tensor:
        # Some blocks put the tokens of all texts in one row, and some their heads side by side.
        flat = activations.reshape(*content.shape, -1)
        units = head_norms(flat, width) if of_heads(reading.site) else flat
        return pool(units, content, reading.pooling)

    return pooled
