"""Losses in batches against a plain model: one text at a time, with and without a cache."""

import contextlib
import copy
import dataclasses
import itertools
import random
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.shared import losses as losses_module
from steer_plugin.adapters.shared.losses import WindowBatch, token_losses, window_batches, windows
from steer_plugin.adapters.shared.tokens import TokenBatch, Tokens
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.parts import OPERATIONS

from support import tiny_models
from support.covering import pairwise
from support.oracle import PATHS, Oracle, Plan
from support.plans import POSITIONS, intervention, plan
from support.tiny_models import ARCHITECTURES, MAX_TOKENS, MORE_ARCHITECTURES, Tiny

TOLERANCE = 1e-5
ALL = (*ARCHITECTURES, *MORE_ARCHITECTURES)
WHOLE: dict[str, Any] = {"context": MAX_TOKENS, "stride": MAX_TOKENS - 1}


def sentence(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(tiny_models.WORDS, k=words))  # noqa: S311


TEXTS = [sentence(words, 90 + words) for words in (3, 11, 1, 7, 7)]
LONG = [sentence(words, words) for words in (30, 4, 50, 17)]


@dataclasses.dataclass(frozen=True)
class Hosts:
    """One model three times; each host batched and one window at a time."""

    oracle: Oracle
    batched: tuple[Adapter, Adapter]
    single: tuple[Adapter, Adapter]


@pytest.fixture(scope="module")
def hosts_of(tiny_model: Callable[[str], Tiny]) -> Callable[[str], Hosts]:
    @cache
    def make(name: str) -> Hosts:
        model = tiny_model(name)
        traced = nnsight.NNsight(copy.deepcopy(model.plain))

        def adapters(batch_tokens: int) -> tuple[Adapter, Adapter]:
            settings: dict[str, Any] = {
                "tokenizer": model.tokenizer,
                "bos": True,
                "batch_tokens": batch_tokens,
            }
            return BridgeAdapter(model.bridge, **settings), TraceAdapter(traced, **settings)

        oracle = Oracle(name, model.plain, model.tokenizer, bos=True)
        return Hosts(oracle, adapters(4096), adapters(1))

    return make


def token_by_token(oracle: Oracle, text: str, acts: Plan | None) -> np.ndarray:
    """Score a text one token a pass, all before it in a cache of keys and values."""
    ids = oracle.ids(text)
    past, losses = None, []
    for place, token in enumerate(ids[:-1]):
        steering: Any = contextlib.nullcontext()
        if acts is not None:
            # Only the first pass begins with BOS, and no token of a text is a generated one.
            here = acts if place == 0 else dataclasses.replace(acts, bos=True)
            steering = oracle._steering([token], here, 1)
        with steering, torch.no_grad():
            answer = oracle.model(torch.tensor([[token]]), past_key_values=past, use_cache=True)
        past = answer.past_key_values
        logits = answer.logits[0, -1].double()
        losses.append(float(logits.logsumexp(0) - logits[ids[place + 1]]))
    return np.array(losses)


def assert_all_close(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)


# Each architecture unsteered and under two operations; each operation on two or three of them.
CHANGED = [*zip(ARCHITECTURES * 2, itertools.cycle(OPERATIONS), strict=False)]


