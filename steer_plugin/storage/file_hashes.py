"""SHA-256 of files; that of a large one is remembered for as long as nobody touches it."""

import contextlib
import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from steer_plugin.errors import ArtifactError
from steer_plugin.storage.artifacts import whole_file

MEMORY = "file-hashes.json"
LARGE = 2**26  # bytes; fewer are hashed in a tenth of a second
# Longer than a file system's clock stands still, so that a later write shows in the file's times.
SETTLED_NS = 2 * 10**9

# Size, times of the last change of content and of anything, in ns, inode and device.
Stamp = list[int]


def sha256(path: Path) -> str:
    """Give a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class FileHashes:
    """The hashes of large files, remembered in a folder.

    Attributes:
        folder: holds the memory; None remembers nothing.
    """

    folder: Path | None

    def sha256(self, path: Path) -> str:
        """Give a file's SHA-256, without reading a large file that is as it was.

        Raises:
            OSError: it cannot be read.
        """
        stamp = _stamp(path)
        if stamp[0] < LARGE:
            return sha256(path)
        remembered = self._read().get(str(path.resolve()))
        if remembered is not None and remembered[0] == stamp:
            return remembered[1]
        digest = sha256(path)
        if _stamp(path) == stamp and time.time_ns() - max(stamp[1:3]) > SETTLED_NS:
            self._write({**self._read(), str(path.resolve()): (stamp, digest)})
        return digest

    def forget(self, paths: Collection[Path]) -> None:
        """Read these files the next time that their hashes are asked for."""
        remembered = self._read()
        names = {str(path.resolve()) for path in paths} & set(remembered)
        if names:
            self._write({name: remembered[name] for name in remembered if name not in names})

    def wrong(self) -> list[Path]:
        """Read what is remembered of files outside the folder; forget and name what is wrong."""
        wrong = [
            Path(name)
            for name, (stamp, digest) in self._read().items()
            if self.folder is not None
            and self.folder.resolve() not in Path(name).parents
            and _is_as_it_was(Path(name), stamp)
            and sha256(Path(name)) != digest
        ]
        self.forget(wrong)
        return wrong

    def _read(self) -> dict[str, tuple[Stamp, str]]:
        if self.folder is None:
            return {}
        try:
            content = json.loads((self.folder / MEMORY).read_text(encoding="utf-8"))
            return {name: (list(stamp), str(digest)) for name, (stamp, digest) in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # what is lost is hashed anew
            return {}

    def _write(self, hashes: dict[str, tuple[Stamp, str]]) -> None:
        if self.folder is None:
            return
        there = {name: known for name, known in hashes.items() if Path(name).exists()}
        with contextlib.suppress(ArtifactError), whole_file(self.folder / MEMORY) as draft:
            draft.write_text(json.dumps(there, indent=1) + "\n", encoding="utf-8")


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return [
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    ]


def _is_as_it_was(path: Path, stamp: Stamp) -> bool:
    try:
        return _stamp(path) == stamp
    except OSError:
        return False
