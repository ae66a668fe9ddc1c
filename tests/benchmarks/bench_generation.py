"""Generation under intervention against plain generation, and top-p against transformers'."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_forward import llama_config, random_model, saved_tokenizer
from contest import Row, medians, times_as_long, times_faster
from nnsight import NNsight
from transformer_lens.model_bridge import TransformerBridge
from transformers import TopPLogitsWarper

from steer_plugin import ModelSettings
from steer_plugin.adapters.demo_weights import DEMO_PACKAGE
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.shared.sampling import nucleus
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.model import DEMO

D_MODEL, VOCABULARY = 512, 8_000
PROMPT_WORDS, NEW_TOKENS = 8, 64
K = (100, 5_000)
SITE = "mlp.hook_post"
REPEATS = 4
MANY, MANY_WORDS, MANY_TOKENS, MANY_REPEATS = 512, (2, 17), 32, 2
DEMO_REPEATS = 2
TEXTS, GEMMA_VOCABULARY, TOP_P = 8, 262_144, 0.9


def rows() -> list[Row]:
    """Continue eight prompts, and one, with no neurons, 100 and 5,000 of them set."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = saved_tokenizer(Path(folder), VOCABULARY)
        plain = random_model(llama_config(D_MODEL, VOCABULARY))
        bridge = TransformerBridge.boot_transformers(
            "random-llama", hf_model=copy.deepcopy(plain), tokenizer=tokenizer, device="cpu"
        )
    hosts: dict[str, Adapter] = {
        "TransformerLens": BridgeAdapter(bridge, tokenizer=tokenizer),
        "nnsight": TraceAdapter(NNsight(plain), tokenizer=tokenizer),
    }
    generator = np.random.default_rng(0)
    prompts = [
        " ".join(map(str, generator.integers(2, VOCABULARY, PROMPT_WORDS))) for _ in range(8)
    ]
    rows = [
        row
        for host, adapter in hosts.items()
        for count in (8, 1)
        for row in _rows(f"Llama {D_MODEL} wide, {host}", adapter, prompts[:count], K, REPEATS)
    ]
    if find_spec(DEMO_PACKAGE) is not None:
        for host in ("transformer_lens", "nnsight"):
            adapter = load_adapter(ModelSettings(DEMO, host=host))
            rows += _rows(f"Gemma 3 270M, {host}", adapter, [""] * 8, K[:1], DEMO_REPEATS)
    many = [
        " ".join(map(str, generator.integers(2, VOCABULARY, words)))
        for words in generator.integers(*MANY_WORDS, MANY)
    ]
    for host, adapter in hosts.items():
        rows.append(_batches_row(host, adapter, plain, many))
    return [*rows, _nucleus_row()]


def _rows(
    name: str, adapter: Adapter, prompts: list[str], ks: tuple[int, ...], repeats: int
) -> Iterator[Row]:
    def generate(plan: Intervention | None) -> Any:
        return adapter.generate(
            prompts, intervention=plan, max_new_tokens=NEW_TOKENS, temperature=1.0, top_p=TOP_P
        ).texts

    contenders: dict[str, Callable[[], Any]] = {"plain": partial(generate, None)}
    contenders |= {str(k): partial(generate, _plan(adapter, k)) for k in ks}
    seconds = medians(contenders, repeats=repeats)
    tokens = NEW_TOKENS * len(prompts)
    for k in ks:
        rate = tokens / seconds[str(k)]
        yield times_as_long(
            f"{len(prompts)} x {NEW_TOKENS} new tokens, {k:,} neurons set, {name}: {rate:.0f}/s",
            f"without intervention: {tokens / seconds['plain']:.0f}/s",
            seconds[str(k)],
            seconds["plain"],
            "<= 1.1" if k == min(K) else "",
        )


def _batches_row(host: str, adapter: Adapter, plain: Any, prompts: list[str]) -> Row:
    """Continue many prompts, steered, and let transformers sample in the same batches."""
    tokens: Any = adapter.tokens  # type: ignore[attr-defined]
    model = copy.deepcopy(plain)
    model.set_attn_implementation("eager")  # as hosts run it
    batches = tokens.prompt_batches(
        tokens.prompts(prompts, MANY_TOKENS),
        range(len(prompts)),
        MANY_TOKENS,
        ModelSettings.batch_tokens,
        alike=False,
    )
    settings = {"do_sample": True, "top_k": 0, "min_new_tokens": MANY_TOKENS}

    def theirs() -> None:
        for batch in batches:
            model.generate(
                batch.ids,
                attention_mask=batch.attention.long(),
                max_new_tokens=MANY_TOKENS,
                pad_token_id=0,
                **settings,
            )

    plan = _plan(adapter, min(K))
    seconds = medians(
        {
            "ours": lambda: adapter.generate(
                prompts, intervention=plan, max_new_tokens=MANY_TOKENS
            ),
            "transformers": theirs,
        },
        repeats=MANY_REPEATS,
    )
    return times_as_long(
        f"{len(prompts)} prompts x {MANY_TOKENS} tokens, {min(K)} neurons set, {host}",
        f"transformers' generate in the same {len(batches)} batches",
        seconds["ours"],
        seconds["transformers"],
        "<= 1.1",
    )


def _nucleus_row() -> Row:
    """Choose among all tokens of Gemma 3, as is done for each new token."""
    scores = 3 * torch.randn(TEXTS, GEMMA_VOCABULARY, generator=torch.Generator().manual_seed(0))
    ids = torch.zeros((TEXTS, 1), dtype=torch.int64)
    theirs: Callable[..., Any] = TopPLogitsWarper(TOP_P)
    seconds = medians(
        {
            "ours": partial(nucleus, ids, scores, top_p=TOP_P),
            "transformers": partial(theirs, ids, scores),
        },
        repeats=REPEATS,
    )
    return times_faster(
        f"top-p of {TEXTS} x {GEMMA_VOCABULARY:,} scores, a new token",
        "transformers' TopPLogitsWarper",
        seconds["ours"],
        seconds["transformers"],
        ">= 2",
    )


def _plan(adapter: Adapter, k: int) -> Intervention:
    """Silence neurons of all layers, drawn at random."""
    space = adapter.space(SITE)
    units = np.random.default_rng(k).choice(len(space), k, replace=False)
    layers, indices = space.addresses(units)
    return Intervention(SITE, tuple(layers.tolist()), tuple(indices.tolist()), (0.0,) * k)
