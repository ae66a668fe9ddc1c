"""Interventions inside nnsight traces: a user's own, and the adapter's."""

from typing import Any

import torch
from greenlet import getcurrent
from nnsight.intervention.interleaver import Mediator, OutOfOrderError
from nnsight.intervention.iterator import Iterations

from steer_plugin.adapters.nnsight.portable_code import keep_here, portable, send_as_data
from steer_plugin.adapters.nnsight.sent_paths import paths_of
from steer_plugin.adapters.nnsight.source_capture import parse_one_at_a_time
from steer_plugin.adapters.shared.heads import meant_values
from steer_plugin.adapters.shared.module_paths import locate
from steer_plugin.adapters.shared.touched_tokens import (
    cached_tokens,
    require_told,
    touched_from,
    touched_in_pass,
)
from steer_plugin.interventions.arithmetic import moved, steer_units
from steer_plugin.interventions.columns import COLUMNS
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan, Plan
from steer_plugin.interventions.positions import TokenFunction
from steer_plugin.settings.parts import Arithmetic

parse_one_at_a_time()
send_as_data(Arithmetic)
send_as_data(
    Intervention,
    *("arithmetic", "module_paths", "units", "tensor_site", "of_heads", "changes_nothing"),
    without=COLUMNS.values(),
)
send_as_data(Plan)
keep_here(
    TokenFunction,
    "positions by a function do not travel to a server; run the plan by adapt(model, remote=True), "
    "whose verbs ask the function here, or give a mask",
)


def envoy_at(model: Any, path: str) -> Any:
    """Give what nnsight has for the module at a path; one called `output` has another name there.

    Args:
        model: the nnsight model.
        path: of the module.
    """
    for name in path.split("."):
        child = model._child_map.get(name)
        model = getattr(model, name) if child is None else child
    return model


def _steer_passes(
    model: Any,
    intervention: Intervention,
    bos_id: int | None,
    group: Any,
    given: Any,
    prompt_length: int | None,
) -> None:
    """Steer the texts of one invoke in each pass.

    Args:
        model: the nnsight model.
        intervention: one step of a plan.
        bos_id: the BOS token's id, or None.
        group: the first of the invoke's texts and how many they are, and how many all invokes have.
        given: which tokens are touched, where it is known; see `touched_tokens`.
        prompt_length: how many tokens each prompt has, where it is told.
    """
    layers: list[tuple[int, Any, str, tuple[Any, Any], dict[Any, tuple[Any, Any]]]] = []
    paths, site_paths = paths_of(model), intervention.module_paths
    for layer, units in intervention.units.items():
        path, side = locate(model._module, paths, intervention.tensor_site, layer, site_paths)
        layers.append((layer, envoy_at(model, path), side, units, {}))
    touched, everywhere = given, intervention.positions == "all"
    try:
        for _ in Iterations()[:]:
            args, kwargs = model.inputs
            ids = kwargs.get("input_ids", args[0] if args else None)
            if ids is None or ids.dim() != 2:
                raise ValueError("a steered pass takes token ids [text, token]; none were given")
            if len(args) > 1:
                raise ValueError(
                    f"a steered pass was given {len(args)} inputs by position; give all but the "
                    "token ids, such as attention_mask=, by name"
                )
            past, mask = cached_tokens(kwargs, ids.shape[1]), kwargs.get("attention_mask")
            first, texts, total = (0, len(ids), len(ids)) if group is None else group
            if len(ids) != texts:
                # Of beams nnsight gives an invoke those of all.
                beams = len(ids) // total
                first, rows = first * beams, texts * beams
                ids = ids[first : first + rows]
                mask = None if mask is None else mask[first : first + rows]
            # More of a prompt in several passes brings the mask of its own tokens.
            more = touched is None or 0 < past < touched[0].shape[1]
            if given is None and (more or (everywhere and past and ids.shape[1] > 1)):
                if mask is not None and mask.shape != (len(ids), past + ids.shape[1]):
                    raise ValueError(
                        f"the mask has shape {tuple(mask.shape)}, the token ids "
                        f"{tuple(ids.shape)} after {past}; give a mask [text, token]"
                    )
                touched = touched_from(
                    intervention,
                    ids,
                    bos_id,
                    past=past,
                    attention=None if mask is None else mask.bool(),
                    whole=None,
                    prompt_length=prompt_length,
                    texts=texts,
                )
            elif given is None:
                require_told(intervention.positions, past, ids, prompt_length)
            where = touched_in_pass(touched, past, ids)
            if where is False:
                continue
            for layer, module, side, units, placed in layers:
                value = module.input if side == "input" else module.output
                tensor = value[0] if isinstance(value, (tuple, list)) else value
                # OPT flattens [text, token]; nnsight then gives an invoke the rows of all of them.
                width = tensor.shape[-1] if tensor.dim() == 2 else tensor[0, 0].numel()
                flat = tensor.reshape(-1, ids.shape[1], width)
                place = (flat.device, flat.dtype, width)
                if place not in placed:
                    values = meant_values(intervention, layer, *units, model.config, width)
                    placed[place] = moved(*values, flat.device, flat.dtype)
                start = 0 if len(flat) == len(ids) else first
                rows = flat[start : start + len(ids)]
                steered = steer_units(rows, *placed[place], intervention, where)
                others = flat[:start], flat[start + len(ids) :]
                steered = torch.cat([others[0], steered, others[1]]).reshape(tensor.shape)
                if side == "input":
                    module.input = steered
                elif isinstance(value, (tuple, list)):
                    make = getattr(value, "_make", type(value))
                    module.output = make((steered, *value[1:]))
                else:
                    module.output = steered
    except OutOfOrderError:
        # How nnsight ends a loop over passes when there are no more, or the last was stopped.
        if touched is None:
            raise


