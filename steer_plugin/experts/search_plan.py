"""How experts are found within what memory and disk there is."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import ArtifactError, ScoreError
from steer_plugin.models.adapter import ModelInfo
from steer_plugin.responses.unit_chunks import BYTES_PER_RESPONSE, DISK_SHARE, units_at_a_time
from steer_plugin.settings.names import TOKEN_SCORES, ScoreName, SentencePooling

Say = Callable[[str], None]

# Poolings whose response is one of the tokens' activations, so the model's own dtype holds it.
EXACT = ("max", "min", "last")
SPARE = 0.95  # of the free disk, what is taken at most
STATISTICS = 8  # of each unit and concept, beside the quantiles


@dataclass(frozen=True)
class FindingPlan:
    """How many passes, and what they take.

    Attributes:
        texts: how many are read.
        concepts: how many units are scored for.
        passes: the units of each pass over the texts; several where the disk does not hold the
            responses of all layers at once.
        response_bytes: of one text and unit; twice where active tokens are counted too.
        memory: bytes of working memory there are.
        quantiles: how many are kept of each unit and concept.
    """

    texts: int
    concepts: int
    passes: tuple[UnitSpace, ...]
    response_bytes: int
    memory: int
    quantiles: int

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
        return self.concepts * sum(map(len, self.passes)) * (8 + 4 * (STATISTICS + self.quantiles))

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
            spans = ", ".join(f"{one.layers[0]} to {one.layers[-1]}" for one in self.passes)
            yield f"Plan: the disk holds some layers at a time: {spans}"
        yield (
            f"Plan: {size(self.disk_bytes)} of responses on disk, {self.units_at_a_time:,} units "
            f"of them in memory at a time; {size(self.table_bytes)} of scores and statistics"
        )


def plan_finding(
    model: ModelInfo,
    space: UnitSpace,
    *,
    texts: int,
    concepts: int,
    quantiles: int,
    pooling: SentencePooling,
    score: ScoreName,
    memory: int,
    disk: int,
) -> FindingPlan:
    """Plan as few passes as the disk allows, each over layers that follow one another.

    Args:
        model: what answers.
        space: all units to score.
        texts: how many are read.
        concepts: how many units are scored for.
        quantiles: how many are kept of each unit and concept.
        pooling: how tokens become a response.
        score: which score.
        memory: bytes of working memory, beside the model and the activations of one batch.
        disk: bytes that responses may take.

    Raises:
        ScoreError: the memory is too small for the scores of so many units and concepts.
        ArtifactError: the disk is too small for one layer, or for all where the score needs them.
    """
    exact = pooling in EXACT
    response_bytes = (getattr(torch, model.dtype) if exact else _wide(model)).itemsize
    if score in TOKEN_SCORES:
        response_bytes += _wide(model).itemsize
    a_unit = texts * response_bytes
    groups: list[list[int]] = [[]]
    for place, width in enumerate(space.widths):
        if a_unit * width > disk:
            raise ArtifactError(
                f"the responses of layer {space.layers[place]} to {texts:,} texts take "
                f"{size(a_unit * width)}, there is room for {size(disk)}; free some, choose "
                "another cache folder, or take fewer sentences"
            )
        if a_unit * (width + sum(space.widths[one] for one in groups[-1])) > disk:
            groups.append([])
        groups[-1].append(place)
    if score == "lape" and len(groups) > 1:
        raise ArtifactError(
            f"lape compares all units, whose responses take {size(a_unit * len(space))}; there is "
            f"room for {size(disk)}: free some, choose another cache folder, or another score"
        )
    plan = FindingPlan(
        texts=texts,
        concepts=concepts,
        passes=tuple(
            UnitSpace(
                space.site,
                tuple(space.layers[one] for one in group),
                tuple(space.widths[one] for one in group),
            )
            for group in groups
        ),
        response_bytes=response_bytes,
        memory=memory,
        quantiles=quantiles,
    )
    # The table is put together from its pieces, so it is there twice for a moment.
    least = 2 * plan.table_bytes + DISK_SHARE * texts * max(response_bytes, BYTES_PER_RESPONSE)
    if memory < least:
        raise ScoreError(
            f"{size(memory)} of memory were given, but the scores and statistics of "
            f"{len(space):,} units for {concepts} concepts take {size(least)}; give more, or fewer "
            "layers or languages"
        )
    return plan


def _wide(model: ModelInfo) -> torch.dtype:
    return torch.promote_types(getattr(torch, model.dtype), torch.float32)


def free_disk(folder: Path) -> int:
    """Say how many bytes may be written into a folder that may not be there yet."""
    there = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    return int(SPARE * shutil.disk_usage(there).free)


def size(count: float) -> str:
    """Print a number of bytes, such as 9.4 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
