"""Where each site is in the Hugging Face module tree, architecture by architecture."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from steer_plugin.activations.sites import check_site
from steer_plugin.errors import SiteError
from steer_plugin.settings.names import FINAL_NORM

FUSED_EXPERTS = "its mixture-of-experts block is fused, so no tensor holds a token's neurons"
FUSED_GATE = "its MLP computes both halves in one gate_up_proj, so neither is a tensor of its own"


@dataclass(frozen=True)
class ModulePaths:
    """Where the sites of an architecture are.

    Attributes:
        blocks: path from the base model (the model without its head) to the list of blocks.
        sites: for each site in a block, in the order in which a forward pass reaches them, the
            path from the block to a module, and which side of it: `mlp.down_proj.input`,
            `mlp.output`, or just `output` for the block's own.
        final_norm: the same for `ln_final.hook_out`, from the base model.
        unreachable: for a site that no module's input or output is, the reason.

    Raises:
        SiteError: a name is no site, or a path ends in neither `input` nor `output`.
    """

    blocks: str
    sites: Mapping[str, str]
    final_norm: str
    unreachable: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the names and the ends of the paths."""
        for site in (*self.sites, *self.unreachable):
            check_site(site)
            if site == FINAL_NORM:
                raise SiteError(f"{FINAL_NORM} is in no block; give its path as final_norm")
        for path in (*self.sites.values(), self.final_norm):
            if path.rpartition(".")[2] not in ("input", "output"):
                raise SiteError(f"{path!r} must end in the side of the module: .input or .output")


def _block(attention: str, mlp: Mapping[str, str], **changed: str) -> dict[str, str]:
    """List a block's sites in forward order, from its attention's output projection on."""
    return {
        "attn.hook_z": f"{attention}.input",
        "hook_attn_out": changed.get("attn_out", f"{attention}.output"),
        **mlp,
        "hook_resid_post": "output",
    }


def _plain(up: str, down: str, out: str) -> dict[str, str]:
    return {"mlp.hook_pre": f"{up}.output", "mlp.hook_post": f"{down}.input", "hook_mlp_out": out}


def _gated(out: str = "mlp.output") -> dict[str, str]:
    return {
        "mlp.hook_pre": "mlp.gate_proj.output",
        "mlp.hook_pre_linear": "mlp.up_proj.output",
        "mlp.hook_post": "mlp.down_proj.input",
        "hook_mlp_out": out,
    }


_LLAMA = ModulePaths("layers", _block("self_attn.o_proj", _gated()), "norm.output")
# What a sublayer adds is normed before it joins the residual stream.
_SANDWICH_NORMED = ModulePaths(
    "layers",
    _block(
        "self_attn.o_proj",
        _gated("post_feedforward_layernorm.output"),
        attn_out="post_attention_layernorm.output",
    ),
    "norm.output",
)
_MIXTURE = ModulePaths(
    "layers",
    _block("self_attn.o_proj", {"hook_mlp_out": "mlp.output"}),
    "norm.output",
    dict.fromkeys(("mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post"), FUSED_EXPERTS),
)
_GPT2_MLP = _plain("mlp.c_fc", "mlp.c_proj", "mlp.output")

# By `config.model_type`; `register_module_paths` adds to it.
MODULE_PATHS: dict[str, ModulePaths] = {
    "bloom": ModulePaths(
        "h",
        _block(
            "self_attention.dense",
            # Bloom's MLP module adds the residual stream itself.
            _plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "mlp.dense_4h_to_h.output"),
        ),
        "ln_f.output",
    ),
    "cohere": _LLAMA,
    "cohere2": _LLAMA,
    "falcon": ModulePaths(
        "h",
        _block(
            "self_attention.dense",
            _plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "mlp.output"),
        ),
        "ln_f.output",
    ),
    "gemma": _LLAMA,
    "gemma2": _SANDWICH_NORMED,
    "gemma3": replace(  # with a vision tower
        _SANDWICH_NORMED, blocks="language_model.layers", final_norm="language_model.norm.output"
    ),
    "gemma3_text": _SANDWICH_NORMED,
    "gpt2": ModulePaths("h", _block("attn.c_proj", _GPT2_MLP), "ln_f.output"),
    "gpt_neo": ModulePaths("h", _block("attn.attention.out_proj", _GPT2_MLP), "ln_f.output"),
    "gpt_neox": ModulePaths(
        "layers",
        _block("attention.dense", _plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "mlp.output")),
        "final_layer_norm.output",
    ),
    "gptj": ModulePaths(
        "h", _block("attn.out_proj", _plain("mlp.fc_in", "mlp.fc_out", "mlp.output")), "ln_f.output"
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _MIXTURE,
    "mpt": ModulePaths(
        "blocks",
        # MPT's feed-forward module adds the residual stream itself.
        _block("attn.out_proj", _plain("ffn.up_proj", "ffn.down_proj", "ffn.down_proj.output")),
        "norm_f.output",
    ),
    "olmo": _LLAMA,
    "opt": ModulePaths(
        "decoder.layers",
        _block("self_attn.out_proj", _plain("fc1", "fc2", "fc2.output")),
        "decoder.final_layer_norm.output",
    ),
    "phi3": ModulePaths(
        "layers",
        _block(
            "self_attn.o_proj",
            {"mlp.hook_post": "mlp.down_proj.input", "hook_mlp_out": "mlp.output"},
        ),
        "norm.output",
        dict.fromkeys(("mlp.hook_pre", "mlp.hook_pre_linear"), FUSED_GATE),
    ),
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "qwen3_moe": _MIXTURE,
    "starcoder2": ModulePaths("layers", _block("self_attn.o_proj", _GPT2_MLP), "norm.output"),
    "xglm": ModulePaths(
        "layers",
        _block("self_attn.out_proj", _plain("fc1", "fc2", "fc2.output")),
        "layer_norm.output",
    ),
}


def register_module_paths(model_type: str, paths: ModulePaths) -> None:
    """Tell where the sites of one more architecture are, or of a known one anew.

    Args:
        model_type: what the model's configuration calls itself, `config.model_type`.
        paths: its sites.
    """
    MODULE_PATHS[model_type] = paths
