"""The recommended k against a front found by comparing every pair."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.generation.pareto import TOLERANCE, dominates, recommend
from steer_plugin.errors import AnalysisError

Point = tuple[float, float]
# Few values, so that ties are the rule; and the ends of what there is.
PROBABILITIES = st.sampled_from([0.0, 0.1, 0.1 + 1e-12, 0.5, 0.5, 0.9, 1.0])
PERPLEXITIES = st.sampled_from([1.0, 10.0, 10.0, 11.9, 12.0, 12.1, 50.0, 1e300, np.inf])
POINTS = st.tuples(PROBABILITIES, PERPLEXITIES)


def curve(
    unsteered: Point, steered: dict[int, Point], *, target: str = "deu_Latn", width: float = 0.05
) -> pd.DataFrame:
    """Make the part of a trade-off's frame that matters here."""
    rows = [
        {
            "target": target,
            "top_k": k,
            "condition": "experts" if k else "before",
            "probability": probability,
            "gain": probability - unsteered[0],
            "gain_low": probability - unsteered[0] - width,
            "gain_high": probability - unsteered[0] + width,
            "perplexity": perplexity,
            "cost": perplexity / unsteered[1],
        }
        for k, (probability, perplexity) in {0: unsteered, **steered}.items()
    ]
    return pd.DataFrame(rows)


def beats(one: Point, other: Point) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other


@given(points=st.lists(POINTS, min_size=1, max_size=8))
def test_dominance_is_that_of_every_pair(points: list[Point]) -> None:
    probability, perplexity = np.array(points).T

    found = dominates(probability, perplexity)

    assert found.tolist() == [[beats(one, other) for other in points] for one in points]


@pytest.mark.usefixtures("unchecked")
@settings(max_examples=100, deadline=None)
@given(
    unsteered=st.tuples(PROBABILITIES, st.just(10.0)),
    steered=st.dictionaries(st.integers(1, 9), POINTS, max_size=7),
    tolerance=st.sampled_from([1.0, 1.19, 1.2, 5.0, 1e6]),
    width=st.sampled_from([0.0, 1e-13, 0.05, 0.4]),
)
def test_the_rule_is_kept_on_any_points(
    unsteered: Point, steered: dict[int, Point], tolerance: float, width: float
) -> None:
    frame = curve(unsteered, steered, width=width)

    found = recommend(frame, tolerance=tolerance)

    points = {0: unsteered, **steered}
    front = {k for k, one in points.items() if not any(beats(p, one) for p in points.values())}
    assert set(found["top_k"][found["on_front"]]) == front
    gains = frame.set_index("top_k")["gain_low"]
    left = [k for k in front - {0} if points[k][1] / 10.0 <= tolerance and gains[k] > 0]
    best = sorted(left, key=lambda k: (-points[k][0], k))[:1]
    assert list(found["top_k"][found["recommended"]]) == best
    assert list(found["top_k"]) == list(points)
    assert (found["reason"][0] == "") == bool(best)
    for row in found.to_dict("records"):
        assert row["reason"].startswith("off the front") == (row["top_k"] not in front | {0})


@pytest.mark.usefixtures("unchecked")
@settings(max_examples=20, deadline=None)
@given(
    steered=st.dictionaries(st.integers(1, 9), POINTS, min_size=1, max_size=6), order=st.randoms()
)
def test_neither_the_order_of_rows_nor_their_labels_nor_other_targets_matter(
    steered: dict[int, Point], order: Any
) -> None:
    frame = curve((0.1, 10.0), steered)
    other = curve((0.0, 1.0), {3: (1.0, 1.0)}, target="fra_Latn")
    rows = list(frame.index)
    order.shuffle(rows)
    alone = recommend(frame)

    mixed = recommend(pd.concat([other, frame.loc[rows], other.assign(target="spa_Latn")]))

    assert list(mixed["target"].unique()) == ["fra_Latn", "deu_Latn", "spa_Latn"]
    of_one = mixed[mixed["target"] == "deu_Latn"].sort_values("top_k").reset_index(drop=True)
    pd.testing.assert_frame_equal(of_one, alone.sort_values("top_k").reset_index(drop=True))


def reasons(steered: dict[int, Point], **settings: Any) -> dict[int, str]:
    found = recommend(curve((0.1, 10.0), steered, **settings))
    return dict(zip(found["top_k"], found["reason"], strict=True))


def test_each_k_is_told_why() -> None:
    found = reasons(
        {5: (0.12, 10.1), 10: (0.3, 10.5), 20: (0.7, 11.0), 40: (0.6, 11.5), 80: (0.9, 30.0)}
    )

    assert found == {
        0: "",
        5: "its gain of +0.020 [-0.030, +0.070] is not above 0 beyond its interval",
        10: "on the front, but k = 20 has a higher probability",
        20: "the highest probability on the front at no more than 1.2 times the unsteered "
        "perplexity",
        40: "off the front: k = 20 is no worse in both, and better in one",
        80: "costs 3 times the unsteered perplexity, above 1.2",
    }
    assert reasons({5: (0.1, 10.5)})[5].startswith("off the front: the unsteered model is no worse")


def test_of_equal_k_the_smallest_is_recommended() -> None:
    found = recommend(curve((0.1, 10.0), {40: (0.5, 11.0), 20: (0.5, 11.0), 30: (0.5, 11.0)}))

    assert list(found["top_k"][found["recommended"]]) == [20]
    assert found["on_front"].sum() == 4
    assert set(found["reason"][[1, 3]]) == {"on the front, but k = 20 does the same with fewer"}


def test_none_is_recommended_where_none_gains_within_the_tolerance() -> None:
    assert not recommend(curve((0.1, 10.0), {1: (0.12, 10.0), 2: (0.9, 12.1)}))["recommended"].any()
    assert reasons({1: (0.12, 10.0), 2: (0.9, 12.1)})[0] == (
        "no k on the front costs at most 1.2 times the unsteered perplexity and gains beyond its "
        "interval"
    )
    assert not recommend(curve((0.1, 10.0), {}))["recommended"].any()
    assert TOLERANCE == 1.2
    assert recommend(curve((0.1, 10.0), {2: (0.9, 12.0)}))["recommended"].any()


def test_controls_do_not_count() -> None:
    frame = curve((0.1, 10.0), {20: (0.5, 11.0)})
    control = frame[frame["top_k"] == 20].assign(condition="random", probability=1.0, perplexity=1)

    pd.testing.assert_frame_equal(recommend(pd.concat([frame, control])), recommend(frame))


GOOD = curve((0.1, 10.0), {20: (0.5, 11.0)})


@pytest.mark.parametrize(
    ("frame", "tolerance", "message"),
    [
        (GOOD, 0.99, "tolerance 0.99 allows no perplexity; give at least 1"),
        (GOOD, np.nan, "tolerance nan allows no perplexity"),
        (GOOD.iloc[1:], 1.2, "deu_Latn needs one row for the unsteered model and one for each k"),
        (pd.concat([GOOD, GOOD.iloc[1:]]), 1.2, "deu_Latn needs one row for the unsteered"),
        (pd.concat([GOOD, GOOD.iloc[:1]]), 1.2, "deu_Latn needs one row for the unsteered"),
        (GOOD.iloc[:0], 1.2, "there is nothing to recommend from"),
        (GOOD.assign(gain_low=np.nan), 1.2, "a probability or perplexity is not defined"),
    ],
)
def test_what_no_k_can_be_recommended_from_is_refused(
    frame: pd.DataFrame, tolerance: float, message: str
) -> None:
    with pytest.raises(AnalysisError, match=message):
        recommend(frame, tolerance=tolerance)
