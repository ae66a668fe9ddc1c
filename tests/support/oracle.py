"""What a model answers, worked out the slow way.

Plain Hugging Face models, raw PyTorch hooks on module paths, one sentence at a time, no padding,
no cache. Nothing here comes from steer_plugin or TransformerLens.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

Path = tuple[str, Literal["input", "output"]]
Key = tuple[str, int]

_GATED: dict[str, Path] = {
    "mlp.hook_post": ("model.layers.{}.mlp.down_proj", "input"),
    "mlp.hook_pre": ("model.layers.{}.mlp.gate_proj", "output"),
    "mlp.hook_pre_linear": ("model.layers.{}.mlp.up_proj", "output"),
    "hook_mlp_out": ("model.layers.{}.mlp", "output"),
    "attn.hook_z": ("model.layers.{}.self_attn.o_proj", "input"),
    "hook_attn_out": ("model.layers.{}.self_attn.o_proj", "output"),
    "hook_resid_post": ("model.layers.{}", "output"),
    "ln_final.hook_out": ("model.norm", "output"),
}
_PLAIN_MLP: dict[str, Path] = {
    **{site: path for site, path in _GATED.items() if site != "mlp.hook_pre_linear"},
    "mlp.hook_post": ("model.layers.{}.mlp.c_proj", "input"),
    "mlp.hook_pre": ("model.layers.{}.mlp.c_fc", "output"),
}
_GEMMA: dict[str, Path] = {
    **_GATED,
    # Gemma 2 and 3 norm what a sublayer gives before it joins the residual stream.
    "hook_mlp_out": ("model.layers.{}.post_feedforward_layernorm", "output"),
    "hook_attn_out": ("model.layers.{}.post_attention_layernorm", "output"),
}


def _beside_vision(paths: dict[str, Path]) -> dict[str, Path]:
    return {
        site: (path.replace("model.", "model.language_model.", 1), side)
        for site, (path, side) in paths.items()
    }


_MIXTURE: dict[str, Path] = {
    site: path for site, path in _GATED.items() if not site.startswith("mlp.")
}


def _decoder(blocks: str, final_norm: str) -> dict[str, Path]:
    """OPT and XGLM: the two halves of the MLP are the block's own."""
    return {
        "mlp.hook_post": (f"{blocks}.{{}}.fc2", "input"),
        "mlp.hook_pre": (f"{blocks}.{{}}.fc1", "output"),
        "hook_mlp_out": (f"{blocks}.{{}}.fc2", "output"),
        "attn.hook_z": (f"{blocks}.{{}}.self_attn.out_proj", "input"),
        "hook_attn_out": (f"{blocks}.{{}}.self_attn.out_proj", "output"),
        "hook_resid_post": (f"{blocks}.{{}}", "output"),
        "ln_final.hook_out": (final_norm, "output"),
    }


def _transformer(attention: str, up: str, down: str, blocks: str = "h") -> dict[str, Path]:
    """Models of GPT-2's kind, whose base is called `transformer`."""
    block = f"transformer.{blocks}.{{}}"
    final_norm = "transformer.ln_f" if blocks == "h" else "transformer.norm_f"
    return {
        "mlp.hook_post": (f"{block}.{down}", "input"),
        "mlp.hook_pre": (f"{block}.{up}", "output"),
        "hook_mlp_out": (f"{block}.{down}", "output"),
        "attn.hook_z": (f"{block}.{attention}", "input"),
        "hook_attn_out": (f"{block}.{attention}", "output"),
        "hook_resid_post": (block, "output"),
        "ln_final.hook_out": (final_norm, "output"),
    }


