#!/usr/bin/env python3
"""A process of its own: compare conditions on random embeddings, and print the memory it took.

`python tests/benchmarks/comparison_memory.py LANGUAGES SENTENCES DIMENSIONS CONDITIONS` prints the
peak of the process (VmHWM) after imports, beyond them, and the size of one condition's embeddings.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from peak_memory import peak_bytes

from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.comparisons import compare_experts
from steer_plugin.analyses.run.stages.conditions import Comparison, Condition


class RandomCorpus:
    """As much of a corpus as a comparison asks for."""

    same = None
    groups = None


class RandomEmbeddings:
    """Embeddings that are drawn each time they are asked for, the same ones for a condition."""

    layers = ("final",)
    corpus = RandomCorpus()

    def __init__(self, languages: int, sentences: int, dimensions: int) -> None:
        """Take the sizes."""
        self.names = [f"l{place:02}" for place in range(languages)]
        self.shape = sentences, dimensions

    def load(self, condition: Condition, _layer: object) -> dict[str, Any]:
        """Draw a condition's embeddings, meanings shared by languages."""
        rng = np.random.default_rng(sum(map(ord, condition.name)))
        meaning = np.random.default_rng(0).standard_normal(self.shape, dtype=np.float32)
        return {
            name: meaning + 2 * rng.standard_normal(self.shape, dtype=np.float32)
            for name in self.names
        }


def main(languages: int, sentences: int, dimensions: int, conditions: int) -> None:
    """Compare experts with all other conditions as draws of the control."""
    embedded: Any = RandomEmbeddings(languages, sentences, dimensions)
    experts, *draws = (Condition(f"condition-{place}", None) for place in range(1, conditions))
    comparison = Comparison("l01", 10, False, experts, {"random-in-layers": tuple(draws)})
    settings = RunSettings(model="m", targets=("deu_Latn",), top_k=(10,))
    before, start = peak_bytes(), time.process_time()
    tables = compare_experts(comparison, embedded, settings)
    print(
        json.dumps(
            {
                "imports": before,
                "beyond": peak_bytes() - before,
                "CPU seconds a condition": (time.process_time() - start) / conditions,
                "a condition": 4 * languages * sentences * dimensions,
                "figures": sum(map(len, tables.values())),
            }
        )
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
