"""Plans as PyTorch hooks on the modules of a model of transformers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from steer_plugin.adapters.shared.causal_models import require_causal
from steer_plugin.adapters.shared.hooked_adapter import Answer, Key, Reader
from steer_plugin.adapters.shared.model_locks import in_one_thread
from steer_plugin.adapters.shared.model_sites import ModelSites
from steer_plugin.adapters.shared.module_hooks import Act, module_hooks, uncompiled
from steer_plugin.adapters.shared.module_paths import Place
from steer_plugin.adapters.shared.passes import PassWatch
from steer_plugin.adapters.shared.steered_tokens import PassContext, SteeredTokens, writers
from steer_plugin.adapters.transformers.wrappers import unwrapped
from steer_plugin.errors import InterventionError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan, acting_steps, check_intervention

Following = tuple[Intervention, SteeredTokens]
"""A step of a plan, and which tokens it touches, pass after pass."""


class LastReadError(Exception):
    """Ends a pass of which all is read."""


@contextmanager
def steered(model: Any, intervention: AnyPlan, prompt_length: int | None = None) -> Iterator[Any]:
    """Steer every forward pass of a model inside the block, and none after it.

    Composes with hooks that are set before or after, which act in the order in which they were set,
    and with whatever calls the model: pipelines, `Trainer`, `generate`. What torch.compile has
    compiled runs uncompiled inside the block, in the whole process, since compiled code passes
    hooks by.

    Args:
        model: of transformers, or a wrapper around one.
        intervention: what to do to it.
        prompt_length: see `steer_plugin.adapters.steered`.

    Raises:
        ModelError: the model is an encoder-decoder.
        SiteError: the model lacks the site or one of the units.
        InterventionError: it is no plan, its hooks were removed inside the block, or another thread
            is in such a block with the same model.
    """
    check_intervention(intervention)
    inner = unwrapped(model)
    require_causal(inner.config)
    steps = acting_steps(intervention)
    if not steps:
        yield model
        return
    name = inner.config.name_or_path or type(inner).__name__
    sites = ModelSites(inner, name)
    ids = {name: _first_id(inner, f"{name}_token_id") for name in ("bos", "pad", "eos")}
    following = [
        (
            step,
            SteeredTokens(
                step,
                ids["bos"],
                prompt_length=prompt_length,
                pad_id=ids["pad"],
                eos_id=ids["eos"],
            ),
        )
        for step in steps
    ]
    with (
        in_one_thread(inner, name),
        uncompiled(),
        steering(inner, sites, following) as tables,
    ):
        yield model
        if any(table is None or number not in table for table, number in tables):
            raise InterventionError(
                "the plan's hooks were removed inside the block, so not all of it was steered; "
                "leave them where they are"
            )


@contextmanager
def steering(
    model: Any, sites: ModelSites, following: Sequence[Following]
) -> Iterator[list[tuple[Any, int]]]:
    """Steer the passes of a model inside the block.

    Args:
        model: of transformers.
        sites: of the model.
        following: the steps that act, in order.

    Yields:
        See `module_hooks`.

    Raises:
        SiteError: the model lacks a site.
    """
    acts: list[tuple[Place, Act]] = []
    for step, tokens in following:
        sites.widths(step.tensor_site, tuple(step.units))
        acts += [
            (sites.locate(step.site, layer), _in_backward_too(write, tokens))
            for layer, write in writers(step, tokens, model.config)
        ]

    def begin(ids: Tensor | None, context: PassContext) -> None:
        for _, tokens in following:
            if ids is None:
                tokens.forget()
            else:
                tokens.follow(ids, context)
                tokens.keep_for_backward()

    watch = PassWatch(model, begin=begin)
    try:
        with module_hooks(model, acts) as tables:
            yield tables
    finally:
        watch.remove()


@contextmanager
def reading(
    model: Any, sites: ModelSites, readers: Mapping[Key, Reader[Answer]]
) -> Iterator[dict[Key, Answer]]:
    """Read from a pass inside the block, which ends with the last tensor that is read.

    Args:
        model: of transformers.
        sites: of the model.
        readers: for each answer what is read.

    Yields:
        The answers; complete when the block is left.
    """
    answers: dict[Key, Answer] = {}

    def act_of(key: Key, reader: Reader[Answer]) -> tuple[Place, Act]:
        site, layer, read = reader

        def act(activations: Tensor) -> None:
            answers[key] = read(activations)
            if len(answers) == len(readers):
                raise LastReadError

        return sites.locate(site, layer), act

    acts = [act_of(key, reader) for key, reader in readers.items()]
    with suppress(LastReadError), module_hooks(model, acts):
        yield answers


def _in_backward_too(write: Act, tokens: SteeredTokens) -> Act:
    """Steer what gradient checkpointing runs again as it was steered before."""

    def act(activations: Tensor) -> Tensor | None:
        if torch._C._current_graph_task_id() != -1:
            tokens.require_one_pass()
        return write(activations)

    return act


def _first_id(model: Any, name: str) -> int | None:
    """Give the id of a special token, the first where there are several."""
    for settings in (model.config.get_text_config(), getattr(model, "generation_config", None)):
        ids = getattr(settings, name, None)
        if ids is not None:
            return int(ids[0]) if isinstance(ids, (list, tuple)) else int(ids)
    return None
