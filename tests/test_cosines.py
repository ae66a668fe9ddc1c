import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.cosines import same_texts, searches, translations
from steer_plugin.analyses.vectors import unit_vectors

from spaces import Array, Space, cosines, hard_spaces, ordered, space


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


@settings(deadline=None, max_examples=40)
@given(hard_spaces())
def test_each_pair_is_searched_both_ways_with_the_nearest_in_order(embeddings: Space) -> None:
    assert_searches(embeddings)


def test_of_many_sentences_the_ten_nearest_are_kept() -> None:
    assert_searches(space(n=13))
