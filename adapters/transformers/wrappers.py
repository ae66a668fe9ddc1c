"""What a model of transformers may be wrapped in: PEFT, torch.compile, data parallelism."""

from typing import Any

from transformers import PreTrainedModel

from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import UNKNOWN


def is_transformers_model(model: Any) -> bool:
    """Tell whether something is a model of transformers, or wraps one."""
    return isinstance(_innermost(model), PreTrainedModel)


def unwrapped(model: Any) -> Any:
    """Give the model of transformers that runs inside a wrapper, adapters of PEFT in its modules.

    Raises:
        ModelError: the wrapper puts tokens of its own before the text.
    """
    inner = _innermost(model)
    settings = getattr(model, "active_peft_config", None)
    if getattr(settings, "is_prompt_learning", False):
        raise ModelError(
            f"{type(model).__name__} puts learned tokens before each text, which no position "
            "counts; give one whose adapters are in its modules, such as LoRA"
        )
    return inner


def recorded_name(model: Any) -> str:
    """Name a model as it was loaded, and the adapters of PEFT that are active in it."""
    inner = _innermost(model)
    base = str(inner.config.name_or_path or UNKNOWN)
    active = getattr(getattr(model, "_orig_mod", model), "active_adapters", ())
    return base if callable(active) else " + ".join([base, *active])


def _innermost(model: Any) -> Any:
    # torch.compile, PEFT, and DataParallel and its like; PEFT hands on what it lacks to the model.
    while not isinstance(model, PreTrainedModel):
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif hasattr(model, "module"):
            model = model.module
        else:
            break
    return model
