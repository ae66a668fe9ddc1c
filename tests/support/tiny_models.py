"""Tiny language models with random weights, and a tokenizer for them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin.adapters.transformer_lens.deviations import deviation_of

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


def _bridged(*names: str) -> tuple[str, ...]:
    """Leave out those of which the installed TransformerLens computes something else."""
    return tuple(name for name in names if deviation_of(name) is None)


ARCHITECTURES = _bridged("gpt2", "llama", "bloom", "cohere", "qwen3", "gemma3", "neox", "mixtral")
MORE_ARCHITECTURES = _bridged(
    "cohere2",
    "falcon",
    "gemma",
    "gemma2",
    "gpt_neo",
    "gptj",
    "mistral",
    "mpt",
    "olmo",
    "opt",
    "phi3",
    "qwen2",
    "qwen3_moe",
    "starcoder2",
    "xglm",
)


def _without(shape: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in shape.items() if key != name}


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
        case "cohere2":
            return transformers.Cohere2Config(**_GROUPED, sliding_window=5)
        case "falcon":
            return transformers.FalconConfig(**_SHAPE, bias=True)
        case "gemma":
            return transformers.GemmaConfig(**_WIDE_HEADS)
        case "gemma2":
            return transformers.Gemma2Config(**_WIDE_HEADS, sliding_window=5)
        case "gpt_neo":
            return transformers.GPTNeoConfig(
                hidden_size=D_MODEL,
                intermediate_size=24,
                num_layers=N_LAYERS,
                num_heads=2,
                max_position_embeddings=MAX_TOKENS,
                attention_types=[[["global", "local", "global"], 1]],
                window_size=5,
                **_VOCABULARY,
            )
        case "gptj":
            return transformers.GPTJConfig(
                n_embd=D_MODEL,
                n_layer=N_LAYERS,
                n_head=2,
                n_positions=MAX_TOKENS,
                rotary_dim=4,
                **_VOCABULARY,
            )
        case "mistral":
            return transformers.MistralConfig(**_GROUPED, sliding_window=5)
        case "mpt":
            return transformers.MptConfig(
                d_model=D_MODEL,
                n_heads=2,
                n_layers=N_LAYERS,
                max_seq_len=MAX_TOKENS,
                **_VOCABULARY,
            )
        case "olmo":
            return transformers.OlmoConfig(**_SHAPE)
        case "opt":
            return transformers.OPTConfig(
                ffn_dim=24, word_embed_proj_dim=D_MODEL, **_without(_SHAPE, "intermediate_size")
            )
        case "phi3":
            return transformers.Phi3Config(**_SHAPE)
        case "qwen2":
            return transformers.Qwen2Config(**_without(_GROUPED, "head_dim"))
        case "qwen3_moe":
            return transformers.Qwen3MoeConfig(
                **_GROUPED, num_experts=2, num_experts_per_tok=2, moe_intermediate_size=12
            )
        case "starcoder2":
            return transformers.Starcoder2Config(**_without(_GROUPED, "head_dim"))
        case "xglm":
            return transformers.XGLMConfig(
                d_model=D_MODEL,
                ffn_dim=24,
                num_layers=N_LAYERS,
                attention_heads=2,
                max_position_embeddings=MAX_TOKENS,
                **_VOCABULARY,
            )
        case "recurrent_gemma":
            return transformers.RecurrentGemmaConfig(
                **_without(_GROUPED, "max_position_embeddings"),
                lru_width=D_MODEL,
                attention_window_size=8,
            )
        case "rwkv":
            return transformers.RwkvConfig(
                hidden_size=D_MODEL,
                attention_hidden_size=D_MODEL,
                intermediate_size=24,
                num_hidden_layers=N_LAYERS,
                **_VOCABULARY,
            )
        case "minimax":
            return transformers.MiniMaxConfig(
                **_GROUPED,
                num_local_experts=2,
                layer_types=["linear_attention", "full_attention", "linear_attention"],
                block_size=4,
            )
        case "granitemoehybrid":  # as Granite 4.0 H, without rotary embedding
            return transformers.GraniteMoeHybridConfig(
                **_without(_GROUPED, "max_position_embeddings"),
                num_local_experts=0,
                shared_intermediate_size=24,
                layer_types=["mamba", "attention", "mamba"],
                mamba_n_heads=4,
                mamba_d_head=8,
                mamba_n_groups=1,
                mamba_d_state=8,
                mamba_chunk_size=4,
                position_embedding_type="nope",
            )
    raise ValueError(architecture)


def model(architecture: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """Make a model of random weights; see `with_random_weights`."""
    auto: Any = transformers.AutoModelForCausalLM
    made = with_random_weights(
        lambda: auto.from_config(config(architecture), attn_implementation="eager"), seed
    )
    made.config.architectures = [type(made).__name__]
    return made.to(dtype).eval()


def with_random_weights(make: Callable[[], Any], seed: int = 0) -> Any:
    """Make a model whose norms and biases are random too, and whose pad token is loud.

    Freshly made norms are ones and biases zeros, which hides a norm or a bias that is left out. A
    pad token with a large embedding shows any leak from padding. The same in every process:
    vectors that an architecture draws itself, such as a state space's, stay beneath the noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = make()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(0.3 * noise)
            else:
                parameter.copy_(0.3 * noise)
        made.get_input_embeddings().weight[0] *= 4
    return made


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
