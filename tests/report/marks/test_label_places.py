import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin.analyses.report.marks.label_places import along, free_places

SIZE = (200.0, 150.0)
Point = tuple[float, float]

points_and_texts = st.lists(
    st.tuples(
        st.tuples(st.floats(0, SIZE[0]), st.floats(0, SIZE[1])),
        st.sampled_from(["", "1", "30", "1,000", "30,000"]),
    ),
    min_size=1,
    max_size=12,
)


def box(place: Point, text: str) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of a label in figures of 11 pixels, 8 of them tall."""
    left, middle = place
    return left, left + 6.2 * len(text), middle - 4, middle + 4


def distance(place: Point, text: str, point: Point) -> float:
    left, right, top, bottom = box(place, text)
    across = max(left - point[0], point[0] - right, 0)
    down = max(top - point[1], point[1] - bottom, 0)
    return float((across**2 + down**2) ** 0.5)


@given(points_and_texts, st.lists(st.tuples(st.floats(0, 200), st.floats(0, 150)), max_size=8))
def test_labels_lie_in_the_panel_cover_nothing_and_are_nearest_to_their_own_point(
    drawn: list[tuple[Point, str]], others: list[Point]
) -> None:
    points, texts = [point for point, _ in drawn], [text for _, text in drawn]
    obstacles = np.array([*points, *others])
    places = free_places(np.array(points), texts, obstacles, SIZE)
    assert len(places) == len(points)
    boxes = []
    for own, (place, text) in enumerate(zip(places, texts, strict=True)):
        if place is None:
            continue
        assert text
        left, right, top, bottom = box(place, text)
        assert left >= 0
        assert right <= SIZE[0]
        assert top >= 0
        assert bottom <= SIZE[1]
        assert all(distance(place, text, point) > 0 for point in [*points, *others])
        away = [distance(place, text, point) for point in points]
        assert away[own] == min(away)
        for a, b, c, d in boxes:
            assert right <= a or b <= left or bottom <= c or d <= top
        boxes.append((left, right, top, bottom))


def test_a_lone_point_is_labelled_below_and_to_the_right_and_in_a_corner_elsewhere() -> None:
    for point, right, below in (
        ((100, 75), True, True),
        ((195, 75), False, False),
        ((100, 145), True, False),
    ):
        here = np.array([point], dtype=float)
        (place,) = free_places(here, ["300"], here, SIZE)
        assert place is not None
        assert (place[0] > point[0]) == right
        assert (place[1] > point[1]) == below


def test_the_first_label_has_the_place_that_two_want() -> None:
    points = np.array([[60.0, 75.0], [80.0, 75.0]])
    first = free_places(points, ["1,000", "1,000"], points, SIZE)
    alone = free_places(points, ["1,000", ""], points, SIZE)
    assert first[0] == alone[0]
    assert first[0] is not None
    assert alone[1] is None


@pytest.mark.parametrize("bends", [0, 1, 2, 5])
def test_a_line_is_an_obstacle_all_along(bends: int) -> None:
    rng = np.random.default_rng(bends)
    points = rng.uniform(0, 150, (bends, 2))
    dense = along(points)
    if bends == 0:
        assert dense.shape == (0, 2)
        return
    for point in points:
        assert np.hypot(*(dense - point).T).min() < 1e-9
    steps = np.hypot(*np.diff(dense, axis=0).T)
    assert steps.max(initial=0) < 6
