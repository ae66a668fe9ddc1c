"""The numbers of a plan: arrays behind what a tuple is, checked and parted by layer."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from steer_plugin.activations.sites import of_heads
from steer_plugin.errors import InterventionError
from steer_plugin.storage.artifacts import one_line

# The columns of a saved plan, one row a unit, and the fields they hold.
COLUMNS = {
    "layer": "layers",
    "index": "indices",
    "value": "values",
    "gain": "gains",
    "low": "lows",
    "high": "highs",
}

Values = Sequence[float] | Sequence[Sequence[float]]
"""A number a unit; for heads also as many as a head has."""

UnitsByLayer = dict[int, tuple[Int[Tensor, " k"], Float[Tensor, "parameter number"]]]

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


def as_array(numbers: Any, name: str, units: int, site: str) -> Array:
    """Give a column as an array, whole numbers where they count something.

    Args:
        numbers: as they were given.
        name: of the column.
        units: how many the plan has.
        site: of the plan.

    Raises:
        InterventionError: they are no numbers, or not one a unit or as many for each head.
    """
    counts = name in ("layers", "indices")
    try:
        given = np.asarray(numbers)
    except ValueError as error:
        raise InterventionError(
            f"the {name} of some units are more numbers than those of others; give each as many"
        ) from error
    except (TypeError, RuntimeError) as error:
        raise InterventionError(
            f"the {name} are no numbers that can be read here ({one_line(error)}); give Python's "
            "own, an array, or a tensor as .detach().float().cpu()"
        ) from error
    several = not counts and of_heads(site)
    if given.ndim != 1 and not (several and given.ndim == 2):
        raise InterventionError(
            f"{name} have shape {given.shape} for {units} units at {site}; give one a unit"
            + (", or as many as a head has" if several else "")
        )
    if len(given) and given.dtype.kind not in ("iu" if counts else "iufb"):
        raise InterventionError(f"{name} are of {given.dtype}; give {'whole ' * counts}numbers")
    # The zero below 0 equals that above it, and would not hash like it.
    return given.astype(np.int64) if counts else given.astype(np.float64) + 0.0


def units_by_layer(
    layers: Sequence[int], indices: Sequence[int], numbers: Sequence[Values]
) -> UnitsByLayer:
    """Part units, in order of layer and index, by layer; see `Intervention.units`."""
    at, index = np.asarray(layers), np.asarray(indices)
    rows = np.broadcast_arrays(*(np.asarray(column) for column in numbers if len(column)))
    blocks, starts = np.unique(at, return_index=True)
    slices = map(slice, starts, [*starts[1:], len(at)])
    return {
        int(layer): (
            torch.tensor(index[units]),
            torch.tensor(np.stack([row[units].ravel() for row in rows])),
        )
        for layer, units in zip(blocks, slices, strict=True)
    }


def stacked(column: pd.Series) -> Shaped[np.ndarray, "unit *value"]:
    """Give a column of a table as an array; where its cells are lists, with a row a cell."""
    return np.stack(list(column)) if column.dtype == object else column.to_numpy()
