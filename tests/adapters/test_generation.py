"""What a prompt is continued with: whatever the batch, the order and the host, and what of it."""

import copy
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from steer_plugin import Intervention, adapt
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.shared.generation import _Written
from steer_plugin.adapters.shared.sampling import choose, draws
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ModelError
from steer_plugin.models.generation import Writing

from support import tiny_models
from support.oracle import Oracle
from support.plans import intervention, plan
from support.tiny_models import MAX_TOKENS, Tiny

Both = Callable[..., Any]

LENGTHS = (2, 12, 1, 7, 4, 4, 9, 3, 1, 11, 6, 2)
PROMPTS = [
    " ".join(tiny_models.WORDS[3 * start : 3 * start + words])
    for start, words in enumerate(LENGTHS)
]
NEW = 6
ACT = plan("mlp.hook_post", "set", layers=(0, 1), bos=False)
SAMPLED: dict[str, Any] = {"max_new_tokens": NEW, "top_p": 0.9, "temperature": 1.3, "seed": 7}
GREEDY: dict[str, Any] = {"max_new_tokens": NEW, "temperature": 0}


@pytest.fixture(scope="module", params=["transformer_lens", "nnsight", "transformers"])
def both(request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]) -> Both:
    """Make an adapter of a tiny GPT-2 on each host."""
    model = tiny_model("gpt2")
    plain = copy.deepcopy(model.plain)
    traced = nnsight.NNsight(plain)

    def make(**settings: Any) -> Any:
        if request.param == "transformers":
            return adapt(plain, tokenizer=model.tokenizer, **settings)
        if request.param == "nnsight":
            return TraceAdapter(traced, tokenizer=model.tokenizer, **settings)
        return BridgeAdapter(model.bridge, tokenizer=model.tokenizer, **settings)

    return make


def torch_model(adapter: Any) -> Any:
    return adapter.model._module if isinstance(adapter, TraceAdapter) else adapter._model


def sizes(adapter: Any, run: Callable[[], Any]) -> list[tuple[int, int]]:
    """Give the texts and tokens of each forward pass that begins a text."""
    passes: list[tuple[int, int]] = []

    def note(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if ids.shape[1] > 1 or not passes:
            passes.append(tuple(ids.shape))

    handle = torch_model(adapter).register_forward_pre_hook(note, with_kwargs=True)
    try:
        run()
    finally:
        handle.remove()
    return passes


# Batches


@pytest.mark.parametrize("settings", [SAMPLED, GREEDY], ids=["sampled", "greedy"])
@pytest.mark.parametrize("act", [None, ACT], ids=["plain", "steered"])
def test_what_is_written_depends_on_no_batch_and_no_order(
    act: Any, settings: dict[str, Any], both: Both
) -> None:
    given = None if act is None else intervention(act)
    whole = both(batch_tokens=4096).generate(PROMPTS, intervention=given, **settings)

    small = both(batch_tokens=40).generate(PROMPTS, intervention=given, **settings)
    order = random.Random(0).sample(range(len(PROMPTS)), len(PROMPTS))  # noqa: S311 (no secret)
    some = both(batch_tokens=64).generate(PROMPTS, rows=order, intervention=given, **settings)
    alone = {
        row: both().generate(PROMPTS, rows=[row], intervention=given, **settings).ids
        for row in range(0, len(PROMPTS), 3)
    }

    assert small.ids == whole.ids
    assert some.ids == tuple(whole.ids[row] for row in order)
    assert alone == {row: (whole.ids[row],) for row in alone}
    if settings is SAMPLED:
        assert len(set(both().generate(["air"] * 20, **settings).texts)) > 10


def test_batches_are_cut_by_tokens_with_room_for_the_new_ones_the_longest_first(
    both: Both,
) -> None:
    adapter = both(batch_tokens=40)

    passes = sizes(adapter, lambda: adapter.generate(PROMPTS, **GREEDY))

    lengths = sorted((words + int(adapter.tokens.bos) for words in LENGTHS), reverse=True)
    assert [width for _, width in passes] == sorted((width for _, width in passes), reverse=True)
    assert sum(texts for texts, _ in passes) == len(PROMPTS)
    start = 0
    for texts, width in passes:
        assert width == lengths[start]
        start += texts
        assert texts == 1 or texts * (width + NEW) <= 40
        # One more would be too many.
        assert start == len(PROMPTS) or (texts + 1) * (width + NEW) > 40


@pytest.mark.parametrize("rows", [[], [0, 0], [2], [-1]])
def test_rows_that_are_no_prompts_are_refused(rows: list[int], both: Both) -> None:
    with pytest.raises(ModelError, match="of 2 prompts; give each once, from 0 to 1"):
        both().generate(["air", "ant"], rows=rows)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; give at least 1"),
        ({"temperature": -1.0}, "temperature is -1.0; give 0 or more"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_p": 0.0}, "top_p is 0.0; give above 0"),
        ({"seed": -1}, "seed is -1; give 0 or more"),
    ],
)
def test_settings_out_of_their_range_are_refused(
    wrong: dict[str, Any], match: str, both: Both
) -> None:
    with pytest.raises(ModelError, match=match):
        both().generate(PROMPTS, **wrong)


