"""Models of every precision, their responses in memory or kept, whole or read from disk in chunks.

All that is made of a probe runs on each, and says the same wherever the responses are.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin import Budget, ParallelCorpus, adapt, find_experts
from steer_plugin.analyses.controls.chance import best_of_units_null, stability
from steer_plugin.experts.selection import Choice
from steer_plugin.experts.shards import Shard, merge_shards, read_shard
from steer_plugin.experts.table import score_units
from steer_plugin.methods.steering_vectors import find_vectors
from steer_plugin.models.adapter import Adapter
from steer_plugin.responses.disk_matrix import DiskMatrix
from steer_plugin.responses.probe import Probe, probe_units
from steer_plugin.scores.mean_difference import mean_difference
from steer_plugin.scores.probe_scores import probe_scores
from steer_plugin.scores.rank_scores import auroc
from steer_plugin.scores.typical_responses import typical_responses
from steer_plugin.settings.parts import SCORES
from steer_plugin.settings.probe import ProbeSettings

from support import saved_models, tiny_models
from support.quantised import QUANTISED

Place = Literal["in memory", "kept", "on disk"]
PLACES: tuple[Place, ...] = get_args(Place)
# Less than an eighth of it holds what a probe answers.
LITTLE = 4096
NUMBERS = ("float32", "bfloat16", *QUANTISED)
POOLINGS = ("max", "mean", "last")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ParallelCorpus:
    file = saved_models.save_corpus(tmp_path_factory.mktemp("corpus") / "corpus.tsv", 12)
    return ParallelCorpus.read(file)


@pytest.fixture(scope="module")
def adapters(shipped: Callable[[str], Any]) -> Callable[[str], Adapter]:
    def load(numbers: str) -> Adapter:
        tokenizer = shipped("llama")
        dtype = torch.float32 if numbers in QUANTISED else getattr(torch, numbers)
        model = tiny_models.model("llama", dtype=dtype)
        if numbers in QUANTISED:
            model = QUANTISED[numbers][0](model)
        bridge: Any = TransformerBridge.boot_transformers(
            "tiny-llama",
            hf_model=model,
            tokenizer=copy.deepcopy(tokenizer),
            device="cpu",
            dtype=dtype,
        )
        return adapt(bridge, tokenizer=tokenizer, revision=numbers, batch_tokens=64)

    return cache(load)


def probe_in(
    place: Place, adapter: Adapter, corpus: ParallelCorpus, folder: Path, **settings: Any
) -> Probe:
    budget = {
        "in memory": Budget(),
        "kept": Budget(cache=folder),
        "on disk": Budget(cache=folder, memory=LITTLE),
    }[place]
    active = settings.get("site") != "hook_resid_post"
    probe = probe_units(adapter, corpus, ProbeSettings(**settings), active=active, budget=budget)
    assert isinstance(probe.responses, DiskMatrix) == (place == "on disk")
    return probe


def by_score(name: str, probe: Probe) -> Any:
    return probe_scores(probe, name)


def by_chance(probe: Probe) -> Any:
    return best_of_units_null(probe, "auroc", permutations=2, seed=0)


def by_resamples(probe: Probe) -> Any:
    frame = stability(
        probe, "auroc", (3,), Choice(), concepts=probe.concepts[:1], resamples=2, seed=0
    )
    return frame["jaccard"].to_numpy()


def shuffled_and_resampled(probe: Probe) -> Any:
    return probe_scores(probe.shuffled(0).resampled(0), "auroc")


CONSUMERS: dict[str, Callable[[Probe], Any]] = {
    **{name: partial(by_score, name) for name in SCORES},
    "table": lambda probe: score_units(probe, "auroc", lines=True).statistics,
    "auroc": lambda probe: auroc(probe.responses, probe.labels),
    "mean_difference of responses": lambda probe: mean_difference(probe.responses, probe.labels),
    "typical_responses": lambda probe: typical_responses(probe.responses, probe.labels),
    "chance": by_chance,
    "stability": by_resamples,
    "shuffled": shuffled_and_resampled,
}


def assert_equal(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            assert_equal(found[name], wanted[name])
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_all_that_is_made_of_a_probe_is_the_same_wherever_it_is(
    numbers: str,
    pooling: Any,
    adapters: Callable[[str], Adapter],
    corpus: ParallelCorpus,
    tmp_path: Path,
) -> None:
    probes = {
        place: probe_in(place, adapters(numbers), corpus, tmp_path, pooling=pooling)
        for place in PLACES
    }

    for (name, consume), place in itertools.product(CONSUMERS.items(), PLACES[1:]):
        wanted = consume(probes["in memory"])
        try:
            assert_equal(consume(probes[place]), wanted)
        except Exception as error:
            raise AssertionError(f"{name} {place}") from error


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_steering_vectors_are_the_same_wherever_the_responses_are(
    numbers: str,
    pooling: Any,
    adapters: Callable[[str], Adapter],
    corpus: ParallelCorpus,
    tmp_path: Path,
) -> None:
    def vectors(place: Place) -> Any:
        return find_vectors(
            probe_in(
                place, adapters(numbers), corpus, tmp_path, site="hook_resid_post", pooling=pooling
            )
        ).vectors

    wanted = vectors("in memory")
    for place in PLACES[1:]:
        assert_equal(vectors(place), wanted)


# Every score of every precision is computed above.
@pytest.mark.parametrize(
    ("numbers", "score"),
    [(numbers, "auroc") for numbers in NUMBERS]
    + [("float32", score) for score in SCORES if score != "auroc"],
)
def test_experts_are_the_same_wherever_the_responses_are(
    numbers: str,
    score: str,
    adapters: Callable[[str], Adapter],
    corpus: ParallelCorpus,
    tmp_path: Path,
) -> None:
    adapter, settings = adapters(numbers), ProbeSettings(score=score)
    wanted = find_experts(adapter, corpus, settings)
    whole = find_experts(adapter, corpus, settings, budget=Budget(cache=tmp_path / "kept"))
    for number in (1, 2):
        read_shard(adapter, corpus, tmp_path / str(number), Shard(number, 2), settings)
    merged = merge_shards([tmp_path / "1", tmp_path / "2"])

    for table in (whole, merged):
        np.testing.assert_array_equal(table.scores, wanted.scores)
        assert_equal(dict(table.statistics), dict(wanted.statistics))


def test_shards_of_one_model_on_two_devices_are_merged(
    adapters: Callable[[str], Adapter],
    corpus: ParallelCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapter = adapters("float32")
    identity = adapter.identify()
    for number in (1, 2):
        # Another device gives other last bits.
        answers = replace(identity, answers=f"device {number}", device=f"cuda:{number}")
        monkeypatch.setattr(adapter, "identify", lambda answers=answers: answers)
        read_shard(adapter, corpus, tmp_path / str(number), Shard(number, 2))

    merged = merge_shards([tmp_path / "1", tmp_path / "2"])

    np.testing.assert_array_equal(merged.scores, find_experts(adapter, corpus).scores)
