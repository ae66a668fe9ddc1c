"""Where a model's weights go, and what holds them."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from steer_plugin.errors import ModelError
from steer_plugin.settings.model import AUTO, ModelSettings

CPU = "cpu"
# What spreads a model over devices, by the names that accelerate has for it.
SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
QUANTISER = "bitsandbytes"
_FUSED = "support_avx512bf16_for_cpu"


@dataclass(frozen=True)
class Placement:
    """Where and how a model is loaded.

    Attributes:
        device: as torch names it, or how accelerate spreads the model over several.
        dtype: of the weights that are not quantised; None for the checkpoint's own.
        quantization: what `from_pretrained` takes as `quantization_config`, where weights are held
            in fewer bits.
    """

    device: str
    dtype: torch.dtype | None
    quantization: Any = None

    @classmethod
    def of(cls, settings: ModelSettings) -> "Placement":
        """Choose for a model that is loaded here.

        `auto` takes the accelerator there is, all where there are several, or else the CPU; there
        the dtype is float32, and on an accelerator the checkpoint's own.

        Raises:
            ModelError: what quantises is not installed.
        """
        device = _chosen_device() if settings.device == AUTO else settings.device
        if settings.dtype != AUTO:
            dtype = getattr(torch, settings.dtype)
        else:
            dtype = torch.float32 if device == CPU else None
        return cls(device, dtype, _quantization(settings, dtype))

    @property
    def quantized(self) -> dict[str, Any]:
        """What `from_pretrained` takes of it; None would hide that a checkpoint is quantised."""
        return {} if self.quantization is None else {"quantization_config": self.quantization}

    @property
    def spread(self) -> bool:
        """Whether the model may lie on several devices."""
        return self.device in SPREADS

    def dtype_for(self, config: Any) -> torch.dtype:
        """Give the dtype for a model of this configuration; float32 where it names none."""
        checkpoint_dtype = getattr(config.get_text_config(), "dtype", None)
        return self.dtype or (
            checkpoint_dtype if isinstance(checkpoint_dtype, torch.dtype) else torch.float32
        )


def _chosen_device() -> str:
    # Also where a driver is missing, which torch tells once, this is False.
    if not torch.accelerator.is_available():
        return CPU
    kind = torch.accelerator.current_accelerator()
    return SPREADS[0] if torch.accelerator.device_count() > 1 else str(kind)


def _quantization(settings: ModelSettings, dtype: torch.dtype | None) -> Any:
    if settings.quantize is None:
        return None
    if find_spec(QUANTISER) is None:
        raise ModelError(
            f"quantize {settings.quantize} takes {QUANTISER}, which is not installed; run: pip "
            "install 'steer-plugin[quantize]'"
        )
    import transformers

    config: Any = transformers.BitsAndBytesConfig
    if settings.quantize == "int8":
        return config(load_in_8bit=True)
    return config(
        load_in_4bit=True, bnb_4bit_quant_type=settings.quantize, bnb_4bit_compute_dtype=dtype
    )


def compute_as_asked(model: Any) -> None:
    """Keep 4-bit layers on a CPU to the dtype that was asked for.

    Where a CPU has AVX512-BF16 they compute in bfloat16 whatever the dtype, and fail where a width
    is no multiple of 32 (bitsandbytes 0.50).

    Args:
        model: a torch module, as `from_pretrained` gives it; it is changed.
    """
    for module in model.modules():
        if hasattr(module, _FUSED):
            setattr(module, _FUSED, False)


def input_device(model: Any) -> torch.device:
    """Say where token ids go to."""
    device: torch.device = model.get_input_embeddings().weight.device
    # Weights that are offloaded are nowhere yet, and move their inputs along with them.
    return torch.device(CPU) if device.type == "meta" else device


def devices_of(model: Any) -> str:
    """Name where a model's weights are, such as `cpu` or `cuda:0, cuda:1`.

    Args:
        model: a torch module. Weights that accelerate fetches from memory or disk count as `meta`.
    """
    return ", ".join(sorted({str(parameter.device) for parameter in model.parameters()}))
