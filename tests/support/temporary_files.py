"""Where the tests' temporary files lie."""

import os
import shutil
import tempfile
from pathlib import Path

# Linux has this folder in memory; a container's is often too small.
IN_MEMORY, ROOM = Path("/dev/shm"), 8 << 30  # noqa: S108


def keep_in_memory() -> None:
    """Let this process and its own write temporary files to memory, where there is room for them.

    What the package writes is synced, and to wait for a disk takes a fifth of the tests' time.
    """
    roomy = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= ROOM
    if roomy and "TMPDIR" not in os.environ:
        os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)
