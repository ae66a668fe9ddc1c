"""Whole expert finding: where its time goes on Gemma 3 270M."""

import shutil
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
GOALS = {
    "pooling in the pass": "<= 1.15",
    "pooling, kept on disk": "<= 1.2",
    "whole finding": "<= 1.25",
}
READING = Reading("mlp.hook_post", "max")


def rows() -> list[Row]:
    """Split finding into its parts."""
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
        times_as_long(f"{what}: {step}", against, took, seconds["forward"], GOALS.get(step, ""))
        for step, took in steps.items()
    ]
