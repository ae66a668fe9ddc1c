"""Print one table of ratios, each measured side by side within this run.

`python tests/benchmarks/run.py [NAME ...]` measures some rows, or all. It exits with 1 where a goal
is missed; times depend on the machine and on who else uses it.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported, below
sys.path.append(str(Path(__file__).parents[1]))  # the tests' NDIF server

import numpy as np
import pandas as pd
import torch
from contest import Row

PARTS = (
    "scores",
    "plans",
    "growth",
    "forward",
    "finding",
    "memory",
    "generation",
    "comparison",
    "retrieval",
    "remote",
    "starting",
    "protocol",
)
"""Each a module `bench_NAME`; the slowest last."""


def main(chosen: Sequence[str]) -> int:
    """Measure and print; 1 where a goal is missed, 2 where there are no such rows."""
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        print(f"there are no rows {unknown[0]!r}; choose of: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for part in chosen or PARTS:
        for row in import_module(f"bench_{part}").rows():
            told = f"{row.what}, against {row.against}: {row.ratio:.3g} {row.unit}"
            print(told, file=sys.stderr)
            rows.append(row)
    table = pd.DataFrame(
        {
            "what": [row.what for row in rows],
            "against": [row.against for row in rows],
            "s": [f"{row.seconds:.2f}" for row in rows],
            "other s": [f"{row.other_seconds:.2f}" for row in rows],
            "ratio": [f"{row.ratio:.3g}" for row in rows],
            "": [row.unit for row in rows],
            "target": [row.target for row in rows],
            "missed": ["missed" if row.missed else "" for row in rows],
        }
    )
    print(table.to_string(index=False))
    print(
        f"\nMedians of interleaved repeats; {torch.get_num_threads()} threads on {os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}, numpy {np.__version__}"
    )
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main([name for given in sys.argv[1:] for name in given.split(",")]))
