"""How experts are found within what memory and disk there is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import ArtifactError, ScoreError
from steer_plugin.models.adapter import ModelInfo
from steer_plugin.responses.unit_chunks import BYTES_PER_RESPONSE, DISK_SHARE, units_at_a_time
from steer_plugin.settings.parts import POOLINGS, SCORES
from steer_plugin.settings.probe import ProbeSettings
from steer_plugin.storage.disk_space import size

Say = Callable[[str], None]

STATISTICS = 4  # of each unit and concept, beside the quantiles
LINE = 4  # statistics that make a line of Linear-AcT


@dataclass(frozen=True)
class SearchPlan:
    """How many passes, and what they take.

    Attributes:
        texts: how many are read.
        concepts: how many units are scored for.
        passes: the units of each pass over the texts; several where the disk does not hold the
            responses of all layers at once.
        response_bytes: of one text and unit; twice where active tokens are counted too, and with
            those of a head's values.
        memory: bytes of working memory there are.
        statistics: how many are kept of each unit and concept.
    """

    texts: int
    concepts: int
    passes: tuple[UnitSpace, ...]
    response_bytes: int
    memory: int
    statistics: int

    @property
    def disk_bytes(self) -> int:
        """The size of the responses of the largest pass."""
        units = max(len(space) for space in self.passes)
        return self.texts * units * self.response_bytes

    @property
    def units_at_a_time(self) -> int:
        """Of how many units the responses are in memory at once."""
        units = max(len(space) for space in self.passes)
        return min(units, units_at_a_time(self.texts, self.response_bytes, self.memory))

    @property
    def table_bytes(self) -> int:
        """The size of the scores and statistics of all units."""
        return self.concepts * sum(map(len, self.passes)) * (8 + 4 * self.statistics)

    def lines(self) -> Iterator[str]:
        """Say it to whoever waits for it."""
        units = sum(map(len, self.passes))
        layers = sum(len(space.layers) for space in self.passes)
        times = "once" if len(self.passes) == 1 else f"{len(self.passes)} times"
        yield (
            f"Plan: {self.texts:,} texts pass through the model {times}; {units:,} units in "
            f"{layers} layers"
        )
        if len(self.passes) > 1:
            spans = ", ".join(f"{space.layers[0]} to {space.layers[-1]}" for space in self.passes)
            yield f"Plan: the disk holds some layers at a time: {spans}"
        yield (
            f"Plan: {size(self.disk_bytes)} of responses on disk, {self.units_at_a_time:,} units "
            f"of them in memory at a time; {size(self.table_bytes)} of scores and statistics"
        )


def plan_search(
    model: ModelInfo,
    space: UnitSpace,
    settings: ProbeSettings,
    *,
    texts: int,
    concepts: int,
    memory: int,
    disk: int,
    values: int = 0,
) -> SearchPlan:
    """Plan as few passes as the disk allows, each over layers that follow one another.

    Args:
        model: what answers.
        space: all units to score.
        settings: how tokens become a response, and what is made of it.
        texts: how many are read.
        concepts: how many units are scored for.
        memory: bytes of working memory, beside the model and the activations of one batch.
        disk: bytes that responses may take.
        values: how many each unit has that are kept beside its response, as those of heads are.

    Raises:
        ScoreError: the memory is too small for the scores of so many units and concepts.
        ArtifactError: the disk is too small for one layer, or for all where the score needs them.
    """
    exact = POOLINGS[settings.pooling].exact
    response_bytes = (model.computes_in if exact else _wide(model)).itemsize
    if settings.counts_tokens:
        response_bytes += _wide(model).itemsize
    if values:
        response_bytes = (1 + values) * _wide(model).itemsize
    plan = SearchPlan(
        texts=texts,
        concepts=concepts,
        passes=_passes(space, texts * response_bytes, texts, disk),
        response_bytes=response_bytes,
        memory=memory,
        statistics=(1 + values)
        * (STATISTICS + len(settings.quantiles) + (LINE if settings.lines else 0)),
    )
    if SCORES[settings.score].all_units and len(plan.passes) > 1:
        raise ArtifactError(
            f"{settings.score} compares all units, whose responses take "
            f"{size(texts * response_bytes * len(space))}; there is room for {size(disk)}: "
            "free some, choose another cache folder, or another score",
            page="scale",
        )
    # The table is put together from its pieces, so it is there twice for a moment.
    least = 2 * plan.table_bytes + DISK_SHARE * texts * max(response_bytes, BYTES_PER_RESPONSE)
    if memory < least:
        raise ScoreError(
            f"{size(memory)} of memory were given, but the scores and statistics of "
            f"{len(space):,} units for {concepts} concepts take {size(least)}; give more, or fewer "
            "layers or languages",
            page="scale",
        )
    return plan


def _passes(space: UnitSpace, unit_bytes: int, texts: int, disk: int) -> tuple[UnitSpace, ...]:
    """Group layers, in their order, into as few passes as the disk holds one at a time."""
    groups: list[list[int]] = [[]]
    room = disk
    for place, width in enumerate(space.widths):
        wanted = unit_bytes * width
        if wanted > disk:
            raise ArtifactError(
                f"the responses of layer {space.layers[place]} to {texts:,} texts take "
                f"{size(wanted)}, there is room for {size(disk)}; free some, choose another cache "
                "folder, or take fewer sentences",
                page="scale",
            )
        if wanted > room:
            groups.append([])
            room = disk
        groups[-1].append(place)
        room -= wanted
    return tuple(
        UnitSpace(
            space.site,
            tuple(space.layers[place] for place in group),
            tuple(space.widths[place] for place in group),
        )
        for group in groups
    )


def _wide(model: ModelInfo) -> torch.dtype:
    return torch.promote_types(model.computes_in, torch.float32)
