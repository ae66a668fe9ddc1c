"""How time and memory grow with sentences, units and languages, each size in a process of its own.

Run as a program, it is that process: it does one kind of work at one size and prints what it cost.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from contest import Row, times_as_long
from peak_memory import peak_bytes

from steer_plugin.scores.rank_scores import scores
from steer_plugin.scores.typical_responses import typical_responses

REPEATS = 3
WORKS: dict[str, Callable[..., object]] = {
    "AUROC + AP": scores,
    "typical responses": typical_responses,
}


@dataclass(frozen=True)
class Size:
    """How much there is to score; `sentences` are those of all languages together."""

    languages: int = 5
    sentences: int = 5_000
    units: int = 2_048


BASE = Size()
GROWN = {
    "sentences": (2, replace(BASE, sentences=2 * BASE.sentences)),
    "units": (2, replace(BASE, units=2 * BASE.units)),
    "languages of the same sentences": (10, replace(BASE, languages=10 * BASE.languages)),
}


@dataclass(frozen=True)
class Cost:
    """What some work took.

    Attributes:
        seconds: of all threads together, the median of repeats: sizes are not measured side by
            side, and wall time would be that of whoever else uses the machine.
        mebibytes: memory at its peak beyond the imports.
    """

    seconds: float
    mebibytes: float


def rows() -> list[Row]:
    """Compare the cost of each kind of work at each grown size with its cost at the base size."""
    rows = []
    for name in WORKS:
        base = cost_of(name, BASE)
        for what, (factor, size) in GROWN.items():
            cost = cost_of(name, size)
            time_exponent = math.log(cost.seconds / base.seconds, factor)
            memory_exponent = math.log(cost.mebibytes / base.mebibytes, factor)
            rows.append(
                times_as_long(
                    f"{name}, {factor} times the {what}: CPU time ^ {time_exponent:.2f}, "
                    f"peak memory ^ {memory_exponent:.2f} "
                    f"({base.mebibytes:.0f} -> {cost.mebibytes:.0f} MiB)",
                    f"{BASE.languages} languages, {BASE.sentences:,} sentences x {BASE.units:,}",
                    cost.seconds,
                    base.seconds,
                    "",
                )
            )
    return rows


def cost_of(name: str, size: Size) -> Cost:
    """Do it in a fresh process."""
    command = [sys.executable, str(Path(__file__)), name, *map(str, astuple(size))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(done.stdout))


def measure(name: str, size: Size) -> Cost:
    """Do it here."""
    imported = peak_bytes()
    generator = np.random.default_rng(0)
    responses = generator.standard_normal((size.sentences, size.units), dtype=np.float32)
    labels = generator.permutation(np.arange(size.sentences) % size.languages)
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.process_time()
        WORKS[name](responses, labels)
        seconds.append(time.process_time() - start)
    return Cost(median(seconds[1:]), (peak_bytes() - imported) / 2**20)


if __name__ == "__main__":
    work, *numbers = sys.argv[1:]
    found = measure(work, Size(*map(int, numbers)))
    print(json.dumps({"seconds": found.seconds, "mebibytes": found.mebibytes}))
