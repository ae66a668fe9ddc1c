"""The real command line, and programs beside it, in processes of their own.

They are forked from a server that has imported what is slow and not ours, and begin in a moment
where a new interpreter takes ten seconds; in all else they are as new as `python -P` makes them.
"""

import multiprocessing
import os
import re
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

# -P keeps the working folder off the path, so what runs is what is installed.
COMMAND = (sys.executable, "-P", "-m", "steer_plugin")
LIMIT = 600.0
Steer = Callable[..., tuple[int, str, str]]
"""The fixture `steer`: a command in the tests' own process, with code, stdout and stderr."""
# Not nnsight, which reads the environment as it is imported.
PRELOADED = ["altair", "scipy.stats", "transformer_lens.model_bridge", "transformers"]


class Ended(NamedTuple):
    """How a process ended: its exit code (less than 0: a signal's number), stdout and stderr."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Running:
    """A process, and the files that it writes to in place of stdout and stderr."""

    process: BaseProcess
    out: Path
    err: Path

    def finish(self) -> Ended:
        """Wait for its end."""
        self.process.join(LIMIT)
        assert self.process.exitcode is not None, f"still at it: {self.err.read_text()}"
        return Ended(self.process.exitcode, self.out.read_text(), self.err.read_text())

    def until(self, pattern: str) -> str:
        """Read what it tells on stderr until it tells this."""
        end = time.monotonic() + LIMIT
        while not re.search(pattern, told := self.err.read_text()):
            is_over = not self.process.is_alive() or time.monotonic() > end
            assert not is_over, f"ended without {pattern!r}: {told}"
            time.sleep(0.02)
        return told

    def stop(self, sign: signal.Signals) -> Ended:
        """Send a signal and wait for the end."""
        assert self.process.pid is not None
        os.kill(self.process.pid, sign)
        return self.finish()


def start(
    *arguments: object,
    code: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path = ".",
) -> Running:
    """Start a command, or a program that is given as code."""
    folder = Path(tempfile.mkdtemp(dir=_folder().name))
    environment = dict(os.environ if env is None else env)
    given = (code, [*map(str, arguments)], environment, str(Path(cwd).absolute()), str(folder))
    process = _server().Process(target=_run, args=given, daemon=True)
    for name in ("out", "err"):
        (folder / name).touch()
    process.start()
    return Running(process, folder / "out", folder / "err")


def run(*arguments: object, **how: Any) -> Ended:
    """Carry out a command, or a program that is given as code, to its end."""
    return start(*arguments, **how).finish()


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="processes-")


@cache
def _server() -> Any:
    # As the command line has it where a model is local: the libraries read it when imported.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _run(
    code: str | None, arguments: list[str], environment: dict[str, str], cwd: str, folder: str
) -> None:
    for stream, name in enumerate(("out", "err"), start=1):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_APPEND), stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.path[:] = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *installed]
    sys.argv = ["-c", *arguments]
    if code is None:
        runpy.run_module("steer_plugin", run_name="__main__", alter_sys=True)
    else:
        (program := Path(folder, "program.py")).write_text(code)
        runpy.run_path(str(program), run_name="__main__")
