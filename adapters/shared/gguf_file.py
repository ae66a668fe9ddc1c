"""What a `.gguf` file holds besides what transformers reads of it.

transformers drops, in silence, each tensor that it has no name for. The format:
github.com/ggml-org/ggml/blob/master/docs/gguf.md. The format's own library takes 20 s for the
vocabulary of Gemma 3, which is only stepped over here.
"""

import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from steer_plugin.adapters.shared.checkpoint_weights import ALL_THE_SAME, named_tensors
from steer_plugin.errors import ModelError

MAGIC = b"GGUF"
ARCHITECTURE = "general.architecture"
ALIGNMENT = "general.alignment"
DEFAULT_ALIGNMENT = 32
ROPE_DIVISORS = "rope_freqs.weight"
# A file may hold the head a second time, though the model's is tied.
HEAD = "output.weight"
FLOAT32 = 0
STRING, ARRAY = 8, 9
# By the number of a value's type: u8, i8, u16, i16, u32, i32, f32, bool; u64, i64, f64.
FORMATS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a `.gguf` file.

    Attributes:
        shape: fastest dimension first.
        kind: number of its type; 0 is float32.
        start: byte in the file.
    """

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True)
class Header:
    """What a `.gguf` file says of itself.

    Attributes:
        architecture: such as `llama`.
        tensors: by name.
    """

    architecture: str
    tensors: dict[str, StoredTensor]


def read_header(path: Path) -> Header:
    """Read the architecture and the tensors' places, no tensor.

    Raises:
        ModelError: it is no such file, or is cut short.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ModelError(
                    f"{path} is not a GGUF file: it does not begin with GGUF; fetch it again"
                )
            return _header(file)
    except struct.error as error:
        raise ModelError(f"{path} is cut short; fetch it again") from error


def _header(file: BinaryIO) -> Header:
    _, tensors, values = _unpack(file, "IQQ")
    settings = {_string(file): _value(file, *_unpack(file, "I")) for _ in range(values)}
    places: dict[str, StoredTensor] = {}
    for _ in range(tensors):
        name = _string(file)
        shape = _unpack(file, "Q" * _unpack(file, "I")[0])
        places[name] = StoredTensor(shape, *_unpack(file, "IQ"))
    alignment = settings.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    data = math.ceil(file.tell() / alignment) * alignment
    return Header(
        settings[ARCHITECTURE],
        {name: replace(place, start=data + place.start) for name, place in places.items()},
    )


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))


def _string(file: BinaryIO) -> str:
    return file.read(_unpack(file, "Q")[0]).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> Any:
    """Read a number or a string; step over an array, which is None."""
    if kind == STRING:
        return _string(file)
    if kind != ARRAY:
        return _unpack(file, FORMATS[kind])[0]
    inner, length = _unpack(file, "IQ")
    if inner in FORMATS:
        file.seek(length * struct.calcsize(f"<{FORMATS[inner]}"), 1)
        return None
    for _ in range(length):
        _value(file, inner)
    return None


def rotary_divisors(path: Path, model: Any) -> Float[Tensor, " frequency"] | None:
    """Read what transformers left in the `.gguf` file of a model, or refuse the file.

    Llama 3 scales its rotary frequencies; a file has the divisors as `rope_freqs.weight`.

    Args:
        path: of the file.
        model: as transformers read it.

    Returns:
        What to give to `divide_rotary_frequencies`; None where the file has none.

    Raises:
        ModelError: the file holds other tensors that the model lacks.
    """
    header = read_header(path)
    unread = _unread(header, model)
    if unread:
        raise ModelError(
            f"{path} holds {named_tensors(unread)}, which transformers does not read for "
            f"{type(model).__name__}; take the model as safetensors, or {ALL_THE_SAME}"
        )
    divisors = header.tensors.get(ROPE_DIVISORS)
    return None if divisors is None else _float32(path, divisors)


def _unread(header: Header, model: Any) -> list[str]:
    """List tensors without a name in the model, where the file has more numbers than the model.

    Names alone would not tell: transformers splits and joins the tensors of some architectures.
    """
    head = model.get_output_embeddings().weight
    tied = head is model.get_input_embeddings().weight
    numbers = sum(weight.numel() for weight in model.parameters()) - (0 if tied else head.numel())
    stored = {name for name in header.tensors if name not in (HEAD, ROPE_DIVISORS)}
    if sum(math.prod(header.tensors[name].shape) for name in stored) <= numbers:
        return []
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    architecture = {name: arch for arch, name in MODEL_ARCH_NAMES.items()}[header.architecture]
    names = get_tensor_name_map(architecture, model.config.get_text_config().num_hidden_layers)
    endings = (".weight", ".bias")
    return sorted(stored - {names.get_name(name, endings) for name in model.state_dict()})


def _float32(path: Path, tensor: StoredTensor) -> Float[Tensor, " number"]:
    if tensor.kind != FLOAT32:
        raise ModelError(
            f"{path} holds {ROPE_DIVISORS} as type {tensor.kind}, and only float32 (type 0) is "
            "read; convert the model anew"
        )
    count = math.prod(tensor.shape)
    return torch.from_numpy(np.fromfile(path, "<f4", count, offset=tensor.start))


def divide_rotary_frequencies(model: Any, divisors: Float[Tensor, " frequency"]) -> None:
    """Divide a model's rotary frequencies in place.

    Raises:
        ModelError: it has none, or not as many.
    """
    buffers = [
        buffer
        for name, buffer in model.named_buffers()
        if name.endswith("inv_freq") and buffer.shape == divisors.shape
    ]
    if not buffers:
        raise ModelError(
            f"the file holds {len(divisors)} divisors of rotary frequencies ({ROPE_DIVISORS}), "
            f"and {type(model).__name__} has no such frequencies; take the model as safetensors"
        )
    for buffer in buffers:
        buffer.div_(divisors.to(buffer.device))
