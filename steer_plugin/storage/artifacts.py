"""The saved form of a result: a folder with `config.json`, safetensors and parquet.

A folder appears under its name only when it is whole. Every `config.json` says what kind of
result it is, in which format version, and written by which package version.
"""

import contextlib
import errno
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from steer_plugin.errors import ArtifactError

FORMAT_VERSION = 1
CONFIG = "config.json"
TENSORS = "tensors.safetensors"


def one_line(message: BaseException | str) -> str:
    """Put an error, or any text, on one line."""
    return " ".join(str(message).split()) or type(message).__name__


@contextlib.contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Give a temporary folder that takes the name `folder` when the block ends well.

    What stood there before stays until then, and stays for good when the block fails.

    Raises:
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    target = Path(folder)
    draft: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield draft
        for path in draft.iterdir():
            path.chmod(0o666 & ~_umask())  # safetensors writes for its owner alone
            with path.open("rb") as file:
                os.fsync(file.fileno())
        draft.chmod(0o777 & ~_umask())
        _take_place(draft, target)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"cannot write {target}: {one_line(error)}; free some space or choose another folder"
        ) from error
    finally:
        if draft is not None and draft.exists():
            shutil.rmtree(draft, ignore_errors=True)


def _take_place(draft: Path, target: Path) -> None:
    """Give a folder another's name; the other goes, and comes back if that fails."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.old.", dir=target.parent) as aside:
        old: Path | None = None
        try:
            while draft.exists():
                try:
                    draft.replace(target)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    old = Path(tempfile.mkdtemp(dir=aside))
                    # Another writer may have been quicker to move it.
                    with contextlib.suppress(FileNotFoundError):
                        target.replace(old)
        except BaseException:
            if old is not None and not target.exists():
                old.replace(target)
            raise


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that takes the name `path` when the block ends well.

    Raises:
        ArtifactError: the disk is full, or the file cannot be written.
    """
    target = Path(path)
    draft: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
        draft = Path(name)
        yield draft
        draft.chmod(0o666 & ~_umask())
        draft.replace(target)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"cannot write {target}: {one_line(error)}; free some space or choose another place"
        ) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@dataclass(frozen=True)
class Artifact:
    """A saved result, read lazily.

    Attributes:
        kind: what it is.
        folder: where it lies.
        config: what the writer put into `config.json`.
    """

    kind: str
    folder: Path
    config: dict[str, Any]

    def tensors(self) -> dict[str, np.ndarray]:
        """Read the arrays.

        Raises:
            ArtifactError: they are missing or damaged.
        """
        with readable(self.folder / TENSORS):
            return load_file(self.folder / TENSORS)

    def some_tensors(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Read these arrays alone.

        Raises:
            ArtifactError: they are missing or damaged.
        """
        with (
            readable(self.folder / TENSORS),
            safe_open(self.folder / TENSORS, framework="numpy") as file,
        ):
            return {name: file.get_tensor(name) for name in names}

    def table(self, name: str) -> pd.DataFrame:
        """Read one table.

        Raises:
            ArtifactError: it is missing or damaged.
        """
        path = self.folder / f"{name}.parquet"
        with readable(path):
            return pd.read_parquet(path)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file or folder makes its reader stumble over into one error.

    Raises:
        ArtifactError: the block failed.
    """
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise ArtifactError(
            f"cannot read {path}: {one_line(error)}; delete its folder and make it again"
        ) from error


@functools.cache
def _own_version() -> str:
    return version("steer-plugin")


def write_artifact(
    folder: str | Path,
    kind: str,
    config: Mapping[str, Any],
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write a result into `folder`, whole or not at all.

    Args:
        folder: made where it is missing, replaced where it is there.
        kind: what it is, such as "experts".
        config: JSON values.
        tensors: arrays by name.
        tables: frames by name, each into its own parquet file.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    header = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "steer_plugin": _own_version(),
    }
    with whole_folder(folder) as draft:
        if tensors is not None:
            contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
            save_file(contiguous, draft / TENSORS)
        for name, frame in (tables or {}).items():
            frame.to_parquet(draft / f"{name}.parquet", index=False)
        text = json.dumps({**header, "content": dict(config)}, indent=2, ensure_ascii=False)
        (draft / CONFIG).write_text(text + "\n", encoding="utf-8")


def read_artifact(folder: str | Path, kind: str, *others: str) -> Artifact:
    """Open a saved result of the kind that is wanted, or of one of others that will do.

    Raises:
        ArtifactError: there is none, it is of another kind, or of a newer format.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no saved {kind}: there is no {CONFIG} in it")
    with readable(path):
        header = json.loads(path.read_text(encoding="utf-8"))
    fields = header if isinstance(header, dict) else {}
    kept, version, content = (fields.get(key) for key in ("kind", "format_version", "content"))
    if kept not in (kind, *others) or not isinstance(version, int) or not isinstance(content, dict):
        raise ArtifactError(
            f"{path} holds {kept or 'something else'!r}, not a whole {kind!r}; give another folder"
        )
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}, this package reads up to {FORMAT_VERSION}; "
            "install a newer steer-plugin"
        )
    return Artifact(str(kept), Path(folder), content)
