import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nnsight
import pytest
import torch
import transformers
from nnsight.intervention.backends.remote import RemoteError
from nnsight.modeling.transformers import TransformersModel

from support import ndif_fixture
from support.ndif_server import NDIFServer

IDS = torch.tensor([[1, 5, 9, 13], [1, 6, 2, 0]])
ENTER = (
    "import pathlib, sys; from support.ndif_server import NDIFServer; "
    "NDIFServer(pathlib.Path(sys.argv[1]), [])"
)


def hidden(model: Any, *, remote: bool, seconds: float = 0) -> torch.Tensor:
    with torch.no_grad(), model.trace(IDS, remote=remote):
        time.sleep(seconds)
        saved = nnsight.save(model.model.layers[1].output)
    return saved  # noqa: RET504  (a traced block cannot return)


@pytest.fixture
def llama(ndif: NDIFServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    ndif_fixture.connect(ndif, monkeypatch)
    return ndif_fixture.remote_model(ndif.models[0])


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Give an environment in which nothing of a server works and nothing ends."""
    for name in ("python", "ray", "gunicorn"):
        program(tmp_path / name, "exec sleep 600")
    return tmp_path / "python"


def program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def running_in(folder: Path) -> list[str]:
    """List the processes that work in a folder, also when it has been removed."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "cwd").readlink()).startswith(str(folder)):
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended, or is not ours to look at
            continue
    return found


def wait_until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_remote_trace_gives_what_a_local_one_does(ndif: NDIFServer, llama: Any) -> None:
    folder = str(ndif.models[0])
    local: Any = TransformersModel(
        folder,
        task="text-generation",
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        dispatch=True,
    )

    torch.testing.assert_close(
        hidden(llama, remote=True), hidden(local, remote=False), rtol=0, atol=1e-6
    )


def test_megabytes_go_up_and_come_back(llama: Any) -> None:
    table = torch.arange(3_000_000, dtype=torch.float32)

    with llama.trace(IDS, remote=True):
        back = nnsight.save(table + 1)

    torch.testing.assert_close(back, table + 1)


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        (str(uuid.UUID(int=7)), "Invalid API key"),
        ("hello", "Invalid API key format: 'hello'"),
        ("", "Missing or invalid API key"),
    ],
    ids=["unknown", "malformed", "missing"],
)
def test_a_wrong_key_is_refused(
    ndif: NDIFServer, llama: Any, monkeypatch: pytest.MonkeyPatch, key: str, complaint: str
) -> None:
    ndif_fixture.connect(ndif, monkeypatch, key=key)

    with pytest.raises(RemoteError, match=complaint):
        hidden(llama, remote=True)


def test_only_the_hurried_model_is_cut_off(ndif: NDIFServer, llama: Any) -> None:
    [(folder, limit)] = ndif.execution_timeouts_s.items()
    hurried = ndif_fixture.remote_model(folder)

    with pytest.raises(RemoteError, match=f"exceeded the execution timeout of {limit}s"):
        hidden(hurried, remote=True, seconds=limit + 20)
    hidden(hurried, remote=True)
    hidden(llama, remote=True, seconds=limit + 1)


def test_a_start_that_fails_leaves_nothing(broken: Path) -> None:
    program(broken.with_name("ray"), "echo no room; exit 3")
    server = NDIFServer(broken, [])

    with pytest.raises(RuntimeError, match=r"ray has died\n--- ray\nno room"):
        server.__enter__()

    assert not server.folder.exists()
    assert not running_in(server.folder)


def test_tests_that_are_killed_leave_nothing(broken: Path) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", f"{ENTER}.__enter__()", broken],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    children = Path(f"/proc/{tests.pid}/task/{tests.pid}/children")
    wait_until(children.read_text)
    guard = Path(f"/proc/{children.read_text().strip()}/cmdline")
    wait_until(lambda: "ndif_guard" in guard.read_text())
    folder = Path(guard.read_text().split("\0")[2])
    wait_until(lambda: len(running_in(folder)) > 4)

    os.killpg(tests.pid, signal.SIGKILL)
    tests.wait()

    wait_until(lambda: not folder.exists())
    assert not running_in(folder)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*ray, no .*gunicorn: .*make \.venv-ndif/"):
        NDIFServer(tmp_path / "python", []).__enter__()
