"""Whatever is measured of units by the order of their responses, from one sort of each unit."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from steer_plugin.responses.unit_chunks import (
    MEMORY,
    Labels,
    Matrix,
    as_matrix,
    by_concept,
    labels_of,
    map_units,
)
from steer_plugin.scores.unit_sort import run_starts, sort_units, sorted_values, stable_argsort


@dataclass(frozen=True, eq=False)
class SortedUnits:
    """The responses of some units in ascending order, and which concept each is to.

    Attributes:
        keys: they order like the responses; see `steer_plugin.scores.unit_sort.sort_units`.
        labels: the concept of each.
        counts: how many sentences each concept has.
        dtype: of the responses.
    """

    keys: Shaped[Tensor, "unit sentence"]
    labels: Int[Tensor, "unit sentence"]
    counts: Int[Tensor, " concept"]
    dtype: torch.dtype

    @cached_property
    def order(self) -> Int[Tensor, "unit sentence"]:
        """The places of concept 0's sentences in each row, ascending, then concept 1's, ..."""
        return stable_argsort(self.labels)

    @cached_property
    def ascending(self) -> Float[Tensor, "unit sentence"]:
        """The responses in float64."""
        return sorted_values(self.keys, self.dtype).double()

    @cached_property
    def by_concept(self) -> Float[Tensor, "unit sentence"]:
        """The responses to concept 0's sentences, ascending, then to concept 1's, ..."""
        return self.ascending.gather(1, self.order)

    def against_others(
        self,
    ) -> Iterator[tuple[Float[Tensor, "unit _inside"], Float[Tensor, "unit _other"]]]:
        """Give the responses to each concept's sentences, and those to all others."""
        concepts = torch.split(self.by_concept, self.counts.tolist(), 1)
        for place, inside in enumerate(concepts):
            yield inside, torch.cat([*concepts[:place], *concepts[place + 1 :]], 1)

    @cached_property
    def steps(self) -> Bool[Tensor, "unit gap"]:
        """Between which neighbours the response changes."""
        return self.keys[:, 1:] != self.keys[:, :-1]

    @cached_property
    def first(self) -> Int[Tensor, "unit sentence"]:
        """The place of the first of the responses that tie with each."""
        return run_starts(self.steps)


def measure_units(
    responses: Matrix,
    labels: Labels,
    measures: Callable[[SortedUnits], Mapping[str, Float[Tensor, "unit concept"]]],
    *,
    memory: int = MEMORY,
) -> dict[str, Float[np.ndarray, "concept unit"]]:
    """Sort each unit's responses once, and measure all that is asked for of them.

    Args:
        responses: any floating dtype, finite; on an accelerator they are measured there.
        labels: the concept of each sentence, in 0..C-1, each concept at least once, C >= 2.
        measures: gives measures of some units by name.
        memory: bytes of working memory to stay within.

    Returns:
        The measures of all units, in the order of their names.

    Raises:
        ScoreError: a response is NaN or infinite, or the labels are not as described.
    """
    matrix = as_matrix(responses)
    concept, counts = labels_of(matrix, labels)

    def measure(
        chunk: Float[Tensor, "sentence chunk"], first_unit: int
    ) -> Mapping[str, Float[Tensor, "chunk concept"]]:
        keys, sorted_labels = sort_units(chunk, concept, first_unit)
        return measures(SortedUnits(keys, sorted_labels, counts, chunk.dtype))

    measured = map_units(measure, matrix, memory)
    return {name: by_concept(measured.pop(name)) for name in sorted(measured)}