@pytest.mark.parametrize(
    ("name", "operation"), [*((name, None) for name in ARCHITECTURES), *CHANGED]
)
def test_losses_agree_with_and_without_a_cache_batched_and_single_on_each_host(
    name: str, operation: str | None, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    acts = None
    if operation is not None:
        site = random.Random(f"{name} {operation}").choice(sorted(PATHS[name]))  # noqa: S311
        acts = plan(site, operation, layers=(0,) if site.startswith("ln_final") else (0, 2))
    how = None if acts is None else intervention(acts)

    cached = [token_by_token(hosts.oracle, text, acts) for text in TEXTS]

    assert_all_close([hosts.oracle.losses(text, 64, 63, acts) for text in TEXTS], cached)
    for adapter in (*hosts.batched, *hosts.single):
        assert_all_close(adapter.losses(TEXTS, intervention=how, **WHOLE), cached)
    if acts is not None:
        before = np.concatenate([hosts.oracle.losses(text, 64, 63) for text in TEXTS])
        assert np.abs(np.concatenate(cached) - before).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "steered"), [*zip(ALL, itertools.cycle([False, True]), strict=False)]
)
def test_windows_side_by_side_lose_what_each_loses_alone(
    name: str, steered: bool, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    acts = plan("hook_resid_post", "blend") if steered else None

    wanted = [hosts.oracle.losses(text, 16, 5, acts) for text in LONG]

    assert [len(losses) for losses in wanted] == [30, 4, 50, 17]
    how = None if acts is None else intervention(acts)
    for adapter in (*hosts.batched, *(hosts.single if name in ARCHITECTURES else ())):
        assert_all_close(adapter.losses(LONG, intervention=how, context=16, stride=5), wanted)


@pytest.mark.parametrize(
    ("name", "positions", "bos"), pairwise(["gpt2", "gemma3"], POSITIONS, [True, False])
)
def test_a_texts_tokens_are_all_prompt_and_bos_is_steered_where_the_plan_says_so(
    name: str, positions: str, bos: bool, hosts_of: Callable[[str], Hosts]
) -> None:
    hosts = hosts_of(name)
    acts = plan("mlp.hook_post", "set", positions=positions, bos=bos)
    everywhere = plan("mlp.hook_post", "set", bos=bos)

    # What follows the last token is not scored.
    act = None if positions in ("generated", "last") else everywhere
    wanted = [token_by_token(hosts.oracle, text, act) for text in TEXTS]

    for adapter in (*hosts.batched, *hosts.single):
        assert_all_close(adapter.losses(TEXTS, intervention=intervention(acts), **WHOLE), wanted)


def test_neither_the_order_of_texts_nor_their_company_changes_a_loss(
    hosts_of: Callable[[str], Hosts],
) -> None:
    for adapter in hosts_of("mixtral").batched:
        forth = adapter.losses(LONG, context=16, stride=5)
        back = adapter.losses(LONG[::-1], context=16, stride=5)
        assert_all_close(forth, back[::-1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_losses_are_in_float32_or_wider(dtype: torch.dtype, shipped: Callable[[str], Any]) -> None:
    model = tiny_models.boot("gpt2", shipped("gpt2"), dtype=dtype)
    oracle = Oracle("gpt2", model.plain.double(), model.tokenizer, bos=True)

    for losses, text in zip(
        BridgeAdapter(model.bridge, tokenizer=model.tokenizer).losses(TEXTS), TEXTS, strict=True
    ):
        assert losses.dtype == (np.float64 if dtype == torch.float64 else np.float32)
        tolerance = 1e-12 if dtype == torch.float64 else 0.2
        np.testing.assert_allclose(losses, oracle.losses(text, 64, 63), rtol=0, atol=tolerance)


# Parts


def cut_by_hand(length: int, context: int, stride: int) -> list[tuple[int, int, int]]:
    """List `(start, end, first token scored)` of a text's windows."""
    found, scored = [], 1
    for start in range(0, length, stride):
        end = min(start + context, length)
        if scored < end:
            found.append((start, end, scored))
        scored = max(scored, end)
    return found


def tokens_that_count() -> Tokens:
    """Give tokens for texts of numbers, each its own id."""

    class Numbers:
        pad_token_id: int | None = None
        added_tokens_decoder: Mapping[int, Any] = {}

        def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
            assert not add_special_tokens
            return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

    return Tokens(Numbers(), prefix=(), suffix=(), limit=None)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=6),
    context=st.integers(2, 20),
    data=st.data(),
    batch_tokens=st.integers(1, 100),
    affordable=st.integers(1, 100),
)
def test_every_token_but_the_first_is_scored_once_within_the_budget(
    lengths: list[int], context: int, data: st.DataObject, batch_tokens: int, affordable: int
) -> None:
    stride = data.draw(st.integers(1, context - 1))
    numbers, texts, start = tokens_that_count(), [], 0
    for length in lengths:
        texts.append(" ".join(map(str, range(start, start + length))))
        start += length
    vocabulary = losses_module.BATCH_LOGITS // affordable
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=vocabulary))

    _, cut = windows(numbers, texts, context, stride)
    batches = list(window_batches(numbers, cut, batch_tokens, config))

    wanted = [
        (text, end - begin, first - begin)
        for text, length in enumerate(lengths)
        for begin, end, first in cut_by_hand(length, context, stride)
    ]
    assert [(one.text, len(one.ids), one.first) for one in cut] == wanted
    assert sorted(row for one in batches for row in one.batch.rows) == list(range(len(cut)))
    scored = sorted(int(token) for one in batches for token in one.batch.ids[one.scored])
    firsts = np.cumsum([0, *lengths[:-1]])
    assert scored == sorted(set(range(sum(lengths))) - set(firsts.tolist()))
    for one in batches:
        budget = min(batch_tokens, losses_module.BATCH_LOGITS // vocabulary)
        assert one.batch.ids.numel() <= budget or len(one.batch.rows) == 1


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    text=st.integers(1, 4),
    token=st.integers(2, 90),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 300.0, 1e30]),
    data=st.data(),
)
def test_a_loss_is_minus_the_log_of_the_tokens_share(
    seed: int, text: int, token: int, scale: float, data: st.DataObject
) -> None:
    first = data.draw(st.integers(1, token - 1))
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn((text, token, 5), generator=draw)
    ids = torch.randint(5, (text, token), generator=draw)
    scored = torch.rand((text, token), generator=draw) < 0.8
    scored[:, 0] = False
    scored[:, 1:first] = False
    scored[0, first] = True

    found = token_losses(logits[:, first - 1 :], ids, scored).numpy()

    wanted = []
    for row in range(text):
        for place in range(1, token):
            if scored[row, place]:
                scores = logits[row, place - 1].double().numpy()
                peak = scores.max()
                log_sum = peak + np.log(np.exp(scores - peak).sum())
                wanted.append(log_sum - scores[ids[row, place]])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_model_is_asked_for_no_more_logits_than_are_scored_and_only_if_it_can_be() -> None:
    batch = TokenBatch((0, 1), *(torch.zeros((2, 9), dtype=kind) for kind in (int, bool, bool)))
    scored = torch.zeros((2, 9), dtype=torch.bool)
    scored[0, 6:] = True
    scored[1, 4:6] = True
    one = WindowBatch(batch, scored)

    assert one.wanted(tiny_models.model("llama").forward) == {"logits_to_keep": 9 - 3}
    assert one.wanted(tiny_models.model("llama").model.forward) == {}


class Largest(TorchDispatchMode):
    """Remembers the most numbers that an operation gave."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given_back = func(*args, **(kwargs or {}))
        for one in given_back if isinstance(given_back, tuple) else (given_back,):
            if isinstance(one, torch.Tensor) and one._base is None:
                self.numbers = max(self.numbers, one.numel())
        return given_back


def test_all_logits_are_never_copied_at_once() -> None:
    vocabulary, tokens = 1000, 700
    logits = torch.zeros((2, tokens, vocabulary), dtype=torch.bfloat16)
    scored = torch.ones((2, tokens), dtype=torch.bool)
    scored[:, 0] = False

    with Largest() as largest:
        token_losses(logits, torch.zeros((2, tokens), dtype=torch.int64), scored)

    assert largest.numbers == losses_module.SCORED_AT_ONCE * vocabulary