PATHS: dict[str, dict[str, Path]] = {
    "gpt2": {
        "mlp.hook_post": ("transformer.h.{}.mlp.c_proj", "input"),
        "mlp.hook_pre": ("transformer.h.{}.mlp.c_fc", "output"),
        "hook_mlp_out": ("transformer.h.{}.mlp", "output"),
        "attn.hook_z": ("transformer.h.{}.attn.c_proj", "input"),
        "hook_attn_out": ("transformer.h.{}.attn.c_proj", "output"),
        "hook_resid_post": ("transformer.h.{}", "output"),
        "ln_final.hook_out": ("transformer.ln_f", "output"),
    },
    "llama": _GATED,
    "bloom": {
        "mlp.hook_post": ("transformer.h.{}.mlp.dense_4h_to_h", "input"),
        "mlp.hook_pre": ("transformer.h.{}.mlp.dense_h_to_4h", "output"),
        # Bloom's MLP and attention modules add the residual stream themselves.
        "hook_mlp_out": ("transformer.h.{}.mlp.dense_4h_to_h", "output"),
        "attn.hook_z": ("transformer.h.{}.self_attention.dense", "input"),
        "hook_attn_out": ("transformer.h.{}.self_attention.dense", "output"),
        "hook_resid_post": ("transformer.h.{}", "output"),
        "ln_final.hook_out": ("transformer.ln_f", "output"),
    },
    "cohere": _GATED,
    "qwen3": _GATED,
    "gemma3": _GEMMA,
    "Gemma3ForConditionalGeneration": _beside_vision(_GEMMA),
    "LlavaForConditionalGeneration": _beside_vision(_GATED),
    "Mistral3ForConditionalGeneration": _beside_vision(_GATED),
    "Qwen2_5_VLForConditionalGeneration": _beside_vision(_GATED),
    "neox": {
        "mlp.hook_post": ("gpt_neox.layers.{}.mlp.dense_4h_to_h", "input"),
        "mlp.hook_pre": ("gpt_neox.layers.{}.mlp.dense_h_to_4h", "output"),
        "hook_mlp_out": ("gpt_neox.layers.{}.mlp", "output"),
        "attn.hook_z": ("gpt_neox.layers.{}.attention.dense", "input"),
        "hook_attn_out": ("gpt_neox.layers.{}.attention.dense", "output"),
        "hook_resid_post": ("gpt_neox.layers.{}", "output"),
        "ln_final.hook_out": ("gpt_neox.final_layer_norm", "output"),
    },
    "mixtral": _MIXTURE,
    "cohere2": _GATED,
    "falcon": _transformer("self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "gemma": _GATED,
    "gemma2": _GEMMA,
    "gpt_neo": _transformer("attn.attention.out_proj", "mlp.c_fc", "mlp.c_proj"),
    "gptj": _transformer("attn.out_proj", "mlp.fc_in", "mlp.fc_out"),
    "mistral": _GATED,
    "mpt": _transformer("attn.out_proj", "ffn.up_proj", "ffn.down_proj", "blocks"),
    "olmo": _GATED,
    "opt": _decoder("model.decoder.layers", "model.decoder.final_layer_norm"),
    "phi3": {
        site: path
        for site, path in _GATED.items()
        if site not in ("mlp.hook_pre", "mlp.hook_pre_linear")
    },
    "qwen2": _GATED,
    "qwen3_moe": _MIXTURE,
    "starcoder2": _PLAIN_MLP,
    "xglm": _decoder("model.layers", "model.layer_norm"),
}


@dataclass(frozen=True)
class Plan:
    """An intervention as a plain list of `(layer, index, value)`.

    Where the operation is `affine`, `lines` has `(gain, low, high)` for each unit. Positions are a
    name, a slice or a list of booleans for the tokens of the prompt, or a function of a tensor of
    its ids and one of ones that gives such a list as a tensor.
    """

    site: str
    units: tuple[tuple[int, int, float], ...]
    operation: str
    strength: float = 1.0
    positions: Any = "all"
    bos: bool = True
    lines: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Oracle:
    """A plain model, its tokenizer, and whether BOS is put before each text."""

    architecture: str
    model: Any
    tokenizer: Any
    bos: bool

    def ids(self, text: str) -> list[int]:
        """Tokenize one text."""
        front = [self.tokenizer.bos_token_id] if self.bos else []
        return [*front, *self.tokenizer.encode(text, add_special_tokens=False)]

    def module(self, site: str, layer: int) -> tuple[Any, str]:
        """Find the module that a site belongs to, and on which side of it."""
        path, side = PATHS[self.architecture][site]
        return self.model.get_submodule(path.format(layer)), side

    def forward(
        self,
        ids: Sequence[int],
        plan: Plan | Sequence[Plan] | None = None,
        prompt_length: int | None = None,
        read: Sequence[Key] = (),
    ) -> tuple[torch.Tensor, dict[Key, torch.Tensor]]:
        """Run one text; give its logits [token, vocabulary] and what was read [token, unit].

        Of several plans, each has hooks that are set after those of the plans before it.
        """
        found: dict[Key, torch.Tensor] = {}

        def reader(key: Key) -> Callable[[torch.Tensor], None]:
            def keep(tensor: torch.Tensor) -> None:
                found[key] = tensor.detach().clone().reshape(-1, tensor.shape[-1])

            return keep

        with contextlib.ExitStack() as stack:
            for step in [plan] if isinstance(plan, Plan) else plan or ():
                stack.enter_context(self._steering(ids, step, prompt_length or len(ids)))
            for key in read:
                stack.enter_context(_hooked(*self.module(*key), reader(key)))
            with torch.no_grad():
                logits = self.model(torch.tensor([list(ids)]), use_cache=False).logits[0]
        return logits, found

    @contextlib.contextmanager
    def _steering(self, ids: Sequence[int], plan: Plan, prompt_length: int) -> Iterator[None]:
        touched = self.touched(ids, plan, prompt_length)

        def writer(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
            def write(tensor: torch.Tensor) -> torch.Tensor:
                changed = tensor.clone().reshape(-1, tensor.shape[-1])
                for number, (at, index, value) in enumerate(plan.units):
                    line = plan.lines[number] if plan.lines else None
                    for token in touched if at == layer else ():
                        old = float(changed[token, index])
                        changed[token, index] = operate(plan, old, value, line)
                return changed.reshape(tensor.shape)

            return write

        with contextlib.ExitStack() as stack:
            for layer in sorted({layer for layer, _, _ in plan.units}):
                stack.enter_context(_hooked(*self.module(plan.site, layer), writer(layer)))
            yield

    def touched(self, ids: Sequence[int], plan: Plan, prompt_length: int) -> list[int]:
        """List the tokens that a plan touches, by their place in the text."""
        in_prompt = chosen(plan.positions, list(ids[:prompt_length]))
        after = plan.positions in ("all", "generated")
        return [
            token
            for token in range(len(ids))
            if (plan.bos or not (token == 0 and self.bos))
            and (in_prompt[token] if token < prompt_length else after)
        ]

    def activations(
        self, text: str, keys: Sequence[Key], plan: Plan | Sequence[Plan] | None = None
    ) -> dict[Key, np.ndarray]:
        """Give `(site, layer)` activations at a text's own tokens, BOS left out: [token, unit]."""
        _, found = self.forward(self.ids(text), plan, read=keys)
        return {key: found[key][int(self.bos) :].double().numpy() for key in keys}

    def responses(
        self,
        texts: Sequence[str],
        keys: Sequence[Key],
        pooling: str,
        plan: Plan | Sequence[Plan] | None = None,
    ) -> np.ndarray:
        """Pool units over each text's own tokens: [text, the units of one key after another]."""
        rows = []
        for text in texts:
            found = self.activations(text, keys, plan)
            rows.append(np.concatenate([pooled(found[key], pooling) for key in keys]))
        return np.stack(rows)

    def greedy(
        self, prompt: str, new_tokens: int, plan: Plan | Sequence[Plan] | None = None
    ) -> str:
        """Continue a prompt by the most likely token, the whole text anew for each."""
        ids = self.ids(prompt)
        length = len(ids)
        while len(ids) < length + new_tokens:
            logits, _ = self.forward(ids, plan, length)
            ids.append(int(logits[-1].argmax()))
            if ids[-1] == self.tokenizer.eos_token_id:
                break
        return str(self.tokenizer.decode(ids[length:], skip_special_tokens=True))

    def _within(
        self, ids: list[int], start: int, width: int, plan: Plan | Sequence[Plan] | None
    ) -> list[Plan]:
        """Say for one window of a text what is meant for the whole of it."""
        steps = [plan] if isinstance(plan, Plan) else plan or ()
        return [
            step
            if step.positions in ("all", "prompt", "generated")
            else dataclasses.replace(
                step, positions=chosen(step.positions, ids)[start : start + width]
            )
            for step in steps
        ]

    def beams(self, prompt: str, new_tokens: int, plan: Plan, beams: int) -> list[int]:
        """Continue a prompt by beam search, the whole text anew for each token: its new ids."""
        ids = self.ids(prompt)
        length = len(ids)

        def writer(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
            def write(tensor: torch.Tensor) -> torch.Tensor:
                changed = tensor.clone()
                places = [*ids, *[0] * (tensor.shape[1] - length)]
                for at, index, value in plan.units:
                    for token in self.touched(places, plan, length) if at == layer else ():
                        for beam in range(len(changed)):
                            old = float(changed[beam, token, index])
                            changed[beam, token, index] = operate(plan, old, value)
                return changed

            return write

        with contextlib.ExitStack() as stack:
            for layer in sorted({layer for layer, _, _ in plan.units}):
                stack.enter_context(_hooked(*self.module(plan.site, layer), writer(layer)))
            answer = self.model.generate(
                torch.tensor([ids]),
                num_beams=beams,
                max_new_tokens=new_tokens,
                do_sample=False,
                use_cache=False,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        return [int(token) for token in answer[0, length:]]

    def losses(
        self, text: str, context: int, stride: int, plan: Plan | Sequence[Plan] | None = None
    ) -> np.ndarray:
        """Score each token but the first once, in the first window that holds it, in nats."""
        ids = self.ids(text)
        scores: dict[int, float] = {}
        for start in range(0, len(ids), stride):
            window = ids[start : start + context]
            if len(window) < 2:
                continue
            logits, _ = self.forward(window, self._within(ids, start, len(window), plan))
            exact = logits.double().numpy()
            for place in range(1, len(window)):
                row = exact[place - 1]
                peak = row.max()
                loss = np.log(np.exp(row - peak).sum()) + peak - row[window[place]]
                scores.setdefault(start + place, float(loss))
        return np.array([scores[place] for place in range(1, len(ids))])


def chosen(positions: Any, prompt: list[int]) -> list[bool]:
    """Tell which tokens of a prompt are meant."""
    everywhere = range(len(prompt))
    match positions:
        case "all" | "prompt":
            return [True for _ in everywhere]
        case "generated":
            return [False for _ in everywhere]
        case "last":
            return [place == len(prompt) - 1 for place in everywhere]
        case slice():
            return [place in everywhere[positions] for place in everywhere]
        case list():
            return positions
    text = torch.tensor([prompt])
    return [bool(place) for place in positions(text, torch.ones_like(text))[0]]


def operate(
    plan: Plan, h: float, v: float, line: tuple[float, float, float] | None = None
) -> float:
    """Do a plan's operation to one activation."""
    a = plan.strength
    match plan.operation:
        case "set":
            return v if a == 1 else h
        case "add":
            return h + a * v
        case "scale":
            return h + a * (v * h - h)
        case "blend":
            return h + a * (v - h)
        case "aura":
            return h - a * 2 * max(v - 0.5, 0.0) * h
        case "affine":
            assert line is not None
            gain, low, high = line
            return h + a * (gain * h + v - h) if low <= h <= high else h
    raise ValueError(plan.operation)


def pooled(tokens: np.ndarray, pooling: str) -> np.ndarray:
    """Reduce [token, unit] to [unit]."""
    match pooling:
        case "max":
            return np.asarray(tokens.max(0))
        case "min":
            return np.asarray(tokens.min(0))
        case "mean":
            return np.asarray(tokens.mean(0))
        case "last":
            return np.asarray(tokens[-1])
        case "active":
            return np.asarray((tokens > 0).sum(0) / len(tokens))
    raise ValueError(pooling)


@contextlib.contextmanager
def _hooked(module: Any, side: str, act: Callable[[Any], Any]) -> Iterator[None]:
    """Show a module's input or output to `act`, and put back what it returns."""

    def before(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        new = act(args[0])
        return None if new is None else (new, *args[1:])

    def after(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            new = act(output[0])
            return None if new is None else (new, *output[1:])
        return act(output)

    handle = (
        module.register_forward_pre_hook(before)
        if side == "input"
        else module.register_forward_hook(after)
    )
    try:
        yield
    finally:
        handle.remove()
