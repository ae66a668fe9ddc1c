"""Models that several threads ask at once: each answer is the one that it is alone."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nnsight
import numpy as np
import pytest

from steer_plugin import adapt, steered
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import InterventionError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support.plans import intervention, plan
from support.tiny_models import Tiny

THREADS = 4
JOBS = 40
PROMPTS = ["air ant bay", "cat", "desk ear fire hand"]
READING = Reading("mlp.hook_post", "mean")
PLANS = [None, *(intervention(plan("mlp.hook_post", "set", seed=seed)) for seed in range(3))]


@pytest.fixture(
    scope="module", params=["transformer_lens", "nnsight", "two models", "two adapters"]
)
def adapters(request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]) -> list[Adapter]:
    first, other = tiny_model("gpt2"), tiny_model("llama")

    def bridge(model: Tiny) -> Adapter:
        return BridgeAdapter(model.bridge, tokenizer=model.tokenizer)

    def traced(model: Tiny) -> Adapter:
        return TraceAdapter(nnsight.NNsight(copy.deepcopy(model.plain)), tokenizer=model.tokenizer)

    return {
        "transformer_lens": [bridge(first)],
        "nnsight": [traced(first)],
        "two models": [bridge(first), traced(other)],
        "two adapters": [bridge(first), bridge(first)],
    }[request.param]


def job(adapters: list[Adapter], number: int) -> Any:
    adapter, given = adapters[number % len(adapters)], PLANS[number % len(PLANS)]
    match number % 5:
        case 0:
            return gather(adapter, PROMPTS, [READING], intervention=given)[READING].numpy()
        case 1:
            return np.concatenate(adapter.losses(PROMPTS[:1], intervention=given))
        case _:
            settings = {"max_new_tokens": 6, "temperature": float(number % 2), "seed": number}
            return adapter.generate(PROMPTS, intervention=given, **settings).texts


@pytest.mark.parametrize("host", ["bridge", "plain"])
def test_blocks_of_two_threads_are_refused_by_name_and_those_of_one_are_not(
    host: str, tiny_model: Callable[[str], Tiny]
) -> None:
    bridge = getattr(tiny_model("gpt2"), host)
    plans = [plan for plan in PLANS if plan is not None]

    def block() -> None:
        with steered(bridge, plans[0]):
            pass

    with steered(bridge, plans[0]), ThreadPoolExecutor(1) as pool:
        with pytest.raises(InterventionError, match="another thread is in a `with steered` block"):
            pool.submit(block).result()
        block()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(block).result()


@pytest.mark.parametrize("host", ["bridge", "plain"])
def test_a_verb_beside_a_block_of_another_thread_is_refused(
    host: str, tiny_model: Callable[[str], Tiny]
) -> None:
    tiny = tiny_model("gpt2")
    model = getattr(tiny, host)
    adapter = adapt(model, tokenizer=tiny.tokenizer)
    wanted = adapter.losses(PROMPTS[:1])[0]

    def losses() -> Any:
        return adapter.losses(PROMPTS[:1])[0]

    with ThreadPoolExecutor(1) as pool:
        with steered(model, intervention(plan("mlp.hook_post", "set", seed=0))):
            with pytest.raises(InterventionError, match="would steer this pass as well"):
                pool.submit(losses).result()
            assert not np.array_equal(losses(), wanted)
        np.testing.assert_array_equal(pool.submit(losses).result(), wanted)


def test_each_of_forty_answers_is_as_alone(adapters: list[Adapter]) -> None:
    wanted = [job(adapters, number) for number in range(JOBS)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda number: job(adapters, number), range(JOBS)))

    for answer, alone in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(answer, alone)
