"""The steps of a run: each result is saved with all that it depends on, and found again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from steer_plugin.analyses.run.progress import Progress
from steer_plugin.errors import ArtifactError
from steer_plugin.models.adapter import Adapter, ModelInfo
from steer_plugin.settings.budget import MEMORY
from steer_plugin.storage.artifacts import CONFIG, Artifact, read_artifact, write_artifact

Say = Callable[[str], None]
Origin = Mapping[str, Any]

RAN_WITH = "ran_with"
TABLES = "tables"
ONLY = "table"


@dataclass(frozen=True)
class Checkpoints:
    """Where the results of a run lie, and who is told of the work.

    Attributes:
        folder: one folder a step below it.
        say: told what is being done, a line a step.
        memory: bytes of working memory for the responses of units.
        ran_with: what steps run with now that no figure should depend on, name to value.
        progress: how far the run is.
        taken: what each step of this run ran with, be it now or when it was taken; by its name.
    """

    folder: Path
    say: Say
    memory: int = MEMORY
    ran_with: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    taken: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _models: list[tuple[Adapter, ModelInfo]] = field(default_factory=list, repr=False)

    def model(self, adapter: Adapter) -> ModelInfo:
        """Identify the model that answers, once in a run."""
        for known, model in self._models:
            if known is adapter:
                return model
        self._models.append((adapter, adapter.identify()))
        return self._models[-1][1]

    def signed(self, name: str, origin: Origin) -> dict[str, Any]:
        """Give what the result of a step that is taken now records.

        Args:
            name: of the step's folder.
            origin: all that it depends on.
        """
        self.taken[name] = self.ran_with
        return {**origin, RAN_WITH: dict(self.ran_with)}

    def is_done(
        self, name: str, kind: str, origin: Origin, read: Callable[[Artifact], object]
    ) -> bool:
        """Say whether a result is there that depends on just this and can be read.

        Args:
            name: of the step's folder.
            kind: of its artifact.
            origin: all that it depends on.
            read: reads the artifact, and fails where it is damaged.
        """
        artifact = self._recorded(name, kind, origin)
        if artifact is None:
            return False
        try:
            read(artifact)
        except ArtifactError:
            return False
        self.taken[name] = artifact.config["provenance"].get(RAN_WITH, {})
        return True

    def seems_done(self, name: str, kind: str, origin: Origin) -> bool:
        """Say whether a result is there that depends on just this, without reading all of it."""
        return self._recorded(name, kind, origin) is not None

    def _recorded(self, name: str, kind: str, origin: Origin) -> Artifact | None:
        """Open a result, if one is there that depends on just this."""
        folder = self.folder / name
        if not (folder / CONFIG).is_file():
            return None
        try:
            artifact = read_artifact(folder, kind)
        except ArtifactError:
            return None
        recorded = dict(artifact.config.get("provenance", {}))
        recorded.pop(RAN_WITH, None)
        return artifact if recorded == json.loads(json.dumps(origin)) else None

    def origin(self, name: str, kind: str) -> Any:
        """Read what a step's result depends on.

        Raises:
            ArtifactError: there is no such result.
        """
        recorded = read_artifact(self.folder / name, kind).config["provenance"]
        return {name: value for name, value in recorded.items() if name != RAN_WITH}

    def tables(
        self, name: str, origin: Origin, make: Callable[[], Mapping[str, pd.DataFrame]]
    ) -> dict[str, pd.DataFrame]:
        """Give a step's tables: those that are kept, or made now and kept.

        Args:
            name: of the step's folder.
            origin: all that the tables depend on.
            make: makes them, by name.

        Raises:
            ArtifactError: they cannot be written.
        """

        def read(artifact: Artifact) -> dict[str, pd.DataFrame]:
            return {table: artifact.table(table) for table in artifact.config[TABLES]}

        if not self.is_done(name, TABLES, origin, read):
            tables = make()
            config = {"provenance": self.signed(name, origin), TABLES: list(tables)}
            write_artifact(self.folder / name, TABLES, config, tables=tables)
        return read(read_artifact(self.folder / name, TABLES))

    def table(self, name: str, origin: Origin, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Give a step's one table, as `tables` gives several."""
        return self.tables(name, origin, lambda: {ONLY: make()})[ONLY]
