"""How long a command on the demo model takes until it can begin: at first, and from then on."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import Row, times_as_long

ONE_SENTENCE = """
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.models.adapter import Reading
list(load_adapter("demo").collect(["The cat sat."], [Reading("mlp.hook_post", "max")]))
"""


def rows() -> list[Row]:
    """Load the model, let one sentence through, and end: the cache empty, then not."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (_seconds(Path(folder)) for _ in range(2))
    return [
        times_as_long(
            "a second command on the demo model, one sentence through",
            "the first, which converts the weights",
            second,
            first,
            "<= 0.25",
        )
    ]


def _seconds(cache: Path) -> float:
    environment = os.environ | {"STEER_PLUGIN_CACHE": str(cache)}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", ONE_SENTENCE], check=True, env=environment)
    return time.perf_counter() - start
