from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.retrieval import reciprocal_ranks, retrieval, retrieval_figures
from steer_plugin.analyses.statistics import resamples

Array = np.ndarray[Any, Any]

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn")


def value(frame: pd.DataFrame, **keys: str) -> float:
    chosen = frame[np.logical_and.reduce([frame[name] == key for name, key in keys.items()])]
    assert len(chosen) == 1, keys
    return float(chosen["value"].iloc[0])


def units(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def space(n: int = 25, d: int = 6, seed: int = 0) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(n, d))
    return {
        language: (meaning + 0.5 * generator.normal(size=(n, d)) + generator.normal(size=d)).astype(
            np.float32
        )
        for language in LANGUAGES
    }


def ranks(query: Array, candidates: Array) -> list[int]:
    """Find the rank of each translation one comparison at a time; a tie is ahead of it."""
    found = []
    for i, q in enumerate(query):
        cosines = [float(np.dot(q, c) / np.sqrt(np.dot(q, q) * np.dot(c, c))) for c in candidates]
        others = [cosine for j, cosine in enumerate(cosines) if j != i]
        found.append(1 + sum(cosine > cosines[i] - 1e-9 for cosine in others))
    return found


@pytest.mark.parametrize("centring", ["raw", "language"])
def test_every_ordered_pair_equals_a_search_by_hand(centring: str) -> None:
    frame = retrieval(space(), target="eng_Latn")
    wide = {language: rows.astype(np.float64) for language, rows in space().items()}
    if centring == "language":
        wide = {language: rows - rows.mean(0) for language, rows in wide.items()}
    wanted = {}
    for query, candidates in permutations(LANGUAGES, 2):
        rank = np.array(ranks(wide[query], wide[candidates]))
        wanted[query, candidates] = {"top-1": (rank == 1).mean(), "MRR": (1 / rank).mean()}
    assert 0 < wanted["deu_Latn", "eng_Latn"]["top-1"] < 1
    for measure in ("top-1", "MRR"):
        keys = {"measure": measure, "centring": centring}
        for (query, candidates), pair in wanted.items():
            found = value(frame, **keys, query=query, candidates=candidates)
            assert found == pytest.approx(pair[measure], abs=1e-12)
        over_all = np.mean([pair[measure] for pair in wanted.values()])
        from_target = np.mean([p[measure] for (q, _), p in wanted.items() if q == "eng_Latn"])
        found = value(frame, **keys, query="all", candidates="all")
        assert found == pytest.approx(over_all, abs=1e-12)
        found = value(frame, **keys, query="eng_Latn", candidates="others")
        assert found == pytest.approx(from_target, abs=1e-12)


def test_each_figure_stands_in_one_row() -> None:
    frame = retrieval(space(), target="eng_Latn")
    keys = ["measure", "centring", "query", "candidates"]
    assert list(frame.columns) == [*keys, "value"]
    assert not frame.duplicated(keys).any()
    assert len(frame) == 2 * 2 * (6 + 2)
    without = retrieval(space())
    kept = frame[frame["candidates"] != "others"].reset_index(drop=True)
    pd.testing.assert_frame_equal(without, kept)


def test_collapsed_embeddings_find_nothing() -> None:
    point = np.random.default_rng(0).normal(size=8)
    collapsed = {language: np.tile(point, (20, 1)) for language in LANGUAGES}
    figures = retrieval_figures(collapsed, target="eng_Latn", centrings=("raw",))
    frame = figures.frame()
    assert (frame.loc[frame["measure"] == "top-1", "value"] == 0).all()
    np.testing.assert_allclose(frame.loc[frame["measure"] == "MRR", "value"], 1 / 20)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_embeddings_that_differ_by_rounding_alone_find_nothing(scale: float) -> None:
    generator = np.random.default_rng(0)
    point = scale * generator.normal(size=64)
    noise = 1 + np.finfo(np.float32).eps * generator.uniform(-1, 1, size=(3, 20, 64))
    collapsed = {
        language: (point * noise[row]).astype(np.float32) for row, language in enumerate(LANGUAGES)
    }
    assert len(np.unique(collapsed["eng_Latn"], axis=0)) > 1
    figures = retrieval_figures(collapsed, target="eng_Latn", centrings=("raw",))
    frame = figures.frame()
    assert (frame.loc[frame["measure"] == "top-1", "value"] == 0).all()


def test_candidates_as_near_as_the_translation_are_ahead_of_it() -> None:
    rows = units(np.random.default_rng(0).normal(size=(6, 4)))
    twins = rows.copy()
    twins[3] = twins[2]
    found = reciprocal_ranks(rows, twins)
    # Sentence 2 ties with its twin; sentence 3 has lost its own translation.
    assert found[2] == 0.5
    assert found[[0, 1, 4, 5]].tolist() == [1, 1, 1, 1]


def test_planted_permutations_are_found_out() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 10))
    order = np.arange(30)
    order[:12] = np.roll(order[:12], 1)
    shuffled = {"deu_Latn": rows, "eng_Latn": rows[order]}
    frame = retrieval(shuffled, target="deu_Latn")
    found = value(frame, measure="top-1", centring="raw", query="deu_Latn", candidates="eng_Latn")
    assert found == pytest.approx(18 / 30)


@pytest.mark.parametrize("n", [2, 10])
def test_what_is_farthest_of_all_ranks_last(n: int) -> None:
    rows = units(np.random.default_rng(0).normal(size=(n, 5)))
    np.testing.assert_allclose(reciprocal_ranks(rows, -rows)[0], 1 / n)


def test_length_and_common_rotation_do_not_matter() -> None:
    generator = np.random.default_rng(1)
    plain = space()
    turn, _ = np.linalg.qr(generator.normal(size=(6, 6)))
    turned = {
        language: rows.astype(np.float64) * generator.uniform(0.1, 9, size=(25, 1)) @ turn
        for language, rows in plain.items()
    }
    one = retrieval_figures(plain, target=None, centrings=("raw",)).frame()
    other = retrieval_figures(turned, target=None, centrings=("raw",)).frame()
    pd.testing.assert_frame_equal(one, other)


def test_language_centring_undoes_a_shift_of_whole_languages() -> None:
    generator = np.random.default_rng(0)
    meaning = generator.normal(size=(60, 16))
    shifted = {
        language: meaning + 0.2 * generator.normal(size=(60, 16)) + 6 * generator.normal(size=16)
        for language in LANGUAGES
    }
    frame = retrieval(shifted, target="eng_Latn")
    keys = {"measure": "top-1", "query": "all", "candidates": "all"}
    assert value(frame, centring="raw", **keys) < 0.5
    assert value(frame, centring="language", **keys) == pytest.approx(1)


def test_bootstrap_replicates_draw_queries_and_keep_the_candidates() -> None:
    embeddings = space()
    figures = retrieval_figures(embeddings, target="eng_Latn", centrings=("raw",))
    weights = resamples(25, count=5, seed=2)
    wide = {language: rows.astype(np.float64) for language, rows in embeddings.items()}
    for row, replicate in zip(weights, figures.evaluate(weights), strict=True):
        drawn = np.repeat(np.arange(25), (25 * row).round().astype(int))
        frame = figures.index.assign(value=replicate)
        for query, candidates in permutations(LANGUAGES, 2):
            found = np.array(ranks(wide[query], wide[candidates]))[drawn]
            pair = {"query": query, "candidates": candidates}
            wanted = {"top-1": (found == 1).mean(), "MRR": (1 / found).mean()}
            for measure, expected in wanted.items():
                assert value(frame, measure=measure, **pair) == pytest.approx(expected, abs=1e-12)
