"""One pass over a corpus, shared among processes or machines, and put together again.

A shard takes whole batches, just as one process alone would make them, so that what comes together
is the same to the last bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.errors import ArtifactError, ScoreError
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.models.adapter import Adapter
from steer_plugin.responses.disk_matrix import token_counts
from steer_plugin.responses.forward_pass import KeptResponses, fill
from steer_plugin.responses.pass_folder import BatchFile, PassFolder, reading_of
from steer_plugin.responses.probe import ProbePass
from steer_plugin.responses.unit_chunks import DISK_SHARE
from steer_plugin.settings.budget import MEMORY
from steer_plugin.settings.probe import ProbeSettings
from steer_plugin.storage.artifacts import CONFIG, read_artifact, readable, write_artifact

KIND = "shard"
ABOUT, RESPONSES = "about", "responses"


@dataclass(frozen=True)
class Shard:
    """Which of several equal shares of a corpus.

    Attributes:
        number: from 1.
        of: how many there are.

    Raises:
        ScoreError: there is no such share.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        """Check that there is such a share."""
        if not 1 <= self.number <= self.of:
            raise ScoreError(f"there is no shard {self}; give 1/{self.of} to {self.of}/{self.of}")

    def __str__(self) -> str:
        """Print it as the command line takes it."""
        return f"{self.number}/{self.of}"


def read_shard(
    adapter: Adapter,
    corpus: Corpus,
    folder: Path,
    shard: Shard,
    settings: ProbeSettings = ProbeSettings(),
    *,
    progress: str | None = None,
) -> None:
    """Read the responses to one share of a corpus into a folder, for `merge_shards`.

    Goes on where it was broken off.

    Args:
        adapter: the model.
        corpus: the whole corpus, the same for every shard.
        folder: for this shard alone.
        shard: which share.
        settings: what is read, and what the shards together are for.
        progress: what to call the work in a bar on stderr; None shows none.

    Raises:
        SiteError: the model lacks the site.
        ModelError: see `steer_plugin.responses.probe.probe_units`.
        ScoreError: the score is not defined at the site.
        ArtifactError: the folder cannot be written.
    """
    planned = ProbePass.over(adapter, corpus, settings)
    texts, _ = corpus.labelled()
    parts = PassFolder.of(folder / RESPONSES, planned.model, texts, planned.readings)
    config = {
        "shard": str(shard),
        "pass": parts.folder.name,
        "readings": [asdict(reading) for reading in planned.readings],
        "concepts": planned.concepts,
        "layers": planned.space.layers,
        "widths": planned.space.widths,
        "units": [len(adapter.space(reading.site, reading.layers)) for reading in planned.readings],
        "score": settings.score,
        "quantiles": settings.quantiles,
        "lines": settings.lines,
        "source": settings.source,
        "provenance": planned.provenance,
    }
    tensors = {"labels": planned.labels}
    if planned.sentences is not None:
        tensors["sentences"] = planned.sentences
    write_artifact(folder / ABOUT, KIND, config, tensors=tensors)
    batches = adapter.batches(texts)[shard.number - 1 :: shard.of]
    rows = np.sort(np.concatenate(batches)) if batches else np.empty(0, dtype=np.int64)
    fill(parts, adapter, texts, rows, progress=progress)


def merge_shards(folders: Sequence[Path], *, memory: int = MEMORY) -> ExpertTable:
    """Score every unit on the responses of all shards, as if one process had read them.

    Args:
        folders: what `read_shard` wrote, in any order.
        memory: bytes of working memory.

    Raises:
        ArtifactError: a folder holds no shard, the shards are not of the same pass, or some texts
            are in none of them or in two.
    """
    shards = [read_artifact(folder / ABOUT, KIND) for folder in folders]
    first = shards[0].config
    with readable(shards[0].folder / CONFIG):
        common = _common(first)
    for other in shards[1:]:
        for name, wanted in common.items():
            if _common(other.config).get(name) != wanted:
                raise ArtifactError(
                    f"{other.folder.parent} has another {name} than {folders[0]}; merge shards of "
                    "one model, corpus and setting"
                )
    tensors = shards[0].tensors()
    with readable(shards[0].folder / CONFIG):
        readings = tuple(reading_of(reading) for reading in first["readings"])
        space = UnitSpace(readings[0].site, tuple(first["layers"]), tuple(first["widths"]))
        planned = ProbePass(
            readings=readings,
            labels=tensors["labels"],
            concepts=tuple(first["concepts"]),
            sentences=tensors.get("sentences"),
            space=space,
            provenance=first["provenance"],
        )
    texts = len(planned.labels)
    parts: list[BatchFile] = []
    holders = np.full(texts, -1)
    for number, (folder, shard) in enumerate(zip(folders, shards, strict=True)):
        name = shard.config["pass"]
        pass_folder = PassFolder(folder / RESPONSES / name, planned.model, readings, texts)
        for part in pass_folder.whole():
            holder = int(holders[part.rows].max())
            if holder not in (-1, number):
                shares = (shards[place].config["shard"] for place in (holder, number))
                raise ArtifactError(
                    f"{folders[holder]} and {folder} hold the same texts, as shards "
                    f"{' and '.join(shares)}; give each shard once"
                )
            holders[part.rows] = number
            parts.append(part)
    tokens = token_counts(parts, texts)
    if not tokens.all():
        numbers = ", ".join(shard.config["shard"] for shard in shards)
        raise ArtifactError(
            f"{int((tokens == 0).sum())} of {texts} texts are in none of the shards {numbers}; run "
            "`find --shard` anew for those that are not here or not finished, and merge all"
        )
    counts = first.get("units", [len(space)] * len(readings))
    kept = KeptResponses(readings, parts, tokens, dict(zip(readings, counts, strict=True)))
    probe = planned.probe(kept.within(memory // DISK_SHARE))
    return score_units(
        probe,
        first["score"],
        quantiles=tuple(first["quantiles"]),
        lines=first["lines"],
        source=first.get("source"),
        memory=memory,
    )


def _common(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give what all shards of one pass have alike, on whatever machines they were read.

    Answers are compared to the last bit, which another device gives otherwise.
    """
    common = {name: value for name, value in config.items() if name not in ("shard", "pass")}
    model = {**config["provenance"]["model"], "answers": "", "device": ""}
    return {**common, "provenance": {**config["provenance"], "model": model}}
