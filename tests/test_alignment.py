from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.alignment import alignment, alignment_figures, medoid
from steer_plugin.analyses.retrieval import retrieval
from steer_plugin.analyses.statistics import compare, resamples
from steer_plugin.analyses.vectors import CENTRINGS, Centring, unit_vectors
from steer_plugin.errors import AnalysisError

Array = np.ndarray[Any, Any]
Space = dict[str, Array]

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn", "jpn_Jpan")
SENTENCES = 7


def space(n: int = SENTENCES, d: int = 5, seed: int = 0) -> Space:
    """Make embeddings in which translations resemble each other, each language off centre."""
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(n, d))
    return {
        language: (meaning + 0.6 * generator.normal(size=(n, d)) + generator.normal(size=d)).astype(
            np.float32
        )
        for language in LANGUAGES
    }


def cosine(a: Array, b: Array) -> float:
    return float(np.dot(a, b) / (np.sqrt(np.dot(a, a)) * np.sqrt(np.dot(b, b))))


def centred(embeddings: Space, centring: Centring) -> Space:
    wide = {language: rows.astype(np.float64) for language, rows in embeddings.items()}
    if centring == "raw":
        return wide
    if centring == "global":
        everything = np.concatenate(list(wide.values())).mean(0)
        return {language: rows - everything for language, rows in wide.items()}
    return {language: rows - rows.mean(0) for language, rows in wide.items()}


def brute_force_pairs(a: Array, b: Array) -> dict[str, float]:
    n = len(a)
    matched = [cosine(a[i], b[i]) for i in range(n)]
    mismatched = [cosine(a[i], b[j]) for i in range(n) for j in range(n) if i != j]
    return {
        "pair distance": float(np.mean([1 - value for value in matched + mismatched])),
        "matched distance": float(np.mean([1 - value for value in matched])),
        "gap": float(np.mean(matched) - np.mean(mismatched)),
    }


def brute_force_medoid(embeddings: Space) -> Array:
    points = [point for rows in embeddings.values() for point in rows]
    summed = [sum(1 - cosine(point, other) for other in points) for point in points]
    best: Array = points[int(np.argmin(summed))]
    return best


def value(frame: pd.DataFrame, **keys: str) -> float:
    chosen = frame[np.logical_and.reduce([frame[name] == key for name, key in keys.items()])]
    assert len(chosen) == 1, keys
    return float(chosen["value"].iloc[0])


@pytest.mark.parametrize("centring", CENTRINGS)
def test_distances_and_gap_equal_a_loop_over_all_pairs_of_sentences(centring: Centring) -> None:
    frame = alignment(space(), target="fra_Latn")
    here = centred(space(), centring)
    measured = {
        (one, other): brute_force_pairs(here[one], here[other])
        for one, other in combinations(LANGUAGES, 2)
    }
    for measure in ("pair distance", "matched distance", "gap"):
        keys = {"measure": measure, "centring": centring}
        for (one, other), wanted in measured.items():
            found = value(frame, **keys, query=one, candidates=other)
            assert found == pytest.approx(wanted[measure], abs=1e-12)
        over_all = np.mean([wanted[measure] for wanted in measured.values()])
        to_target = np.mean([w[measure] for pair, w in measured.items() if "fra_Latn" in pair])
        found = value(frame, **keys, query="all", candidates="all")
        assert found == pytest.approx(over_all, abs=1e-12)
        found = value(frame, **keys, query="fra_Latn", candidates="others")
        assert found == pytest.approx(to_target, abs=1e-12)


@pytest.mark.parametrize("centring", ["raw", "global"])
def test_medoid_distances_equal_a_search_over_all_sentences(centring: Centring) -> None:
    frame = alignment(space(), target="fra_Latn")
    here = centred(space(), centring)
    middle = brute_force_medoid(here)
    distances = {}
    for language, rows in here.items():
        mean = np.mean([row / np.sqrt(np.dot(row, row)) for row in rows], axis=0)
        distances[language] = 1 - cosine(mean, middle)
    keys = {"measure": "medoid distance", "centring": centring, "candidates": "medoid"}
    for language, distance in distances.items():
        assert value(frame, **keys, query=language) == pytest.approx(distance, abs=1e-12)
    found = value(frame, **keys, query="all")
    assert found == pytest.approx(np.mean(list(distances.values())), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_medoid_has_the_least_summed_distance_to_all(seed: int) -> None:
    units = unit_vectors(space(seed=seed), "raw")
    np.testing.assert_allclose(medoid(units), brute_force_medoid(dict(units)), atol=1e-12)


def test_each_figure_stands_in_one_row() -> None:
    frame = alignment(space(), target="fra_Latn")
    keys = ["measure", "centring", "query", "candidates"]
    assert list(frame.columns) == [*keys, "value"]
    assert not frame.duplicated(keys).any()
    assert len(frame) == 3 * 3 * (6 + 2) + 2 * (4 + 1)
    assert frame["value"].notna().all()
    medoids = frame[frame["measure"] == "medoid distance"]
    assert set(medoids["centring"]) == {"raw", "global"}


def test_without_a_target_its_means_are_left_out() -> None:
    with_target = alignment(space(), target="fra_Latn")
    without = alignment(space())
    kept = with_target[with_target["candidates"] != "others"].reset_index(drop=True)
    pd.testing.assert_frame_equal(without, kept)


def test_a_shared_component_lowers_the_raw_distance_though_nothing_aligned() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=(200, 1024))
    two = one + 0.5 * generator.normal(size=(200, 1024))
    distances, top_1, gaps = [], [], []
    for shift in (0, 1, 3, 10):
        moved = {"deu_Latn": one + shift, "eng_Latn": two + shift}
        frame = alignment(moved, target="deu_Latn")
        found = retrieval(moved, target="deu_Latn")
        pair = {"query": "deu_Latn", "candidates": "eng_Latn"}
        distances.append(value(frame, measure="pair distance", centring="raw", **pair))
        top_1.append(value(found, measure="top-1", centring="raw", **pair))
        gaps.append(
            [
                value(frame, measure=measure, centring=centring, **pair)
                for measure in ("gap", "pair distance", "matched distance")
                for centring in ("global", "language")
            ]
        )
    assert [round(distance, 2) for distance in distances] == [1.00, 0.53, 0.11, 0.01]
    assert top_1 == pytest.approx([1, 1, 1, 1])
    for moved_gaps in gaps[1:]:
        np.testing.assert_allclose(moved_gaps, gaps[0], atol=1e-9)
    assert gaps[0][0] > 0.8


