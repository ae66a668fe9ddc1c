"""Folders that many processes share, each named by a hash of all that it depends on."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from steer_plugin.errors import ArtifactError
from steer_plugin.storage.artifacts import one_line


@contextlib.contextmanager
def writing_alone(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Be the only one on this machine who changes what is kept under a name, for a block.

    Args:
        folder: with that name.
        wait: whether to wait for whoever is just now.

    Raises:
        ArtifactError: somebody is and `wait` is False, or the folder cannot be written.
    """
    lock = FileLock(lock_of(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise ArtifactError(
            f"{folder} is being written by another process; wait for it, or end it"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise ArtifactError(
            f"cannot write {folder}: {one_line(error)}; choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def lock_of(folder: Path) -> Path:
    """Name the file that is locked while a kept folder is written."""
    return folder.with_suffix(".lock")


def delete(path: Path) -> None:
    """Delete a file, or a folder and all in it; nothing where there is none.

    Raises:
        ArtifactError: it cannot be deleted.
    """
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ArtifactError(
            f"cannot delete {path}: {one_line(error)}; delete it by hand"
        ) from error


def short_hash(content: bytes) -> str:
    """Give the first 64 bits of a SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:16]
