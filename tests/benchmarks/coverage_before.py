#!/usr/bin/env python3
"""How well intervals held before influences: writes coverage_before.csv beside this file.

They were a bootstrap of sentences, with centres, medoid and candidates held fast. Its code is in
the history; from a clone:

    git worktree add ../before 33e7ebe
    PYTHONPATH=../before python tests/benchmarks/coverage_before.py
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.populations import DESIGNS, shown_spans

TABLE = Path(__file__).with_name("coverage_before.csv")
SAMPLES, RESAMPLES = 300, 300


def main() -> None:
    """Measure the populations of `calibration.py`, all figures in one table a design."""
    measures = importlib.import_module("steer_plugin.analyses.measures.every_measure")
    bootstrap = importlib.import_module("steer_plugin.analyses.statistics.bootstrap")
    columns = {}
    for name, (population, sentences) in DESIGNS.items():
        rows: dict[str, list[Any]] = {}
        for seed in range(SAMPLES):
            before, after, _ = population.sample(sentences, seed)
            first, second = (
                measures.all_figures(embeddings, target="deu_Latn")
                for embeddings in (before, after)
            )
            draws = bootstrap.resamples(sentences, count=RESAMPLES, seed=seed)
            weights = np.concatenate([np.full((1, sentences), 1 / sentences), draws])
            for kind in first:
                change = second[kind].evaluate(weights) - first[kind].evaluate(weights)
                low, high = bootstrap.interval(change[1:])
                rows.setdefault(kind, []).append([change[0], low, high, change[1:].std(0)])
        frames = []
        for kind, samples in rows.items():
            change, low, high, error = np.moveaxis(np.array(samples), 1, 0)
            truth = change.mean(0)
            held = ((low <= truth) & (truth <= high)).mean(0)
            ratio = error.mean(0) / change.std(0)
            frames.append(first[kind].index.assign(coverage=held, ratio=ratio))
        columns |= shown_spans(name, pd.concat(frames, ignore_index=True))
    pd.DataFrame(columns).to_csv(TABLE)


if __name__ == "__main__":
    main()
