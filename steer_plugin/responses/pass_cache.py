"""The folder in which responses of many passes are kept, and the models that were converted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from steer_plugin.errors import ArtifactError
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.pass_folder import ABOUT, PassFolder
from steer_plugin.storage.file_hashes import MEMORY, FileHashes
from steer_plugin.storage.kept_folders import delete, lock_of, writing_alone
from steer_plugin.storage.model_folder import PREFIX, ModelFolder

NAME = re.compile(rf"({PREFIX})?[0-9a-f]{{16}}")
# A pass or a model, a table made of a part of a pass, a lock, and drafts of these.
_OF_NAME = re.compile(rf"\.?({NAME.pattern})(?![0-9a-f])")


@dataclass(frozen=True)
class Cache:
    """Passes and converted models that are kept, each in a folder named by what it depends on.

    Attributes:
        folder: holds them; it need not be there yet.
    """

    folder: Path

    def names(self, chosen: Sequence[str] = ()) -> list[str]:
        """Check names of what is kept, or give all.

        Raises:
            ArtifactError: nothing of a name is kept.
        """
        there = sorted(
            path.name
            for path in (self.folder.iterdir() if self.folder.is_dir() else ())
            if NAME.fullmatch(path.name) and (path / ABOUT).is_file()
        )
        unknown = [name for name in chosen if name not in there]
        if unknown:
            raise ArtifactError(
                f"{self.folder} keeps nothing called {unknown[0]}; "
                + (f"it keeps: {', '.join(there)}" if there else "it is empty")
            )
        return list(chosen) or there

    def frame(self) -> pd.DataFrame:
        """List what is kept.

        Returns:
            Of each pass what it reads, how many of its texts are there, and its size; of each
            model what it was converted from and by what.

        Raises:
            ArtifactError: something cannot be read.
        """
        rows = [_row(self.folder / name) for name in self.names()]
        return pd.DataFrame(rows, columns=["name", "model", "host", "reads", "texts", "bytes"])

    def remove(self, names: Sequence[str] = ()) -> int:
        """Delete what is kept under these names, or all, and say how many bytes that was.

        With a pass go the tables that were made of it in pieces, drafts, and its lock; with all
        goes what is remembered of files' hashes.

        Raises:
            ArtifactError: nothing of a name is kept, it is being written, or cannot be deleted.
        """
        entries: dict[str, list[Path]] = {name: [] for name in (self.names(names) if names else ())}
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            kept = _OF_NAME.match(path.name)
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
        for path in self.folder.glob(f"*{MEMORY}*") if not names else ():
            delete(path)
        return freed

    def damaged(self, names: Sequence[str] = ()) -> list[Path]:
        """Look at every byte of what is kept under these names, or of all.

        With all go the files whose hashes are remembered.

        Returns:
            The files that are not whole, or not those that they were. They are read or made anew
            when the same is asked for again.

        Raises:
            ArtifactError: nothing of a name is kept.
        """
        damaged = [
            path for name in self.names(names) for path in _damaged_files(self.folder / name)
        ]
        hashes = FileHashes(self.folder)
        hashes.forget(damaged)
        return damaged if names else damaged + hashes.wrong()


def _row(folder: Path) -> dict[str, Any]:
    if folder.name.startswith(PREFIX):
        model = ModelFolder.at(folder)
        makers = ", ".join(f"{package} {number}" for package, number in model.versions.items())
        return {
            "name": folder.name,
            "model": model.name,
            "host": "",
            "reads": f"{model.dtype} weights, converted by {makers}",
            "texts": "",
            "bytes": model.size,
        }
    parts = PassFolder.at(folder)
    return {
        "name": folder.name,
        "model": parts.model.name,
        "host": parts.model.host,
        "reads": "; ".join(map(_said, parts.readings)),
        "texts": f"{parts.claimed:,} of {parts.texts:,}",
        "bytes": parts.size,
    }


def _damaged_files(folder: Path) -> list[Path]:
    if not folder.name.startswith(PREFIX):
        return [path for path, part in PassFolder.at(folder).look() if part is None]
    try:
        return ModelFolder.at(folder).damaged()
    except ArtifactError:
        return [folder / ABOUT]


def _said(reading: Reading) -> str:
    layers = reading.layers
    where = "" if layers is None else f" of layers {layers[0]} to {layers[-1]}"
    return f"{reading.pooling} of {reading.site}{where}"
