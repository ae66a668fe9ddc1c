from collections import defaultdict
from functools import partial, reduce
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.cosines import Ranking, same_texts, translations
from steer_plugin.analyses.measures.mixed_retrieval import mixed_figures
from steer_plugin.analyses.measures.neighbours import neighbour_figures
from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.measures.translation_search import Search, searches
from steer_plugin.analyses.measures.unit_vectors import Centring, by_centring, unit_vectors

from support.spaces import Array, Space, cosines, hard_spaces, ordered, space


@given(st.lists(st.sampled_from(["a", "b", "A", "", "\u00e9", "e\u0301", "a "])))
def test_texts_have_the_same_number_where_they_are_equal_to_the_letter(texts: list[str]) -> None:
    numbers = same_texts(texts)
    assert numbers.shape == (len(texts),)
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            assert (numbers[i] == numbers[j]) == (one == other)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=8), st.data())
def test_translations_are_the_one_given_and_its_copies(
    same: list[int], data: st.DataObject
) -> None:
    gold = np.array(data.draw(st.lists(st.integers(0, len(same) - 1), min_size=1)))
    found = translations(gold, np.array(same))
    wanted = [
        (query, place)
        for query, translation in enumerate(gold)
        for place, name in enumerate(same)
        if name == same[translation]
    ]
    assert list(zip(found.queries, found.candidates, strict=True)) == wanted
    alone = translations(gold, None)
    assert alone.queries.tolist() == list(range(len(gold)))
    assert alone.candidates.tolist() == gold.tolist()


def assert_searches(embeddings: Space, centrings: tuple[Centring, ...] = ("raw",)) -> None:
    every = by_centring(embeddings, centrings)
    pairs = []
    for search in searches([*every.values()], None):
        pairs += search.pairs
        for (here, centring), (there, pair) in product(enumerate(every), enumerate(search.pairs)):
            query, candidates = (every[centring][language] for language in pair)
            table = cosines(query, candidates)
            k = min(10, len(table))
            largest = -np.sort(-table, axis=1)[:, :k]
            largest_back: Array = -np.sort(-table.T, axis=1)[:, :k]
            for rows, wanted in (
                (search.cosines, table),
                (search.near_queries, largest),
                (search.near_candidates, largest_back),
            ):
                np.testing.assert_allclose(rows[here, there], wanted, rtol=0, atol=1e-12)
    assert sorted(pairs) == sorted(ordered(embeddings))


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces())
def test_each_pair_is_searched_both_ways_with_the_nearest_in_order(embeddings: Space) -> None:
    assert_searches(embeddings)


def test_of_many_sentences_the_ten_nearest_are_kept() -> None:
    assert_searches(space(n=13), ("raw", "language"))


@pytest.mark.parametrize("entries", [None, 40])
def test_cosines_by_one_centring_do_not_drown_in_the_rounding_of_another(
    entries: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = space(n=13)
    for rows in embeddings.values():
        rows[4] *= 1e-6
    if entries is None:
        assert_searches(embeddings, ("raw", "global", "language"))
    near_nought = {
        language: np.vstack([rows * 1e-9, np.ones_like(rows[:1])])
        for language, rows in space(n=12).items()
    }
    if entries is not None:
        monkeypatch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
    for measure in (
        retrieval_figures,
        neighbour_figures,
        partial(mixed_figures, near_nought),
    ):
        alone = measure(near_nought, target=None, centrings=("raw",)).frame()
        both = measure(near_nought, target=None, centrings=("raw", "language")).frame()
        kept = both[both["centring"] == "raw"].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, alone)


@pytest.mark.parametrize("at_once", [1, 169, 500])
def test_few_pairs_at_a_time_are_searched_as_all_are(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = space(n=13)
    every = [unit_vectors(embeddings, "raw"), unit_vectors(embeddings, "language")]
    (there, back) = searches(every, None)
    whole = {pair: (s, place) for s in (there, back) for place, pair in enumerate(s.pairs)}
    monkeypatch.setattr("steer_plugin.analyses.measures.translation_search.AT_ONCE", at_once)
    parts = list(searches(every, None))
    assert len(parts) == 2 * -(-6 // max(1, at_once // 169))
    for search in parts:
        for place, pair in enumerate(search.pairs):
            together, there_place = whole[pair]
            np.testing.assert_array_equal(
                search.cosines[:, place], together.cosines[:, there_place]
            )
            for name in ("ranks", "rivals", "lifts", "gains"):
                np.testing.assert_array_equal(
                    getattr(search.ranking.of(place), name),
                    getattr(together.ranking.of(there_place), name),
                )


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces(), st.data())
def test_blocks_of_queries_are_together_what_all_at_once_are(
    embeddings: Space, data: st.DataObject
) -> None:
    n = len(embeddings["eng_Latn"])
    texts = st.lists(st.sampled_from("abc"), min_size=n, max_size=n)
    same = {language: same_texts(data.draw(texts)) for language in embeddings}
    every = [unit_vectors(embeddings, "raw")]
    whole = {
        pair: (search, place)
        for search in searches(every, same)
        for place, pair in enumerate(search.pairs)
    }
    parts: dict[tuple[str, str], list[Search]] = defaultdict(list)
    entries = data.draw(st.integers(1, n**2 - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
        for search in searches(every, same):
            (pair,) = search.pairs
            parts[pair].append(search)
    assert set(parts) == set(whole)
    for pair, blocks in parts.items():
        together, place = whole[pair]
        rows = [search.cosines.shape[2] for search in blocks]
        assert sum(rows) == n
        assert len(rows) > 1
        assert max(rows) == max(1, entries // n)
        starts = np.cumsum([0, *rows])
        for name in ("cosines", "near_queries"):
            joined = np.concatenate([getattr(search, name) for search in blocks], axis=2)
            wanted = getattr(together, name)[:, place]
            np.testing.assert_allclose(joined[:, 0], wanted, atol=1e-15)
        for search in blocks:
            np.testing.assert_allclose(
                search.near_candidates[:, 0], together.near_candidates[:, place], atol=1e-15
            )
        asked = [
            (start + query, candidate)
            for start, search in zip(starts, blocks, strict=False)
            for query, candidate in zip(
                search.translations.queries, search.translations.candidates, strict=True
            )
        ]
        own = together.translations.of(slice(place * n, (place + 1) * n))
        assert asked == list(zip(own.queries, own.candidates, strict=True))
        rankings = [search.ranking for search in blocks]
        ranking = reduce(Ranking.followed, rankings).of(0)
        for name in ("ranks", "rivals"):
            np.testing.assert_array_equal(
                getattr(ranking, name), getattr(together.ranking.of(place), name)
            )
        np.testing.assert_allclose(ranking.lifts, together.ranking.of(place).lifts, atol=1e-12)
