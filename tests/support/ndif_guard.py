"""Run a server's processes, and leave none of them behind.

`python ndif_guard.py FOLDER` starts what it is told on its input, a line of JSON each, and answers
with the process id; `<process id>.exit` in the folder says how one ended. When the input ends,
because the tests are done or because they died, it stops all that it started and all that those
started, and removes the folder. What names a `stop_signal` gets that first and some time; the
others are killed.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_SECONDS_TO_STOP = 10.0


def main(folder: Path) -> None:
    """Start what is asked for until the input ends, then stop it all."""
    # Whatever loses its parent becomes a child of this process, so nothing gets out of reach.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, lambda *_: _reap(folder))
    polite: dict[int, int] = {}
    try:
        for line in sys.stdin:
            order = json.loads(line)
            stop_signal = order.pop("stop_signal", None)
            process = _start(folder, **order)
            if stop_signal is not None:
                polite[process] = stop_signal
            print(process, flush=True)
    finally:
        _stop(polite)
        shutil.rmtree(folder)


def _start(folder: Path, *, name: str, command: list[str], **settings: Any) -> int:
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
            **settings,
        ).pid


def _reap(folder: Path) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
            (folder / f"{ended[0]}.exit").write_text(str(code))


def _stop(polite: dict[int, int]) -> None:
    """Ask those that want to be asked, wait for them, then kill all the others."""
    for process, number in polite.items():
        _signal(process, number)
    deadline = time.monotonic() + _SECONDS_TO_STOP
    while polite.keys() & set(_children()) and time.monotonic() < deadline:
        time.sleep(0.02)
    while children := _children():
        for child in children:
            _signal(child, signal.SIGKILL)
        time.sleep(0.02)


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _children() -> list[int]:
    """List the children of this process; killing one makes its own children this one's."""
    me = os.getpid()
    return [int(child) for child in Path(f"/proc/{me}/task/{me}/children").read_text().split()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
