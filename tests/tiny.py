"""Tiny language models with random weights, and a tokenizer for them."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformer_lens.model_bridge import TransformerBridge

N_LAYERS = 3
D_MODEL = 16
MAX_TOKENS = 64
PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIAL = (PAD, BOS, EOS, UNK)
_TEXT = (
    "air ant apple bark bay bell bird boat book bread bridge cat cloud coat cup day desk dog door "
    "ear egg eye farm fire fish flag fox garden glass hand hill horse house ice ink jar key lake "
    "leaf lion map milk moon mouse nest night nut oak owl pear pen rain river road salt sea ship"
)
WORDS = _TEXT.split()

_VOCABULARY: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SHAPE: dict[str, Any] = {
    "hidden_size": D_MODEL,
    "intermediate_size": 24,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 2,
    "max_position_embeddings": MAX_TOKENS,
    **_VOCABULARY,
}
_GROUPED = {**_SHAPE, "num_key_value_heads": 1, "head_dim": 8}
# Heads that do not add up to the residual stream's width, as in the released models.
_WIDE_HEADS = {**_SHAPE, "num_key_value_heads": 1, "head_dim": 10}

# Bloom and Qwen ship tokenizers that put no BOS in front.
WITHOUT_OWN_BOS = ("bloom", "qwen3")
ARCHITECTURES = ("gpt2", "llama", "bloom", "cohere", "qwen3", "gemma3", "neox", "mixtral")


def config(architecture: str) -> Any:
    """Give the configuration of a tiny model."""
    match architecture:
        case "gpt2":
            return transformers.GPT2Config(
                n_embd=D_MODEL, n_layer=N_LAYERS, n_head=2, n_positions=MAX_TOKENS, **_VOCABULARY
            )
        case "llama":
            return transformers.LlamaConfig(**_GROUPED, attention_bias=True, mlp_bias=True)
        case "bloom":
            return transformers.BloomConfig(
                hidden_size=D_MODEL, n_layer=N_LAYERS, n_head=2, **_VOCABULARY
            )
        case "cohere":
            return transformers.CohereConfig(**_GROUPED)
        case "qwen3":
            return transformers.Qwen3Config(**_WIDE_HEADS)
        case "gemma3":
            layers = ["sliding_attention", "full_attention", "sliding_attention"]
            return transformers.Gemma3TextConfig(
                **_WIDE_HEADS, sliding_window=5, layer_types=layers, query_pre_attn_scalar=10
            )
        case "neox":
            return transformers.GPTNeoXConfig(**_SHAPE)
        case "mixtral":
            return transformers.MixtralConfig(**_GROUPED, num_local_experts=2)
    raise ValueError(architecture)


def model(architecture: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """Make a model whose norms and biases are random too, and whose pad token is loud.

    Freshly made norms are ones and biases zeros, which hides a norm or a bias that is left out. A
    pad token with a large embedding shows any leak from padding.
    """
    settings = config(architecture)
    auto: Any = transformers.AutoModelForCausalLM
    made = auto.from_config(settings, attn_implementation="eager")
    made.config.architectures = [type(made).__name__]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(0.3 * noise)
            else:
                parameter.copy_(0.3 * noise)
        made.get_input_embeddings().weight[0] *= 4
    return made.to(dtype).eval()


def tokenizer(folder: Path, *, adds_bos: bool) -> Any:
    """Save a word-level tokenizer into `folder` and load it from there."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if adds_bos:
        words.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
        )
    fast_tokenizer: Any = transformers.PreTrainedTokenizerFast
    fast_tokenizer(
        tokenizer_object=words, pad_token=PAD, bos_token=BOS, eos_token=EOS, unk_token=UNK
    ).save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


@dataclass(frozen=True)
class Tiny:
    """One tiny model twice: as it is, and behind TransformerLens.

    Attributes:
        architecture: one of `ARCHITECTURES`.
        plain: the Hugging Face model; a bridge wraps its model in place, so this is a copy.
        bridge: the same weights as a TransformerBridge.
        tokenizer: as its model would ship it.
    """

    architecture: str
    plain: Any
    bridge: Any
    tokenizer: Any

    def hooks(self) -> list[Any]:
        """List the hook functions that are set on the bridge; it has one point by many names."""
        points = {id(point): point for point in self.bridge.hook_points()}.values()
        return [hook for point in points for hook in (*point.fwd_hooks, *point.bwd_hooks)]


def boot(architecture: str, shipped: Any, *, dtype: torch.dtype = torch.float32) -> Tiny:
    """Make a model and boot a bridge on a copy of it, without asking any hub."""
    plain = model(architecture, dtype=dtype)
    bridge: Any = TransformerBridge.boot_transformers(
        f"tiny-{architecture}",
        hf_model=copy.deepcopy(plain),
        tokenizer=copy.deepcopy(shipped),
        device="cpu",
        dtype=dtype,
    )
    return Tiny(architecture, plain, bridge, shipped)
