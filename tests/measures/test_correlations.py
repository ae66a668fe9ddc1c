from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from steer_plugin.analyses.measures.alignment import alignment_figures
from steer_plugin.analyses.measures.correlations import (
    FEWEST,
    accuracy_and_distance,
    correlations,
    fisher_interval,
)
from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.statistics.comparison import compare

Array = np.ndarray[Any, Any]

LANGUAGES = ("ces_Latn", "deu_Latn", "eng_Latn", "fra_Latn", "hin_Deva", "jpn_Jpan", "tha_Thai")
TARGETS = ("deu_Latn", "jpn_Jpan")
CORRELATED = {
    "accuracy and distance, after": ("acc_post", "d_post"),
    "accuracy and distance, before": ("acc_pre", "d_pre"),
    "distance after and before": ("d_post", "d_pre"),
    "accuracy gained and distance lost": ("acc_gained", "d_lost"),
}


def tables(
    targets: tuple[str, ...] = TARGETS, languages: tuple[str, ...] = LANGUAGES, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make figures of pairs, and means that are no points, at two layers."""
    generator = np.random.default_rng(seed)
    retrieval, alignment = [], []
    for target in targets:
        for layer in ("3", "final"):
            setting = {"target": target, "top_k": 10, "layer": layer, "centring": "raw"}
            for measure in ("top-1", "MRR"):
                for query, candidates in [*permutations(languages, 2), ("all", "all")]:
                    pre, post = generator.uniform(size=2)
                    key = {"measure": measure, "query": query, "candidates": candidates}
                    retrieval.append({**setting, **key, "pre": pre, "post": post})
                retrieval.append({**retrieval[-1], "query": target, "candidates": "others"})
            for measure in ("pair distance", "centroid distance", "matched distance"):
                for one, other in permutations(sorted(languages), 2):
                    if one > other:
                        continue
                    pre, post = generator.uniform(size=2)
                    key = {"measure": measure, "query": one, "candidates": other}
                    alignment.append({**setting, **key, "pre": pre, "post": post})
                alignment.append({**alignment[-1], "query": target, "candidates": "others"})
            alignment.append(
                {**alignment[-1], "measure": "medoid distance", "candidates": "medoid"}
            )
    return pd.DataFrame(retrieval), pd.DataFrame(alignment)


def pick(frame: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = frame[np.logical_and.reduce([frame[name] == key for name, key in keys.items()])]
    assert len(chosen) == 1, keys
    return chosen.iloc[0]


def by_hand(
    retrieval: pd.DataFrame, alignment: pd.DataFrame, target: str, layer: str, distance: str
) -> dict[str, dict[str, float]]:
    """Look up each candidate language's numbers, one row at a time."""
    found: dict[str, dict[str, float]] = {}
    for row in retrieval.to_dict("records"):
        here = (row["target"], row["layer"], row["measure"], row["query"])
        if here == (target, layer, "top-1", target) and row["candidates"] in LANGUAGES:
            found[row["candidates"]] = {"acc_pre": row["pre"], "acc_post": row["post"]}
    for row in alignment.to_dict("records"):
        if (row["target"], row["layer"], row["measure"]) != (target, layer, distance):
            continue
        pair = {row["query"], row["candidates"]}
        if target in pair and pair <= set(LANGUAGES):
            (language,) = pair - {target}
            found[language] |= {"d_pre": row["pre"], "d_post": row["post"]}
    for point in found.values():
        point["acc_gained"] = point["acc_post"] - point["acc_pre"]
        point["d_lost"] = point["d_pre"] - point["d_post"]
    return found


@pytest.mark.parametrize("distance", ["pair distance", "centroid distance"])
@pytest.mark.parametrize("target", TARGETS)
def test_r_of_one_target_is_that_of_scipy_over_its_candidate_languages(
    target: str, distance: str
) -> None:
    retrieval, alignment = tables()
    frame = correlations(retrieval, alignment)
    points = by_hand(retrieval, alignment, target, "final", distance)
    assert sorted(points) == sorted(set(LANGUAGES) - {target})
    order = [language for language in LANGUAGES if language != target]
    for name, (x, y) in CORRELATED.items():
        one, other = (np.array([points[language][z] for language in order]) for z in (x, y))
        keys = {"target": target, "layer": "final", "distance": distance, "correlation": name}
        row = pick(frame, **keys)
        assert row["r"] == pytest.approx(scipy.stats.pearsonr(one, other).statistic, abs=1e-12)
        assert (row["n"], row["points"], row["languages"]) == (6, 6, "all")
        # Of six languages there is no interval.
        assert np.isnan([row["r_low"], row["r_high"]]).all()


def test_pooled_rows_have_the_points_of_all_targets() -> None:
    retrieval, alignment = tables()
    frame = correlations(retrieval, alignment)
    points = {
        target: by_hand(retrieval, alignment, target, "3", "pair distance") for target in TARGETS
    }
    for name, (x, y) in CORRELATED.items():
        keys = {"layer": "3", "distance": "pair distance", "correlation": name}
        row = pick(frame, target="all", **keys)
        assert (row["n"], row["points"]) == (7, 12)
        pooled = [point for target in TARGETS for point in points[target].values()]
        r = scipy.stats.pearsonr([p[x] for p in pooled], [p[y] for p in pooled])
        assert row["r"] == pytest.approx(r.statistic, abs=1e-12)


def test_seen_languages_have_rows_of_their_own() -> None:
    retrieval, alignment = tables()
    seen = ["deu_Latn", "eng_Latn", "fra_Latn", "ces_Latn", "swe_Latn"]
    frame = correlations(retrieval, alignment, seen=seen)
    without = correlations(retrieval, alignment)
    everything = frame[frame["languages"] == "all"].reset_index(drop=True)
    pd.testing.assert_frame_equal(everything, without)
    assert len(frame) == 2 * len(without)
    kept = retrieval[retrieval["candidates"].isin(seen)]
    alone = correlations(kept, alignment).assign(languages="seen")
    found = frame[frame["languages"] == "seen"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, alone)
    assert set(found.loc[found["target"] == "deu_Latn", "n"]) == {3}


def test_each_row_says_what_it_is_of() -> None:
    frame = correlations(*tables())
    keys = ["target", "top_k", "layer", "centring", "distance", "languages", "correlation"]
    figures = ["r", "r_low", "r_high", "n", "points"]
    assert list(frame.columns) == [*keys, *figures]
    assert not frame.duplicated(keys).any()
    assert len(frame) == (2 + 1) * 2 * 2 * 4
    assert set(frame["correlation"]) == set(CORRELATED)
    assert set(frame["distance"]) == {"pair distance", "centroid distance"}
    assert frame["r"].between(-1, 1).all()


def test_it_does_not_matter_which_language_of_a_pair_is_named_first_or_whether_both_are() -> None:
    retrieval, alignment = tables()
    turned = alignment.rename(columns={"query": "candidates", "candidates": "query"})
    wanted = correlations(retrieval, alignment)
    for other in (turned, pd.concat([alignment, turned], ignore_index=True)):
        found = correlations(retrieval, other)
        pd.testing.assert_frame_equal(found, wanted)


def test_the_tables_of_a_run_give_points_with_both_distances() -> None:
    generator = np.random.default_rng(0)
    meaning = generator.normal(size=(12, 6))
    conditions = [
        {
            language: meaning
            + generator.uniform(0.2, 2) * generator.normal(size=(12, 6))
            + generator.normal(size=6)
            for language in LANGUAGES
        }
        for _ in range(3)
    ]
    setting = {"target": "deu_Latn", "top_k": 10, "layer": "final"}
    retrieval, alignment = (
        compare(
            *(measure(condition, target="deu_Latn") for condition in conditions[:2]),
            [measure(conditions[2], target="deu_Latn")],
        ).assign(**setting)
        for measure in (retrieval_figures, alignment_figures)
    )
    points = accuracy_and_distance(retrieval, alignment)
    # Centroids have no distance once each language's mean is taken off.
    sizes = points.groupby(["centring", "distance"]).size().to_dict()
    assert sizes == {
        ("raw", "pair distance"): 6,
        ("raw", "centroid distance"): 6,
        ("language", "pair distance"): 6,
    }
    frame = correlations(retrieval, alignment)
    raw = frame[frame["centring"] == "raw"]
    assert raw["r"].notna().all()
    # One target pooled is that target.
    one, all_ = (raw[raw["target"] == name].drop(columns="target") for name in ("deu_Latn", "all"))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), all_.reset_index(drop=True))


