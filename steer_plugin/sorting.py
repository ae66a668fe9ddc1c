"""Each unit's responses in ascending order, with what belongs to each of them."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

KEY_BITS = 2**31 - 1


def sort_units(
    responses: Float[Tensor, "sentence unit"], carried: Int[Tensor, " sentence"]
) -> tuple[Shaped[Tensor, "unit sentence"], Int[Tensor, "unit sentence"], bool]:
    """Sort each unit's responses, and with them a number that each sentence carries.

    Returns:
        The responses, or keys that order like them (see `sorted_values`); what they carry; and
        whether all are finite. NaN and infinity sort to the ends, where that is looked up.
    """
    if responses.device.type != "cpu" or responses.dtype == torch.float64:
        values, index = responses.T.sort(1)
        return values, carried[index], bool(values[:, [0, -1]].isfinite().all())
    # Copying the columns out before they are turned into rows halves the time in memory. Adding
    # 0.0 makes -0.0 and 0.0 the same bits.
    wide = responses.contiguous().T.contiguous().to(torch.float32) + 0.0
    bits = wide.view(torch.int32)
    # Little-endian halves of one int64: the number below, the bits above, in the floats' order.
    halves = torch.empty((*bits.shape, 2), dtype=torch.int32)
    halves[..., 0] = carried
    halves[..., 1] = _ordered(bits)
    halves.view(torch.int64).squeeze(-1).numpy().sort(axis=1)
    keys = halves[..., 1]
    infinity = int(torch.tensor(torch.inf).view(torch.int32))
    finite = (keys[:, 0] > ~infinity).all() & (keys[:, -1] < infinity).all()
    return keys, halves[..., 0], bool(finite)


def sorted_values(keys: Shaped[Tensor, "unit sentence"]) -> Float[Tensor, "unit sentence"]:
    """Give the responses whose keys `sort_units` gave."""
    return keys if keys.is_floating_point() else _ordered(keys).view(torch.float32)


def _ordered(bits: Int[Tensor, "unit sentence"]) -> Int[Tensor, "unit sentence"]:
    """Make a float's bits an integer that orders like it, or that integer the bits again."""
    return bits ^ ((bits >> 31) & KEY_BITS)


def stable_argsort(
    labels: Int[Tensor, "unit sentence"], concepts: int
) -> Int[Tensor, "unit sentence"]:
    """List the places of concept 0's sentences in each row, ascending, then concept 1's, ..."""
    if labels.device.type != "cpu":
        return labels.argsort(dim=1, stable=True)
    small = labels.to(torch.uint8 if concepts <= 2**8 else torch.int32)
    return torch.from_numpy(small.numpy().argsort(axis=1, kind="stable"))  # bytes: by radix


def run_starts(steps: Bool[Tensor, "unit gap"]) -> Int[Tensor, "unit sentence"]:
    """Give, for each position of a row, where its run of equal values starts.

    `steps` says between which neighbours the value changes.
    """
    place = torch.arange(1, steps.shape[1] + 1, dtype=torch.int32, device=steps.device)
    return pad(steps * place, (1, 0)).cummax(1).values


def run_ends(steps: Bool[Tensor, "unit gap"]) -> Int[Tensor, "unit sentence"]:
    """Give, for each position of a row, where its run of equal values ends."""
    return steps.shape[1] - run_starts(steps.flip(1)).flip(1)
