from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Int, TypeCheckError

from steer_plugin.activations.pooling import pool
from steer_plugin.settings.probe import ProbeSettings

from support import checks

if TYPE_CHECKING:
    from collections.abc import Iterable


def test_shapes_and_types_are_checked_in_each_test() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        pool(torch.zeros(2, 3, 4), torch.ones(2, 5, dtype=torch.bool), "mean")
    with pytest.raises(BeartypeCallHintViolation):
        ProbeSettings(site=1)  # type: ignore[arg-type]


def halves(rows: Int[np.ndarray, " row"], more: Int[np.ndarray, " row"]) -> Iterator[int]:
    yield from (*rows // 2, *more // 2)


def total(rows: Int[np.ndarray, " row"], more: "Iterable[int]") -> int:
    return len(rows) + sum(more)


def test_generators_and_names_for_type_checkers_are_checked_too() -> None:
    two, three = np.arange(2), np.arange(3)
    with pytest.raises(TypeCheckError):
        checks.checked(halves)(two, three)
    assert list(checks.checked(halves)(three, three)) == [0, 0, 1, 0, 0, 1]
    assert checks.checked(total)(two, [1]) == 3
    with pytest.raises(TypeCheckError):
        checks.checked(total)(0.5, [1])  # type: ignore[arg-type]


def plus_one(number: int) -> int:
    return number + 1


def test_the_calls_of_a_test_are_checked_up_to_a_number() -> None:
    first_checked = checks.checked(plus_one)
    for _ in range(checks.CALLS_OF_A_TEST):
        with pytest.raises(BeartypeCallHintViolation):
            first_checked(0.5)
    assert first_checked(0.5) == 1.5
    checks.begin_test()
    with checks.without_checks():
        assert first_checked(0.5) == 1.5
    with pytest.raises(BeartypeCallHintViolation):
        first_checked(0.5)
