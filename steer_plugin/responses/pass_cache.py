"""The folder in which responses of many passes are kept."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from steer_plugin.errors import ArtifactError
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.pass_folder import ABOUT, PassFolder

NAME = re.compile(r"[0-9a-f]{16}")


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
