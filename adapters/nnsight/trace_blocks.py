"""The blocks of code that nnsight runs, here or on a server.

A server has never heard of this package: what a block names is torch, nnsight, plain data, or a
portable function. Of several batches one session is made, which is one request to a server.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from nnsight.tracing.tracer import save
from torch import Tensor

from steer_plugin.activations.pooling import pooled_by
from steer_plugin.adapters.nnsight.plan_in_trace import envoy_at, steer_beside
from steer_plugin.adapters.nnsight.portable_code import portable
from steer_plugin.adapters.shared import dtypes, sampling
from steer_plugin.adapters.shared import losses as losses_module
from steer_plugin.adapters.shared.generation import Continued
from steer_plugin.adapters.shared.heads import head_norms
from steer_plugin.adapters.shared.steered_tokens import Steered

Inputs = dict[str, Any]
# A place that is read: the module's path, its side, and what pools what is there, its values or the
# norms of so many heads.
Place = tuple[str, str, tuple[tuple[Callable[..., Tensor], int | None], ...]]

pooled = portable(pooled_by)
norms = portable(head_norms)
module_at = portable(envoy_at)
named_dtype = portable(dtypes.dtype_of)
choose = portable(sampling.choose)
token_losses = portable(losses_module.token_losses)


def dtype_of(model: Any, backend: Any) -> str:
    """Name what the model's numbers are; see `dtypes.dtype_of`."""
    dtype: str = ""
    with model.session(backend=backend):
        dtype = save(named_dtype(model._module))
    return str(dtype)


def read_pooled(
    model: Any,
    backend: Any,
    batches: Sequence[tuple[Inputs, Bool[Tensor, "_text _token"], Sequence[Steered]]],
    places: Sequence[Place],
    bos_id: int | None,
) -> list[list[Float[Tensor, "_text _unit"]]]:
    """Read places in forward order, each pooled where it is, and stop after the last.

    Returns:
        For each batch: for each place, each of its poolings.
    """
    answers: list[list[Tensor]] = []
    with model.session(backend=backend):
        answers = save([])
        with torch.no_grad():
            for inputs, content, steps in batches:
                with model.trace(**inputs) as tracer:
                    for step, touched in steps:
                        steer_beside(model, step, bos_id, touched)
                    parts = []
                    for path, side, poolings in places:
                        module = module_at(model, path)
                        value = module.input if side == "input" else module.output
                        tensor = value[0] if isinstance(value, (tuple, list)) else value
                        flat = tensor.reshape(*content.shape, -1)
                        for function, heads in poolings:
                            units = flat if heads is None else norms(flat, heads)
                            parts.append(pooled(units, content, function))
                    answers.append([part.cpu() for part in parts])
                    tracer.stop()
    return answers


def continue_prompts(
    model: Any,
    backend: Any,
    inputs: Inputs,
    choice: Mapping[str, Any],
    steps: Sequence[Steered],
    bos_id: int | None,
) -> Continued:
    """Give prompts and what the model continues them with; the settings are among the inputs.

    Args:
        model: the nnsight model.
        backend: of a server, or None.
        inputs: what `generate` takes by name.
        choice: how `choose` chooses tokens.
        steps: what is done to the model.
        bos_id: the BOS token's id, or None.
    """
    ids: Tensor = torch.empty(0, dtype=torch.int64)
    log_probabilities: Tensor = torch.empty(0)
    with model.session(backend=backend):
        parts: list[Tensor] = []
        processor = partial(choose, log_probabilities=parts, **choice)
        with model.trace(**inputs, logits_processor=[processor], fn="generate") as tracer:
            for step, touched in steps:
                steer_beside(model, step, bos_id, touched)
            generated = tracer.result
        ids = save(generated.cpu())
        log_probabilities = save(torch.stack(parts, 1).cpu())
    return ids, log_probabilities


def continue_greedily(
    model: Any,
    backend: Any,
    inputs: Inputs,
    steps: Sequence[Steered],
    bos_id: int | None,
) -> Continued:
    """Do what `continue_prompts` does at temperature 0, by transformers' own greedy search.

    A server that runs strangers in a sandbox takes no function of ours into `generate`.
    """
    ids: Tensor = torch.empty(0, dtype=torch.int64)
    log_probabilities: Tensor = torch.empty(0)
    whole = {**inputs, "return_dict_in_generate": True, "output_logits": True}
    with model.session(backend=backend):
        with model.trace(**whole, fn="generate") as tracer:
            for step, touched in steps:
                steer_beside(model, step, bos_id, touched)
            generated = tracer.result
        chosen = generated.sequences[:, -len(generated.logits) :]
        parts = [scores.log_softmax(-1) for scores in generated.logits]
        log_probabilities = save(torch.stack(parts, 1).gather(-1, chosen[..., None])[..., 0].cpu())
        ids = save(generated.sequences.cpu())
    return ids, log_probabilities


def score_windows(
    model: Any,
    backend: Any,
    batches: Sequence[tuple[Inputs, Bool[Tensor, "_window _token"], Sequence[Steered]]],
    bos_id: int | None,
) -> list[Float[Tensor, " _scored"]]:
    """Give the losses of each batch's scored tokens, window after window."""
    answers: list[Tensor] = []
    with model.session(backend=backend):
        answers = save([])
        with torch.no_grad():
            for inputs, scored, steps in batches:
                with model.trace(**inputs):
                    for step, touched in steps:
                        steer_beside(model, step, bos_id, touched)
                    losses = token_losses(model.output.logits, inputs["input_ids"], scored)
                    answers.append(losses.cpu())
    return answers
