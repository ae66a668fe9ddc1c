from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import AnalysisError, SelectionError
from steer_plugin.experts.selection import Choice
from steer_plugin.experts.summaries import experts_by_layer, overlap, score_curve
from steer_plugin.experts.table import ExpertTable

SPACE = UnitSpace("mlp.hook_post", (1, 4), (4, 6))


def table(rows: Sequence[Sequence[float]]) -> ExpertTable:
    scores = np.array(rows, dtype=np.float64)
    return ExpertTable(
        concepts=("deu_Latn", "eng_Latn", "fra_Latn")[: len(scores)],
        space=SPACE,
        score="auroc",
        scores=scores,
        chance=(0.5,) * len(scores),
        statistics={"mean": scores.astype(np.float32)},
        provenance={},
    )


FIND = table(
    [
        [0.9, 0.8, 0.1, 0.2, 0.7, 0.6, 0.1, 0.1, 0.1, 0.1],
        [0.1, 0.9, 0.1, 0.1, 0.8, 0.6, 0.7, 0.1, 0.1, 0.1],
        [0.1, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1, 0.9, 0.8, 0.7],
    ]
)
JUDGE = replace(FIND, scores=np.linspace(0, 1, 30).reshape(3, 10))


def test_experts_are_counted_in_every_layer() -> None:
    frame = experts_by_layer(FIND, 3)
    wanted = pd.DataFrame(
        [
            ("deu_Latn", 1, 3, 2, 2 / 3),
            ("deu_Latn", 4, 3, 1, 1 / 3),
            ("eng_Latn", 1, 3, 1, 1 / 3),
            ("eng_Latn", 4, 3, 2, 2 / 3),
            ("fra_Latn", 1, 3, 0, 0.0),
            ("fra_Latn", 4, 3, 3, 1.0),
        ],
        columns=["concept", "layer", "top_k", "experts", "share"],
    )
    pd.testing.assert_frame_equal(frame, wanted)


def test_the_score_curve_ranks_on_one_split_and_shows_the_other() -> None:
    frame = score_curve(FIND, JUDGE, points=100)
    assert list(frame.columns) == [
        *("concept", "rank", "layer", "index"),
        *("find_score", "judge_score", "mean"),
    ]
    for row, (concept, curve) in enumerate(frame.groupby("concept")):
        assert list(curve["rank"]) == list(range(1, 11))
        assert list(curve["find_score"]) == sorted(FIND.scores[row], reverse=True)
        for _, point in curve.iterrows():
            unit = SPACE.layer_slice(int(point["layer"])).start + int(point["index"])
            assert point["find_score"] == FIND.scores[row, unit], concept
            assert point["judge_score"] == JUDGE.scores[row, unit]
            assert point["mean"] == FIND.statistics["mean"][row, unit]


def test_the_score_curve_spreads_its_points_over_all_ranks() -> None:
    wide = replace(
        FIND,
        concepts=("deu_Latn",),
        space=UnitSpace("mlp.hook_post", (0,), (10_000,)),
        scores=np.random.default_rng(0).random((1, 10_000)),
        statistics={},
    )
    ranks = list(score_curve(wide, wide, points=20)["rank"])
    assert ranks == sorted(set(ranks))
    assert (ranks[0], ranks[-1]) == (1, 10_000)
    assert len(ranks) <= 20
    steps = np.diff(np.log(ranks[8:]))
    np.testing.assert_allclose(steps, steps[-1], rtol=0.05)


@pytest.mark.parametrize(
    "change",
    [
        {"space": UnitSpace("mlp.hook_pre", (1, 4), (4, 6))},
        {"concepts": ("deu_Latn", "eng_Latn", "spa_Latn")},
        {"score": "average_precision"},
    ],
)
def test_tables_that_do_not_belong_together_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AnalysisError, match="different units, concepts or scores"):
        score_curve(FIND, replace(JUDGE, **change))


def test_shared_experts_are_counted_for_every_ordered_pair() -> None:
    frame = overlap(FIND, 3)
    assert list(frame.columns) == ["concept", "other", "top_k", "shared", "share"]
    shared = frame.pivot_table(index="concept", columns="other", values="shared")
    assert shared.to_numpy().tolist() == [[3, 2, 0], [2, 3, 0], [0, 0, 3]]
    assert (frame["share"] == frame["shared"] / 3).all()
    assert (frame["top_k"] == 3).all()


def test_k_of_zero_has_no_experts_anywhere() -> None:
    assert (experts_by_layer(FIND, 0)[["experts", "share"]] == 0).all(axis=None)
    assert (overlap(FIND, 0)[["shared", "share"]] == 0).all(axis=None)


@pytest.mark.parametrize("measure", [experts_by_layer, overlap])
def test_more_experts_than_units_are_an_error(measure: Any) -> None:
    with pytest.raises(SelectionError, match="top_k=11, but the model has 10 units"):
        measure(FIND, 11)


def test_a_concept_with_fewer_experts_is_tabulated_with_those() -> None:
    few = replace(FIND, scores=FIND.scores - np.array([[0.0], [0.0], [0.35]]))
    layers = experts_by_layer(few, 3).set_index(["concept", "layer"])
    assert layers.loc["fra_Latn", "experts"].tolist() == [0, 1]
    assert layers.loc["fra_Latn", "share"].tolist() == [0, 1 / 3]
    shared = overlap(few, 3).set_index(["concept", "other"])["shared"]
    assert shared["fra_Latn", "fra_Latn"] == 1
    assert shared["deu_Latn", "deu_Latn"] == 3


@pytest.mark.parametrize(
    "choice",
    [
        Choice("bottom"),
        Choice("top+bottom"),
        Choice(per_layer=True),
        Choice("bottom", layers=(4, 4)),
        Choice("top+bottom", per_layer=True, layers=(1, 4)),
    ],
    ids=str,
)
def test_the_tables_are_of_the_units_that_are_chosen(choice: Choice) -> None:
    sets = {
        concept: set(FIND.top(concept, 2, choice, at_most=True).tolist())
        for concept in FIND.concepts
    }
    layers, shared = experts_by_layer(FIND, 2, choice), overlap(FIND, 2, choice)

    for _, row in layers.iterrows():
        here = SPACE.layer_slice(int(row["layer"]))
        inside = [unit for unit in sets[row["concept"]] if here.start <= unit < here.stop]
        assert row["experts"] == len(inside)
        assert row["share"] == len(inside) / choice.count(SPACE, 2)
    for _, row in shared.iterrows():
        common = sets[row["concept"]] & sets[row["other"]]
        assert row["shared"] == len(common)
        assert row["share"] == len(common) / choice.count(SPACE, 2)
