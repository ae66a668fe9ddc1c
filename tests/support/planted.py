"""A tiny model with language units planted in its weights, and the algebra of what it computes.

Every word's embedding is a language, one of three axes, beside a content that it shares with its
translations. Attention writes nothing. Planted neurons read the axes and write on their language's
own; all others read and write content alone. Languages are alike but for their axis, so that a norm
scales all alike and the others say the same of a sentence and its translations.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from support import saved_models, tiny_models

PLANTED: dict[str, tuple[tuple[int, int], ...]] = {
    "eng_Latn": ((0, 3), (2, 12), (2, 61)),
    "deu_Latn": ((0, 11), (2, 7), (2, 40)),
    "fra_Latn": ((0, 20), (2, 18), (2, 51)),
}
LANGUAGES = saved_models.LANGUAGES
LAST = tiny_models.N_LAYERS - 1


def plant(folder: Path) -> Any:
    """Save the model and its tokenizer, and give the model."""
    model = tiny_models.model("gpt2")
    draw = torch.Generator().manual_seed(0)
    size, axes = len(tiny_models.WORDS) // len(LANGUAGES), len(LANGUAGES)
    with torch.no_grad():
        words = model.transformer.wte.weight
        words.zero_()
        content = torch.randn(size, tiny_models.D_MODEL - axes, generator=draw)
        content -= content.mean(1, keepdim=True)
        for language in range(axes):
            start = len(tiny_models.SPECIAL) + language * size
            words[start : start + size, language] = 1.0
            words[start : start + size, axes:] = content
        words[: len(tiny_models.SPECIAL), axes:] = torch.randn(
            len(tiny_models.SPECIAL), tiny_models.D_MODEL - axes, generator=draw
        )
        model.transformer.wpe.weight.zero_()
        for layer, block in enumerate(model.transformer.h):
            block.attn.c_proj.weight.zero_()
            block.attn.c_proj.bias.zero_()
            for norm in (block.ln_1, block.ln_2):
                norm.weight.fill_(1.0)
                norm.bias.zero_()
            block.mlp.c_fc.weight[:axes] = 0.0
            block.mlp.c_proj.weight[:, :axes] = 0.0
            block.mlp.c_proj.bias[:axes] = 0.0
            for language, units in PLANTED.items():
                for place, unit in units:
                    if place == layer:
                        axis = torch.full((axes,), -2.0)
                        axis[LANGUAGES.index(language)] = 4.0
                        block.mlp.c_fc.weight[:, unit] = 0.0
                        block.mlp.c_fc.weight[:axes, unit] = axis
                        block.mlp.c_fc.bias[unit] = 0.0
                        block.mlp.c_proj.weight[unit] = 0.0
                        block.mlp.c_proj.weight[unit, LANGUAGES.index(language)] = 0.5
    model.save_pretrained(folder)
    tiny_models.tokenizer(folder, adds_bos=True)
    return model


def algebra(model: Any, ids: list[int], plan: dict[tuple[int, int], float]) -> np.ndarray:
    """Work out the residual stream after the last block, [token, d_model], in float64.

    Args:
        model: as `plant` gives it; attention is left out, for it writes nothing.
        ids: of the tokens.
        plan: what each unit (layer, index) is set to.
    """
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    stream = state["transformer.wte.weight"][ids]
    for layer in range(tiny_models.N_LAYERS):
        place = f"transformer.h.{layer}"
        spread = stream - stream.mean(1, keepdims=True)
        normed = spread / np.sqrt((spread**2).mean(1, keepdims=True) + 1e-5)
        given = normed @ state[f"{place}.mlp.c_fc.weight"] + state[f"{place}.mlp.c_fc.bias"]
        cubic = np.sqrt(2 / np.pi) * (given + 0.044715 * given**3)
        neurons = 0.5 * given * (1 + np.tanh(cubic))
        for (where, unit), value in plan.items():
            if where == layer:
                neurons[:, unit] = value
        stream = stream + neurons @ state[f"{place}.mlp.c_proj.weight"]
        stream = stream + state[f"{place}.mlp.c_proj.bias"]
    return np.asarray(stream)
