#!/usr/bin/env python3
"""Check an accelerator against the CPU, and say how fast it is; without a network, in minutes.

`python tests/benchmarks/device.py [--device auto|cpu|cuda|mps] [--small]` makes a Llama with random
weights, runs it on the CPU and on the device in float32 and bfloat16, and exits with 1 where
scores, pooled passes, steering, generation or losses are not equal: exactly where the arithmetic is
the same, otherwise within what the dtype leaves.
"""

import argparse
import copy
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from bench_forward import llama_config, random_model, random_texts, saved_tokenizer
from contest import medians
from peak_memory import peak_bytes
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.scores.rank_scores import scores
from steer_plugin.settings.names import FINAL_NORM

SITE = "mlp.hook_post"
READINGS = (Reading(SITE, "max"), Reading(FINAL_NORM, "mean"))
LANGUAGES = 5
# Of the largest value: sums of hundreds of products, in another order.
ALLOWED = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Size:
    """How much is run."""

    d_model: int
    words: int
    texts: int
    prompts: int
    new_tokens: int
    units: int
    repeats: int


LARGE = Size(768, 8_000, 64, 32, 32, 4_096, 3)
SMALL = Size(64, 300, 8, 3, 4, 64, 1)


@dataclass(frozen=True)
class Check:
    """One comparison of the device with the CPU: the largest difference, and what is allowed."""

    what: str
    difference: float
    allowed: float

    @property
    def equal(self) -> bool:
        """Whether it is within what is allowed; NaN is not."""
        return self.difference <= self.allowed


def adapter_on(device: str, model: Any, tokenizer: Any, dtype: torch.dtype) -> BridgeAdapter:
    """Put a copy of a model behind an adapter, on a device and in a dtype."""
    bridge = TransformerBridge.boot_transformers(
        "random-llama",
        hf_model=copy.deepcopy(model).to(device=device, dtype=dtype),
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
    )
    return BridgeAdapter(bridge, tokenizer=tokenizer, revision="random")


def compare(
    here: BridgeAdapter, there: BridgeAdapter, dtype: torch.dtype, size: Size
) -> Iterator[Check]:
    """Compare an adapter on a device with one of the same model on the CPU."""
    texts = random_texts(size.texts, size.words)
    plan, allowed = silence(here), ALLOWED[dtype]
    for name, given in (("pooled pass", None), ("pooled pass, steered", plan)):
        ours, theirs = (
            gather(adapter, texts, READINGS, intervention=given) for adapter in (there, here)
        )
        for reading in READINGS:
            what = f"{name}, {reading.pooling} of {reading.site}"
            yield Check(what, distance(ours[reading], theirs[reading]), allowed)
    for name, given in (("losses", None), ("losses, steered", plan)):
        found, wanted = (
            torch.from_numpy(np.concatenate(adapter.losses(texts, intervention=given)))
            for adapter in (there, here)
        )
        yield Check(name, distance(found, wanted), allowed)
    prompts = [" ".join(text.split()[:8]) for text in texts[: size.prompts]]
    for name, given in (("generation", None), ("generation, steered", plan)):
        gap = max(_gaps(here, there, prompts, given, size.new_tokens), default=0.0)
        yield Check(f"{name}, loss given up by another token", gap, allowed)


def compare_scores(device: str, dtype: torch.dtype, size: Size) -> Check:
    """Score the same responses on the CPU and on the device: ranks are counted, so exactly."""
    responses, labels = _responses(dtype, size)
    wanted, found = scores(responses, labels), scores(responses.to(device), labels)
    off = max(float(np.abs(wanted[name] - found[name]).max()) for name in wanted)
    return Check("scores of the same responses", off, 1e-12)


def _responses(dtype: torch.dtype, size: Size) -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    rows = 40 * size.texts
    responses = torch.randn(rows, size.units, generator=generator).to(dtype)
    return responses, np.arange(rows) % LANGUAGES