@portable
def steer_beside(
    model: Any,
    intervention: Intervention,
    bos_id: int | None,
    touched: Any = None,
    prompt_length: int | None = None,
) -> None:
    """Start steering in a worker of its own, so that the body's reads keep their own order.

    Args:
        model: the nnsight model.
        intervention: one step of a plan.
        bos_id: the BOS token's id, or None.
        touched: which tokens are touched; None works it out of the passes.
        prompt_length: see `apply_in_trace`.
    """
    if intervention.changes_nothing:
        return
    body = getcurrent().mediator()
    if model.interleaver.counts != body.counts_at_start:
        raise ValueError("the trace has already read something; call apply_in_trace before")
    batcher = model.interleaver.batcher
    group = None
    if body.batch_group is not None and batcher is not None:
        first, size = body.batch_group
        inputs, named = batcher.invokes[0]
        ids = named.get("input_ids", inputs[0] if inputs else None)
        if len(batcher.invokes) == 1 and isinstance(ids, torch.Tensor) and ids.dim() == 2:
            # A plain NNsight takes whatever it is given for one text.
            size = len(ids)
        group = (first, size, max(batcher.total, size))
    worker = Mediator(
        compile("steer()", "<steer_plugin>", "exec"),
        {},
        {
            "steer": lambda: _steer_passes(
                model, intervention, bos_id, group, touched, prompt_length
            )
        },
    )
    worker.batch_group = body.batch_group
    # Ahead of the body, which then reads what is steered.
    workers = model.interleaver.mediators
    workers.insert(workers.index(body), worker)
    worker.start(model.interleaver)


@portable
def apply_in_trace(model: Any, intervention: AnyPlan, *, prompt_length: int | None = None) -> None:
    """Steer a model in the nnsight trace that is being written.

    Call it in the body of `trace`, `generate`, `edit` or `tracer.invoke`, local or remote, before
    the body reads anything; what the body then reads, in any layer, is steered. It steers each
    forward pass of the run, tells the prompt from generated tokens, and leaves padding alone, as
    the attention mask has it (without a mask, nothing is padding).

    Args:
        model: the nnsight model that is traced, or the edited one.
        intervention: what to do to it. A function that says which tokens does not travel to a
            server; the verbs of `adapt(..., remote=True)` ask it here.
        prompt_length: how many tokens each prompt has, padding included; needed only where passes
            after the first are of several tokens, as in chunked prefill and assisted generation.

    Raises:
        LookupError: the model's architecture is unknown, or it lacks the site, a layer or a unit.
            A server hands it over as nnsight's `RemoteError`, with the same words.
        ValueError: it is no plan, something was read before, or a pass has no token ids or no plain
            mask.
    """
    # On a server they are no plans but namespaces of their fields.
    steps: Any = getattr(intervention, "steps", (intervention,))
    if not all(hasattr(step, "tensor_site") for step in steps):
        raise ValueError(
            f"the intervention is of type {type(intervention).__name__}; give an Intervention, or "
            "several in order as a + b"
        )
    tokenizer = getattr(model, "tokenizer", None)
    source = model.config.get_text_config() if tokenizer is None else tokenizer
    for step in steps:
        steer_beside(model, step, source.bos_token_id, None, prompt_length)
