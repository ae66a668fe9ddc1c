"""Checkpoints that hold each weight of their model, and none that it has no place for."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from steer_plugin.adapters.shared.placement import compute_as_asked
from steer_plugin.errors import ModelError

# What a bridge runs; another rounds otherwise, and a retrieval may turn on that.
ATTENTION = "eager"
NAMED = 8  # tensors that an error lists
# What older checkpoints hold although it follows from the configuration: masks and tables.
DERIVED = re.compile(
    r"\.(cross)?att(n|ention)\.(masked_)?bias$|\.rotary_emb\.|\.embed_positions\.weights$"
)
ALL_THE_SAME = "to use it all the same, load the model yourself and give it to adapt(...)"


@dataclass(frozen=True)
class WholeCheckpoint:
    """Loads what a class of transformers loads, unless some of its weights would be random.

    Attributes:
        name: of the model, for errors.
        model_class: with `from_pretrained`, such as `AutoModelForCausalLM`.
    """

    name: str
    model_class: Any

    def from_pretrained(self, pretrained_model_name_or_path: str, **settings: Any) -> Any:
        """Load a model with the settings of the class's own `from_pretrained`.

        Raises:
            ModelError: weights are missing, have another shape, or have no place in the model.
        """
        model, report = self.model_class.from_pretrained(
            pretrained_model_name_or_path,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **settings,
        )
        architecture = type(model).__name__
        if report["missing_keys"]:
            raise ModelError(
                f"{self.name} lacks {named_tensors(report['missing_keys'])}, which {architecture} "
                f"has and which would be random; fetch it again whole, or {ALL_THE_SAME}"
            )
        if report["mismatched_keys"]:
            shapes = (
                f"{tensor} {list(stored)} for {list(wanted)}"
                for tensor, stored, wanted in report["mismatched_keys"]
            )
            raise ModelError(
                f"{self.name} has other shapes than its config.json tells: "
                f"{named_tensors(shapes)}; fetch the two again together"
            )
        unplaced = [] if _is_quantised(model) else _without_place(model, report["unexpected_keys"])
        if unplaced:
            raise ModelError(
                f"{self.name} holds {named_tensors(unplaced)}, for which {architecture} has no "
                f"place, so it is another architecture; see its config.json, or {ALL_THE_SAME}"
            )
        compute_as_asked(model)
        return model


def named_tensors(tensors: Iterable[str]) -> str:
    """Count tensors and list the first of them."""
    names = sorted(tensors)
    listed = ", ".join(names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''}: {listed}{more}"


def _is_quantised(model: Any) -> bool:
    """Tell whether a quantiser answers for what lies beside the weights, such as scales."""
    return getattr(model, "hf_quantizer", None) is not None


def _without_place(model: Any, unexpected: Collection[str]) -> list[str]:
    """List the tensors of parts that the model has; those of a part it lacks, it can do without.

    A text model can be read from a checkpoint with a vision tower, but not from one whose blocks
    hold a norm or a bias that its own blocks lack.
    """
    base = model.base_model_prefix
    parts = {name for name, _ in model.named_modules() if name not in ("", base)}

    def has_part(tensor: str) -> bool:
        modules = tensor.split(".")[:-1]
        return any(".".join(modules[:end]) in parts for end in range(1, len(modules) + 1))

    return [
        tensor
        for tensor in unexpected
        if not DERIVED.search(f".{tensor}") and (has_part(tensor) or has_part(f"{base}.{tensor}"))
    ]
