from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.cosines import same_texts, translations
from steer_plugin.analyses.measures.translation_search import Search, searches
from steer_plugin.analyses.measures.unit_vectors import unit_vectors

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


def assert_searches(embeddings: Space) -> None:
    found = dict(searches(unit_vectors(embeddings, "raw"), None))
    assert sorted(found) == sorted(ordered(embeddings))
    for (query, candidates), search in found.items():
        table = cosines(embeddings[query], embeddings[candidates])
        k = min(10, len(table))
        largest = -np.sort(-table, axis=1)[:, :k]
        largest_back: Array = -np.sort(-table.T, axis=1)[:, :k]
        np.testing.assert_allclose(search.cosines, table, atol=1e-12)
        np.testing.assert_allclose(search.near_queries, largest, atol=1e-12)
        np.testing.assert_allclose(search.near_candidates, largest_back, atol=1e-12)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces())
def test_each_pair_is_searched_both_ways_with_the_nearest_in_order(embeddings: Space) -> None:
    assert_searches(embeddings)


def test_of_many_sentences_the_ten_nearest_are_kept() -> None:
    assert_searches(space(n=13))


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces(), st.data())
def test_blocks_of_queries_are_together_what_all_at_once_are(
    embeddings: Space, data: st.DataObject
) -> None:
    n = len(embeddings["eng_Latn"])
    texts = st.lists(st.sampled_from("abc"), min_size=n, max_size=n)
    same = {language: same_texts(data.draw(texts)) for language in embeddings}
    units = unit_vectors(embeddings, "raw")
    whole = dict(searches(units, same))
    parts: dict[tuple[str, str], list[Search]] = defaultdict(list)
    entries = data.draw(st.integers(1, n**2 - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
        for pair, search in searches(units, same):
            parts[pair].append(search)
    assert list(parts) == list(whole)
    for pair, blocks in parts.items():
        rows = [len(search.cosines) for search in blocks]
        assert sum(rows) == n
        assert len(rows) > 1
        assert max(rows) == max(1, entries // n)
        starts = np.cumsum([0, *rows])
        for name in ("cosines", "near_queries"):
            together = np.concatenate([getattr(search, name) for search in blocks])
            np.testing.assert_allclose(together, getattr(whole[pair], name), atol=1e-15)
        for search in blocks:
            np.testing.assert_allclose(
                search.near_candidates, whole[pair].near_candidates, atol=1e-15
            )
        asked = [
            (start + query, place)
            for start, search in zip(starts, blocks, strict=False)
            for query, place in zip(
                search.translations.queries, search.translations.candidates, strict=True
            )
        ]
        own = whole[pair].translations
        assert asked == list(zip(own.queries, own.candidates, strict=True))
        ranks = np.concatenate([search.ranking.ranks for search in blocks])
        np.testing.assert_array_equal(ranks, whole[pair].ranking.ranks)
