"""Experts and vectors of a concept against one other: what plain hooks and scikit-learn give."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from steer_plugin import (
    Budget,
    ExpertTable,
    LabelledCorpus,
    ParallelCorpus,
    ProbeSettings,
    find_experts,
    find_vectors,
    probe_units,
    score_units,
)
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ScoreError
from steer_plugin.experts.shards import Shard, merge_shards, read_shard
from steer_plugin.settings.parts import SCORES

from support.oracle import Oracle
from support.same_answers import assert_same
from support.tiny_models import N_LAYERS, Tiny

PARALLEL = ParallelCorpus.read(
    {
        "eng_Latn": ["air ant", "bay cat bell", "door", "sea ship"],
        "deu_Latn": ["fox hill", "key map", "owl moon ink", "pen"],
        "fra_Latn": ["rain", "road salt", "oak nut", "lake leaf lion"],
    }
)
LABELLED = LabelledCorpus.read(
    {
        "calm": ["air ant", "bay cat bell", "door"],
        "toxic": ["fox hill", "key map", "owl moon ink", "pen", "sea ship"],
        "plain": ["rain", "road salt"],
    }
)
CORPORA = [(PARALLEL, "eng_Latn", "fra_Latn"), (LABELLED, "plain", "toxic")]


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Tiny]) -> Tiny:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def adapter(model: Tiny) -> BridgeAdapter:
    return BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True, revision="random")


def responses(
    model: Tiny, corpus: ParallelCorpus | LabelledCorpus, concept: str, site: str, pooling: str
) -> np.ndarray:
    oracle = Oracle("llama", model.plain, model.tokenizer, bos=True)
    keys = [(site, layer) for layer in range(N_LAYERS)]
    return oracle.responses(list(corpus.sentences[concept]), keys, pooling)


@pytest.mark.parametrize(("corpus", "source", "target"), CORPORA)
def test_a_target_is_told_from_its_source_alone(
    corpus: ParallelCorpus | LabelledCorpus,
    source: str,
    target: str,
    model: Tiny,
    adapter: BridgeAdapter,
) -> None:
    table = find_experts(adapter, corpus, ProbeSettings(lines=True, source=source))

    own, others = (
        responses(model, corpus, concept, "mlp.hook_post", "max") for concept in (target, source)
    )
    told = [True] * len(own) + [False] * len(others)
    wanted = [roc_auc_score(told, unit) for unit in np.concatenate([own, others]).T]
    row = table.row(target)
    np.testing.assert_allclose(table.scores[row], wanted, rtol=0, atol=1e-6)
    for name, values in (("mean", own.mean(0)), ("off_mean", others.mean(0))):
        np.testing.assert_allclose(table.statistics[name][row], values, rtol=0, atol=1e-5)
    shift = table.intervention(target, top_k=3, operation="add")
    units = table.top(target, 3)
    by_unit = dict(zip(zip(shift.layers, shift.indices, strict=True), shift.values, strict=True))
    for unit, value in zip(units, (own.mean(0) - others.mean(0))[units], strict=True):
        layer, index = (int(place[0]) for place in table.space.addresses(np.array([unit])))
        assert by_unit[layer, index] == pytest.approx(value, abs=1e-5)

    assert table.concepts == tuple(concept for concept in corpus.concepts if concept != source)
    assert shift.provenance["source"] == source
    assert shift.describe().endswith(f"({target} against {source})")
    every = find_experts(adapter, corpus)
    assert not np.array_equal(every.scores[every.row(target)], table.scores[row])


@pytest.mark.parametrize(("corpus", "source", "target"), CORPORA)
def test_vectors_lead_from_the_source_to_the_target(
    corpus: ParallelCorpus | LabelledCorpus,
    source: str,
    target: str,
    model: Tiny,
    adapter: BridgeAdapter,
) -> None:
    probe = probe_units(adapter, corpus, ProbeSettings(site="hook_resid_post", pooling="mean"))

    vectors = find_vectors(probe, source=source)

    own, others = (
        responses(model, corpus, concept, "hook_resid_post", "mean") for concept in (target, source)
    )
    found = vectors.vectors["mean_difference"][vectors.concepts.index(target)]
    np.testing.assert_allclose(found, own.mean(0) - others.mean(0), rtol=0, atol=1e-5)
    assert source not in vectors.concepts
    assert vectors.intervention(target, layer=1).provenance["source"] == source


@pytest.mark.parametrize("score", SCORES)
def test_of_two_concepts_either_is_told_from_the_other(score: str, adapter: BridgeAdapter) -> None:
    two = PARALLEL.select(("eng_Latn", "deu_Latn"))
    probe = probe_units(adapter, two, ProbeSettings(score=score), active=True)  # type: ignore[arg-type]

    one = score_units(probe, score, lines=True, source="eng_Latn")  # type: ignore[arg-type]

    both = score_units(probe, score, lines=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(one.scores[0], both.scores[both.row("deu_Latn")])
    for name, values in one.statistics.items():
        np.testing.assert_array_equal(values[0], both.statistics[name][both.row("deu_Latn")])


def test_a_source_is_told_from_whatever_is_kept_or_sharded(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    settings = ProbeSettings(source="deu_Latn")
    wanted = find_experts(adapter, PARALLEL, settings)

    kept = find_experts(adapter, PARALLEL, settings, budget=Budget(cache=tmp_path / "cache"))
    pieces = find_experts(
        adapter, PARALLEL, settings, budget=Budget(cache=tmp_path / "pieces", disk=12 * 24 * 4)
    )
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders, start=1):
        read_shard(adapter, PARALLEL, folder, Shard(number, 2), settings)
    kept.save(tmp_path / "table")

    for table in (kept, pieces, merge_shards(folders), ExpertTable.load(tmp_path / "table")):
        assert_same(table, wanted)


def test_the_texts_of_a_pair_stay_beside_their_responses(adapter: BridgeAdapter) -> None:
    whole = probe_units(adapter, PARALLEL).frame()

    pair = probe_units(adapter, PARALLEL).against("deu_Latn", "eng_Latn").frame()

    wanted = whole[whole["concept"].isin(["deu_Latn", "eng_Latn"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(pair, wanted)


def test_a_source_that_is_not_there_is_refused(adapter: BridgeAdapter) -> None:
    with pytest.raises(ScoreError, match="'tha_Thai' is not in the corpus; it has: eng_Latn, deu"):
        find_experts(adapter, PARALLEL, ProbeSettings(source="tha_Thai"))
    probe = probe_units(adapter, PARALLEL)
    with pytest.raises(ScoreError, match="cannot be told from itself"):
        probe.against("eng_Latn", "eng_Latn")
    alone = replace(
        probe, concepts=("eng_Latn",), labels=np.zeros_like(probe.labels), sentences=None
    )
    with pytest.raises(ScoreError, match="only 'eng_Latn' was given; give what is told from it"):
        score_units(alone, "auroc", source="eng_Latn")
