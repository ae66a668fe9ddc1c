"""The real command line, in a process of its own."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

# -P keeps the working folder off the path, so what runs is what is installed.
COMMAND = (sys.executable, "-P", "-m", "steer_plugin")
LIMIT = 600.0


def start(*arguments: str | Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start a command that Ctrl-C can stop, also where the tests run in the background."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Wait for a command and give its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, (out or b"").decode(), err.decode()


def until(process: subprocess.Popen[bytes], pattern: str) -> str:
    """Read what a command tells on stderr until it tells this."""
    assert process.stderr is not None
    told = b""
    end = time.monotonic() + LIMIT
    while not re.search(pattern.encode(), told):
        ready, _, _ = select.select([process.stderr], [], [], end - time.monotonic())
        more = os.read(process.stderr.fileno(), 65536) if ready else b""
        assert more, f"ended without {pattern!r}: {told.decode()}"
        told += more
    return told.decode()


def stop(process: subprocess.Popen[bytes], sign: signal.Signals) -> tuple[int, str, str]:
    """Send a signal and give what `finish` gives."""
    process.send_signal(sign)
    return finish(process)
