"""A model that was converted from a file, in the folder that transformers loads it from."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from steer_plugin.errors import ArtifactError
from steer_plugin.storage.artifacts import readable, whole_folder
from steer_plugin.storage.file_hashes import FileHashes, sha256
from steer_plugin.storage.kept_folders import short_hash

FORMAT_VERSION = 1
ABOUT = "about.json"
PREFIX = "model-"


@dataclass(frozen=True)
class ModelFolder:
    """A converted model on disk, whole or not there.

    Attributes:
        folder: its name is a hash of all below but `name`.
        name: of the file that it was converted from.
        sha256: of that file.
        dtype: of its floating-point weights.
        versions: of the packages that converted it.
    """

    folder: Path
    name: str
    sha256: str
    dtype: str
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls, cache: Path, name: str, sha256: str, dtype: str, versions: Mapping[str, str]
    ) -> "ModelFolder":
        """Say where in a cache the conversion of a file lies, once it is made."""
        identity = [FORMAT_VERSION, sha256, dtype, dict(versions)]
        key = short_hash(json.dumps(identity, sort_keys=True).encode())
        return cls(cache / f"{PREFIX}{key}", name, sha256, dtype, versions)

    @classmethod
    def at(cls, folder: Path) -> "ModelFolder":
        """Open one by its folder.

        Raises:
            ArtifactError: it holds none that this version reads.
        """
        path = folder / ABOUT
        with readable(path):
            about = json.loads(path.read_text(encoding="utf-8"))["model"]
            model = cls.of(folder.parent, **about)
            if model.folder != folder:
                raise ValueError("it is of another model, or of another format version")
        return model

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def is_whole(self, hashes: FileHashes) -> bool:
        """Say whether it is there, each file as it was written.

        Args:
            hashes: those of files that nobody touched need not be computed again.
        """
        try:
            return all(hashes.sha256(path) == digest for path, digest in self._files().items())
        except (ArtifactError, OSError):
            return False

    def damaged(self) -> list[Path]:
        """Look at every byte, and name the files that are not as they were written.

        Raises:
            ArtifactError: it is not known how they were written.
        """
        return [
            path
            for path, digest in self._files().items()
            if not path.is_file() or sha256(path) != digest
        ]

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Give a temporary folder that becomes this one when the block ends well.

        Raises:
            ArtifactError: the disk is full, or the folder cannot be written.
        """
        with whole_folder(self.folder) as draft:
            yield draft
            about = asdict(self)
            del about["folder"]
            files = {path.name: sha256(path) for path in sorted(draft.iterdir())}
            text = json.dumps({"model": about, "files": files}, indent=2)
            (draft / ABOUT).write_text(text + "\n", encoding="utf-8")

    def _files(self) -> dict[Path, str]:
        path = self.folder / ABOUT
        with readable(path):
            files = dict(json.loads(path.read_text(encoding="utf-8"))["files"])
            return {self.folder / name: str(digest) for name, digest in files.items()}
