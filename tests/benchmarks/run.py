"""Print one table of ratios, each measured side by side within this run.

Nothing is asserted: times depend on the machine and on who else uses it.
"""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported, below
sys.path.append(str(Path(__file__).parents[1]))  # the tests' NDIF server

import numpy as np
import pandas as pd
import torch
from bench_finding import finding_rows
from bench_forward import forward_rows
from bench_generation import generation_rows
from bench_growth import growth_rows
from bench_plans import plan_rows
from bench_remote import remote_rows
from bench_retrieval import retrieval_rows
from bench_scores import score_rows
from contest import Row


def main() -> None:
    """Measure and print."""
    parts = (
        score_rows,
        plan_rows,
        growth_rows,
        forward_rows,
        finding_rows,
        generation_rows,
        remote_rows,
        retrieval_rows,
    )
    rows: list[Row] = []
    for part in parts:
        for row in part():
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
        }
    )
    print(table.to_string(index=False))
    print(
        f"\nMedians of interleaved repeats; {torch.get_num_threads()} threads on {os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    main()
