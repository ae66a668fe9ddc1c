"""Each unit's responses in ascending order, with what belongs to each of them."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

from steer_plugin.responses.unit_chunks import check_finite

BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of a float


def uses_numpy(tensor: Shaped[Tensor, "..."]) -> bool:
    """Tell whether NumPy, which sorts and scans faster than torch does, can work on a tensor."""
    return tensor.device.type == "cpu"


def sort_units(
    responses: Float[Tensor, "sentence unit"],
    carried: Int[Tensor, " sentence"],
    first_unit: int = 0,
) -> tuple[Shaped[Tensor, "unit sentence"], Int[Tensor, "unit sentence"]]:
    """Sort each unit's responses, and with them a number that each sentence carries.

    Args:
        responses: finite.
        carried: by the sentences.
        first_unit: the number of the first unit among all, by which an error names them.

    Returns:
        The responses, or keys that order like them (see `sorted_values`), and what they carry.

    Raises:
        ScoreError: a response is NaN or infinite.
    """
    if uses_numpy(responses):
        # Copying the columns out before they are turned into rows halves the time in memory.
        rows = responses.contiguous().T.contiguous()
        keys = _ordered(rows.view(BITS[rows.itemsize]))
        index = _argsort(keys)
        keys = keys.gather(1, index)
        with_them = torch.from_numpy(carried.numpy().take(index.numpy()))
    else:
        keys, index = responses.T.sort(1)
        with_them = carried[index]
    # NaN and infinity sort to the ends.
    if not bool(sorted_values(keys[:, [0, -1]], responses.dtype).isfinite().all()):
        check_finite(responses, first_unit)
    return keys, with_them


def sorted_values(
    keys: Shaped[Tensor, "unit sentence"], dtype: torch.dtype
) -> Float[Tensor, "unit sentence"]:
    """Give the responses, of such a dtype, whose keys `sort_units` gave; -0.0 comes back as 0.0."""
    return keys if keys.is_floating_point() else _ordered(keys).view(dtype)


def _ordered(bits: Int[Tensor, "unit sentence"]) -> Int[Tensor, "unit sentence"]:
    """Make a float's bits an integer that orders like it, or that integer the bits again.

    A float is a sign and a magnitude: the integer is the magnitude with that sign, so both zeros
    are 0.
    """
    sign = bits >> (8 * bits.itemsize - 1)
    magnitude = bits & torch.iinfo(bits.dtype).max
    return magnitude.bitwise_xor_(sign).sub_(sign)


def _argsort(keys: Int[Tensor, "unit sentence"]) -> Int[Tensor, "unit sentence"]:
    """Give the order of each row, by 16 bits at a time from the lowest.

    NumPy sorts 16 bits stably by radix: one round for responses of 16 bits, and even two take less
    than half the time of sorting 64-bit integers in which a key and what it carries are packed.
    Bits that are the same everywhere, as in bfloat16 held in float32, decide nothing.
    """
    # The highest 16 bits have the sign, all others count from 0.
    *lower, highest = ((keys >> shift).to(torch.int16) for shift in range(0, 8 * keys.itemsize, 16))
    first, *others = [
        *(digits.numpy().view(np.uint16) for digits in lower if _vary(digits)),
        highest.numpy(),
    ]
    index = torch.from_numpy(first.argsort(axis=1, kind="stable"))
    for digits in others:
        of_keys = torch.from_numpy(digits.view(np.int16)).gather(1, index).numpy()
        order = of_keys.view(digits.dtype).argsort(axis=1, kind="stable")
        index = index.gather(1, torch.from_numpy(order))
    return index


def _vary(digits: Int[Tensor, "unit sentence"]) -> bool:
    # The first unit nearly always tells.
    return bool((digits[0] != digits[0, 0]).any() or (digits != digits[0, 0]).any())


def stable_argsort(labels: Int[Tensor, "unit sentence"]) -> Int[Tensor, "unit sentence"]:
    """List the places of concept 0's sentences in each row, ascending, then concept 1's, ..."""
    if not uses_numpy(labels):
        return labels.argsort(dim=1, stable=True)
    return torch.from_numpy(labels.numpy().argsort(axis=1, kind="stable"))


def run_starts(steps: Bool[Tensor, "unit gap"]) -> Int[Tensor, "unit sentence"]:
    """Give, for each position of a row, where its run of equal values starts.

    `steps` says between which neighbours the value changes.
    """
    place = torch.arange(1, steps.shape[1] + 1, dtype=torch.int32, device=steps.device)
    return pad(steps * place, (1, 0)).cummax(1).values


def run_ends(steps: Bool[Tensor, "unit gap"]) -> Int[Tensor, "unit sentence"]:
    """Give, for each position of a row, where its run of equal values ends."""
    return steps.shape[1] - run_starts(steps.flip(1)).flip(1)
