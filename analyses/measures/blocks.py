"""How large arrays are made block by block."""

from collections.abc import Iterator

ENTRIES = 2**22
"""How many numbers such an array holds at most: 32 MiB of them in float64."""


def rows_at_once(width: int) -> int:
    """Say how many rows of `width` numbers a block holds, at least one."""
    return max(1, ENTRIES // max(1, width))


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Divide rows of `width` numbers into blocks, in order; the last may stop beyond `rows`."""
    step = rows_at_once(width)
    return (slice(start, start + step) for start in range(0, rows, step))
