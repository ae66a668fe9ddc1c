"""The script that checks an accelerator: it runs on the CPU, and fails where answers differ."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RATES = ("scores a second", "pooled pass over", "steered over plain", "peak memory")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import device  # type: ignore[import-not-found]

    assert isinstance(device, ModuleType)
    return device


def test_the_cpu_answers_as_the_cpu(device: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code = device.main(["--device", "cpu", "--small"])

    told = capsys.readouterr()
    assert code == 0
    assert "NOT EQUAL" not in told.out
    for dtype in ("float32", "bfloat16"):
        lines = [line for line in told.out.splitlines() if line.startswith(f"cpu {dtype}: ")]
        assert sum(": equal (" in line for line in lines) == 9
        assert all(any(rate in line for line in lines) for rate in RATES)


def test_a_device_that_answers_otherwise_is_told(
    device: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = device.adapter_on

    def wrong(place: str, model: Any, tokenizer: Any, dtype: torch.dtype) -> Any:
        adapter = right(place, model, tokenizer, dtype)
        if place == "cpu:0":
            with torch.no_grad():
                adapter.bridge.original_model.model.layers[0].mlp.down_proj.weight.mul_(-1)
        return adapter

    monkeypatch.setattr(device, "adapter_on", wrong)

    code = device.main(["--device", "cpu:0", "--small"])

    told = capsys.readouterr()
    assert code == 1
    assert "cpu:0 float32: losses: NOT EQUAL" in told.out
    assert "cpu:0 float32: scores of the same responses: equal" in told.out
    assert "does not answer as the CPU" in told.err


@pytest.fixture(autouse=True)
def _modules() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(BENCHMARKS) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]
