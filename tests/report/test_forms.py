"""Each form of chart, drawn from a handful of rows."""

import math
from typing import Any

import pandas as pd
import pytest
import vl_convert

from steer_plugin.analyses.report.forms import Form, HeatMap, Lanes, Lines, Panel, Scatter, Select
from steer_plugin.analyses.report.forms.drawing import domain, fitted, values

ROWS = pd.DataFrame(
    {
        "lane": ["German", "German", "Spanish", "Spanish"],
        "series": ["Before", "Experts"] * 2,
        "panel": "",
        "value": [0.1, 0.4, 0.1, 0.2],
        "low": [math.nan, 0.3, math.nan, 0.15],
        "high": [math.nan, 0.5, math.nan, 0.25],
        "x": [1, 10, 1, 10],
        "y": [0.1, 0.2, 0.3, 0.4],
        "cell": "9",
        "pick": ["a", "a", "b", "b"],
    }
)
TIP = {"target": "lane"}
SELECT = (Select("pick", "Pick", ("a", "b")),)
FORMS: dict[str, Form] = {
    "lanes": Lanes((Panel("", "Share", marks=(0.0,)),), TIP, selects=SELECT, scaled=("pick",)),
    "lines": Lines((Panel("", "Share"),), "k", TIP, selects=SELECT),
    "words": Lines((Panel("", "Share"),), "Layer", TIP, order=("1", "10")),
    "heat map": HeatMap("", "", "Share", TIP, selects=SELECT),
    "scatter": Scatter((Panel("", ""),), TIP, x="Cost", y="Gain", marks=(1.0, 0.0), log=True),
    "map": Scatter((Panel("", ""),), TIP, picked="Language", selects=SELECT),
}


def svg_of(form: Form, rows: pd.DataFrame, **chosen: str) -> str:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        **form.draw(rows, 700, chosen),
    }
    return str(vl_convert.vegalite_to_svg(spec, show_warnings=True))


def rows_for(name: str) -> pd.DataFrame:
    rows = ROWS.assign(x=ROWS["x"].astype(str)) if name in ("words", "heat map") else ROWS
    return rows.drop(columns=["low", "high"]) if name in ("scatter", "map", "heat map") else rows


@pytest.mark.parametrize("name", FORMS)
def test_each_form_draws_without_a_warning(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert "<svg" in svg_of(FORMS[name], rows_for(name))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", FORMS)
def test_each_form_fits_a_narrow_screen_and_a_column(name: str) -> None:
    spec = FORMS[name].draw(rows_for(name), 340, {})
    assert spec["columns"] == 1
    assert all(panel["width"] <= 340 for panel in spec["concat"])
    rooms = [layout["room"] for layout in spec["usermeta"]["layouts"]]
    assert rooms == sorted(rooms, reverse=True)
    assert min(rooms) <= 320
    assert max(rooms) == 1040


def test_a_selector_shows_its_first_option_or_what_is_chosen() -> None:
    shown = svg_of(FORMS["lanes"], ROWS)
    assert "German" in shown
    assert "Spanish" not in shown
    other = svg_of(FORMS["lanes"], ROWS, pick="b")
    assert "Spanish" in other
    assert "German" not in other


def test_a_label_beside_an_interval_lies_within_its_panel() -> None:
    ends = {}
    for labelled in ((), ("Experts",), ("Before",)):
        lanes = Lanes((Panel("", "Share"),), TIP, labelled=labelled)
        (panel,) = lanes.draw(ROWS, 700, {})["concat"]
        ends[labelled] = panel["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    low, high = ends[()]
    assert ends["Before",] == [low, high]  # its labels stand over it
    assert ends["Experts",][1] > high + 0.1 * (high - low)


def test_a_selector_of_one_option_is_none() -> None:
    assert Select.of(ROWS.assign(pick="a"), pick="Pick") == ()
    assert Select.of(ROWS, pick="Pick") == SELECT


def test_scales_hold_every_figure_and_are_those_of_the_choice() -> None:
    low, high = domain(ROWS, ("value", "low", "high", "missing"), 0.7)
    assert low < 0.1
    assert high > 0.7
    assert domain(ROWS[:0], ("value",)) == pytest.approx((-0.08, 1.08))
    assert domain(ROWS, ("value",), log=True)[0] > 0
    whole = fitted(ROWS, ("value",), ())
    assert whole["domain"][0] < 0.1
    assert whole["domain"][1] > 0.4
    each = fitted(ROWS, ("value",), SELECT)
    assert "datum_pick" in each["domainMin"]["expr"]
    assert fitted(ROWS, ("value",), (), within=(0, 0.3))["domain"][1] == 0.3


def test_what_lies_beyond_a_panel_is_written_at_its_end() -> None:
    form = Lanes((Panel("", "Share", within=(0.0, 0.3)),), TIP)
    assert "0.40 →" in svg_of(form, ROWS)
    assert "→" not in svg_of(Lanes((Panel("", "Share"),), TIP), ROWS)
    ends = svg_of(Lanes((Panel("", "Share", within=(0.18, 0.45)),), TIP), ROWS)
    assert "0.50 →" in ends
    assert "← 0.15" in ends
    assert "← 0.00" not in ends


def test_a_band_without_an_interval_has_no_width_and_warns_of_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    bare = ROWS.assign(low=math.nan, high=math.nan)
    svg_of(FORMS["lines"], bare)
    svg_of(FORMS["lanes"], bare)
    assert capfd.readouterr().err == ""


def test_data_are_short_and_what_is_not_finite_is_null() -> None:
    rows = pd.DataFrame({"a": [0.123456789, math.inf, math.nan], "b": [1, 2, 3], "c": "x"})
    content: list[dict[str, Any]] = values(rows)["values"]
    assert content[0] == {"a": 0.12346, "b": 1, "c": "x"}
    assert [row["a"] for row in content[1:]] == [None, None]


def test_cells_too_small_for_their_figures_have_none() -> None:
    rows = pd.DataFrame({"x": [str(n) for n in range(30)], "y": "a", "value": 0.5, "cell": "+0.25"})
    narrow = HeatMap("", "", "Share", {"x": "x"}).draw(rows, 340, {})
    assert len(narrow["concat"][0]["layer"]) == 1
    wide = HeatMap("", "", "Share", {"x": "x"}).draw(rows[:4], 1040, {})
    assert len(wide["concat"][0]["layer"]) == 2
    assert next(layout["bare"] for layout in wide["usermeta"]["layouts"]) is False
