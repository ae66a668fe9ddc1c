"""Threads that open traces at once, each where no trace was opened before."""

import gc
import linecache
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nnsight
import pytest
import torch

from steer_plugin.adapters.nnsight import plan_in_trace  # noqa: F401 (with it comes the lock)
from steer_plugin.adapters.nnsight.ndif import NDIF
from steer_plugin.errors import ModelError

from support import ndif_fixture, saved_models

THREADS, TRACES, REQUESTS = 8, 25, 5
TRACE = """
def compute(model):
    with model.trace(torch.ones(1, 2)):
        inputs = [model.input, model.input * 2, model.input * 3]
        total = sum(value * (number + 1) for number, value in enumerate(inputs))
        output = nnsight.save(model.output + 0 * total)
    return output
"""


@pytest.fixture
def crowded() -> Iterator[None]:
    """Make threads take turns as often as can be, also while a tree is being built."""

    def linger(phase: str, info: dict[str, int]) -> None:  # noqa: ARG001
        # Python code that runs inside the parser, where another thread can take over.
        for _ in range(50):
            pass

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50, *thresholds[1:])
    gc.callbacks.append(linger)
    yield
    gc.callbacks.remove(linger)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


@pytest.mark.usefixtures("crowded")
def test_traces_that_are_opened_at_once_are_all_read() -> None:
    layer = torch.nn.Linear(2, 2)
    expected = layer(torch.ones(1, 2))

    def work(thread: int) -> None:
        model = nnsight.NNsight(torch.nn.Linear(2, 2))
        model._module.load_state_dict(layer.state_dict())
        for number in range(TRACES):
            filename = f"<trace {thread} {number}>"
            linecache.cache[filename] = (len(TRACE), None, TRACE.splitlines(True), filename)
            names: dict[str, Any] = {"nnsight": nnsight, "torch": torch}
            exec(compile(TRACE, filename, "exec"), names)  # noqa: S102
            assert torch.equal(names["compute"](model), expected)

    in_threads(work)


@pytest.mark.usefixtures("crowded")
def test_requests_that_are_pickled_at_once_are_all_sent(tmp_path: Path) -> None:
    model = ndif_fixture.remote_model(saved_models.save_model(tmp_path / "llama"))

    def work(_: int) -> None:
        def send(backend: Any) -> Any:
            with model.session(backend=backend):
                values = [number * 2 for number in range(9)]
                total = nnsight.save(sum(value + 1 for value in values))
            return total  # noqa: RET504 (a traced block cannot return)

        for _ in range(REQUESTS):
            # It gets as far as the connection.
            with pytest.raises(ModelError, match=r"cannot be reached: .*refused"):
                NDIF(model, url="http://127.0.0.1:1").run(send)

    in_threads(work)
