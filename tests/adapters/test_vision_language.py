"""Checkpoints that read images as well: their text models, and nothing that is installed."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import pytest
import torch

from steer_plugin import ModelSettings, apply_in_trace
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.shared.installers import installers
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather

from support import every_architecture, tiny_models
from support.command_line import run
from support.oracle import Oracle
from support.plans import intervention, plan

ARCHITECTURES = (
    "Gemma3ForConditionalGeneration",
    "LlavaForConditionalGeneration",
    "Mistral3ForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration",
)
HOSTS = ("transformer_lens", "nnsight", "transformers")
TEXTS = ["air ant bay", "cat", "desk ear fire hand jar key lake"]
CHOSEN = plan("mlp.hook_post", "set", bos=False)

# Lists the processes that Python is about to start.
LISTENING = """
import json, sys
import transformer_lens  # starts a few to find system libraries
from steer_plugin.adapters.loader import load_adapter

started = []

def listen(event, details):
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn"):
        started.append(event)
        raise RuntimeError(event)

sys.addaudithook(listen)
lines = []
load_adapter(sys.argv[1], say=lines.append)
loading = list(started)
try:
    __import__("subprocess").run(["true"])
except RuntimeError:
    pass
print(json.dumps({"loading": loading, "after": started[len(loading):], "lines": lines}))
"""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(architecture: str) -> Any:
    return every_architecture.tiny(architecture)


@pytest.fixture(scope="module")
def folder(plain: Any, architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / architecture
    plain.save_pretrained(folder)
    tiny_models.tokenizer(folder, adds_bos=True)
    return folder


@pytest.fixture(scope="module")
def oracle(plain: Any, architecture: str, shipped: Callable[[str], Any]) -> Oracle:
    return Oracle(architecture, plain, shipped("gemma3"), bos=True)


def test_nothing_is_installed_while_it_loads_and_a_line_says_what_was_wanted(folder: Path) -> None:
    done = run(folder, code=LISTENING)

    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["loading"] == []
    assert told["after"] == ["subprocess.Popen"]
    (line,) = told["lines"]
    assert "install torchvision -q`, which was not done" in line


@pytest.mark.parametrize(
    "command",
    [
        ["uv", "pip", "install", "torch"],
        (sys.executable, "-m", "pip", "install", "torch"),
        "/usr/bin/apt-get install torch",
        [Path("conda"), b"install"],
    ],
)
def test_installers_are_refused_inside_the_block_and_in_its_thread_alone(command: Any) -> None:
    def run(program: Any = command) -> None:
        subprocess.run(program, check=True, shell=isinstance(program, str))

    with installers() as refused:
        with pytest.raises(PermissionError, match=r"not run while a model loads: .*install"):
            run()
        with installers() as inner, pytest.raises(OSError, match="install"):
            run()
        run(["true"])
        with ThreadPoolExecutor() as pool:
            pool.submit(run, ["true", "pip"]).result()
    run(["true", "pip"])

    assert refused == inner
    assert len(refused) == 1


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("site", ["mlp.hook_post", "hook_mlp_out", "ln_final.hook_out"])
def test_its_text_model_is_read_and_steered(
    site: str, host: str, folder: Path, oracle: Oracle
) -> None:
    adapter = load_adapter(ModelSettings(str(folder), host=host))
    reading = Reading(site, "mean")

    found = gather(adapter, TEXTS, [reading], intervention=intervention(CHOSEN))[reading]

    keys = [(site, layer) for layer in range(1 if site == "ln_final.hook_out" else 3)]
    wanted = oracle.responses(TEXTS, keys, "mean", CHOSEN)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("host", HOSTS)
def test_its_texts_and_losses_are_those_of_its_text_model(
    host: str, folder: Path, oracle: Oracle
) -> None:
    adapter = load_adapter(ModelSettings(str(folder), host=host))
    given = intervention(CHOSEN)

    texts = adapter.generate(TEXTS, intervention=given, max_new_tokens=4, temperature=0).texts
    losses = adapter.losses(TEXTS[2:], intervention=given, context=8, stride=4)

    assert texts == tuple(oracle.greedy(text, 4, CHOSEN) for text in TEXTS)
    np.testing.assert_allclose(losses[0], oracle.losses(TEXTS[2], 8, 4, CHOSEN), atol=1e-5)


def test_a_plan_in_a_trace_of_it(plain: Any, oracle: Oracle) -> None:
    """Its configuration has the BOS token in that of its text model alone."""
    model = nnsight.NNsight(copy.deepcopy(plain))
    given = intervention(CHOSEN)

    with model.trace(torch.tensor([oracle.ids(TEXTS[2])])):
        apply_in_trace(model, given)
        logits = model.output.logits.save()

    wanted, _ = oracle.forward(oracle.ids(TEXTS[2]), CHOSEN)
    np.testing.assert_allclose(logits[0].detach().numpy(), wanted, rtol=0, atol=1e-5)
