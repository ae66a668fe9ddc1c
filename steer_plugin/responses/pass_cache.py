"""The folder in which responses of many passes are kept."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from steer_plugin.errors import ArtifactError
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.pass_folder import ABOUT, PassFolder, delete, lock_of, writing_alone

NAME = re.compile(r"[0-9a-f]{16}")
# A pass, a table made of a part of it, a lock, and drafts of these.
_OF_PASS = re.compile(r"\.?([0-9a-f]{16})(?![0-9a-f])")


@dataclass(frozen=True)
class Cache:
    """Passes that are kept, each in a folder named by what it depends on.

    Attributes:
        folder: holds them; it need not be there yet.
    """

    folder: Path

    def passes(self, names: Sequence[str] = ()) -> list[PassFolder]:
        """Open the passes of these names, or all.

        Raises:
            ArtifactError: there is none of a name, or it cannot be read.
        """
        there = sorted(
            path.name
            for path in (self.folder.iterdir() if self.folder.is_dir() else ())
            if NAME.fullmatch(path.name) and (path / ABOUT).is_file()
        )
        unknown = [name for name in names if name not in there]
        if unknown:
            raise ArtifactError(
                f"{self.folder} keeps nothing called {unknown[0]}; "
                + (f"it keeps: {', '.join(there)}" if there else "it is empty")
            )
        return [PassFolder.at(self.folder / name) for name in names or there]

    def frame(self) -> pd.DataFrame:
        """List the passes: what each reads, how many of its texts are there, and its size."""
        rows = [
            {
                "name": parts.folder.name,
                "model": parts.model.name,
                "host": parts.model.host,
                "reads": "; ".join(map(_said, parts.readings)),
                "texts": f"{parts.claimed:,} of {parts.texts:,}",
                "bytes": parts.size,
            }
            for parts in self.passes()
        ]
        return pd.DataFrame(rows, columns=["name", "model", "host", "reads", "texts", "bytes"])

    def remove(self, names: Sequence[str] = ()) -> int:
        """Delete what is kept under these names, or all, and say how many bytes that was.

        With a pass go the tables that were made of it in pieces, drafts, and its lock.

        Raises:
            ArtifactError: there is no pass of a name, one is being written, or cannot be deleted.
        """
        if names:
            self.passes(names)
        entries: dict[str, list[Path]] = {name: [] for name in names}
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            kept = _OF_PASS.match(path.name)
            if kept and (not names or kept[1] in entries):
                entries.setdefault(kept[1], []).append(path)
        freed = 0
        for name, paths in entries.items():
            with writing_alone(self.folder / name, wait=False):
                for path in paths:
                    files = path.rglob("*") if path.is_dir() else (path,)
                    freed += sum(file.stat().st_size for file in files if file.is_file())
                    delete(path)
                # Last, and while it is held, so that nobody else holds it.
                delete(lock_of(self.folder / name))
        return freed

    def damaged(self, names: Sequence[str] = ()) -> list[Path]:
        """Look at every byte of these passes, or of all, and name the files that are not whole.

        They are read anew when the same is asked for again.

        Raises:
            ArtifactError: there is no pass of a name.
        """
        return [path for parts in self.passes(names) for path, part in parts.look() if part is None]


def _said(reading: Reading) -> str:
    layers = reading.layers
    where = "" if layers is None else f" of layers {layers[0]} to {layers[-1]}"
    return f"{reading.pooling} of {reading.site}{where}"
