import tracemalloc
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.cosines import same_texts
from steer_plugin.analyses.measures.retrieval import (
    bitext_ranks,
    retrieval,
    retrieval_figures,
)
from steer_plugin.errors import AnalysisError

from support import spaces
from support.spaces import TIE, Array, Space, cosines, group, hard_spaces, ordered, value

LANGUAGES = spaces.LANGUAGES[:3]


def units(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def space(n: int = 25, d: int = 6, seed: int = 0) -> Space:
    return spaces.space(n, d, seed, languages=3)


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
    assert len(frame) == 2 * (2 * (6 + 2) + 2 * 2)
    without = retrieval(space())
    kept = frame[frame["candidates"] != "others"].reset_index(drop=True)
    pd.testing.assert_frame_equal(without, kept)


def test_collapsed_embeddings_find_nothing() -> None:
    point = np.random.default_rng(0).normal(size=8)
    collapsed = {language: np.tile(point, (20, 1)) for language in LANGUAGES}
    figures = retrieval_figures(collapsed, target="eng_Latn", centrings=("raw",))
    frame = figures.frame()
    assert (frame.loc[frame["measure"] != "MRR", "value"] == 0).all()
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
    assert (frame.loc[frame["measure"] != "MRR", "value"] == 0).all()


def test_candidates_as_near_as_the_translation_are_ahead_of_it() -> None:
    rows = units(np.random.default_rng(0).normal(size=(6, 4)))
    twins = rows.copy()
    twins[3] = twins[2]
    found = bitext_ranks(rows, twins, np.arange(len(rows)))
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
    np.testing.assert_allclose(bitext_ranks(rows, -rows, np.arange(n))[0], 1 / n)


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


def neighbourhoods(table: Array, k: int) -> tuple[Array, Array]:
    """Give the mean of each query's, and of each candidate's, k largest cosines."""
    rows, columns = (
        np.array([np.mean(sorted(row, reverse=True)[:k]) for row in side])
        for side in (table, table.T)
    )
    return rows[:, None], columns[None]


def csls(queries: Array, candidates: Array, k: int = 10) -> Array:
    """Score each pair as in Conneau et al. 2018, equation 3."""
    table = cosines(queries, candidates)
    of_queries, of_candidates = neighbourhoods(table, k)
    return np.asarray(2 * table - of_queries - of_candidates)


def margin(queries: Array, candidates: Array, k: int = 4) -> Array:
    """Score each pair by the ratio of Artetxe and Schwenk 2019, not dividing by less than 0.001."""
    table = cosines(queries, candidates)
    of_queries, of_candidates = neighbourhoods(table, k)
    return np.asarray(table / np.maximum(of_queries / 2 + of_candidates / 2, 1e-3))


def hits(scores: Array, same: list[int] | None = None) -> Array:
    """Say which queries score strictly highest with a text equal to their translation's."""
    names = list(range(len(scores))) if same is None else same
    found = []
    for i, row in enumerate(scores):
        own = [score for j, score in enumerate(row) if names[j] == names[i]]
        others = [score for j, score in enumerate(row) if names[j] != names[i]]
        found.append(all(max(own) - other > TIE for other in others))
    return np.array(found)


SCORES = {"top-1": cosines, "top-1 CSLS": csls, "top-1 margin": margin}


def assert_hits(frame: pd.DataFrame, embeddings: Space, same: dict[str, Array] | None) -> None:
    for measure, score in SCORES.items():
        wanted = {
            (a, b): hits(
                score(embeddings[a], embeddings[b]), None if same is None else same[b].tolist()
            ).mean()
            for a, b in ordered(embeddings)
        }
        over_all = np.mean(list(wanted.values()))
        from_target = np.mean([share for (a, _), share in wanted.items() if a == "eng_Latn"])
        assert group(frame, measure, "raw") == pytest.approx(over_all, abs=1e-12)
        assert group(frame, measure, "raw", "eng_Latn") == pytest.approx(from_target, abs=1e-12)


@pytest.mark.parametrize("n", [3, 9, 10, 11, 25])
def test_csls_and_margin_equal_a_search_by_hand(n: int) -> None:
    embeddings = space(n)
    figures = retrieval_figures(embeddings, target="eng_Latn", centrings=("raw",))
    assert_hits(figures.frame(), embeddings, None)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces(most=6), st.data())
