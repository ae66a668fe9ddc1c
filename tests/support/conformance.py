"""What each host has of an architecture, held to plain PyTorch hooks and to the model's own words.

The references come from transformers alone: one text at a time, without padding; its own hidden
states; that a block adds what attention and MLP give; that a neuron is its activation function.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import nnsight
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers.activations import ACT2FN

from steer_plugin import Intervention, SteerError, adapt
from steer_plugin.adapters.shared.component_paths import texts_alone
from steer_plugin.adapters.shared.installers import installers
from steer_plugin.adapters.shared.model_sites import ModelSites
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import FINAL_NORM, ROUTER

from support import every_architecture, plans

# Heads are in the tensor of another site.
SITES = (*plans.SITES, ROUTER)
HOSTS = ("transformers", "nnsight", "transformer_lens")
TEXTS = ["air ant apple bark bay bell bird", "cat", "rain owl garden sea"]
POOLINGS = ("mean", "last")
STEERED = ("mlp.hook_post", "hook_attn_out", "hook_resid_post")
# What a block adds beside attention and MLP, or does to their sum.
NO_PLAIN_SUM = {
    "bert": "norms follow the sums",
    "openai-gpt": "norms follow the sums",
    "gemma3n_text": "its blocks hand on several residual streams side by side",
    "gemma4_text": "per-layer embeddings are added, and all is scaled",
    "falcon_h1": "a Mamba mixer adds as well",
}


@dataclass
class Conformance:
    """What was seen of one architecture.

    Attributes:
        architecture: a class of transformers.
        layers: for each host and site the layers that have it.
        reasons: for each host and site that no layer has, or not each, what the host says.
        deviation: the largest of any reading from its reference, as a share of the largest number
            there where that is above 1.
        worst: where that is.
    """

    architecture: str
    layers: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    deviation: float = 0.0
    worst: str = ""

    def compare(self, answer: Any, wanted: Tensor, where: str) -> None:
        """Note how far an answer is from its reference."""
        answer = torch.as_tensor(answer)
        if answer.shape != wanted.shape:
            raise AssertionError(f"{where}: {tuple(answer.shape)} for {tuple(wanted.shape)}")
        scale = max(1.0, float(wanted.abs().max()))
        deviation = float((answer - wanted).abs().max()) / scale
        if not deviation <= self.deviation:
            self.deviation, self.worst = deviation, where


def adapters(model: Any, tokenizer: Any) -> Iterator[tuple[str, Adapter]]:
    """Put a model behind each host; of one that refuses it, the error.

    Yields:
        The host's name and its adapter.
    """
    plain = {"tokenizer": tokenizer, "bos": True, "name": "tiny"}
    yield "transformers", adapt(model, **plain)
    yield "nnsight", adapt(nnsight.NNsight(copy.deepcopy(model)), **plain)
    boot: Any = TransformerBridge.boot_transformers
    with installers(), texts_alone():  # of torchvision, for what reads images
        bridge = boot(
            "tiny",
            hf_model=copy.deepcopy(model),
            tokenizer=copy.deepcopy(tokenizer),
            device="cpu",
            dtype=torch.float32,
        )
    yield "transformer_lens", adapt(bridge, **plain)


def conformance(architecture: str, tokenizer: Any) -> Conformance:
    """Hold every host of an architecture to its references."""
    model = every_architecture.tiny(architecture)
    seen = Conformance(architecture)
    made = adapters(model, tokenizer)
    references: dict[tuple[str, int], list[Tensor]] = {}
    for host in HOSTS:
        try:
            name, adapter = next(made)
        except Exception as error:  # a bridge raises whatever its architecture stumbles over
            seen.reasons |= {(host, site): _one_line(error) for site in SITES}
            continue
        _ask_for_sites(seen, name, adapter)
        if host == HOSTS[0]:
            references = _references(seen, model, adapter)
        _read(seen, name, adapter, references)
        _steer(seen, name, adapter, model)
    return seen


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _refusal(adapter: Adapter, site: str, layers: tuple[int, ...]) -> SteerError | None:
    try:
        adapter.space(site, layers)
    except SteerError as error:
        return error
    return None


def _ask_for_sites(seen: Conformance, host: str, adapter: Adapter) -> None:
    for site in SITES:
        every = tuple(range(1 if site == FINAL_NORM else adapter.info.n_layers))
        # Whether all layers have it takes one pass, and which of them one each.
        if _refusal(adapter, site, every) is None:
            seen.layers[host, site] = every
            continue
        refusals = {layer: _refusal(adapter, site, (layer,)) for layer in every}
        seen.layers[host, site] = tuple(layer for layer in every if refusals[layer] is None)
        for refusal in filter(None, refusals.values()):
            seen.reasons.setdefault((host, site), _one_line(refusal))


def _ids(adapter: Any, text: str) -> Tensor:
    return torch.tensor([adapter.tokens.encode([text])[0].ids])


def _references(seen: Conformance, model: Any, adapter: Any) -> dict[tuple[str, int], list[Tensor]]:
    """Read each site by hooks, one text at a time: [token, unit] for each text."""
    places = {
        (site, layer): adapter._sites.locate(site, layer)
        for site in SITES
        for layer in seen.layers["transformers", site]
    }
    references: dict[tuple[str, int], list[Tensor]] = {key: [] for key in places}
    blocks = _blocks(model)
    for text in TEXTS:
        read: dict[Any, Tensor] = {}
        handles = []
        for key, (path, side) in places.items():
            handles.append(_read_into(read, key, model.get_submodule(path), side))
        for number, block in enumerate(blocks):
            handles.append(_read_into(read, ("before", number), block, "input"))
            handles.append(_read_into(read, ("block", number), block, "output"))
            fused = getattr(getattr(block, "mlp", None), "gate_up_proj", None)
            if isinstance(fused, torch.nn.Linear):
                handles.append(_read_into(read, ("fused", number), fused, "output"))
        ids = _ids(adapter, text)
        with torch.no_grad():
            output = model(ids, use_cache=False, output_hidden_states=True)
        for handle in handles:
            handle.remove()
        if seen.layers["transformers", ROUTER]:
            _hold_to_router_logits(seen, read, model, ids)
        for number, fused in _fused_halves(read, len(blocks)):
            for site, half in zip(("mlp.hook_pre", "mlp.hook_pre_linear"), fused, strict=True):
                references.setdefault((site, number), []).append(half)
        for key in places:
            references[key].append(read[key])
        # Streams side by side are none of a block's.
        states = [state[0] for state in output.hidden_states or () if state.dim() == 3]
        _hold_to_hidden_states(seen, read, states)
        _hold_to_sums(seen, read, model, len(blocks))
        _hold_to_activation(seen, read, model)
    return references


def _fused_halves(
    read: dict[Any, Tensor], blocks: int
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Split what one projection makes of gate and linear half, which a bridge does as well."""
    for number in range(blocks):
        if ("fused", number) in read:
            gate, linear = read["fused", number].chunk(2, -1)
            yield number, (gate, linear)


