"""TransformerLens: a TransformerBridge as an adapter."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer

from steer_plugin.activations.pooling import pool, pooler
from steer_plugin.activations.sites import UnitSpace, chosen_layers, hook_name, of_heads
from steer_plugin.adapters.shared.dtypes import dtype_of
from steer_plugin.adapters.shared.fingerprint import identified
from steer_plugin.adapters.shared.generation import Asked, Continued, continue_in_batches
from steer_plugin.adapters.shared.heads import head_count, head_norms
from steer_plugin.adapters.shared.losses import (
    WindowBatch,
    by_text,
    token_losses,
    window_batches,
    windows,
)
from steer_plugin.adapters.shared.memory import Memory
from steer_plugin.adapters.shared.model_locks import alone
from steer_plugin.adapters.shared.placement import devices_of
from steer_plugin.adapters.shared.sampling import choose
from steer_plugin.adapters.shared.steered_tokens import (
    Steered,
    SteeredTokens,
    require_units,
    steered_in_batch,
    steered_in_windows,
)
from steer_plugin.adapters.shared.tokens import TokenBatch, tokens_for
from steer_plugin.adapters.transformer_lens.hooks import (
    Answer,
    Key,
    NamedHook,
    reading_hooks,
    require_site,
    steering_hooks,
)
from steer_plugin.adapters.transformer_lens.passes import PassWatch
from steer_plugin.errors import ModelError, SiteError
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Batch, ModelInfo, Reading
from steer_plugin.models.generation import Generation, Prompt, Writing
from steer_plugin.settings.model import BATCH_TOKENS
from steer_plugin.storage.artifacts import one_line


class BridgeAdapter:
    """A TransformerBridge behind the verbs of `steer_plugin.models.adapter.Adapter`.

    Args:
        bridge: on any device, in any dtype; it is put into evaluation mode.
        tokenizer: the tokenizer as the model ships it. None loads it from where the bridge has its
            own from; the bridge's own puts BOS where the model never saw it.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        batch_tokens: padded tokens a batch, fewer from where memory ends on.
        chat: whether each text is what the user says, in the tokenizer's chat template.
        say: told, a line each, when memory ends; None tells nobody.
        name: what results record as the model's name; None takes the bridge's.
        revision: what results record as its revision; None takes the commit where it is known.

    Raises:
        ModelError: the tokenizer cannot be loaded, or has no BOS and `bos` is True, or no chat
            template and `chat` is; or the bridge has parts that the model lacks.
    """

    def __init__(
        self,
        bridge: TransformerBridge,
        *,
        tokenizer: Any = None,
        bos: bool | None = None,
        batch_tokens: int = BATCH_TOKENS,
        chat: bool = False,
        say: Callable[[str], None] | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Hold the bridge; nothing is run yet."""
        _require_components(bridge)
        bridge.eval()
        self.bridge = bridge
        self._model = cast("Any", bridge.original_model)
        self._batch_tokens = batch_tokens
        self._say = say
        self._widths: dict[tuple[str, int], int] = {}
        shipped = _shipped_tokenizer(bridge) if tokenizer is None else tokenizer
        self.tokens = tokens_for(shipped, bos, self._model.config, chat)
        self._info = ModelInfo(
            name=name or str(bridge.cfg.model_name),
            revision=revision or getattr(self._model.config, "_commit_hash", None) or "unknown",
            host=f"transformer_lens {version('transformer-lens')}",
            n_layers=int(bridge.cfg.n_layers),
            d_model=int(bridge.cfg.d_model),
            dtype=dtype_of(self._model),
            bos=self.tokens.bos,
            chat=chat,
            device=devices_of(self._model),
        )

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
        missing = [layer for layer in chosen if (site, layer) not in self._widths]
        for layer in missing:
            require_site(self.bridge, site, layer)
        if missing:
            self._measure(site, missing)
        return UnitSpace(site, chosen, tuple(self._widths[site, layer] for layer in chosen))

    def _measure(self, site: str, layers: Sequence[int]) -> None:
        """Read widths from tensors, since configs name them in many ways."""

        def width(activations: Tensor) -> int:
            return self._heads(site, activations.shape[2]) or activations.shape[2]

        token = torch.ones((1, 1), dtype=torch.bool)
        readers = {(site, layer): (hook_name(site, layer), width) for layer in layers}
        self._widths |= self._read(TokenBatch((0,), token.long(), token, ~token), [], readers)

    def _heads(self, site: str, width: int) -> int | None:
        try:
            return head_count(self._model.config, width) if of_heads(site) else None
        except LookupError as error:
            raise SiteError(f"{self._info.name} has no {site}: {error.args[0]}") from error

    def _read(
        self,
        batch: TokenBatch,
        steering: Sequence[NamedHook],
        readers: Mapping[Key, tuple[str, Callable[[Tensor], Answer]]],
    ) -> dict[Key, Answer]:
        """Run the blocks and the final norm as far as they are read, not the unembedding."""
        transformer = self._model.base_model
        with (
            alone(self._model),
            torch.inference_mode(),
            reading_hooks(self.bridge, steering, readers) as answers,
        ):
            transformer(**self._inputs(transformer, batch))
        return answers

    def _inputs(self, module: Any, batch: TokenBatch) -> dict[str, Any]:
        inputs: dict[str, Any] = {
            "input_ids": batch.ids.to(self._device),
            "attention_mask": batch.attention.long().to(self._device),
            "use_cache": False,
        }
        if "position_ids" in inspect.signature(module.forward).parameters:
            inputs["position_ids"] = batch.positions.to(self._device)
        return inputs

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
                    hook_name(reading.site, layer),
                    _pooler(batch.content, reading, width),
                )
                for reading, space in spaces.items()
                for layer, width in zip(space.layers, space.widths, strict=True)
            }
            steps = steered_in_batch(intervention, batch, self.tokens.bos_id, len(texts))
            return self._read(batch, self._steering(steps), readers)

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

    def _steering(self, steps: Sequence[Steered]) -> list[NamedHook]:
        hooks: list[NamedHook] = []
        for step, touched in steps:
            tokens = SteeredTokens(step, self.tokens.bos_id, touched=touched)
            hooks += steering_hooks(self.bridge, step, tokens, PassWatch(self.bridge).context)
        return hooks

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
                self.bridge.hooks(fwd_hooks=self._steering(steps)),
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
                self.bridge.hooks(fwd_hooks=self._steering(steered(group.batch))),
            ):
                logits = self._model(**inputs).logits
                return token_losses(logits, group.batch.ids, group.scored).cpu()

        groups = window_batches(self.tokens, text_windows, self._batch_tokens, self._model.config)
        answers = (answer for group in groups for answer in memory.run(group, score))
        return by_text(text_windows, answers)