def test_bootstrap_replicates_are_the_figures_of_the_resampled_sentences() -> None:
    embeddings = space(n=9)
    figures = alignment_figures(embeddings, target="fra_Latn", centrings=("raw",))
    weights = resamples(9, count=6, seed=1)
    for row, replicate in zip(weights, figures.evaluate(weights), strict=True):
        drawn = np.repeat(np.arange(9), (9 * row).round().astype(int))
        found = figures.index.assign(value=replicate)
        for one, other in combinations(LANGUAGES, 2):
            a, b = (embeddings[name][drawn].astype(np.float64) for name in (one, other))
            pairs = [
                (cosine(a[i], b[j]), drawn[i] == drawn[j])
                for i in range(len(drawn))
                for j in range(len(drawn))
            ]
            rest = np.mean([value for value, same in pairs if not same])
            matched = np.mean([cosine(a[i], b[i]) for i in range(len(drawn))])
            wanted = {
                "pair distance": 1 - np.mean([value for value, _ in pairs]),
                "matched distance": 1 - matched,
                "gap": matched - rest,
            }
            for measure, expected in wanted.items():
                replicated = value(found, measure=measure, query=one, candidates=other)
                assert replicated == pytest.approx(expected, abs=1e-9)


def test_a_resample_of_one_sentence_alone_has_no_gap_and_the_interval_is_of_the_others() -> None:
    figures = alignment_figures(space(n=2), target=None, centrings=("raw",))
    weights = np.array([[1.0, 0.0], [0.5, 0.5]])
    gaps = (figures.index["measure"] == "gap").to_numpy()
    alone, both = figures.evaluate(weights)
    assert np.isnan(alone[gaps]).all()
    assert np.isfinite(alone[~gaps]).all()
    assert np.isfinite(both).all()
    frame = compare(figures, figures, [figures])
    assert (frame[gaps][["change_low", "change_high"]] == 0).all(axis=None)


@pytest.mark.parametrize("centring", CENTRINGS)
def test_unit_vectors_are_centred_and_of_length_one(centring: Centring) -> None:
    units = unit_vectors(space(), centring)
    for language, rows in centred(space(), centring).items():
        assert units[language].dtype == np.float64
        np.testing.assert_allclose(np.linalg.norm(units[language], axis=1), 1)
        for unit, row in zip(units[language], rows, strict=True):
            assert cosine(unit, row) == pytest.approx(1)


def test_a_zero_vector_is_named_by_language_and_sentence() -> None:
    embeddings = space()
    embeddings["eng_Latn"][4] = 0
    with pytest.raises(AnalysisError, match=r"eng_Latn sentence 4 has no direction \(raw cent"):
        alignment(embeddings, target="fra_Latn")


def test_a_vector_that_centring_leaves_without_direction_is_named() -> None:
    embeddings = {language: np.eye(3) + 1000.1 for language in LANGUAGES}
    embeddings["fra_Latn"] = np.full((3, 3), 0.1)
    with pytest.raises(AnalysisError, match=r"fra_Latn sentence 0 .* \(language centring\)"):
        unit_vectors(embeddings, "language")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("centring", CENTRINGS)
def test_an_embedding_that_is_not_finite_is_named_and_not_its_neighbours(
    centring: Centring, bad: float
) -> None:
    embeddings = space()
    embeddings["fra_Latn"][5, 2] = bad
    with pytest.raises(AnalysisError, match="the embedding of fra_Latn sentence 5 is not finite"):
        unit_vectors(embeddings, centring)


@pytest.mark.parametrize(
    ("embeddings", "target", "message"),
    [
        ({"deu_Latn": np.ones((3, 2))}, "deu_Latn", "embeddings of 1 language; give at least two"),
        ({}, None, "embeddings of 0 language"),
        (
            {"deu_Latn": np.ones((3, 2)), "eng_Latn": np.ones((2, 2))},
            None,
            "different shapes: {'deu_Latn': .*align them",
        ),
        ({"deu_Latn": np.ones((1, 2)), "eng_Latn": np.ones((1, 2))}, None, "fewer than two sent"),
        ({"deu_Latn": np.ones((0, 2)), "eng_Latn": np.ones((0, 2))}, None, "fewer than two sent"),
        (space(), "spa_Latn", "no embeddings of the target spa_Latn; choose one of: deu_Latn, eng"),
    ],
)
def test_embeddings_that_cannot_be_compared_are_refused(
    embeddings: Space, target: str | None, message: str
) -> None:
    for measure in (alignment, retrieval):
        with pytest.raises(AnalysisError, match=message):
            measure(embeddings, target=target)


def test_a_language_whose_mean_is_zero_is_named() -> None:
    opposite = {
        "deu_Latn": np.array([[1.0, 0.0], [-1.0, 0.0]]),
        "eng_Latn": np.array([[0.0, 1.0], [0.5, 1.0]]),
    }
    with pytest.raises(AnalysisError, match="deu_Latn"):
        alignment(opposite)
