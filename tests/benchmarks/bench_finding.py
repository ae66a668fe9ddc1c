"""Whole expert finding: where its time goes on Gemma 3 270M, and how its memory grows."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import torch
from contest import Row, medians, times_as_long

from steer_plugin import Budget, find_experts
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.corpora.named_corpora import read_corpus
from steer_plugin.experts.table import score_units
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.probe import probe_units

SENTENCES = 40
REPEATS = 3
FEW, MANY = 1_000, 16_000
MEMORY = "1GB"
READING = Reading("mlp.hook_post", "max")


def finding_rows() -> list[Row]:
    """Split finding into its parts, and let the sentences grow."""
    return [*_parts(), *_growth()]


def _parts() -> list[Row]:
    adapter: Any = load_adapter("demo")
    assert isinstance(adapter, BridgeAdapter)
    corpus = read_corpus("everyday", None).take(SENTENCES)
    texts, _ = corpus.labelled()
    plain = adapter.bridge.original_model.base_model
    batches = [
        {
            "input_ids": batch.ids,
            "attention_mask": batch.attention.long(),
            "position_ids": batch.positions,
            "use_cache": False,
        }
        for batch in adapter.tokens.batches(texts, 2048)
    ]

    def forward() -> None:
        with torch.inference_mode():
            for batch in batches:
                plain(**batch)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        probe_units(adapter, corpus, budget=Budget(cache=folder / "kept"))

        def kept() -> None:
            shutil.rmtree(folder / "new", ignore_errors=True)
            probe_units(adapter, corpus, budget=Budget(cache=folder / "new"))

        def whole() -> None:
            shutil.rmtree(folder / "whole", ignore_errors=True)
            find_experts(adapter, corpus, budget=Budget(cache=folder / "whole"))

        seconds = medians(
            {
                "forward": forward,
                "pooled": lambda: deque(adapter.collect(texts, [READING]), maxlen=0),
                "kept": kept,
                "scores": lambda: score_units(
                    probe_units(adapter, corpus, budget=Budget(cache=folder / "kept")), "auroc"
                ),
                "whole": whole,
            },
            repeats=REPEATS,
        )
    what = f"Gemma 3 270M, {len(texts)} texts, 36,864 units"
    against = "the plain forward without logits"
    steps = {
        "pooling in the pass": seconds["pooled"],
        "pooling, kept on disk": seconds["kept"],
        "reading from disk, scores and statistics alone": seconds["scores"],
        "whole finding": seconds["whole"],
    }
    return [
        times_as_long(f"{what}: {step}", against, took, seconds["forward"], "")
        for step, took in steps.items()
    ]


def _growth() -> list[Row]:
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
        )
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
