"""Responses that lie on disk, read some units at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.responses.pass_folder import BatchFile


@dataclass(frozen=True, eq=False)
class DiskMatrix:
    """Responses [text, unit] of which a slice of units is a tensor in memory.

    `matrix[:, start:stop]` reads these units, `matrix[rows]` is the same matrix with its rows
    chosen, in the order given; so it stands where only these two are asked of a tensor. Many may
    read at once.

    Attributes:
        parts: the batches; together each text once.
        reading: which of their readings, by number.
        shape: texts and units.
        rows: which texts make the rows; None for all in order.
    """

    parts: Sequence[BatchFile]
    reading: int
    shape: tuple[int, int]
    rows: Int[Tensor, " row"] | None = None

    ndim = 2
    device = torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The narrowest that holds all parts."""
        return reduce(torch.promote_types, {part.dtypes[self.reading] for part in self.parts})

    @property
    def nbytes(self) -> int:
        """The size it would have in memory."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Say that responses are floats, as a tensor does."""
        return self.dtype.is_floating_point

    def __len__(self) -> int:
        """Count the rows."""
        return self.shape[0]

    @overload
    def __getitem__(self, key: tuple[slice, slice]) -> Float[Tensor, "row chunk"]: ...
    @overload
    def __getitem__(self, key: Int[Tensor, " row"]) -> "DiskMatrix": ...
    def __getitem__(
        self, key: tuple[slice, slice] | Int[Tensor, " row"]
    ) -> "Float[Tensor, 'row chunk'] | DiskMatrix":
        """Read the units of a slice, or choose rows.

        Raises:
            IndexError: something else is asked for.
            ArtifactError: a part is gone.
        """
        if isinstance(key, Tensor):
            rows = key if self.rows is None else self.rows[key]
            return replace(self, rows=rows, shape=(len(rows), self.shape[1]))
        if not isinstance(key, tuple) or len(key) != 2 or key[0] != slice(None):
            raise IndexError(
                f"{key} was asked of responses on disk; take [:, start:stop] or [rows]"
            )
        start, stop, step = key[1].indices(self.shape[1])
        if step != 1:
            raise IndexError(f"units {key[1]} were asked of responses on disk; take all in between")
        chunk = torch.empty((len(self), max(0, stop - start)), dtype=self.dtype)
        for part, (rows, places) in zip(self.parts, self._rows_by_part, strict=True):
            if len(rows):
                units = part.units(self.reading, start, stop)
                chunk[rows] = units[places].to(chunk.dtype)
        return chunk

    @cached_property
    def _rows_by_part(self) -> list[tuple[Int[Tensor, " row"], Int[Tensor, " row"]]]:
        """Which rows of the matrix each part has, and where in it, so that none is put twice."""
        sizes = torch.tensor([len(part.rows) for part in self.parts])
        texts = torch.from_numpy(np.concatenate([part.rows for part in self.parts]))
        part = torch.arange(len(sizes)).repeat_interleave(sizes)
        place = torch.arange(len(texts)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        where = torch.empty((2, len(texts)), dtype=torch.int64)
        where[:, texts] = torch.stack([part, place])
        part, place = where if self.rows is None else where[:, self.rows]
        order = part.argsort(stable=True)
        counts = part.bincount(minlength=len(sizes)).tolist()
        return list(zip(order.split(counts), place[order].split(counts), strict=True))


def token_counts(parts: Sequence[BatchFile], texts: int) -> Int[np.ndarray, " text"]:
    """Give how many tokens of each text the responses of parts are pooled over; 0 where none is."""
    tokens = np.zeros(texts, dtype=np.int64)
    for part in parts:
        tokens[part.rows] = part.tokens
    return tokens