def _blocks(model: Any) -> list[Any]:
    """Find the blocks by what they are: the longest list of modules that the text model has."""
    lists = [
        part
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.ModuleList) and "vision" not in name
    ]
    return list(max(lists, key=len))


def _read_into(read: dict[Any, Tensor], key: Any, module: Any, side: str) -> Any:
    def keep(value: Any) -> None:
        tensor = value[0] if isinstance(value, (tuple, list)) else value
        read[key] = tensor.detach().clone().reshape(-1, tensor.shape[-1])

    if side == "output":
        return module.register_forward_hook(lambda _, __, output: keep(output))

    def before(_: Any, args: Any, kwargs: Any) -> None:
        keep(args[0] if args else kwargs["hidden_states"])

    return module.register_forward_pre_hook(before, with_kwargs=True)


def _hold_to_hidden_states(
    seen: Conformance, read: dict[Any, Tensor], states: list[Tensor]
) -> None:
    """Blocks and final norm, by the hidden states; those of Mamba begin after the first block."""
    if not states:
        return
    if (FINAL_NORM, 0) in read:
        seen.compare(read[FINAL_NORM, 0], states[-1], f"{FINAL_NORM} of hidden states")
    blocks = sorted(layer for site, layer in read if site == "block")
    whole = [read["block", layer] for layer in blocks]
    for layer in [layer for site, layer in read if site == "hook_resid_post"]:
        seen.compare(read["hook_resid_post", layer], whole[layer], f"block {layer}")
        after = states[layer + 1] if len(states) == len(whole) + 1 else None
        if after is not None and layer + 1 < len(whole):
            near = (whole[layer] - after).abs().max() < (whole[layer] - states[layer]).abs().max()
            seen.compare(
                whole[layer], after if near else states[layer], f"block {layer} of hidden states"
            )


def _hold_to_router_logits(
    seen: Conformance, read: dict[Any, Tensor], model: Any, ids: Tensor
) -> None:
    """Routers, by what transformers itself records of them."""
    with torch.no_grad():
        output = model.base_model(ids, use_cache=False, output_router_logits=True)
    layers = [layer for site, layer in read if site == ROUTER]
    for layer, recorded in zip(layers, output.router_logits, strict=True):
        seen.compare(
            read[ROUTER, layer], recorded.reshape(-1, recorded.shape[-1]), f"router of {layer}"
        )


