"""The demo's real model, Gemma 3 270M, on bundled sentences: two passes of 84 each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steer_plugin.adapters import demo_weights

pytestmark = pytest.mark.xdist_group("demo")

TARGETS = ("deu_Latn", "fra_Latn", "spa_Latn", "jpn_Jpan", "rus_Cyrl", "zho_Hans")

# Without a network: the best neuron of each language on one half, judged on the other.
SCRIPT = """
import json, os, socket

asked = []

def refuse(*address, **options):
    asked.append(repr(address))
    raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.create_connection = socket.getaddrinfo = refuse

from steer_plugin import ParallelCorpus, find_experts
from steer_plugin.adapters.loader import load_adapter

adapter = load_adapter("demo")
corpus = ParallelCorpus.everyday().select(os.environ["LANGUAGES"].split())
find, judge = (half.take(12) for half in corpus.split(seed=0))
found, judged = find_experts(adapter, find), find_experts(adapter, judge)
best = {name: judged.scores[judged.row(name), found.top(name, 1)[0]] for name in found.concepts}
print(json.dumps({
    "revision": adapter.info.revision,
    "units": len(found.space),
    "both": sorted(set(find.ids) & set(judge.ids)),
    "best": best,
    "asked": asked,
}))
"""


def test_demo_weights_are_put_together_where_they_are_missing_or_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in range(2):
        path = demo_weights.demo_weights()
        assert tmp_path in path.parents
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        assert demo_weights.sha256(path) == demo_weights.DEMO_SHA256
        path.write_bytes(b"cut short")


def test_the_best_neuron_of_each_language_tells_it_on_sentences_it_was_not_chosen_by(
    tmp_path: Path,
) -> None:
    # The weights are converted once, for everybody who reads them.
    settings = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and name != "STEER_PLUGIN_CACHE"
    }

    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT],
        env={**settings, "HF_HOME": str(tmp_path), "LANGUAGES": " ".join([*TARGETS, "eng_Latn"])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["revision"] == f"sha256:{demo_weights.DEMO_SHA256}"
    assert told["units"] == 18 * 2048
    assert told["both"] == []
    assert min(told["best"][target] for target in TARGETS) >= 0.99, told["best"]
    assert told["asked"] == []