def test_where_one_of_the_two_does_not_vary_there_is_no_r() -> None:
    retrieval, alignment = tables()
    flat = alignment.assign(post=1 + 1e-15 * np.arange(len(alignment)))
    frame = correlations(retrieval, flat)
    gone = frame["correlation"].isin(["accuracy and distance, after", "distance after and before"])
    assert frame.loc[gone, ["r", "r_low", "r_high"]].isna().all(axis=None)
    assert frame.loc[~gone, "r"].notna().all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_languages_have_no_r(n: int) -> None:
    frame = correlations(*tables(), seen=LANGUAGES[2 : 2 + n])
    found = frame[frame["languages"] == "seen"]
    assert set(found["n"]) == {n}
    # Two languages with two targets are four points, and two languages still.
    assert set(found.loc[found["target"] == "all", "points"]) == {2 * n}
    assert found[["r", "r_low", "r_high"]].isna().all(axis=None)


def test_tables_without_pairs_of_the_target_give_no_rows() -> None:
    retrieval, alignment = tables()
    means = retrieval[retrieval["candidates"].isin(["all", "others"])]
    frame = correlations(means, alignment)
    assert frame.empty
    assert "r_low" in frame.columns


@pytest.mark.parametrize("n", [4, 8, 21])
@pytest.mark.parametrize("r", [-0.97, -0.3, 0.0, 0.8])
def test_an_interval_is_scipys_from_eight_languages_on(n: int, r: float) -> None:
    low, high = fisher_interval(r, n)
    if n < FEWEST:
        assert np.isnan([low, high]).all()
        return
    x = np.random.default_rng(n).normal(size=n)
    across = np.random.default_rng(n + 1).normal(size=n)
    x, across = ((values - values.mean()) / values.std() for values in (x, across))
    across -= x * (x @ across) / n
    y = r * x + np.sqrt(1 - r**2) * across / across.std()
    wanted = scipy.stats.pearsonr(x, y)
    assert wanted.statistic == pytest.approx(r)
    np.testing.assert_allclose([low, high], wanted.confidence_interval(), atol=1e-9)


def test_a_perfect_correlation_has_an_interval_of_one_point() -> None:
    assert fisher_interval(1.0, 9) == (1, 1)


@pytest.mark.parametrize("n", [8, 10, 21])
@pytest.mark.parametrize("true", [0.0, -0.8])
@pytest.mark.parametrize("drawn", ["normal", "uniform", "exponential"])
def test_the_interval_holds_the_true_r_about_19_times_in_20(
    n: int, true: float, drawn: str
) -> None:
    generator = np.random.default_rng(n)
    x, noise = getattr(generator, drawn)(size=(2, 2000, n))
    y = true * x * noise.std() / x.std() + np.sqrt(1 - true**2) * noise
    r = scipy.stats.pearsonr(x, y, axis=1).statistic
    low, high = np.transpose([fisher_interval(float(value), n) for value in r])
    held = np.mean((low <= true) & (true <= high))
    # Of 2,000 trials; three standard errors are 0.015.
    if drawn == "normal" or true == 0:
        assert 0.93 <= held <= 0.97
    elif drawn == "uniform":
        assert held >= 0.95
    else:
        # Of strong relations between skewed points it holds less than it says; see docs/statistics.
        assert 0.75 <= held <= 0.95