def _hold_to_sums(seen: Conformance, read: dict[Any, Tensor], model: Any, blocks: int) -> None:
    """What attention and MLP add, by what a block hands on."""
    if model.config.get_text_config().model_type in NO_PLAIN_SUM:
        return
    for layer in range(blocks):
        parts = [read.get((site, layer)) for site in ("hook_attn_out", "hook_mlp_out")]
        if all(part is not None for part in parts):
            added = read["before", layer] + sum(parts)
            seen.compare(added, read["block", layer], f"sum of block {layer}")


def _hold_to_activation(seen: Conformance, read: dict[Any, Tensor], model: Any) -> None:
    """A neuron is its activation function, times the linear half of a gated MLP."""
    config = model.config.get_text_config()
    names = (
        "hidden_activation",
        "hidden_act",
        "activation_function",
        "activation",
        "mlp_hidden_act",
    )
    chosen = next((getattr(config, name) for name in names if getattr(config, name, None)), None)
    function = ACT2FN[chosen] if isinstance(chosen, str) and chosen in ACT2FN else None
    for site, layer in list(read):
        if site != "mlp.hook_post" or function is None or ("mlp.hook_pre", layer) not in read:
            continue
        neurons = function(read["mlp.hook_pre", layer])
        if ("mlp.hook_pre_linear", layer) in read:
            neurons = neurons * read["mlp.hook_pre_linear", layer]
        if model.config.model_type in ("bitnet", "apertus", "falcon_h1"):
            continue  # a norm, a learned curve or a factor of its own stands between them
        seen.compare(neurons, read["mlp.hook_post", layer], f"neurons of layer {layer}")


def _read(
    seen: Conformance, host: str, adapter: Adapter, references: dict[tuple[str, int], list[Tensor]]
) -> None:
    """Read all sites of a batch with padding in one pass."""
    readings = [
        Reading(site, pooling, seen.layers[host, site])
        for site in SITES
        for pooling in POOLINGS
        if seen.layers[host, site]
    ]
    if not readings:
        return
    answers = gather(adapter, TEXTS, readings)
    for reading in readings:
        layers = reading.layers or ()
        if any((reading.site, layer) not in references for layer in layers):
            raise AssertionError(f"{host} has a {reading.site} that the plain host lacks")
        rows = []
        for text in range(len(TEXTS)):
            tokens = [references[reading.site, layer][text][1:] for layer in layers]
            pooled = [each.mean(0) if reading.pooling == "mean" else each[-1] for each in tokens]
            rows.append(torch.cat(pooled))
        where = f"{host}: {reading.pooling} of {reading.site}"
        seen.compare(answers[reading], torch.stack(rows), where)


def _steer(seen: Conformance, host: str, adapter: Any, model: Any) -> None:
    """Set units of some sites in one batch, and see what the last block makes of it."""
    last = max(seen.layers[host, "hook_resid_post"], default=None)
    for site in STEERED:
        if last is None or not seen.layers[host, site]:
            continue
        layer = seen.layers[host, site][0]
        plan = Intervention(site, (layer, layer), (1, 3), (1.5, -2.0), "set")
        reading = Reading("hook_resid_post", "last", (last,))
        answers = gather(adapter, TEXTS, [reading], intervention=plan)[reading]
        rows = [_steered_alone(model, adapter, text, plan) for text in TEXTS]
        seen.compare(answers, torch.stack(rows), f"{host}: steered at {site}")


def _steered_alone(model: Any, adapter: Any, text: str, plan: Intervention) -> Tensor:
    """Give the last block's last token of one text, two units set by a hook of its own."""
    path, side = _place_of(model, plan)
    module, read = model.get_submodule(path), {}

    def changed(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[..., list(plan.indices)] = torch.as_tensor(plan.values).to(tensor.dtype)
        return tensor

    def after(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return changed(output)
        return type(output)([changed(output[0]), *output[1:]])

    handles = [
        module.register_forward_pre_hook(lambda _, args: (changed(args[0]), *args[1:]))
        if side == "input"
        else module.register_forward_hook(after),
        _read_into(read, "last", _blocks(model)[-1], "output"),
    ]
    with torch.no_grad():
        model(_ids(adapter, text), use_cache=False)
    for handle in handles:
        handle.remove()
    return read["last"][-1]


def _place_of(model: Any, plan: Intervention) -> tuple[str, str]:
    return ModelSites(model, "tiny").locate(plan.site, int(plan.layers[0]))
