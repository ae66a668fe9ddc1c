"""Quantised models that any machine runs, as bitsandbytes and its like do it on theirs."""

import warnings
from collections.abc import Callable
from typing import Any

import torch


def dynamic(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.model.layers = torch.ao.quantization.quantize_dynamic(
            model.model.layers, {torch.nn.Linear}, torch.qint8
        )
    return model


class Int8Linear(torch.nn.Module):
    """A linear layer that holds one byte a weight and a scale a row, as many quantisers do."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        rounded = (linear.weight.detach() / scale).round().to(torch.int8)
        self.weight = torch.nn.Parameter(rounded, requires_grad=False)
        self.scale = torch.nn.Parameter(scale)
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(inputs, self.weight * self.scale, self.bias)


def weight_only(model: Any) -> Any:
    for layer in model.model.layers:
        for module in (layer.self_attn, layer.mlp):
            for name, part in list(module.named_children()):
                if isinstance(part, torch.nn.Linear):
                    setattr(module, name, Int8Linear(part))
    return model


QUANTISED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "torch.ao": (dynamic, "float32, weights qint8"),
    "bytes": (weight_only, "float32, weights int8"),
}
