"""Whole runs: the demo against the bare forward passes that it needs, and the small protocol."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from contest import Row, times_as_long

from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.analyses.run.files import read_settings
from steer_plugin.analyses.run.inputs import read_data

DEMO, SMALL = Path("demo.toml"), Path("sundar2025-small.toml")
COMMAND = "from steer_plugin.cli.main import main; main()"
DEMO_SECONDS, SMALL_SECONDS = 5 * 60, 30 * 60


def rows() -> list[Row]:
    """Run both, all told: loading and the page included."""
    before, demo, after = _bare_forwards(), _run(DEMO), _bare_forwards()
    bare = (before + after) / 2  # what a machine does in a minute wanders by a tenth
    small = _run(SMALL)
    whole = f"{DEMO.stem}, all told"
    return [
        times_as_long(whole, "its bare forward passes", demo, bare, "<= 1.3"),
        times_as_long(whole, "five minutes", demo, DEMO_SECONDS, "<= 1"),
        times_as_long(f"{SMALL.stem}, all told", "half an hour", small, SMALL_SECONDS, "<= 1"),
    ]


def _bare_forwards() -> float:
    """Time one pass over the texts that find and one a condition over those that judge."""
    settings = read_settings(DEMO)
    data = read_data(settings)
    adapter: Any = load_adapter(settings.model)
    assert isinstance(adapter, BridgeAdapter)
    model = adapter.bridge.original_model.base_model
    conditions = 1 + len(settings.targets) * len(settings.top_k) * (1 + len(settings.control_seeds))
    finding, judging = (
        _forward(adapter, model, corpus.labelled()[0]) for corpus in (data.find, data.judge)
    )
    return finding + conditions * judging


def _forward(adapter: BridgeAdapter, model: Any, texts: list[str]) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in adapter.tokens.batches(texts, 2048):
            model(
                input_ids=batch.ids,
                attention_mask=batch.attention.long(),
                position_ids=batch.positions,
                use_cache=False,
            )
    return time.perf_counter() - start


def _run(file: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", COMMAND, "run", file, "--out", folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - start
