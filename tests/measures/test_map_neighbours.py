"""Whom a point of a picture lies nearest to, and what a map without distances says of it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.map_neighbours import own_language_share
from steer_plugin.analyses.report.charts import embedding_map
from steer_plugin.analyses.report.words.chart_titles import neighbours_title

from support.frames_of_paper import TWENTY_TWO, paper_results
from support.specs import encodings, spec_of, title_of, width_of


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


def test_the_title_says_what_was_there_in_each_condition() -> None:
    rows = [("before", 0.9), ("before", 0.95), ("experts", 0.2), ("control", np.nan)]
    table = pd.DataFrame(rows, columns=["condition", "share"])
    assert neighbours_title(table) == (
        "In the picture the nearest point is of the same language for 90 to 95% of sentences "
        "before, 20% with experts"
    )


@pytest.fixture(scope="module")
def maps() -> dict[str, dict[str, Any]]:
    run = paper_results(layers=("final",), top_ks=(300,))
    return {
        method: spec_of(embedding_map.embedding_map(run, method))
        for method in embedding_map.projection_methods(run)
    }


def test_distances_are_spoken_of_in_the_plane_alone(maps: dict[str, dict[str, Any]]) -> None:
    assert list(maps) == ["pca", "umap"]
    assert title_of(maps["pca"]).startswith("Between languages lies")
    assert title_of(maps["umap"]).startswith("In the picture the nearest point")


def test_points_of_languages_that_were_not_seen_are_hollow_and_the_legend_says_so(
    maps: dict[str, dict[str, Any]],
) -> None:
    for spec in maps.values():
        encoding = next(e for e in encodings(spec) if "fill" in e)
        names = encoding["fill"]["scale"]["domain"]
        inside = dict(zip(names, encoding["fill"]["scale"]["range"], strict=True))
        hollow = {name for name, colour in inside.items() if colour == "white"}
        assert hollow == {"Japanese (jpn_Jpan) \N{DAGGER}", "Russian (rus_Cyrl) \N{DAGGER}"}
        assert names[-1] == "not seen in pre-training (hollow)"
        assert encoding["color"]["scale"]["domain"] == encoding["shape"]["scale"]["domain"] == names


def test_where_nothing_says_what_was_seen_all_points_are_filled_with_their_colour() -> None:
    run = paper_results(layers=("final",), top_ks=(300,), seen=None, methods=("pca",))
    encoding = next(e for e in encodings(spec_of(embedding_map.embedding_map(run))) if "fill" in e)
    assert encoding["fill"]["scale"] == encoding["color"]["scale"]


def test_the_map_of_22_languages_fits_the_page() -> None:
    run = paper_results(languages=TWENTY_TWO, layers=("final",), top_ks=(300,), sentences=5)
    assert width_of(spec_of(embedding_map.embedding_map(run, "umap"))) <= 1052
