"""Fewer cases than a full product, where every case has the same oracle."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def pairwise(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Choose cases in which each two levels of any two factors meet, always the same ones.

    Args:
        factors: the levels of each; at least two factors.

    Returns:
        Cases of one level a factor, about as many as the two longest factors have combinations.
    """
    places = range(len(factors))
    # A level is known by its number: levels need be neither hashable nor distinct.
    unmet = {
        ((one, first), (other, second)): None
        for one, other in combinations(places, 2)
        for first, second in product(range(len(factors[one])), range(len(factors[other])))
    }
    cases = []
    while unmet:
        case = dict(next(iter(unmet)))
        for place in places:
            if place not in case:
                case[place] = max(
                    range(len(factors[place])),
                    key=lambda level: sum(
                        tuple(sorted([(place, level), met])) in unmet for met in case.items()
                    ),
                )
        for pair in combinations(sorted(case.items()), 2):
            unmet.pop(pair, None)
        cases.append(tuple(factors[place][case[place]] for place in places))
    return cases
