"""How long a command on the demo model takes until it can begin: at first, and from then on."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import Row, times_as_long

from steer_plugin.adapters.demo_weights import demo_weights

ONE_SENTENCE = """
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.models.adapter import Reading
list(load_adapter("demo").collect(["The cat sat."], [Reading("mlp.hook_post", "max")]))
"""
BY_TRANSFORMERS = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
place = {"pretrained_model_name_or_path": sys.argv[1], "gguf_file": sys.argv[2]}
tokenizer = AutoTokenizer.from_pretrained(**place)
model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
with torch.inference_mode():
    model.base_model(**tokenizer("The cat sat.", return_tensors="pt"))
"""


def rows() -> list[Row]:
    """Load the model, let one sentence through, and end: the cache empty, then not."""
    weights = demo_weights()
    with tempfile.TemporaryDirectory() as folder:
        first, second = (_seconds(Path(folder), ONE_SENTENCE) for _ in range(2))
        plain = _seconds(Path(folder), BY_TRANSFORMERS, str(weights.parent), weights.name)
    what = "a second command on the demo model, one sentence through"
    return [
        times_as_long(what, "transformers, which reads the .gguf anew", second, plain, "<= 0.25"),
        times_as_long(what, "the first, which converts the weights", second, first, ""),
    ]


def _seconds(cache: Path, code: str, *arguments: str) -> float:
    environment = os.environ | {"STEER_PLUGIN_CACHE": str(cache)}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment)
    return time.perf_counter() - start
