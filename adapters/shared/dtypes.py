"""What a model's numbers are."""

from typing import Any

import torch


def dtype_of(model: Any) -> str:
    """Name the dtype of a model's parameters, such as `float32`.

    Where its weights are quantised, what they are held as is named too: `float32, weights int8`.

    Args:
        model: a torch module.
    """
    floats: list[str] = []
    packed: list[str] = []
    for parameter in model.parameters():
        # A tensor of another class shows the dtype that it stands for, not what it holds.
        kind = type(parameter).__name__
        subclass = kind not in ("Parameter", "Tensor")
        whole = parameter.is_floating_point() and parameter.element_size() > 1
        (packed if subclass or not whole else floats).append(
            kind if subclass else str(parameter.dtype)
        )
    # torch.ao keeps quantised weights in no parameter.
    packed += [
        str(part.dtype)
        for part in model.modules()
        if hasattr(part, "_packed_params") and isinstance(getattr(part, "dtype", None), torch.dtype)
    ]
    names = ", weights ".join([*floats[:1], *sorted(set(packed))])
    return names.replace("torch.", "")