# Sampling


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (1.0, 0.7), (0.6, 0.9), (1.7, 1.0)])
def test_tokens_are_drawn_as_often_as_transformers_would_draw_them(
    temperature: float, top_p: float
) -> None:
    logits = 2 * torch.randn((1, 12), generator=torch.Generator().manual_seed(1))
    texts = 40_000
    warp = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_p < 1:
        warp.append(TopPLogitsWarper(top_p))
    wanted = warp(torch.zeros((1, 1), dtype=torch.int64), logits).softmax(-1)[0].numpy()
    logs: list[torch.Tensor] = []

    scores = choose(
        torch.zeros((texts, 1), dtype=torch.int64),
        logits.repeat(texts, 1),
        temperature=temperature,
        top_p=top_p,
        uniform=draws([(3, row) for row in range(texts)], 1),
        log_probabilities=logs,
        tell=None,
    )

    chosen = scores.argmax(-1)
    shares = np.bincount(chosen.numpy(), minlength=12) / texts
    assert (shares[wanted == 0] == 0).all()
    np.testing.assert_allclose(shares, wanted, rtol=0, atol=4 * np.sqrt(0.25 / texts))
    torch.testing.assert_close(logs[0], logits.log_softmax(-1)[0][chosen])


@pytest.mark.parametrize("temperature", [0, 1e-300, 1e-40, 1e-7])
def test_at_almost_no_temperature_the_likeliest_token_is_next(temperature: float) -> None:
    logits = 100 * torch.randn((8, 12), generator=torch.Generator().manual_seed(1))
    likeliest = logits.argmax(-1)

    scores = choose(
        torch.zeros((8, 1), dtype=torch.int64),
        logits,
        temperature=temperature,
        top_p=0.9,
        uniform=draws([(3, row) for row in range(8)], 1),
        log_probabilities=[],
        tell=None,
    )

    assert torch.equal(scores.argmax(-1), likeliest)


def test_the_numbers_of_a_prompt_are_its_own_and_fewer_are_the_first_of_more() -> None:
    many = draws([(2, 0), (2, 5), (2, 9)], 20)

    assert torch.equal(draws([(2, 9), (2, 5)], 7), many[[2, 1], :7])
    assert len(set(many.flatten().tolist())) == 60
    assert not torch.equal(draws([(3, 0)], 20), many[:1])


def test_a_prompt_has_the_place_among_those_of_its_seed() -> None:
    assert Writing(seed=4).streams(3) == [(4, 0), (4, 1), (4, 2)]
    assert Writing(seed=(4, 0, 4, 4, 0)).streams(5) == [(4, 0), (0, 0), (4, 1), (4, 2), (0, 1)]
    with pytest.raises(ModelError, match="2 seeds were given for 3 prompts; give one for all, or"):
        Writing(seed=(4, 0)).streams(3)
    with pytest.raises(ModelError, match=r"seed is .*; give 0 or more"):
        Writing(seed=(4, -1))


@pytest.mark.parametrize("drawn", [0.0, 1 - 2**-53])
def test_what_has_no_probability_is_never_drawn(drawn: float) -> None:
    scores = torch.tensor([[float("-inf"), 1.0, 2.0, float("-inf")]])

    chosen = choose(
        torch.zeros((1, 1), dtype=torch.int64),
        scores,
        temperature=1.0,
        top_p=1.0,
        uniform=torch.tensor([[drawn]], dtype=torch.float64),
        log_probabilities=[],
        tell=None,
    ).argmax(-1)

    assert chosen.tolist() == [1 if drawn == 0 else 2]


def test_scores_that_are_no_numbers_end_in_an_error(both: Both) -> None:
    huge = Intervention("hook_resid_post", (2,), (0,), (float("1e38"),), operation="scale")

    for settings in (GREEDY, SAMPLED):
        with pytest.raises(ModelError, match="scores of the next token are not finite"):
            both().generate(PROMPTS[:2], intervention=huge + huge, **settings)


# What is given


