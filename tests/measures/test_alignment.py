from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings

from steer_plugin.analyses.measures.alignment import alignment, alignment_figures, medoid
from steer_plugin.analyses.measures.retrieval import retrieval
from steer_plugin.analyses.measures.unit_vectors import CENTRINGS, Centring, unit_vectors
from steer_plugin.errors import AnalysisError

from support.spaces import (
    LANGUAGES,
    Array,
    Space,
    centred,
    cosine,
    cosines,
    group,
    hard_spaces,
    space,
    unordered,
    value,
)


def brute_force_pairs(a: Array, b: Array) -> dict[str, float]:
    table = cosines(a, b)
    matched, mismatched = np.diag(table), table[~np.eye(len(table), dtype=bool)]
    return {
        "pair distance": float(np.mean(1 - table)),
        "matched distance": float(np.mean(1 - matched)),
        "gap": float(np.mean(matched) - np.mean(mismatched)),
    }


def brute_force_medoid(embeddings: Space) -> Array:
    points = [point for rows in embeddings.values() for point in rows]
    summed = [sum(1 - cosine(point, other) for other in points) for point in points]
    best: Array = points[int(np.argmin(summed))]
    return best


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
    rest = [distance for language, distance in distances.items() if language != "fra_Latn"]
    assert value(frame, **keys, query="others") == pytest.approx(np.mean(rest), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_medoid_has_the_least_summed_distance_to_all(seed: int) -> None:
    units = unit_vectors(space(seed=seed), "raw")
    np.testing.assert_allclose(medoid(units), brute_force_medoid(dict(units)), atol=1e-12)


def test_each_figure_stands_in_one_row() -> None:
    frame = alignment(space(), target="fra_Latn")
    keys = ["measure", "centring", "query", "candidates"]
    assert list(frame.columns) == [*keys, "value"]
    assert not frame.duplicated(keys).any()
    assert len(frame) == 3 * 3 * (6 + 2) + 2 * (4 + 2) + 2 * (6 + 2)
    assert frame["value"].notna().all()
    for measure in ("medoid distance", "centroid distance"):
        assert set(frame["centring"][frame["measure"] == measure]) == {"raw", "global"}


def test_without_a_target_its_means_are_left_out() -> None:
    with_target = alignment(space(), target="fra_Latn")
    without = alignment(space())
    of_target = (with_target[["query", "candidates"]] == "others").any(axis=1)
    kept = with_target[~of_target].reset_index(drop=True)
    pd.testing.assert_frame_equal(without, kept)


def test_a_shared_component_lowers_the_raw_distance_though_nothing_aligned() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=(200, 256))
    two = one + 0.5 * generator.normal(size=(200, 256))
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


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces())
def test_raw_distances_and_gap_equal_a_loop_on_any_input(embeddings: Space) -> None:
    for rows in embeddings.values():
        mean = np.mean([row / np.sqrt(np.dot(row, row)) for row in rows], axis=0)
        assume(np.linalg.norm(mean) > 1e-9)
    frame = alignment_figures(embeddings, target="deu_Latn", centrings=("raw",)).frame()
    for one, other in unordered(embeddings):
        for measure, wanted in brute_force_pairs(embeddings[one], embeddings[other]).items():
            found = value(frame, measure=measure, centring="raw", query=one, candidates=other)
            assert found == pytest.approx(wanted, abs=1e-12)


def centroid_distances(units: Space) -> dict[tuple[str, str], float]:
    means = {language: np.mean(rows, axis=0) for language, rows in units.items()}
    return {(a, b): 1 - cosine(means[a], means[b]) for a, b in unordered(units)}


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces(lengths=(1, 3)))
@pytest.mark.parametrize("centring", ["raw", "global"])
def test_centroid_distances_are_those_between_the_means_of_unit_vectors(
    centring: Centring, embeddings: Space
) -> None:
    try:
        figures = alignment_figures(embeddings, target="eng_Latn", centrings=(centring,))
    except AnalysisError:
        assume(False)
    here = centred(embeddings, centring)
    units = {
        language: np.array([row / np.sqrt(np.dot(row, row)) for row in rows])
        for language, rows in here.items()
    }
    assume(all(np.linalg.norm(rows.mean(0)) > 1e-6 for rows in units.values()))
    frame = figures.frame()
    wanted = centroid_distances(units)
    keys = {"measure": "centroid distance", "centring": centring}
    for (one, other), distance in wanted.items():
        found = value(frame, **keys, query=one, candidates=other)
        assert found == pytest.approx(distance, abs=1e-9)
    over_all = np.mean(list(wanted.values()))
    to_target = np.mean([distance for pair, distance in wanted.items() if "eng_Latn" in pair])
    assert group(frame, "centroid distance", centring) == pytest.approx(over_all, abs=1e-9)
    found = group(frame, "centroid distance", centring, "eng_Latn")
    assert found == pytest.approx(to_target, abs=1e-9)


def test_figures_do_not_depend_on_how_many_dimensions_are_taken_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embeddings = space(d=7)
    whole = alignment_figures(embeddings, target="fra_Latn")
    monkeypatch.setattr("steer_plugin.analyses.measures.alignment.MEMORY", 8 * 3 * 5 * 2)
    parts = alignment_figures(embeddings, target="fra_Latn")
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-12)
    np.testing.assert_allclose(parts.influence, whole.influence, atol=1e-12)


def test_an_embedding_too_long_to_square_is_named() -> None:
    embeddings = {language: rows.astype(np.float64) for language, rows in space().items()}
    embeddings["fra_Latn"][3, 1] = 1e200
    with pytest.raises(AnalysisError, match="fra_Latn sentence 3 is not finite, or too long"):
        unit_vectors(embeddings, "raw")