def test_hits_equal_a_search_by_hand_on_any_input_and_with_equal_texts(
    embeddings: Space, data: st.DataObject
) -> None:
    n = len(embeddings["eng_Latn"])
    texts = st.lists(st.sampled_from("abcde"), min_size=n, max_size=n)
    for same in (None, {language: same_texts(data.draw(texts)) for language in embeddings}):
        figures = retrieval_figures(embeddings, target="eng_Latn", centrings=("raw",), same=same)
        assert_hits(figures.frame(), embeddings, same)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces(), st.integers(1, 48), st.data())
def test_figures_are_the_same_however_the_queries_are_divided(
    embeddings: Space, entries: int, data: st.DataObject
) -> None:
    n = len(embeddings["eng_Latn"])
    texts = st.lists(st.sampled_from("abcde"), min_size=n, max_size=n)
    same = {language: same_texts(data.draw(texts)) for language in embeddings}
    whole = retrieval_figures(embeddings, target="eng_Latn", same=same, centrings=("raw",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
        divided = retrieval_figures(embeddings, target="eng_Latn", same=same, centrings=("raw",))
    np.testing.assert_array_equal(divided.values, whole.values)
    np.testing.assert_allclose(divided.influence, whole.influence, atol=1e-15)
    assert_hits(divided.frame(), embeddings, same)


def test_csls_finds_what_a_hub_takes_by_cosine() -> None:
    generator = np.random.default_rng(0)
    meaning = generator.normal(size=(60, 30))
    query = meaning + 0.5 * generator.normal(size=(60, 30)) + 1
    candidates = meaning + 0.5 * generator.normal(size=(60, 30))
    # Three candidates in the middle of all queries are everyone's neighbours.
    candidates[:3] = candidates[:3] / 10 + 1
    frame = retrieval({"deu_Latn": query, "eng_Latn": candidates}, target="deu_Latn")
    found = [group(frame, measure, "raw", "deu_Latn") for measure in SCORES]
    assert found[0] < 0.4
    assert min(found[1:]) > 0.7


def test_a_margin_beside_a_neighbourhood_at_right_angles_has_the_order_of_the_cosine() -> None:
    # All cosines but those of translations are -1/2, so that most neighbourhoods are negative.
    corners = np.array([[1.0, 0.0], [-0.5, np.sqrt(3) / 2], [-0.5, -np.sqrt(3) / 2]])
    frame = retrieval({"deu_Latn": corners, "eng_Latn": corners}, target="deu_Latn")
    assert group(frame, "top-1 margin", "raw") == 1
    swapped = {"deu_Latn": corners, "eng_Latn": corners[[1, 0, 2]]}
    frame = retrieval(swapped, target="deu_Latn")
    assert group(frame, "top-1 margin", "raw") == pytest.approx(1 / 3)


def test_a_copy_of_the_translation_counts_as_it_and_not_as_its_rival() -> None:
    copied = {"deu_Latn": np.eye(6), "eng_Latn": np.eye(6)}
    copied["eng_Latn"][3] = copied["eng_Latn"][2]
    texts = ["a", "b", "c", "c", "d", "e"]
    same = {language: same_texts(texts) for language in copied}
    pair = {"query": "deu_Latn", "candidates": "eng_Latn", "centring": "raw"}
    plain = retrieval_figures(copied, target=None).frame()
    fair = retrieval_figures(copied, target=None, same=same).frame()
    # Sentence 2 loses to its copy unless texts say that it is one; 3 is as far from all.
    assert value(plain, measure="top-1", **pair) == pytest.approx(4 / 6)
    assert value(fair, measure="top-1", **pair) == pytest.approx(5 / 6)


@pytest.mark.usefixtures("unchecked")
def test_texts_that_do_not_go_with_the_sentences_are_refused() -> None:
    numbers = {language: np.arange(25) for language in LANGUAGES}
    with pytest.raises(AnalysisError, match="eng_Latn has 25 sentences, and 0 numbers"):
        retrieval_figures(space(), target=None, same={"deu_Latn": numbers["deu_Latn"]})
    with pytest.raises(AnalysisError, match="fra_Latn has 25 sentences, and 24 numbers"):
        retrieval_figures(space(), target=None, same={**numbers, "fra_Latn": np.arange(24)})


@st.composite
def bitexts(draw: st.DrawFn) -> tuple[Array, Array, Array, Array | None]:
    rows = st.lists(st.integers(-2, 2), min_size=3, max_size=3).filter(any)
    queries = draw(st.lists(rows, min_size=1, max_size=6))
    candidates = draw(st.lists(rows, min_size=1, max_size=9))
    place = st.integers(0, len(candidates) - 1)
    gold = draw(st.lists(place, min_size=len(queries), max_size=len(queries)))
    texts = draw(st.none() | st.lists(place, min_size=len(candidates), max_size=len(candidates)))
    scale = draw(st.sampled_from([1.0, 1e-20, 1e20]))
    return (
        scale * np.array(queries, dtype=np.float64),
        np.array(candidates, dtype=np.float32),
        np.array(gold),
        None if texts is None else np.array(texts),
    )


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=60)
@given(bitexts(), st.sampled_from([1, 7, 2**22]))
def test_ranks_in_a_bitext_equal_a_search_by_hand_however_it_is_divided(
    bitext: tuple[Array, Array, Array, Array | None], entries: int
) -> None:
    queries, candidates, gold, same = bitext
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
        found = bitext_ranks(queries, candidates, gold, same)
    table = cosines(queries, candidates.astype(np.float64))
    names = np.arange(len(candidates)) if same is None else same
    for i, row in enumerate(table):
        own = names == names[gold[i]]
        rank = 1 + sum(score > row[own].max() - TIE for score in row[~own])
        assert found[i] == pytest.approx(1 / rank, abs=1e-12)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces())
