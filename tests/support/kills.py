"""Kill a piece of work, in this process, at any of its writes below a folder.

A kill leaves the disk as SIGKILL would: what was being written is cut in half, and whatever the
dying work would still write, move or tidy up is refused.
"""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from steer_plugin.storage import artifacts

NO_FOLDER = (None, -1)
DRAFT = re.compile(r"\..+\.[a-z0-9_]{8}(\.\w+)?$")  # as `tempfile` names it


class Killed(BaseException):
    """Nothing in the package catches it."""


@dataclass
class Kill:
    """A kill to come.

    Attributes:
        root: where writes count.
        after: how many writes are let through; None lets all through.
        writes: how many there were.
        is_dead: whether it came.
    """

    root: Path
    after: int | None
    writes: int = 0
    is_dead: bool = False
    _opened: Path | None = None

    def ends(self, work: Callable[[], object]) -> bool:
        """Do the work, and say whether it was killed."""
        _listen()
        save_file = artifacts.save_file

        def announced(tensors: Any, path: Path) -> None:
            # Rust opens this file, unseen by Python's audit.
            sys.audit("open", str(path), "wb", os.O_WRONLY)
            save_file(tensors, path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(artifacts, "save_file", announced)
            patch.setattr(_armed, "kill", self)
            try:
                work()
            except Killed:
                return True
            finally:
                _armed.kill = None
        assert not self.is_dead, "something caught the kill"
        return False

    def meet(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Let a write through, or kill."""
        path = _written(event, arguments)
        if path is None or self.root not in path.parents:
            return
        if self.is_dead:
            raise Killed
        if self.after == self.writes:
            self.is_dead = True
            if self._opened is not None and self._opened.exists():
                os.truncate(self._opened, self._opened.stat().st_size // 2)
            raise Killed
        self.writes += 1
        self._opened = path if event == "open" else None


def _written(event: str, arguments: tuple[Any, ...]) -> Path | None:
    """Name what an audited event is about to change, if it changes anything."""
    if event == "open":
        path, _, flags = arguments
        writes = not isinstance(path, int) and flags & (os.O_WRONLY | os.O_RDWR)
        return Path(os.fsdecode(path)).absolute() if writes else None
    if event not in ("os.mkdir", "os.remove", "os.rename", "os.rmdir"):
        return None
    path, folder = Path(os.fsdecode(arguments[0])), arguments[-1]
    if folder not in NO_FOLDER:  # how `shutil.rmtree` names what it deletes
        path = Path(f"/proc/self/fd/{folder}").readlink() / path
    is_there = path.exists() or path.is_symlink()
    return None if is_there == (event == "os.mkdir") else path.absolute()


@dataclass
class _Armed:
    kill: Kill | None = None


_armed = _Armed()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _armed.kill is not None:
        _armed.kill.meet(event, arguments)


@cache
def _listen() -> None:
    """Hear of every write from here on: no hook can be taken away again, so there is one."""
    sys.addaudithook(_audit)


def kill_at_every_write(work: Callable[[], object], root: Path) -> int:
    """Begin work again and again, killed each time at the next write, until it ends by itself.

    Each beginning finds what the one before left. Where that had come no further, one write more
    is let through.

    Returns:
        How many kills there were.
    """
    kills, after, before = 0, 0, _finished_files(root)
    while Kill(root, after).ends(work):
        kills += 1
        now = _finished_files(root)
        after = after + 1 if now == before else 1
        before = now
    return kills


def _finished_files(root: Path) -> set[Path]:
    """List the files that are no drafts, nor in a draft's folder."""
    return {
        path
        for path in root.rglob("*")
        if path.is_file() and not any(map(DRAFT.match, path.relative_to(root).parts))
    }
