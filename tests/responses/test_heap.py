"""Memory that was freed goes back to the system, whatever lies between."""

import resource
from pathlib import Path

import numpy as np
import pytest

from steer_plugin.responses.heap import can_trim, trim_heap

SMALL, MANY = 100_000, 2_000  # bytes each: what glibc keeps when it is freed


def resident() -> int:
    """Give the bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not can_trim(), reason="the C library is not glibc")
def test_what_was_freed_below_what_is_held_is_given_back() -> None:
    arrays = [np.ones(SMALL, dtype=np.uint8) for _ in range(MANY)]
    full = resident()
    held = arrays[:: MANY // 10]
    del arrays
    kept = resident()

    trim_heap()

    assert kept > full - SMALL * MANY / 2
    assert resident() < full - SMALL * MANY * 0.8
    assert all(array.all() for array in held)