def silence(adapter: BridgeAdapter) -> Intervention:
    """Set a hundredth of the neurons to 1."""
    space = adapter.space(SITE)
    count = max(4, len(space) // 100)
    units = np.random.default_rng(0).choice(len(space), count, replace=False)
    layers, indices = space.addresses(units)
    return Intervention(SITE, tuple(layers.tolist()), tuple(indices.tolist()), (1.0,) * count)


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Give the largest difference as a share of the largest value."""
    wide, wanted = ours.double(), theirs.double()
    return float((wide - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


def _gaps(
    here: BridgeAdapter,
    there: BridgeAdapter,
    prompts: Sequence[str],
    plan: Intervention | None,
    new_tokens: int,
) -> Iterator[float]:
    """Say, where the device writes another token, how much likelier the CPU's is, in nats."""
    ours, theirs = (
        adapter.generate(prompts, intervention=plan, max_new_tokens=new_tokens, temperature=0).texts
        for adapter in (there, here)
    )
    for prompt, one, other in zip(prompts, ours, theirs, strict=True):
        written, wanted = one.split(), other.split()
        same = takewhile(lambda pair: pair[0] == pair[1], zip(written, wanted, strict=False))
        common = len(list(same))
        if common == min(len(written), len(wanted)):
            if len(written) != len(wanted):
                yield float("inf")  # one of them ended
            continue
        ends = [" ".join([prompt, *words[: common + 1]]) for words in (written, wanted)]
        losses = here.losses(ends, intervention=plan)
        yield abs(float(losses[0][-1] - losses[1][-1]))


def speeds(adapter: BridgeAdapter, device: str, dtype: torch.dtype, size: Size) -> list[str]:
    """Measure an adapter's rates on its device."""
    texts = random_texts(size.texts, size.words)
    plan = silence(adapter)
    prompts = [" ".join(text.split()[:8]) for text in texts[: size.prompts]]
    model: Any = adapter.bridge.original_model
    batches = [
        {
            "input_ids": batch.ids.to(device),
            "attention_mask": batch.attention.long().to(device),
            "position_ids": batch.positions.to(device),
            "use_cache": False,
        }
        for batch in adapter.tokens.batches(texts, 2048)
    ]
    responses, labels = _responses(dtype, size)
    held = responses.to(device)

    def forward() -> None:
        with torch.inference_mode():
            for batch in batches:
                model.base_model(**batch)

    def generate(given: Intervention | None) -> Callable[[], object]:
        return lambda: adapter.generate(
            prompts, intervention=given, max_new_tokens=size.new_tokens, temperature=0
        )

    works: dict[str, Callable[[], object]] = {
        "forward": forward,
        "pooled": lambda: deque(adapter.collect(texts, READINGS[:1]), maxlen=0),
        "plain": generate(None),
        "steered": generate(plan),
        "scores": lambda: scores(held, labels),
    }
    seconds = medians(
        {name: _awaited(work, device) for name, work in works.items()}, repeats=size.repeats
    )
    scored = size.units * LANGUAGES / seconds["scores"]
    return [
        f"{scored:,.0f} scores a second of {len(labels):,} responses each",
        f"pooled pass over bare forward {seconds['pooled'] / seconds['forward']:.2f}",
        f"steered over plain generation {seconds['steered'] / seconds['plain']:.2f}",
        f"peak memory {peak_memory(device) / 2**20:,.0f} MiB",
    ]


def _awaited(work: Callable[[], object], device: str) -> Callable[[], object]:
    def done() -> None:
        work()
        if not device.startswith("cpu"):
            torch.accelerator.synchronize()

    return done


def peak_memory(device: str) -> int:
    """Give the most bytes that were taken: of the device, or of the process on the CPU."""
    match device.partition(":")[0]:
        case "cuda":
            return torch.cuda.max_memory_allocated()
        case "mps":
            return torch.mps.driver_allocated_memory()
    return peak_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; 1 where something is not equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="auto takes the accelerator there is")
    parser.add_argument("--small", action="store_true", help="of a size for tests")
    given = parser.parse_args(arguments)
    size = SMALL if given.small else LARGE
    there = torch.accelerator.is_available()
    found = torch.accelerator.current_accelerator() if there else None
    device = given.device if given.device != "auto" else str(found or "cpu")
    model = random_model(llama_config(size.d_model, size.words))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = saved_tokenizer(Path(folder), size.words)
        failed = sum(_failed(device, dtype, model, tokenizer, size) for dtype in ALLOWED)
    if failed:
        print(f"{failed} checks failed: {device} does not answer as the CPU", file=sys.stderr)
    return int(failed > 0)


def _failed(device: str, dtype: torch.dtype, model: Any, tokenizer: Any, size: Size) -> int:
    """Check and measure in one dtype, print what comes of it, and count what is not equal."""
    name = f"{device} {str(dtype).removeprefix('torch.')}"
    here, there = (adapter_on(place, model, tokenizer, dtype) for place in ("cpu", device))
    checks = [*compare(here, there, dtype, size), compare_scores(device, dtype, size)]
    for check in checks:
        verdict = "equal" if check.equal else "NOT EQUAL"
        within = f"({check.difference:.1e}, {check.allowed:.0e} allowed)"
        print(f"{name}: {check.what}: {verdict} {within}")
    for line in speeds(there, device, dtype, size):
        print(f"{name}: {line}")
    return sum(not check.equal for check in checks)


if __name__ == "__main__":
    sys.exit(main())
