import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin.analyses.report.marks.lanes import Panel, lanes
from steer_plugin.analyses.report.marks.panels import (
    ends,
    finite,
    in_rows,
    panel_width,
    ratio_axis,
    with_intervals,
)
from steer_plugin.analyses.report.marks.tradeoff_plane import tradeoff_plane

from support.specs import encodings, rows_of, spec_of


@given(st.integers(1, 60))
def test_rows_of_panels_have_at_most_four_and_differ_by_little(n: int) -> None:
    names = [str(i) for i in range(n)]
    rows = in_rows(names)
    assert [name for row in rows for name in row] == names
    assert max(map(len, rows)) <= 4
    assert len({len(row) for row in rows[:-1]}) <= 1
    assert len(rows) == math.ceil(n / 4)
    assert n > 8 or max(map(len, rows)) - min(map(len, rows)) <= 1
    assert panel_width(max(map(len, rows))) * max(map(len, rows)) <= 840


@given(st.floats(1e-6, 1), st.floats(1, 1e9))
def test_a_ratio_axis_has_few_round_figures_with_1_among_them(low: float, high: float) -> None:
    scale, axis = ratio_axis(low, high)
    first, last = scale.domain
    assert first < low <= high < last
    assert 1 in axis.values
    assert len(axis.values) <= 6
    assert axis.values == sorted(axis.values)
    for value in axis.values:
        assert first <= value <= last
        assert float(f"{value:.4g}") == pytest.approx(value)


@pytest.mark.parametrize(
    ("high", "shown"),
    [
        (1.0, [0.995, 1, 1.005, 1.01]),
        (1.35, [1, 1.1, 1.2, 1.3]),
        (2.5, [1, 1.5, 2, 2.5]),
        (40, [1, 2, 5, 10, 20]),
        (4000, [1, 10, 100, 1000]),
    ],
)
def test_ratio_axes_by_their_reach(high: float, shown: list[float]) -> None:
    _, axis = ratio_axis(1.0, high)
    assert [value for value in axis.values if value >= 0.99] == pytest.approx(shown)


def test_ends_are_of_what_can_be_drawn() -> None:
    table = pd.DataFrame({"a": [1.0, np.nan, np.inf], "b": [-2.0, -np.inf, 3.0]})
    assert ends(table) == (-2.0, 3.0)
    assert ends(table[["a"]], 0) == (0.0, 1.0)
    assert finite(table["a"]).tolist() == [True, False, False]


def test_figures_are_printed_with_their_intervals_where_they_have_them() -> None:
    table = pd.DataFrame(
        {
            "x": [0.5, 0.25, np.nan],
            "x_low": [-0.1, np.nan, np.nan],
            "x_high": [0.75, np.nan, np.nan],
        }
    )
    assert with_intervals(table, "x") == [
        "+0.500 (\N{MINUS SIGN}0.100 to +0.750)",
        "+0.250",
        "not measured",
    ]
    assert with_intervals(table, "x", signed=False)[1] == "0.250"


def drawn_lanes(values: list[tuple[float, float, float]], panel: Panel) -> dict[str, object]:
    low, value, high = (list(column) for column in zip(*values, strict=True))
    data = pd.DataFrame({"panel": panel.name, "lane": "a", "name": "b", "value": value})
    data = data.assign(low=low, high=high, lane=[f"lane {i}" for i in range(len(values))])
    return spec_of(lanes(data, [panel], order=list(data["lane"]), tooltip=[]))


def domain_of(spec: dict[str, object]) -> list[float]:
    found = [e["x"]["scale"]["domain"] for e in encodings(spec) if "scale" in e.get("x", {})]
    return list(found[0])


def test_what_lies_far_beyond_a_panel_is_written_at_its_end() -> None:
    panel = Panel("p", "Panel", "note", "Share", marks=(0.0, 1.0), format=".0%", widest=(-1, 2))
    spec = drawn_lanes([(0.4, 0.5, 0.6), (29, 30, 31), (-9, -8, -7), (0, np.nan, 1)], panel)
    assert rows_of(spec)["beyond"].tolist() == [0, 1, -1, 0]
    low, high = domain_of(spec)
    assert low < -1
    assert high > 2
    assert high < 4
    edges = {
        layer["transform"][0]["filter"]: layer["encoding"]["x"]["datum"]
        for layer in spec["hconcat"][0]["layer"]
        if layer["mark"]["type"] == "text"
    }
    assert edges == {"(datum.beyond === 1)": high, "(datum.beyond === -1)": low}


def test_a_value_just_beyond_whose_interval_reaches_in_is_drawn() -> None:
    panel = Panel("p", "Panel", "note", "Share", widest=(-1, 2))
    spec = drawn_lanes([(0.4, 0.5, 0.6), (1.0, 2.5, 4.0)], panel)
    assert rows_of(spec)["beyond"].tolist() == [0, 0]
    assert 2.5 < domain_of(spec)[1] < 3
    far = drawn_lanes([(0.4, 0.5, 0.6), (1.0, 25, 40)], panel)
    assert rows_of(far)["beyond"].tolist() == [0, 1]


def test_an_infinite_ratio_lies_beyond_its_panel() -> None:
    panel = Panel("p", "Panel", "note", "Ratio", marks=(1.0,), ratios=True)
    spec = drawn_lanes([(1.1, 1.2, 1.3), (np.inf, np.inf, np.inf)], panel)
    assert rows_of(spec)["beyond"].tolist() == [0, 1]
    assert domain_of(spec)[1] < 2
    said = [
        layer["transform"][1]["calculate"]
        for layer in spec["hconcat"][0]["layer"]
        if layer["mark"]["type"] == "text"
    ]
    assert said == ["(isValid(datum.value) ? format(datum.value, '.3~f') : '∞') + ' →'"]


def test_labels_stand_at_the_figures_that_give_their_pixels_back() -> None:
    data = pd.DataFrame({"name": ["a", "a", "b"], "gain": [0.0, 0.4, 0.2], "cost": [1.0, 3.0, 2.0]})
    ends_alike = {
        f"{name}_{end}": data[name] for name in ("gain", "cost") for end in ("low", "high")
    }
    picture = tradeoff_plane(data.assign(**ends_alike))
    texts = pd.Series(["one", "two", "three"])
    line = pd.Series([False, False, False])
    labels = picture.labels(texts, pd.Series([0, 0, 0]), line)
    assert labels["text"].tolist() == ["one", "two", "three"]
    (cheapest, dearest), (least, most) = picture.costs.domain, picture.gains.domain
    for row in (1, 2):
        across = np.log(labels["text_cost"][row] / data["cost"][row]) / np.log(dearest / cheapest)
        down = (data["gain"][row] - labels["text_gain"][row]) / (most - least)
        wide = 6.2 * len(texts[row])
        assert abs(across * picture.width) in (
            pytest.approx(8),
            pytest.approx(8 + wide),
        )
        assert abs(down * 230) == pytest.approx(10)
