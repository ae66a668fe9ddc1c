"""What shuffled labels reach, and how far the choice of experts lasts, against naive loops."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.analyses.controls.chance import best_of_units_null, null_frame, stability
from steer_plugin.errors import AnalysisError, ScoreError, SelectionError
from steer_plugin.experts.selection import Choice
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.responses.probe import Probe
from steer_plugin.scores.probe_scores import probe_scores
from steer_plugin.settings.parts import SCORES

Array = np.ndarray[Any, Any]


def probe_of(responses: Array, concepts: int, active: Array | None = None) -> Probe:
    sentences = len(responses) // concepts
    return Probe(
        responses=torch.from_numpy(responses),
        active=None if active is None else torch.from_numpy(active),
        tokens=np.full(len(responses), 4),
        labels=np.repeat(np.arange(concepts), sentences),
        concepts=tuple("abcdefg"[:concepts]),
        sentences=np.tile(np.arange(sentences), concepts),
        space=UnitSpace("mlp.hook_post", (0,), (responses.shape[1],)),
        provenance={},
    )


def noise(concepts: int, sentences: int, units: int, *, seed: int = 0) -> Probe:
    generator = np.random.default_rng(seed)
    shape = (concepts * sentences, units)
    return probe_of(
        generator.normal(size=shape).astype(np.float32),
        concepts,
        (generator.integers(0, 5, shape) / 4).astype(np.float32),
    )


def seeds(seed: int, count: int) -> list[int]:
    return [int(one) for one in np.random.SeedSequence(seed).generate_state(count, np.uint64)]


# The best of many units


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, int]:
    """Draw responses, and how many concepts their rows are of."""
    concepts, sentences = draw(st.integers(2, 4)), draw(st.integers(1, 6))
    rows = concepts * sentences
    huge = float(np.finfo(np.float32).max)
    value = st.sampled_from([0.0, 1.0, -1.0, 1e-40, huge, -huge]) | st.floats(
        width=32, allow_nan=False, allow_infinity=False
    )
    unit = st.lists(value, min_size=rows, max_size=rows)
    units = draw(st.lists(unit, min_size=1, max_size=4))
    return np.array(units, dtype=np.float32).T, concepts


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=30)
@given(cases(), st.sampled_from([1, 400, 2**30]))
def test_the_null_of_auroc_is_the_best_of_scikit_learn_under_each_labelling(
    case: tuple[Array, int], memory: int
) -> None:
    probe = probe_of(*case)
    found = best_of_units_null(probe, permutations=2, seed=3, memory=memory)
    units = probe.responses.double().numpy().T
    wanted = [
        [
            max(roc_auc_score(labels == concept, unit) for unit in units)
            for concept in range(len(probe.concepts))
        ]
        for labels in (probe.shuffled(one).labels for one in seeds(3, 2))
    ]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_the_null_is_the_best_score_of_shuffled_probes_bit_for_bit(score: Any) -> None:
    probe = noise(4, 25, 50)
    found = best_of_units_null(probe, score, permutations=6, seed=1)
    wanted = [probe_scores(probe.shuffled(one), score).max(1) for one in seeds(1, 6)]
    np.testing.assert_array_equal(found, wanted)
    assert found.shape == (6, 4)
    assert found.dtype == np.float64


def clustered(seed: int, groups: int = 16, each: int = 12, units: int = 8) -> Probe:
    """Give texts of groups that are alike, each group of one of two labels that say nothing."""
    generator = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    responses = generator.normal(size=(groups, units))[group]
    responses += generator.normal(size=(len(group), units))
    probe = probe_of(responses.astype(np.float32), 2)
    return replace(probe, labels=group % 2, sentences=None, groups=group)


def test_labels_of_groups_are_permuted_whole_and_the_bar_holds_its_level() -> None:
    """Texts of a group are alike: permuted one by one, labels beat the bar in most of cases."""
    beyond = {"groups": 0, "texts": 0}
    for seed in range(60):
        probe = clustered(seed)
        for name, permuted in (("groups", probe), ("texts", replace(probe, groups=None))):
            null = best_of_units_null(permuted, permutations=60, seed=seed)[:, 0]
            best = probe_scores(probe, "auroc").max(1)[0]
            beyond[name] += bool((1 + (null >= best).sum()) / (1 + len(null)) <= 0.05)
    # 3 of 60 are stated; more than 8 come with a chance of 0.3%.
    assert beyond["groups"] <= 8
    assert beyond["texts"] >= 30


def test_groups_keep_one_label_and_mixed_ones_are_permuted_text_by_text() -> None:
    probe = clustered(0)
    shuffled = probe.shuffled(1)
    labels_of = {group: set(shuffled.labels[probe.groups == group]) for group in range(16)}
    assert all(len(labels) == 1 for labels in labels_of.values())
    assert sorted(min(labels) for labels in labels_of.values()) == [0] * 8 + [1] * 8
    assert shuffled.provenance["labels"] == "shuffled by group, seed 1"
    mixed = replace(probe, groups=np.arange(len(probe.labels)) // 24)
    assert mixed.shuffled(1).provenance["labels"] == "shuffled, seed 1"


def test_groups_of_several_sizes_are_scored_as_scikit_learn_does() -> None:
    probe = clustered(0)
    probe = replace(
        probe,
        groups=np.array([0] * 30 + [1] * 90 + [2] * 72),
        labels=np.array([0] * 30 + [1] * 90 + [0] * 72),
    )
    null = best_of_units_null(probe, permutations=5, seed=2)
    units = probe.responses.numpy().T
    for row, one in zip(null, seeds(2, 5), strict=True):
        labels = probe.shuffled(one).labels
        for concept in (0, 1):
            wanted = max(roc_auc_score(labels == concept, unit) for unit in units)
            assert row[concept] == pytest.approx(wanted, abs=1e-12)


def test_the_null_table_is_counted_as_it_says() -> None:
    experts = replace(
        score_units(noise(2, 4, 5), "auroc"),
        scores=np.array([[0.9, 0.7, 0.8, 0.1, 0.5], [0.6, 0.2, 0.6, 0.1, 0.5]]),
    )
    null = np.stack([np.linspace(0.6, 0.79, 20), np.linspace(0.6, 0.79, 20)[::-1]], axis=1)
    wanted = pd.DataFrame(
        {
            "concept": ["a", "b"],
            "best": [0.9, 0.6],
            "null_high": [0.6 + 0.19 * 0.95] * 2,
            "p": [1 / 21, 21 / 21],
            "above": [2, 0],
            "permutations": [20, 20],
        }
    )
    pd.testing.assert_frame_equal(null_frame(experts, null), wanted)


def test_a_tie_with_the_null_counts_against_the_unit() -> None:
    experts = score_units(probe_of(np.zeros((8, 3), dtype=np.float32), 2), "auroc")
    null = best_of_units_null(probe_of(np.zeros((8, 3), dtype=np.float32), 2), permutations=9)
    found = null_frame(experts, null)
    assert (found["p"] == 1).all()
    assert (found["above"] == 0).all()


@pytest.mark.usefixtures("unchecked")
def test_where_no_unit_knows_anything_one_in_twenty_tables_says_otherwise() -> None:
    experts = score_units(noise(2, 12, 20), "auroc")
    frames = []
    for seed in range(100):
        probe = noise(2, 12, 20, seed=seed)
        null = best_of_units_null(probe, permutations=59, seed=seed)
        scored = replace(experts, scores=probe_scores(probe, "auroc"))
        frames.append(null_frame(scored, null).head(1))
    found = pd.concat(frames)
    # Where the rate is 0.05, 14 or more of 100 have a chance of 0.0005, and none one of 0.006.
    assert 0 < (found["p"] <= 0.05).sum() < 14
    assert 0 < (found["above"] > 0).sum() < 14
    assert 0.4 < found["p"].mean() < 0.6


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("score", ["auroc", "average_precision", "mean_difference"])
def test_planted_units_and_no_others_are_above_the_null(score: Any) -> None:
    probe = noise(3, 30, 200)
    responses = probe.responses.clone()
    responses[:30, [4, 90]] += 3
    planted = replace(probe, responses=responses)
    null = best_of_units_null(planted, score, permutations=59)
    found = null_frame(score_units(planted, score), null).set_index("concept")
    assert found.loc["a", "above"] == 2
    assert found.loc["a", "p"] == 1 / 60
    assert (found.loc[["b", "c"], "above"] == 0).all()


def test_a_null_of_nothing_or_of_something_else_is_refused() -> None:
    probe = noise(3, 4, 5)
    with pytest.raises(AnalysisError, match="0 permutations give no null; draw at least one"):
        best_of_units_null(probe, permutations=0)
    for null in (np.zeros((5, 2)), np.zeros((0, 3))):
        with pytest.raises(AnalysisError, match=r"the null has shape .*, the experts 3 concepts"):
            null_frame(score_units(probe, "auroc"), null)
    with pytest.raises(ScoreError, match="lape counts active tokens"):
        best_of_units_null(replace(probe, active=None), "lape", permutations=1)


# How far the choice lasts


def indices(table: ExpertTable, drawn: list[ExpertTable], concept: str, k: int) -> list[float]:
    """Compare the units above chance, the k best of them, one resample after another."""
    chosen = set(table.top(concept, k).tolist())
    found = []
    for again in drawn:
        row, scores = again.row(concept), again.scores[again.row(concept)]
        order = sorted(range(len(scores)), key=lambda unit: (-scores[unit], unit))
        best = {unit for unit in order[:k] if scores[unit] > again.chance[row]}
        found.append(len(chosen & best) / len(chosen | best))
    return found


@pytest.mark.parametrize("score", SCORES)
def test_stability_is_jaccards_index_of_the_best_of_each_resample(score: Any) -> None:
    probe = noise(3, 12, 100)
    table = score_units(probe, score)
    ks = (1, 2)
    drawn = [score_units(probe.resampled(one), score) for one in seeds(2, 7)]
    frame = stability(probe, score, ks, resamples=7, seed=2)
    assert list(zip(frame["concept"], frame["top_k"], strict=True)) == [
        (concept, k) for concept in "abc" for k in ks
    ]
    for _, row in frame.iterrows():
        values = indices(table, drawn, row["concept"], row["top_k"])
        low, high = np.quantile(values, [0.025, 0.975])
        assert row["jaccard"] == pytest.approx(np.mean(values))
        assert (row["jaccard_low"], row["jaccard_high"]) == (
            pytest.approx(low),
            pytest.approx(high),
        )
        assert row["resamples"] == 7


def split_layers(probe: Probe) -> Probe:
    half = len(probe.space) // 2
    return replace(probe, space=UnitSpace("mlp.hook_post", (0, 3), (half, len(probe.space) - half)))


@pytest.mark.parametrize(
    ("selection", "per_layer", "layers"),
    [
        ("bottom", False, None),
        ("bottom", True, (3, 3)),
        ("top+bottom", False, (3, 3)),
        ("top+bottom", True, None),
    ],
)
def test_stability_is_that_of_the_units_that_are_chosen(
    selection: Any, per_layer: bool, layers: tuple[int, int] | None
) -> None:
    probe = split_layers(noise(3, 12, 60))
    starts = {0: range(30), 3: range(30, 60)}
    places = [starts[3]] if layers else list(starts.values())
    if not per_layer:
        places = [[unit for place in places for unit in place]]

    def naive(scores: Array, k: int) -> set[int]:
        chosen: set[int] = set()
        for place in places:
            best = k - k // 2 if selection == "top+bottom" else 0
            down = sorted((u for u in place if scores[u] > 0.5), key=lambda u: (-scores[u], u))
            up = sorted((u for u in place if scores[u] < 0.5), key=lambda u: (scores[u], u))
            chosen |= {*down[:best], *up[: k - best]}
        return chosen

    frame = stability(probe, "auroc", [3, 8], Choice(selection, per_layer, layers), resamples=5)

    whole = probe_scores(probe, "auroc")
    drawn = [probe_scores(probe.resampled(one), "auroc") for one in seeds(0, 5)]
    for _, row in frame.iterrows():
        at, k = "abc".index(row["concept"]), row["top_k"]
        chosen = naive(whole[at], k)
        again = [naive(scores[at], k) for scores in drawn]
        wanted = [len(chosen & one) / len(chosen | one) for one in again]
        assert row["jaccard"] == pytest.approx(np.mean(wanted))


def test_planted_experts_last_and_noise_does_not() -> None:
    probe = noise(3, 40, 100)
    responses = probe.responses.clone()
    responses[:40, :5] += 4
    found = stability(replace(probe, responses=responses), "auroc", [5], resamples=20)
    found = found.set_index("concept")
    assert found.loc["a", ["jaccard", "jaccard_low", "jaccard_high"]].tolist() == [1, 1, 1]
    assert (found.loc[["b", "c"], "jaccard"] < 0.7).all()
    assert (found.loc[["b", "c"], "jaccard_low"] < found.loc[["b", "c"], "jaccard_high"]).all()


@pytest.mark.usefixtures("unchecked")
def test_units_that_fall_to_chance_in_a_resample_are_no_experts_of_it() -> None:
    """Each unit speaks at one sentence, so a resample without that sentence has only zeros."""
    active = np.zeros((20, 5), dtype=np.float32)
    active[np.arange(5), np.arange(5)] = 1
    probe = probe_of(np.zeros((20, 5), dtype=np.float32), 2, active)
    found = stability(probe, "activation_frequency", [5], concepts=["a"], resamples=200)
    # A sentence of ten is drawn at least once with a chance of 0.651.
    assert found["concept"].tolist() == ["a"]
    assert found["jaccard"].item() == pytest.approx(0.651, abs=0.03)
    with pytest.raises(SelectionError, match=r"only 0 units .* score above chance \(0\) for b"):
        stability(probe, "activation_frequency", [5], resamples=1)


def test_more_experts_than_there_are_are_refused() -> None:
    with pytest.raises(SelectionError, match=r"top_k=30, but only .* score above chance"):
        stability(noise(3, 10, 30), "auroc", [1, 30], resamples=1)
    with pytest.raises(SelectionError, match="'d' is not in the expert table; it has: a, b, c"):
        stability(noise(3, 10, 30), "auroc", [1], concepts=["d"], resamples=1)


@pytest.mark.parametrize(("ks", "resamples"), [([], 5), ([0, 3], 5), ([1], 0)])
def test_nothing_to_compare_is_refused(ks: list[int], resamples: int) -> None:
    with pytest.raises(AnalysisError, match=f"resamples={resamples} and top_ks=.* compare nothing"):
        stability(noise(2, 4, 5), "auroc", ks, resamples=resamples)
