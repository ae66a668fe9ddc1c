"""What the hosts that set hooks on a model here do alike: all verbs, given how hooks are set."""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from steer_plugin.activations.pooling import pool, pooler
from steer_plugin.activations.sites import of_heads
from steer_plugin.adapters.shared.batch_adapter import BatchAdapter
from steer_plugin.adapters.shared.fingerprint import identified
from steer_plugin.adapters.shared.generation import Continued
from steer_plugin.adapters.shared.heads import head_norms
from steer_plugin.adapters.shared.losses import (
    WindowBatch,
    token_losses,
)
from steer_plugin.adapters.shared.model_locks import alone
from steer_plugin.adapters.shared.placement import input_device
from steer_plugin.adapters.shared.sampling import choose
from steer_plugin.adapters.shared.steered_tokens import (
    Steered,
    steered_in_batch,
)
from steer_plugin.adapters.shared.tokens import TokenBatch
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Batch, ModelInfo, Reading
from steer_plugin.models.generation import Prompt

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")
Reader = tuple[str, int, Callable[[Tensor], Answer]]
"""A site, a layer, and what to make of the tensor there."""


class HookedAdapter(BatchAdapter):
    """A model that runs here and takes hooks, behind the verbs of an `Adapter`."""

    @abstractmethod
    def _steered(self, steps: Sequence[Steered]) -> AbstractContextManager[Any]:
        """Steer the passes inside the block."""

    @abstractmethod
    def _reading(
        self, steps: Sequence[Steered], readers: Mapping[Key, Reader[Answer]]
    ) -> AbstractContextManager[dict[Key, Answer]]:
        """Steer a pass inside the block and read from it; it ends with the last that is read."""

    def identify(self) -> ModelInfo:
        """Say which model would answer just now; see `Adapter.identify`."""
        return identified(self, self._model, self.tokens.tokenizer)

    def _inputs(self, module: Any, batch: TokenBatch) -> dict[str, Any]:
        return {**batch.inputs(module.forward, input_device(self._model)), "use_cache": False}

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
        self.check_plan(intervention)
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

    def _continue(
        self,
        batch: TokenBatch,
        steps: Sequence[Steered],
        settings: dict[str, Any],
        choice: dict[str, Any],
    ) -> Continued:
        device = input_device(self._model)
        log_probabilities: list[Tensor] = []
        with (
            alone(self._model),
            torch.inference_mode(),
            self._steered(steps),
        ):
            ids = self._model.generate(
                batch.ids.to(device),
                attention_mask=batch.attention.long().to(device),
                logits_processor=[partial(choose, log_probabilities=log_probabilities, **choice)],
                **settings,
            )
        return ids.cpu(), torch.stack(log_probabilities, 1).cpu()

    def _scored(
        self, groups: Iterable[WindowBatch], steered: Callable[[TokenBatch], list[Steered]]
    ) -> Iterator[tuple[WindowBatch, Tensor]]:
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

        return (answer for group in groups for answer in memory.run(group, score))


def _pooler(content: Tensor, reading: Reading, width: int) -> Callable[[Tensor], Tensor]:
    def pooled(activations: Tensor) -> Tensor:
        # Some blocks put the tokens of all texts in one row, and some their heads side by side.
        flat = activations.reshape(*content.shape, -1)
        units = head_norms(flat, width) if of_heads(reading.site) else flat
        return pool(units, content, reading.pooling)

    return pooled
