"""Run a command again and again, each time killed at a random moment, until so many kills.

Run as a program: everything is imported once, and each run is a fork.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

import steer_plugin.adapters.loader
import steer_plugin.adapters.transformer_lens.bridge_adapter
import steer_plugin.experts.search
import steer_plugin.experts.shards  # noqa: F401
from steer_plugin.cli.main import run_command


def begin(arguments: list[str]) -> int:
    """Start the command in a process of its own, and give its number."""
    process = os.fork()
    if process == 0:
        os._exit(run_command(arguments))
    return process


def ended(process: int) -> int | None:
    """Give the exit code of a process, or None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def disturb(arguments: list[str], out: Path, kills: int, seed: int) -> dict[str, list[float]]:
    """Kill so many runs; what one left, the next finds. A run that ends is wiped out."""
    start = time.monotonic()
    process = begin([*arguments, "--out", str(out.with_name("timed"))])
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    longest = time.monotonic() - start
    cache = Path(os.environ["STEER_PLUGIN_CACHE"])
    shutil.rmtree(cache)
    chance = random.Random(seed)  # noqa: S311
    moments, kept = [], []
    while len(moments) < kills:
        process = begin([*arguments, "--out", str(out)])
        moment = chance.uniform(0, longest)
        end = time.monotonic() + moment
        while (code := ended(process)) is None and time.monotonic() < end:
            time.sleep(0.001)
        if code is None:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            moments.append(moment)
            kept.append(len(list(cache.rglob("*.safetensors"))))
        else:
            assert code == 0
            shutil.rmtree(cache)
            shutil.rmtree(out)
    process = begin([*arguments, "--out", str(out)])
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    return {"moments": moments, "kept": kept}


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(disturb(sys.argv[4:], out, kills, seed)))
