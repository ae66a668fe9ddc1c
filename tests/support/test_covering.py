"""The tests' own choice of cases leaves out no pair."""

from itertools import combinations, product

import pytest

from support.covering import pairwise

SHAPES = [(2, 2), (1, 4), (3, 2, 4), (6, 3, 2, 3, 3), (2, 7, 2, 2, 3), (5, 5, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_two_levels_of_any_two_factors_meet_in_some_case(shape: tuple[int, ...]) -> None:
    factors = [[f"{place}:{level}" for level in range(size)] for place, size in enumerate(shape)]

    cases = pairwise(*factors)

    for one, other in combinations(range(len(shape)), 2):
        met = {(case[one], case[other]) for case in cases}
        assert met == set(product(factors[one], factors[other]))
    assert cases == pairwise(*factors)


@pytest.mark.parametrize("shape", SHAPES)
def test_cases_are_hardly_more_than_the_two_longest_factors_need(shape: tuple[int, ...]) -> None:
    *_, longer, longest = sorted(shape)

    assert longer * longest <= len(pairwise(*map(range, shape))) <= 1.5 * longer * longest


def test_levels_may_be_equal_or_without_a_hash() -> None:
    assert sorted(pairwise([[1], [1]], "ab")) == sorted([([1], "a"), ([1], "b")] * 2)
