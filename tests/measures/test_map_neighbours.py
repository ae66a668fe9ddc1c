"""Whom a point of a picture lies nearest to, and what a map without distances says of it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.map_neighbours import own_language_share
from steer_plugin.analyses.report.sections.space import shares, space_section

from support.frames_of_paper import paper_results


def picture(points: list[tuple[float, float]], languages: str) -> pd.DataFrame:
    table = pd.DataFrame(points, columns=["x", "y"])
    return table.assign(target="deu_Latn", top_k=3, condition="before", language=list(languages))


def by_hand(points: list[tuple[float, float]], languages: str) -> float:
    shares = []
    for i, point in enumerate(points):
        away = {
            j: (point[0] - other[0]) ** 2 + (point[1] - other[1]) ** 2
            for j, other in enumerate(points)
            if j != i
        }
        near = [j for j in away if away[j] == min(away.values())]
        shares.append(sum(languages[j] == languages[i] for j in near) / len(near))
    return sum(shares) / len(shares)


# Whole numbers, so that ties are ties and distances have no rounding.
coordinate = st.integers(-4, 4).map(float)


@pytest.mark.usefixtures("unchecked")
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=12), st.data())
def test_the_share_is_that_of_a_naive_loop_ties_in_equal_parts(
    points: list[tuple[float, float]], data: st.DataObject
) -> None:
    languages = "".join(data.draw(st.sampled_from("abc")) for _ in points)
    share = own_language_share(picture(points, languages))["share"]
    assert share.tolist() == pytest.approx([by_hand(points, languages)])


def test_a_single_point_has_no_nearest_one() -> None:
    assert own_language_share(picture([(0.0, 0.0)], "a"))["share"].isna().all()


def test_order_decides_nothing_where_all_points_are_one() -> None:
    points = [(1.0, 1.0)] * 10
    for languages in ("aaaaabbbbb", "ababababab"):
        share = own_language_share(picture(points, languages))["share"]
        assert share.tolist() == pytest.approx([4 / 9])


def test_the_caption_says_what_was_there_in_each_condition() -> None:
    rows = [("before", 0.9), ("before", 0.95), ("experts", 0.2), ("control", np.nan)]
    table = pd.DataFrame(rows, columns=["condition", "share"])
    assert shares(table) == "90 to 95% before, 20% with experts"


def test_distances_are_spoken_of_in_the_plane_and_neighbours_in_the_other_map() -> None:
    run = paper_results(layers=("final",), top_ks=(300,))
    (figure,) = space_section(run).figures
    plane, other = figure.caption.split("UMAP, ")
    assert plane.startswith("Spread between languages: ")
    assert other.startswith("nearest point of the same language: ")


def test_points_of_languages_that_were_not_seen_are_hollow_and_named_so() -> None:
    run = paper_results(layers=("final",), top_ks=(300,), methods=("pca",))
    (figure,) = space_section(run).figures
    hollow = set(figure.rows.loc[figure.rows["hollow"], "series"])
    assert hollow == {"Japanese †", "Russian †"}
    nothing = paper_results(layers=("final",), top_ks=(300,), seen=None, methods=("pca",))
    (figure,) = space_section(nothing).figures
    assert "hollow" not in figure.rows
