"""What can be chosen by name: sites, poolings, scores, operations, positions, hosts."""

from collections.abc import Sequence
from typing import Literal, get_args

FINAL_NORM = "ln_final.hook_out"

SITES: dict[str, str] = {
    "mlp.hook_post": "post-activation MLP neurons, the input of the down projection",
    "mlp.hook_pre": "pre-activation MLP neurons; the gate where the MLP is gated",
    "mlp.hook_pre_linear": "the linear (up) half of a gated MLP, before it meets the gate",
    "hook_mlp_out": "what the MLP adds to the residual stream",
    "attn.hook_z": "attention head outputs before the output projection, heads side by side",
    "hook_attn_out": "what attention adds to the residual stream",
    "hook_resid_post": "the residual stream after the block",
    FINAL_NORM: "the residual stream after the final norm",
}

# What a sentence's response may be: an activation, which a unit can be set to.
SentencePooling = Literal["max", "mean", "min", "last"]
# `active` is a share of tokens, which no unit can be set to: it is for the token scores alone.
Pooling = Literal[SentencePooling, "active"]
SENTENCE_POOLINGS: tuple[SentencePooling, ...] = get_args(SentencePooling)
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

RankScore = Literal["auroc", "average_precision"]
TokenScore = Literal["activation_frequency", "lape"]
ScoreName = Literal[RankScore, "mean_difference", TokenScore]
RANK_SCORES: tuple[RankScore, ...] = get_args(RankScore)
TOKEN_SCORES: tuple[TokenScore, ...] = get_args(TokenScore)
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)

Selection = Literal["top", "bottom", "top+bottom"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)

Operation = Literal["set", "add", "scale", "blend", "aura", "affine"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

PositionName = Literal["all", "prompt", "generated", "last"]
POSITIONS: tuple[PositionName, ...] = get_args(PositionName)

Host = Literal["transformer_lens", "nnsight", "ndif"]
HOSTS: tuple[Host, ...] = get_args(Host)

Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


def check_name(
    name: str, choices: Sequence[str], article_and_noun: str, error: type[Exception]
) -> None:
    """Refuse a name that is not among the choices.

    Args:
        name: what was given.
        choices: what there is.
        article_and_noun: what it is a name of, such as "a score".
        error: what to raise.
    """
    if name not in choices:
        raise error(f"{name!r} is not {article_and_noun}; choose one of: {', '.join(choices)}")
