"""Where memory ends in a forward pass, the batch is halved and the rest goes on."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nnsight
import numpy as np
import pytest
import torch

from steer_plugin import Reading, adapt, gather
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ModelError

from support import tiny_models
from support.plans import intervention, plan
from support.tiny_models import N_LAYERS, Tiny

TEXTS = [
    " ".join(tiny_models.WORDS[3 * start : 3 * start + words])
    for start, words in enumerate((2, 9, 1, 7, 4, 4, 9, 3, 1))
]
READING = Reading("mlp.hook_post", "mean", tuple(range(N_LAYERS)))
ACT = intervention(plan("mlp.hook_post", "set", layers=(0, 1)))
WAYS: dict[str, Callable[[Any], Any]] = {
    "collect": lambda adapter: gather(adapter, TEXTS, [READING], intervention=ACT)[READING].numpy(),
    "generate": lambda adapter: np.array(
        [
            [*ids, *[-1] * (5 - len(ids))]
            for ids in adapter.generate(
                TEXTS, intervention=ACT, max_new_tokens=5, top_p=0.9, seed=3
            ).ids
        ]
    ),
    "losses": lambda adapter: np.concatenate(
        adapter.losses([text for text in TEXTS if " " in text], intervention=ACT)
    ),
}


class Host:
    """An adapter of a tiny model, and what it said."""

    def __init__(self, kind: str, model: Tiny, **settings: Any) -> None:
        self.lines: list[str] = []
        plain = copy.deepcopy(model.plain)
        settings |= {"tokenizer": model.tokenizer, "say": self.lines.append}
        self.adapter: Any = {
            "nnsight": lambda: TraceAdapter(nnsight.NNsight(plain), **settings),
            "transformers": lambda: adapt(plain, **settings),
            "transformer_lens": lambda: BridgeAdapter(model.bridge, **settings),
        }[kind]()
        held: Any = model.bridge.original_model if kind == "transformer_lens" else plain
        self.module: Any = held.get_input_embeddings()


@pytest.fixture(scope="module", params=["transformer_lens", "nnsight", "transformers"])
def host(request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]) -> Host:
    return Host(request.param, tiny_model("gpt2"), name="tiny")


@contextmanager
def memory_for(host: Host, texts: int, raised: Callable[[], object] | None = None) -> Iterator[Any]:
    """Let forward passes of more texts ask the allocator for what no machine has."""
    sizes: list[int] = []

    def ask(_: Any, args: tuple[Any, ...]) -> None:
        sizes.append(len(args[0]))
        if len(args[0]) > texts:
            (raised or (lambda: torch.empty(1 << 50)))()

    handle = host.module.register_forward_pre_hook(ask)
    try:
        yield sizes
    finally:
        handle.remove()


def out_of(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


ENDS: dict[str, Callable[[], object] | None] = {
    "CPU": None,
    "CUDA": out_of(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
    "MPS": out_of(RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)")),
    "numpy": out_of(MemoryError()),
}


# What an end looks like and what is being done have no code in common.
@pytest.mark.parametrize(
    ("way", "end"), [*((way, "CPU") for way in WAYS), *(("collect", end) for end in [*ENDS][1:])]
)
def test_batches_are_halved_until_they_fit_and_the_answers_are_the_same(
    way: str, end: str, host: Host
) -> None:
    wanted = WAYS[way](host.adapter)
    host.lines.clear()

    with memory_for(host, 2, ENDS[end]) as sizes:
        found = WAYS[way](host.adapter)

    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert max(sizes) > 4
    assert host.lines
    # What did not fit is not tried again.
    assert len(host.lines) == sum(size > 2 for size in sizes) <= 3
    for line in host.lines:
        assert "\n" not in line
        assert line.startswith("Out of memory at ")


@pytest.mark.parametrize("way", WAYS)
def test_at_one_text_it_ends_in_one_line_with_what_to_try(way: str, host: Host) -> None:
    with (
        memory_for(host, 0),
        pytest.raises(ModelError, match=r"tiny ran out of memory at one text of \d+ tok") as error,
    ):
        WAYS[way](host.adapter)

    assert "load the model as bfloat16" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("way", WAYS)
def test_other_errors_are_no_lack_of_memory(way: str, host: Host) -> None:
    fault = out_of(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))

    with memory_for(host, 2, fault) as sizes, pytest.raises(Exception, match="shapes cannot be"):
        WAYS[way](host.adapter)
    assert len(sizes) == 1
