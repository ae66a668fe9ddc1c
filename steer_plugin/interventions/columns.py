"""The numbers of a plan, as an array behind what a tuple is."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import Shaped

Array = Shaped[np.ndarray, "unit *value"]


class Column(Sequence[Any]):
    """Numbers of a plan, one or several a unit, in an array that nobody writes to.

    It is equal to, and hashes like, the tuple of its numbers; where a unit has several they are a
    tuple themselves. NumPy takes it as the array that it is.
    """

    __slots__ = ("array",)

    array: Array

    def __init__(self, numbers: Array) -> None:
        """Copy an array of whole numbers or floats."""
        self.array = np.array(numbers)
        self.array.flags.writeable = False

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Give the array, as NumPy asks for it."""
        return np.array(self.array, dtype, copy=copy)

    def __len__(self) -> int:
        """Count the units."""
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        """Give the numbers as Python's own."""
        return iter(self._tuple())

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, key: int | slice) -> Any:
        """Give one number, or a tuple of some."""
        if isinstance(key, slice):
            return Column(self.array[key])._tuple()
        row = self.array[key].tolist()
        return tuple(row) if isinstance(row, list) else row

    def __add__(self, other: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give a tuple of these and more, as a tuple does."""
        return (*self, *other)

    def __mul__(self, times: int) -> tuple[Any, ...]:
        """Give a tuple of these several times, as a tuple does."""
        return self._tuple() * times

    def __eq__(self, other: object) -> bool:
        """Compare the numbers with those of a column, or of a tuple."""
        if isinstance(other, Column):
            return np.array_equal(self.array, other.array)
        return self._tuple() == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        """Hash as the tuple does."""
        return hash(self._tuple())

    def __repr__(self) -> str:
        """Print the tuple."""
        return repr(self._tuple())

    def _tuple(self) -> tuple[Any, ...]:
        rows = self.array.tolist()
        return tuple(map(tuple, rows)) if self.array.ndim > 1 else tuple(rows)
