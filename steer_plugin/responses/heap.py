"""What the C library keeps of memory that was freed."""

import ctypes
from collections.abc import Callable
from functools import cache


def can_trim() -> bool:
    """Tell whether the C library is glibc, the one that is asked."""
    return _malloc_trim() is not None


def trim_heap() -> None:
    """Give the pages of freed memory back to the system, where `can_trim`.

    Each batch's activations leave holes that the next one's do not fit, so a process would grow
    with the number of batches though it holds no more.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # of other C libraries, and of Windows
        return None