@pytest.mark.parametrize("act", [None, ACT], ids=["plain", "steered"])
def test_log_probabilities_are_those_of_the_whole_text(
    act: Any, both: Both, tiny_model: Callable[[str], Tiny]
) -> None:
    model = tiny_model("gpt2")
    given = None if act is None else intervention(act)
    adapter = both(batch_tokens=60)
    oracle = Oracle("gpt2", model.plain, model.tokenizer, bos=adapter.tokens.bos)

    for settings in (GREEDY, SAMPLED):
        written = adapter.generate(PROMPTS, intervention=given, **settings)

        for prompt, ids, logs in zip(PROMPTS, written.ids, written.log_probabilities, strict=True):
            before = oracle.ids(prompt)
            logits, _ = oracle.forward([*before, *ids], act, len(before))
            wanted = logits.log_softmax(-1)[len(before) - 1 : -1]
            found = wanted[torch.arange(len(ids)), torch.tensor(ids)]
            np.testing.assert_allclose(logs, found.numpy(), rtol=0, atol=2e-5)


def test_a_text_ends_with_its_end_token_or_its_length(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = both()
    plain = adapter.generate(PROMPTS, **GREEDY)
    end = plain.ids[1][2]
    changed = copy.deepcopy(torch_model(adapter).generation_config)
    changed.eos_token_id = end
    monkeypatch.setattr(torch_model(adapter), "generation_config", changed)

    ended = adapter.generate(PROMPTS, **GREEDY)

    for before, after, logs, reason in zip(
        plain.ids, ended.ids, ended.log_probabilities, ended.finish_reasons, strict=True
    ):
        stops = end in before
        assert reason == ("stop" if stops else "length")
        assert after == (before[: before.index(end) + 1] if stops else before)
        assert len(logs) == len(after)
    assert set(ended.finish_reasons) == {"stop", "length"}
    frame = ended.frame()
    assert list(frame["text"]) == list(ended.texts)
    assert list(frame["tokens"]) == [*map(len, ended.ids)]


@pytest.mark.parametrize("settings", [SAMPLED, GREEDY], ids=["sampled", "greedy"])
def test_the_pieces_that_are_told_are_the_texts(settings: dict[str, Any], both: Both) -> None:
    pieces: list[tuple[int, str]] = []
    adapter = both(batch_tokens=64)

    written = adapter.generate(
        PROMPTS,
        intervention=intervention(ACT),
        told=lambda row, piece: pieces.append((row, piece)),
        **settings,
    )

    assert adapter.generate(PROMPTS, intervention=intervention(ACT), **settings) == written
    for row, text in enumerate(written.texts):
        of_row = [piece for place, piece in pieces if place == row]
        assert "".join(of_row) == text
        assert len(of_row) >= len(text.split())
    # Tokens of the texts of a batch come in turns.
    assert [row for row, _ in pieces] != sorted(row for row, _ in pieces)


@pytest.mark.usefixtures("unchecked")
def test_what_a_tokenizer_writes_otherwise_later_is_told_anew_and_streaming_goes_on() -> None:
    texts = ["do", "do n", "don't", "don't stop"]
    pieces: list[str] = []
    tokens: Any = SimpleNamespace(decode=lambda ids: texts[len(ids) - 1])
    written = _Written(0, tokens, set(), lambda _, piece: pieces.append(piece))

    for again in range(2):  # as where memory had no room for a batch
        written.begin()
        for number in range(4 - again):
            written.add(number)
    written.end([0, 1, 2, 3], [0.0] * 4)

    assert pieces[:4] == ["do", " n", "n't", " stop"]


def test_more_than_the_model_takes_is_told_by_the_prompt_that_is_too_long(both: Both) -> None:
    prompts = ["air", " ".join(["air"] * (MAX_TOKENS - 5))]

    with pytest.raises(ModelError, match=r"after a prompt of .* are more than the 64 the model"):
        both().generate(prompts, max_new_tokens=8)


def test_progress_counts_prompts(both: Both, capsys: pytest.CaptureFixture[str]) -> None:
    both(batch_tokens=40).generate(PROMPTS, progress="writing", **GREEDY)

    err = capsys.readouterr().err
    assert "writing: 100%" in err
    assert "12/12" in err


def test_adapt_makes_the_same(both: Both, tiny_model: Callable[[str], Tiny]) -> None:
    model = tiny_model("gpt2")
    adapter = adapt(model.bridge, tokenizer=model.tokenizer, batch_tokens=40)

    assert adapter.generate(PROMPTS, **SAMPLED).ids == both().generate(PROMPTS, **SAMPLED).ids