def test_as_many_candidates_as_queries_are_a_bitext_like_any_other(embeddings: Space) -> None:
    a, b, *_ = embeddings.values()
    np.testing.assert_allclose(
        bitext_ranks(a, b, np.arange(len(a))), 1 / np.array(ranks(a, b)), atol=1e-12
    )


def test_a_bitext_needs_the_memory_of_its_embeddings_and_little_more() -> None:
    generator = np.random.default_rng(0)
    candidates = generator.normal(size=(60_000, 32)).astype(np.float32)
    gold = generator.permutation(60_000)[:1_000]
    queries = candidates[gold] + 0.1 * generator.normal(size=(1_000, 32)).astype(np.float32)
    same = np.arange(60_000)
    bitext_ranks(queries, candidates, gold, same)
    tracemalloc.start()
    found = bitext_ranks(queries, candidates, gold, same)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All cosines at a time would be 480 MB.
    assert peak < 128 * 2**20
    assert (found == 1).mean() > 0.95


Bitext = tuple[Array, Array, Array, Array]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, c, g, s: (q, c, g + 5, s), "translation of query 0 is at 5; give a place in 0"),
        (lambda q, c, g, s: (q, c, g - 1, s), "translation of query 0 is at -1; give a place"),
        (lambda q, c, g, s: (0 * q, c, g, s), "the embedding of query 0 has no direction"),
        (lambda q, c, g, s: (q, np.diag([1, 0, 1]) @ c, g, s), "candidate 1 has no direction"),
        (lambda q, c, g, s: (q, np.where(c == c[2], np.nan, c), g, s), "candidate 2 has no"),
        (lambda q, c, g, s: (q, c, g, s[1:]), "3 candidates, and 2 numbers"),
    ],
)
def test_bitexts_that_cannot_be_searched_are_refused(
    change: Callable[[Array, Array, Array, Array], Bitext], message: str
) -> None:
    generator = np.random.default_rng(0)
    queries, candidates = generator.normal(size=(3, 3)), generator.normal(size=(3, 3))
    changed = change(queries, candidates, np.arange(3), np.arange(3))
    with pytest.raises(AnalysisError, match=message):
        bitext_ranks(*changed)