def _pooler(content: Tensor, reading: Reading, width: int) -> Callable[[Tensor], Tensor]:
    def pooled(activations: Tensor) -> Tensor:
        units = head_norms(activations, width) if of_heads(reading.site) else activations
        return pool(units, content, reading.pooling)

    return pooled


def _require_components(bridge: TransformerBridge) -> None:
    """Refuse a bridge that would run what its model lacks, as Granite 4 without rotary embedding.

    Raises:
        ModelError: it has such a part.
    """
    lacking = [
        name
        for name, part in bridge.named_modules()
        if getattr(part, "original_component", part) is None
    ]
    if lacking:
        raise ModelError(
            f"transformer_lens {version('transformer-lens')} would run {', '.join(lacking)}, which "
            f"{type(bridge.original_model).__name__} lacks in {bridge.cfg.model_name}; run the "
            "model on nnsight"
        )


def _shipped_tokenizer(bridge: TransformerBridge) -> Any:
    bridge_tokenizer = bridge.tokenizer
    if bridge_tokenizer is None:
        raise ModelError("the bridge has no tokenizer; give adapt(..., tokenizer=...)")
    try:
        return AutoTokenizer.from_pretrained(bridge_tokenizer.name_or_path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot load the tokenizer of {bridge_tokenizer.name_or_path!r} as it ships: "
            f"{one_line(error)}; give adapt(..., tokenizer=...)"
        ) from error
