"""Attention heads as experts: scored by the norm of what they give, steered with its values."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from steer_plugin import (
    Budget,
    ExpertTable,
    Intervention,
    ParallelCorpus,
    ProbeSettings,
    find_experts,
)
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.analyses.controls.random_units import random_control, shuffled_values
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.experts.shards import Shard, merge_shards, read_shard
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.responses.probe import probe_units

from support import saved_models
from support.same_answers import assert_same
from support.tiny_models import N_LAYERS, Tiny

HEADS, WIDTH = 2, 8
SETTINGS = ProbeSettings(site="attn.hook_z.heads", lines=True, quantiles=(0.25,))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ParallelCorpus:
    return ParallelCorpus.read(
        saved_models.save_corpus(tmp_path_factory.mktemp("corpus") / "all.tsv")
    )


@pytest.fixture(scope="module")
def adapter(tiny_model: Callable[[str], Tiny]) -> BridgeAdapter:
    model = tiny_model("llama")
    return BridgeAdapter(
        model.bridge, tokenizer=model.tokenizer, batch_tokens=64, revision="random"
    )


@pytest.fixture(scope="module")
def table(adapter: BridgeAdapter, corpus: ParallelCorpus) -> ExpertTable:
    return find_experts(adapter, corpus, SETTINGS)


def values_of(adapter: BridgeAdapter, corpus: ParallelCorpus) -> tuple[np.ndarray, np.ndarray]:
    """Give the mean values of each text at each head, [text, head, value], and its concept."""
    texts, labels = corpus.labelled()
    reading = Reading("attn.hook_z", "mean")
    values = gather(adapter, texts, [reading])[reading].double().numpy()
    return values.reshape(len(texts), -1, WIDTH), labels


def test_heads_are_scored_by_their_norms(
    adapter: BridgeAdapter, corpus: ParallelCorpus, table: ExpertTable
) -> None:
    texts, labels = corpus.labelled()
    reading = Reading(SETTINGS.site, SETTINGS.pooling)
    norms = gather(adapter, texts, [reading])[reading].numpy()
    assert table.scores.shape == (len(corpus.concepts), HEADS * N_LAYERS)
    for row in range(len(corpus.concepts)):
        wanted = [roc_auc_score(labels == row, norms[:, head]) for head in range(norms.shape[1])]
        np.testing.assert_allclose(table.scores[row], wanted, atol=1e-6)
    labels_shown = table.frame(corpus.concepts[0], 1)["unit"]
    assert labels_shown.str.fullmatch(r"L\dH\d").all()


def test_a_plan_writes_the_values_that_heads_have(
    adapter: BridgeAdapter, corpus: ParallelCorpus, table: ExpertTable
) -> None:
    concept = corpus.concepts[1]
    values, concepts = values_of(adapter, corpus)
    own, others = values[concepts == 1], values[concepts != 1]

    units = table.top(concept, 2)
    in_order = np.sort(units)
    means = table.intervention(concept, top_k=2)
    moved = table.intervention(concept, top_k=2, operation="add")
    zeros = table.intervention(concept, top_k=2, value="zero")
    lines = table.intervention(concept, top_k=2, operation="affine")

    labels = [f"L{a}H{b}" for a, b in zip(means.layers, means.indices, strict=True)]
    assert [table.space.parse(label) for label in labels] == in_order.tolist()
    np.testing.assert_allclose(means.values, own.mean(0)[in_order], atol=1e-6)
    shift = own.mean(0) - others.mean(0)
    np.testing.assert_allclose(moved.values, shift[in_order], atol=1e-6)
    assert zeros.values == (0.0, 0.0)
    assert np.shape(lines.gains) == (2, WIDTH)
    np.testing.assert_allclose(lines.lows, others.min(0)[in_order], atol=1e-6)
    assert f"L{means.layers[0]}H{means.indices[0]}=[8 values]" in repr(means)


def test_what_is_saved_is_the_same(table: ExpertTable, tmp_path: Path) -> None:
    table.save(tmp_path / "experts")
    assert_same(ExpertTable.load(tmp_path / "experts"), table)
    plan = table.intervention(table.concepts[0], top_k=2, operation="affine")
    plan.save(tmp_path / "plan")
    again = Intervention.load(tmp_path / "plan")
    assert again == plan
    assert (hash(again), again.hash) == (hash(plan), plan.hash)


def test_shards_and_responses_on_disk_give_the_same_table(
    adapter: BridgeAdapter, corpus: ParallelCorpus, table: ExpertTable, tmp_path: Path
) -> None:
    for number in (1, 2):
        read_shard(adapter, corpus, tmp_path / str(number), Shard(number, 2), SETTINGS)
    assert_same(merge_shards([tmp_path / "2", tmp_path / "1"]), table)
    assert_same(
        find_experts(adapter, corpus, SETTINGS, budget=Budget(cache=tmp_path / "cache")), table
    )


def test_one_source_takes_the_values_of_two_concepts(
    adapter: BridgeAdapter, corpus: ParallelCorpus
) -> None:
    source, concept = corpus.concepts[:2]
    values, labels = values_of(adapter, corpus)
    table = find_experts(adapter, corpus, ProbeSettings(site=SETTINGS.site, source=source))

    plan = table.intervention(concept, top_k=1, operation="add")

    unit = table.top(concept, 1)[0]
    shift = values[labels == 1].mean(0) - values[labels == 0].mean(0)
    np.testing.assert_allclose(plan.values, shift[[unit]], atol=1e-6)


def test_controls_draw_heads(table: ExpertTable) -> None:
    values = {"L0H1": [1.0] * WIDTH, "L2H0": [2.0] * WIDTH}
    plan = Intervention.of(values, site="attn.hook_z")

    control = random_control(plan, table.space, seed=0)

    assert (control.site, control.values) == (plan.site, plan.values)
    assert (control.layers, control.indices) == ((0, 2), (0, 1))
    assert shuffled_values(plan, seed=0).values == plan.values[::-1]


def test_what_heads_are_set_to_has_to_be_known(
    adapter: BridgeAdapter, corpus: ParallelCorpus, table: ExpertTable
) -> None:
    bare = replace(table, values={})
    with pytest.raises(InterventionError, match="no 'mean' of the values of its heads"):
        bare.intervention(table.concepts[0], top_k=1)
    probe = probe_units(adapter, corpus, SETTINGS)
    assert probe.frame(["L1H1"]).columns[-1] == "L1H1"
    with pytest.raises(SiteError, match="L1N1 is no head, and the units at"):
        probe.frame(["L1N1"])
