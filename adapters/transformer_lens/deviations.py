"""Bridges that compute otherwise than their models, and from which TransformerLens on they do not.

`tests/support/conformance.py` measures readings, steering and batches with padding, and the
adapters' tests what is generated; those that are mended, with the versions before.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

from transformer_lens.model_bridge import TransformerBridge

from steer_plugin.adapters.shared.transformer_lens_version import is_older_than
from steer_plugin.errors import ModelError


@dataclass(frozen=True)
class Deviation:
    """What a bridge computes otherwise than its model.

    Attributes:
        reason: what, in a few words.
        mended: the first TransformerLens in which it does not, major and minor; None: none yet.
    """

    reason: str
    mended: tuple[int, int] | None = None

    def __str__(self) -> str:
        """Say what is to be done about it."""
        if self.mended is None:
            return f"TransformerLens: {self.reason}; run it on nnsight"
        since = "{}.{}".format(*self.mended)
        return (
            f"TransformerLens before {since}: {self.reason}; run it on nnsight, or with "
            f"transformer-lens>={since}"
        )


OTHER_PAIRS = "its attention rotates other pairs of units than the model's"
FORGETS = "its attention forgets what is in the cache"
# By `config.model_type`.
DEVIATIONS = {
    "cohere": Deviation(OTHER_PAIRS, (4, 2)),
    "cohere2": Deviation(OTHER_PAIRS, (4, 2)),
    "hunyuan_v1_dense": Deviation(
        "its attention norms queries and keys before it rotates them, and the model's after", (4, 2)
    ),
    "falcon with alibi": Deviation(FORGETS, (4, 2)),
    "mpt": Deviation(FORGETS, (4, 2)),
    "openai-gpt": Deviation(
        "its MLP has other neurons than the model, and its blocks pass their hooks by"
    ),
}


def deviation_of(model_type: str) -> Deviation | None:
    """Say what bridges of an architecture compute otherwise in the installed TransformerLens.

    Args:
        model_type: `config.model_type`.
    """
    deviation = DEVIATIONS.get(model_type)
    if deviation is None or deviation.mended is None or is_older_than(deviation.mended):
        return deviation
    return None


def require_agreement(bridge: TransformerBridge) -> None:
    """Refuse a bridge that computes otherwise than its model.

    Raises:
        ModelError: this TransformerLens bridges the architecture so, or would run what the model
            lacks, as Granite 4 without rotary embedding.
    """
    model = cast("Any", bridge.original_model)
    kind = model.config.model_type
    deviation = deviation_of(kind)
    if deviation is None and getattr(model.config, "alibi", False):
        deviation = deviation_of(f"{kind} with alibi")
    if deviation is not None:
        raise ModelError(f"{bridge.cfg.model_name} on {deviation}")
    lacking = [
        name
        for name, part in bridge.named_modules()
        if getattr(part, "original_component", part) is None
    ]
    if lacking:
        raise ModelError(
            f"transformer_lens {version('transformer-lens')} would run {', '.join(lacking)}, which "
            f"{type(model).__name__} lacks in {bridge.cfg.model_name}; run the model on nnsight"
        )
