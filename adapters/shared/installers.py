"""Nothing is installed while a model loads; TransformerLens would run pip for some.

Other processes are let through: Python itself starts some to find system libraries.
"""

import functools
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

INSTALLERS = {
    *("apt", "apt-get", "brew", "conda", "easy_install", "mamba", "micromamba"),
    *("pip", "pip3", "pipx", "poetry", "uv"),
}


class _Refusals(threading.local):
    """The command lines that were refused in this thread; None where none is."""

    commands: list[str] | None = None


_refusals = _Refusals()


@contextmanager
def installers() -> Iterator[list[str]]:
    """Let this thread start no installer inside the block.

    Whoever tries meets a `PermissionError`, as on a system that forbids it.

    Yields:
        The command lines that were refused, so far.
    """
    _guard()
    before, commands = _refusals.commands, list[str]()
    _refusals.commands = commands
    try:
        yield commands
    finally:
        _refusals.commands = before


@functools.cache
def _guard() -> None:
    """Look at each command line of Python's, from now on."""
    start: Any = subprocess.Popen.__init__

    @functools.wraps(start)
    def start_unless_refused(self: Any, args: Any, *rest: Any, **settings: Any) -> None:
        words = _words(args)
        if _refusals.commands is not None and any(_installs(word) for word in words):
            _refusals.commands.append(shlex.join(words))
            raise PermissionError(f"not run while a model loads: {shlex.join(words)}")
        start(self, args, *rest, **settings)

    setattr(subprocess.Popen, "__init__", start_unless_refused)  # noqa: B010 (a method, to mypy)


def _installs(word: str) -> bool:
    return PurePath(word).name in INSTALLERS


def _words(args: Any) -> list[str]:
    """Split what `subprocess.Popen` takes: a line, a path, or a list of strings and paths."""
    if isinstance(args, (list, tuple)):
        return [os.fsdecode(word) for word in args]
    return os.fsdecode(args).split()
