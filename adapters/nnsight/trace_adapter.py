"""nnsight: a model here, or on an NDIF server, as an adapter."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from nnsight.intervention.interleaver import OutOfOrderError
from torch import Tensor

from steer_plugin.activations.pooling import pooler
from steer_plugin.activations.sites import UnitSpace, of_heads, tensor_site
from steer_plugin.adapters.nnsight import trace_blocks
from steer_plugin.adapters.nnsight.ndif import NDIF
from steer_plugin.adapters.nnsight.portable_code import portable
from steer_plugin.adapters.shared.batch_adapter import BatchAdapter
from steer_plugin.adapters.shared.fingerprint import identified
from steer_plugin.adapters.shared.generation import Continued
from steer_plugin.adapters.shared.heads import head_count
from steer_plugin.adapters.shared.hub_commit import commit_of
from steer_plugin.adapters.shared.losses import WindowBatch
from steer_plugin.adapters.shared.model_locks import alone
from steer_plugin.adapters.shared.model_sites import ModelSites
from steer_plugin.adapters.shared.placement import devices_of
from steer_plugin.adapters.shared.sampling import LEAST_TEMPERATURE
from steer_plugin.adapters.shared.shipped_tokenizer import shipped_tokenizer
from steer_plugin.adapters.shared.steered_tokens import (
    Steered,
    steered_in_batch,
)
from steer_plugin.adapters.shared.tokens import TokenBatch, tokens_for
from steer_plugin.errors import ModelError, SiteError
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import UNKNOWN, Batch, ModelInfo, Reading
from steer_plugin.models.generation import Prompt
from steer_plugin.settings.model import BATCH_TOKENS
from steer_plugin.settings.names import FINAL_NORM, Pooling
from steer_plugin.settings.parts import SITES
from steer_plugin.storage.artifacts import one_line

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
Job = TypeVar("Job", TokenBatch, WindowBatch)


class TraceAdapter(BatchAdapter):
    """An nnsight model behind the verbs of `steer_plugin.models.adapter.Adapter`.

    Args:
        model: a `TransformersModel`, a `LanguageModel`, or an `NNsight` around a causal language
            model; on any device or devices, in any dtype.
        tokenizer: the tokenizer as the model ships it. None takes the model's own, or loads it
            from where the model is from.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        batch_tokens: padded tokens a batch, fewer from where memory ends on.
        chat: whether each text is what the user says, in the tokenizer's chat template.
        say: told, a line each, when memory ends; None tells nobody.
        ndif: the server that runs the model; None runs it here.
        name: what results record as the model's name; None takes the one it was loaded by.
        revision: what results record as its revision; None takes the commit where it is known.

    Raises:
        ModelError: the model has no weights here and no server is given, its tokenizer cannot be
            loaded, it has no BOS and `bos` is True, or no chat template and `chat` is; or the
            server does not answer.
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        bos: bool | None = None,
        batch_tokens: int = BATCH_TOKENS,
        chat: bool = False,
        say: Callable[[str], None] | None = None,
        ndif: NDIF | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Hold the model; ask a server once what it is."""
        self.model = model
        self._model: Any = model._module
        self.ndif = ndif
        if ndif is None:
            if any(
                parameter.is_meta
                for part in self._model.modules()
                # accelerate fetches the weights that it has offloaded.
                if not hasattr(part, "_hf_hook")
                for parameter in part.parameters(recurse=False)
            ):
                raise ModelError(
                    "the model has no weights here; load it with dispatch=True, or give "
                    "remote=True to run it on an NDIF server"
                )
            if next(self._model.parameters()).is_meta:
                raise ModelError(
                    "the model's first weights are offloaded, and nnsight gives the token ids to "
                    "where they are; keep the embeddings on a device"
                )
            self._model.eval()
        config = self._model.config
        repository = getattr(model, "repo_id", None)
        self._name = name or repository or config.name_or_path or UNKNOWN
        shipped = _shipped_tokenizer(model, self._name) if tokenizer is None else tokenizer
        tokens = tokens_for(shipped, bos, config, chat)
        self._sites = ModelSites(self._model, self._name)
        text_config = config.get_text_config()
        info = ModelInfo(
            name=self._name,
            revision=revision
            or commit_of(config, repository if ndif else None, getattr(model, "revision", None))
            or UNKNOWN,
            host=f"nnsight {version('nnsight')}" + (" on NDIF" if ndif else ""),
            n_layers=int(text_config.num_hidden_layers),
            d_model=int(text_config.hidden_size),
            dtype=self._run(trace_blocks.dtype_of),
            bos=tokens.bos,
            chat=chat,
            device=devices_of(self._model) if ndif is None else "",
        )
        super().__init__(self._model, info, tokens, batch_tokens, say)

    @property
    def _streams(self) -> bool:
        return self.ndif is None

    def identify(self) -> ModelInfo:
        """Say which model would answer just now; see `Adapter.identify`."""
        return identified(self, None if self.ndif else self._model, self.tokens.tokenizer)

    def _run(
        self,
        block: Callable[Concatenate[Any, Any, Arguments], Answer],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Answer:
        """Run one of the blocks of `sessions`, where the model is."""
        if self.ndif is not None:
            return self.ndif.run(lambda backend: block(self.model, backend, *args, **kwargs))
        with alone(self._model):
            try:
                return block(self.model, None, *args, **kwargs)
            except OutOfOrderError as error:
                raise SiteError(
                    f"{self._name} does not reach its sites in the order in which its module "
                    f"paths list them: {one_line(error)}"
                ) from error

    def _in_sessions(
        self,
        jobs: Iterable[Job],
        run: Callable[[Sequence[Job]], Sequence[Answer]],
        result_bytes: Callable[[Job], int],
    ) -> Iterator[tuple[Job, Answer]]:
        """Do jobs: on a server several in a request, here one after another, as memory allows."""
        if self.ndif is not None:
            yield from self.ndif.in_sessions(jobs, run, result_bytes)
            return
        memory = self._memory()
        for job in jobs:
            yield from memory.run(job, lambda part: run([part])[0])

    def _widths_of(self, site: str, layers: tuple[int, ...]) -> tuple[int, ...]:
        if self.ndif is None:
            return self._sites.widths(site, layers)
        return tuple(self._width(site, layer) for layer in layers)

    def _width(self, site: str, layer: int) -> int:
        """Tell how wide a site is from the module that it is at, whose weights are on a server."""
        path, side = self._sites.locate(site, layer)
        module = self._model.get_submodule(path)
        names = ("in_features", "nx") if side == "input" else ("out_features", "nf")
        widths = [getattr(module, name) for name in names if hasattr(module, name)]
        width = int(widths[0]) if widths else self._info.d_model
        try:
            return head_count(self._model.config, width) if of_heads(site) else width
        except LookupError as error:
            raise SiteError(f"{self._name} has no {site}: {error.args[0]}") from error

    def _inputs(self, batch: TokenBatch) -> trace_blocks.Inputs:
        return batch.inputs(self._model.forward)

    def collect(
        self,
        texts: Sequence[Prompt],
        readings: Sequence[Reading],
        *,
        intervention: AnyPlan | None = None,
    ) -> Iterator[Batch]:
        """Run the model over texts and pool each reading where it is; see `Adapter.collect`.

        Raises:
            SiteError: the model lacks a site, a layer or a unit.
            ModelError: a text has no tokens, or too many, or the server cannot be made to answer.
        """
        for reading in readings:
            pooler(reading.pooling)
        spaces = {reading: self.space(reading.site, reading.layers) for reading in readings}
        self.check_plan(intervention)
        places, keys = self._places(spaces)
        units = sum(map(len, spaces.values()))

        bos_id = self.tokens.bos_id

        def read(batches: Sequence[TokenBatch]) -> Any:
            return self._run(
                trace_blocks.read_pooled,
                [
                    (
                        {**self._inputs(batch), "use_cache": False},
                        batch.content,
                        self._sent(
                            steered_in_batch(intervention, batch, self.tokens.bos_id, len(texts))
                        ),
                    )
                    for batch in batches
                ],
                places,
                bos_id,
            )

        for batch, answers in self._in_sessions(
            self.tokens.batches(texts, self._batch_tokens),
            read,
            lambda batch: 4 * units * len(batch.rows),
        ):
            parts = dict(zip(keys, answers, strict=True))
            yield Batch(
                np.array(batch.rows),
                {
                    reading: torch.cat(
                        [parts[reading.site, layer, reading.pooling] for layer in space.layers], 1
                    )
                    for reading, space in spaces.items()
                },
                batch.content.sum(1).numpy(),
            )

    def _places(
        self, spaces: dict[Reading, UnitSpace]
    ) -> tuple[list[trace_blocks.Place], list[tuple[str, int, Pooling]]]:
        """Put what is read in the order in which a forward pass reaches it."""
        # By tensor, what is made of it: the site, how it is pooled, and how many heads it is of.
        wanted: dict[tuple[str, int], dict[tuple[str, Pooling], int | None]] = {}
        for reading, space in spaces.items():
            for layer, width in zip(space.layers, space.widths, strict=True):
                made = wanted.setdefault((tensor_site(reading.site), layer), {})
                heads = width if of_heads(reading.site) else None
                made[reading.site, reading.pooling] = heads
        order = list(self._sites.paths().sites)

        def reached(place: tuple[str, int]) -> tuple[float, float]:
            site, layer = place
            if site == FINAL_NORM:
                return float("inf"), 0
            # Somebody's own is half a step in front of the site that comes after it.
            after = SITES[site].before
            return layer, order.index(site) if site in order else (
                order.index(after) - 0.5 if after in order else len(order)
            )

        ordered = sorted(wanted, key=reached)
        functions = {
            pooling: portable(pooler(pooling).function)
            for made in wanted.values()
            for _, pooling in made
        }
        places = [
            (
                *self._sites.locate(*place),
                tuple((functions[pooling], heads) for (_, pooling), heads in wanted[place].items()),
            )
            for place in ordered
        ]
        keys = [(site, place[1], pooling) for place in ordered for site, pooling in wanted[place]]
        return places, keys

    def _continue(
        self,
        batch: TokenBatch,
        steps: Sequence[Steered],
        settings: dict[str, Any],
        choice: dict[str, Any],
    ) -> Continued:
        inputs, sent, bos_id = (
            {**self._inputs(batch), **settings},
            self._sent(steps),
            self.tokens.bos_id,
        )
        if self.ndif is not None and choice["temperature"] < LEAST_TEMPERATURE:
            return self._run(trace_blocks.continue_greedily, inputs, sent, bos_id)
        return self._run(trace_blocks.continue_prompts, inputs, choice, sent, bos_id)

    def _scored(
        self, groups: Iterable[WindowBatch], steered: Callable[[TokenBatch], list[Steered]]
    ) -> Iterator[tuple[WindowBatch, Tensor]]:
        def score(groups: Sequence[WindowBatch]) -> Any:
            return self._run(
                trace_blocks.score_windows,
                [
                    (self._scoring_inputs(group), group.scored, self._sent(steered(group.batch)))
                    for group in groups
                ],
                self.tokens.bos_id,
            )

        return self._in_sessions(groups, score, lambda group: 8 * int(group.scored.sum()))

    @staticmethod
    def _sent(steps: Sequence[Steered]) -> list[Steered]:
        """Leave out what said which tokens are touched, since that is worked out by now."""
        return [(replace(step, positions="all"), touched) for step, touched in steps]

    def _scoring_inputs(self, group: WindowBatch) -> trace_blocks.Inputs:
        inputs = {**self._inputs(group.batch), "use_cache": False}
        return inputs | group.wanted(self._model.forward)


def _shipped_tokenizer(model: Any, name: str) -> Any:
    tokenizer = model.__dict__.get("tokenizer")
    if tokenizer is not None:
        return tokenizer
    return shipped_tokenizer(name)
