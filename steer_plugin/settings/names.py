"""What can be chosen by name and is ours alone to add to: selections, positions, hosts, dtypes."""

from collections.abc import Sequence
from typing import Literal, get_args

from steer_plugin.registry import unknown

FINAL_NORM = "ln_final.hook_out"
HEADS = "attn.hook_z.heads"
ROUTER = "mlp.hook_router_logits"

# Names of `steer_plugin.settings.parts`, which anybody can add to.
Pooling = str
Operation = str

Selection = Literal["top", "bottom", "top+bottom"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)

PositionName = Literal["all", "prompt", "text", "generated", "last"]
POSITIONS: tuple[PositionName, ...] = get_args(PositionName)

Host = Literal["transformer_lens", "nnsight", "ndif", "transformers"]
HOSTS: tuple[Host, ...] = get_args(Host)

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

Quantize = Literal["nf4", "int8"]
QUANTIZE: tuple[Quantize, ...] = get_args(Quantize)


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
        raise error(unknown(name, choices, article_and_noun))
