"""How the memory of expert finding grows with the texts, each size in a process of its own."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from contest import Row

FEW, MANY = 1_000, 16_000
MEMORY, BYTES = "1GB", 1e9


def rows() -> list[Row]:
    """Let the texts grow."""
    with tempfile.TemporaryDirectory() as name:
        few, many = (_grown(count, Path(name)) for count in (FEW, MANY))
    return [
        Row(
            f"find --memory {MEMORY} beyond the model, {MANY:,} texts",
            f"{FEW:,} texts",
            many / 2**20,
            few / 2**20,
            many / few,
            "times the MiB",
            "<= 1.1",
        ),
        Row(
            f"find --memory {MEMORY} beyond the model, {MANY:,} texts",
            MEMORY,
            many / 2**20,
            BYTES / 2**20,
            many / BYTES,
            "of it",
            "<= 1",
        ),
    ]


def _grown(texts: int, folder: Path) -> int:
    """Give the bytes that a process of its own takes at most beyond its loaded model."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            Path(__file__).with_name("peak.py"),
            str(texts),
            str(folder),
            MEMORY,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(json.loads(done.stdout)["beyond_model"])
