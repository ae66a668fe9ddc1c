"""Each causal language model that TransformerLens maps and transformers ships, tiny and random."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from support import tiny_models

N_LAYERS = 3
_WIDTH = 16
_VISION = {
    "hidden_size": _WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
# What makes a configuration tiny, under each name that it has in any of them.
_SHRUNK: dict[int, str] = {
    _WIDTH: "hidden_size n_embd d_model embed_dim word_embed_proj_dim embedding_size conv_dim "
    "block_dim lru_width attention_hidden_size",
    24: "intermediate_size ffn_dim n_inner ffn_hidden_size intermediate_size_mlp block_ff_dim "
    "shared_intermediate_size",
    12: "moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size",
    N_LAYERS: "num_hidden_layers n_layer num_layers n_layers",
    2: "num_attention_heads n_head num_heads attention_heads n_heads num_experts num_local_experts "
    "n_routed_experts moe_num_experts num_experts_per_tok moe_topk moe_k top_k_experts o_groups "
    "eos_token_id mamba_expand linear_num_key_heads linear_num_value_heads index_n_heads "
    "time_step_rank mamba_dt_rank altup_num_inputs",
    1: "num_key_value_heads num_global_key_value_heads bos_token_id n_group topk_group n_groups "
    "moe_num_shared_experts n_shared_experts num_shared_experts moe_n_group mamba_n_groups "
    "mamba_ngroups first_k_dense_replace moe_layer_start_index num_dense_layers num_mem_blocks "
    "num_layers_per_stack",
    8: "head_dim attention_head_dim kv_channels global_head_dim q_lora_rank kv_lora_rank "
    "v_head_dim qk_head_dim o_lora_rank mamba_d_head mamba_d_state mamba_headdim mamba_head_dim "
    "ssm_state_size state_size linear_key_head_dim linear_value_head_dim local_attention "
    "attention_window_size index_head_dim",
    4: "qk_nope_head_dim qk_rope_head_dim mamba_n_heads n_mamba_heads mamba_num_heads chunk_size "
    "mamba_chunk_size mamba_d_conv linear_conv_kernel_dim rotary_dim adapter_rank index_topk "
    "hidden_size_per_layer_input laurel_rank block_multiple_of",
    5: "sliding_window window_size",
    32: "mamba_d_ssm",
    64: "max_position_embeddings n_positions max_seq_len n_ctx",
    70: "vocab_size vocab_size_per_layer_input",
    0: "pad_token_id num_kv_shared_layers",
}
_NAMES = {name: size for size, names in _SHRUNK.items() for name in names.split()}

_LATENT = {"num_key_value_heads": 2, "head_dim": 4}
_HYBRID = ["linear_attention", "full_attention", "linear_attention"]
# Where the names alone make no whole model, or none of every kind of layer.
_CHANGED: dict[str, dict[str, Any]] = {
    "BambaForCausalLM": {"attn_layer_indices": [1]},
    "CodeGenForCausalLM": {"n_head": 4},
    "DeepseekV2ForCausalLM": _LATENT,
    "DeepseekV3ForCausalLM": _LATENT,
    "FalconH1ForCausalLM": {"attention_out_multiplier": 0.5, "ssm_out_multiplier": 0.7},
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local", "global"], 1]]},
    "Glm4MoeLiteForCausalLM": _LATENT,
    "GlmMoeDsaForCausalLM": _LATENT,
    "GraniteForCausalLM": {"residual_multiplier": 0.5},
    "GraniteMoeHybridForCausalLM": {"layer_types": ["mamba", "attention", "mamba"]},
    "JambaForCausalLM": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "Lfm2ForCausalLM": {"layer_types": ["conv", "full_attention", "conv"]},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention", "conv"]},
    "Mamba2ForCausalLM": {"num_heads": 4},
    "Qwen3NextForCausalLM": {"layer_types": _HYBRID},
    "Qwen3_5ForCausalLM": {"layer_types": _HYBRID},
    "Qwen3_5MoeForCausalLM": {"layer_types": _HYBRID},
    "YoutuForCausalLM": _LATENT,
    "Zamba2ForCausalLM": {
        "layer_types": ["mamba", "hybrid", "mamba"],
        "layers_block_type": ["mamba", "hybrid", "mamba"],
        "attention_head_dim": _WIDTH,
        "attention_hidden_size": 2 * _WIDTH,
    },
}
# What reads more than text: its configuration, that of its text model, and what makes it tiny.
_WRAPPERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Gemma3ForConditionalGeneration": (
        "Gemma3Config",
        "Gemma3TextConfig",
        {
            "vision_config": _VISION,
            "mm_tokens_per_image": 4,
            "image_token_index": 69,
            "boi_token_index": 68,
            "eoi_token_index": 67,
        },
    ),
    "Gemma3nForConditionalGeneration": (
        "Gemma3nConfig",
        "Gemma3nTextConfig",
        {
            "audio_config": {
                "hidden_size": _WIDTH,
                "conf_num_attention_heads": 2,
                "conf_num_hidden_layers": 1,
                "sscp_conv_channel_size": [4, 4],
            },
            "vision_config": {"hidden_size": _WIDTH},
        },
    ),
    "Gemma4ForConditionalGeneration": (
        "Gemma4Config",
        "Gemma4TextConfig",
        {
            "vision_config": {
                **_VISION,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "position_embedding_size": 4,
            }
        },
    ),
    "Gemma4UnifiedForConditionalGeneration": (
        "Gemma4UnifiedConfig",
        "Gemma4UnifiedTextConfig",
        {
            "vision_config": {
                "patch_size": 2,
                "mm_embed_dim": _WIDTH,
                "mm_posemb_size": 4,
                "output_proj_dims": _WIDTH,
            }
        },
    ),
    "LlavaForConditionalGeneration": (
        "LlavaConfig",
        "LlamaConfig",
        {"vision_config": {**_VISION, "model_type": "clip_vision_model"}, "image_token_index": 69},
    ),
    "Mistral3ForConditionalGeneration": (
        "Mistral3Config",
        "MistralConfig",
        {"vision_config": {**_VISION, "model_type": "pixtral"}, "image_token_index": 69},
    ),
    "Qwen2_5_VLForConditionalGeneration": (
        "Qwen2_5_VLConfig",
        "Qwen2_5_VLTextConfig",
        {
            "vision_config": {
                "depth": 1,
                "hidden_size": _WIDTH,
                "intermediate_size": 24,
                "num_heads": 2,
                "out_hidden_size": _WIDTH,
                "fullatt_block_indexes": [0],
            },
            "image_token_id": 69,
            "video_token_id": 68,
        },
    ),
}
_TEXT_CHANGED: dict[str, dict[str, Any]] = {
    "Gemma4UnifiedTextConfig": {"num_key_value_heads": 2},
    "Qwen2_5_VLTextConfig": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    },
}


def architectures() -> list[str]:
    """List the causal language models that TransformerLens maps and transformers ships.

    Wrappers that transformers calls models of images and text are among them.
    """
    shipped = {
        name
        for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
        for name in ([names] if isinstance(names, str) else names)
    }
    return sorted(
        name
        for name in SUPPORTED_ARCHITECTURES
        if name in {*shipped, *_WRAPPERS} and hasattr(transformers, name)
    )


def _tiny(kind: Callable[..., Any], changed: dict[str, Any]) -> Any:
    known = {*vars(kind()), *getattr(kind, "__dataclass_fields__", {}), *kind.__annotations__}
    return kind(**{name: size for name, size in _NAMES.items() if name in known} | changed)


def _config(architecture: str) -> Any:
    if architecture in _WRAPPERS:
        wrapper, text, changed = _WRAPPERS[architecture]
        inner = _tiny(getattr(transformers, text), _TEXT_CHANGED.get(text, {}))
        return getattr(transformers, wrapper)(text_config=inner.to_dict(), **changed)
    kind = getattr(transformers, architecture).config_class
    return _tiny(kind, _CHANGED.get(architecture, {}))


@contextmanager
def _no_tower_of_timm() -> Iterator[None]:
    """Leave out a vision tower that takes timm, which no text passes through."""
    auto: Any = transformers.AutoModel
    make = auto.from_config

    def made_of_transformers(config: Any, **settings: Any) -> Any:
        if config.model_type == "gemma3n_vision":
            return torch.nn.Identity()
        return make(config, **settings)

    auto.from_config = made_of_transformers
    try:
        yield
    finally:
        auto.from_config = make


def tiny(architecture: str) -> Any:
    """Make a model of random weights; see `tiny_models.with_random_weights`."""
    kind, config = getattr(transformers, architecture), _config(architecture)
    with _no_tower_of_timm():
        model = tiny_models.with_random_weights(
            lambda: kind._from_config(config, attn_implementation="eager")
        )
    model.config.architectures = [architecture]
    return model.eval()
