"""Each unit's responses in ascending order, with what belongs to each of them."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad


def uses_numpy(tensor: Shaped[Tensor, "..."]) -> bool:
    """Tell whether NumPy, which sorts and scans faster than torch does, can work on a tensor."""
    return tensor.device.type == "cpu"


def sort_units(
    responses: Float[Tensor, "sentence unit"], carried: Int[Tensor, " sentence"]
) -> tuple[Shaped[Tensor, "unit sentence"], Int[Tensor, "unit sentence"], bool]:
    """Sort each unit's responses, and with them a number that each sentence carries.

    Where a response and its number fit one integer they are sorted as such: 16 bits each for
    responses of 16 bits and numbers below 65,536, else 32 bits each.

    Args:
        responses: any floating dtype.
        carried: 0 or more.

    Returns:
        The responses, or keys that order like them (see `sorted_values`); what they carry; and
        whether all are finite. NaN and infinity sort to the ends, where that is looked up.
    """
    if responses.dtype == torch.float64 or not uses_numpy(responses):
        values, index = responses.T.sort(1)
        return values, carried[index], bool(values[:, [0, -1]].isfinite().all())
    # Copying the columns out before they are turned into rows halves the time in memory.
    rows = responses.contiguous().T.contiguous()
    if rows.itemsize == 2 and int(carried.max()) < 2**16:
        return _sort_packed(rows.view(torch.int16), rows.dtype, carried)
    return _sort_packed(rows.float().view(torch.int32), torch.float32, carried)


def _sort_packed(
    bits: Int[Tensor, "unit sentence"], dtype: torch.dtype, carried: Int[Tensor, " sentence"]
) -> tuple[Int[Tensor, "unit sentence"], Int[Tensor, "unit sentence"], bool]:
    width = 8 * bits.itemsize
    whole = {16: torch.int32, 32: torch.int64}[width]
    packed = _ordered(bits).to(whole) << width
    packed |= carried.to(whole)
    packed.numpy().sort(axis=1)
    keys = (packed >> width).to(bits.dtype)
    infinity = int(torch.tensor(torch.inf, dtype=dtype).view(bits.dtype))
    finite = (keys[:, 0] > -infinity).all() & (keys[:, -1] < infinity).all()
    return keys, (packed & (2**width - 1)).to(torch.int32), bool(finite)


def sorted_values(
    keys: Shaped[Tensor, "unit sentence"], dtype: torch.dtype
) -> Float[Tensor, "unit sentence"]:
    """Give the responses, of such a dtype, whose keys `sort_units` gave; -0.0 comes back as 0.0."""
    if keys.is_floating_point():
        return keys
    return _ordered(keys).view(dtype if keys.itemsize == dtype.itemsize else torch.float32)


def _ordered(bits: Int[Tensor, "unit sentence"]) -> Int[Tensor, "unit sentence"]:
    """Make a float's bits an integer that orders like it, or that integer the bits again.

    A float is a sign and a magnitude: the integer is the magnitude with that sign, so both zeros
    are 0.
    """
    return torch.where(bits < 0, torch.iinfo(bits.dtype).min - bits, bits)


def stable_argsort(
    labels: Int[Tensor, "unit sentence"], concepts: int
) -> Int[Tensor, "unit sentence"]:
    """List the places of concept 0's sentences in each row, ascending, then concept 1's, ..."""
    if not uses_numpy(labels):
        return labels.argsort(dim=1, stable=True)
    # NumPy sorts integers of one and two bytes by radix.
    small = next(
        dtype for dtype in (np.uint8, np.uint16, np.uint32) if concepts - 1 <= np.iinfo(dtype).max
    )
    return torch.from_numpy(labels.numpy().astype(small).argsort(axis=1, kind="stable"))


def run_starts(steps: Bool[Tensor, "unit gap"]) -> Int[Tensor, "unit sentence"]:
    """Give, for each position of a row, where its run of equal values starts.

    `steps` says between which neighbours the value changes.
    """
    place = torch.arange(1, steps.shape[1] + 1, dtype=torch.int32, device=steps.device)
    starts = pad(steps * place, (1, 0))
    if not uses_numpy(starts):
        return starts.cummax(1).values
    return torch.from_numpy(np.maximum.accumulate(starts.numpy(), axis=1))


def run_ends(steps: Bool[Tensor, "unit gap"]) -> Int[Tensor, "unit sentence"]:
    """Give, for each position of a row, where its run of equal values ends."""
    return steps.shape[1] - run_starts(steps.flip(1)).flip(1)
