"""Retrieval in independent sets of translations."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.bitext_lanes import (
    bitext_retrieval,
    bitext_retrieval_exhibits,
    bitext_retrieval_table,
)
from steer_plugin.analyses.report.words.bitext_titles import bitexts_title, dataset_name
from steer_plugin.analyses.run.results import Results

from support.frames_of_paper import SEVEN, TWENTY_TWO, bitexts_frame, paper_results
from support.specs import encodings, rows_of, said_on, spec_of, tooltips_of, width_of

DAGGER = "\N{DAGGER}"


@pytest.fixture(scope="module")
def base() -> Results:
    return paper_results(layers=("final",), top_ks=(300,))


@pytest.fixture(scope="module")
def spec(base: Results) -> dict[str, Any]:
    return spec_of(bitext_retrieval(base))


def top_1(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["measure"] == "top-1"].reset_index(drop=True)


def test_there_is_a_panel_a_set_and_direction(base: Results, spec: dict[str, Any]) -> None:
    table = bitext_retrieval_table(base)
    assert list(dict.fromkeys(table["panel"])) == [
        "Tatoeba, from the target",
        "Tatoeba, into the target",
        "BUCC-18, from the target",
        "BUCC-18, into the target",
    ]
    assert spec["columns"] == 2
    start = table["panel"].str.endswith("from the target")
    assert (table.loc[start, "query"] == table.loc[start, "target"]).all()
    assert (table.loc[~start, "candidates"] == table.loc[~start, "target"]).all()
    assert set(table["measure"]) == {"top-1"}


def test_each_search_has_its_level_before_with_random_neurons_and_with_experts(
    base: Results, spec: dict[str, Any]
) -> None:
    drawn = rows_of(spec)
    wanted = bitext_retrieval_table(base)
    assert len(drawn) == 3 * len(wanted)
    for condition, column in (
        ("Before", "pre"),
        ("Random neurons", "control"),
        ("Experts", "post"),
    ):
        found = drawn[drawn["condition"] == condition]
        assert found["value"].tolist() == pytest.approx(wanted[column].tolist())


def test_a_lane_is_named_by_both_languages_the_target_first(spec: dict[str, Any]) -> None:
    drawn = rows_of(spec)
    assert set(drawn["name"]) == {
        "German and English",
        "Spanish and English",
        f"Japanese {DAGGER} and English",
    }


def test_conditions_axes_and_tooltips_are_those_of_the_report(spec: dict[str, Any]) -> None:
    assert said_on(spec, "x") == {"Top-1 retrieval accuracy (0 to 1)"}
    assert {"target and other language", "change (95% interval)"} <= tooltips_of(spec)
    scales = [e["color"]["scale"] for e in encodings(spec) if "scale" in e.get("color", {})]
    assert all(scale["range"] == list(theme.CONDITION_COLOURS) for scale in scales)


def test_the_caption_says_how_many_queries_and_what_was_not_seen(base: Results) -> None:
    (figure,) = bitext_retrieval_exhibits(base)
    for words in ("1,000 (Tatoeba) and 9,000 (BUCC-18) queries", "k = 300", "95% interval"):
        assert words in figure.caption
    assert f"{DAGGER}: not seen" in figure.caption
    told = paper_results(layers=("final",), top_ks=(300,), seen=None)
    (figure,) = bitext_retrieval_exhibits(told)
    assert DAGGER not in figure.caption + str(spec_of(figure.chart))


def test_the_title_counts_searches_that_rise_beyond_random_neurons() -> None:
    frame = top_1(bitexts_frame())
    flat = frame.assign(change_low=0.1, change_high=0.2, advantage_low=-0.1)
    flat.loc[:1, "advantage_low"] = 0.05
    flat.loc[0, ["change", "pre", "post"]] = [0.9, 0.05, 0.95]
    assert bitexts_title(flat) == (
        "Experts lift top-1 beyond random neurons in 2 of 6 searches of Tatoeba and 0 of 6 "
        "searches of BUCC-18, most from German to English (Tatoeba), 0.05 to 0.95"
    )
    none = flat.assign(advantage_low=-0.1)
    assert bitexts_title(none) == (
        "In independent sets experts do not reliably lift top-1 beyond random neurons in any of 12 "
        "searches"
    )
    ahead = flat.assign(change_low=-0.1, advantage_low=0.1)
    assert "do not reliably lift" in bitexts_title(ahead)
    lost = none.assign(change_low=-0.2, change_high=-0.1)
    assert bitexts_title(lost).endswith("; top-1 falls in 12 of 12")
    unknown = none.assign(change_low=np.nan, change_high=np.nan, advantage_low=np.nan)
    assert bitexts_title(unknown) == bitexts_title(none)


def test_without_a_control_no_rise_is_put_down_to_the_experts() -> None:
    alone = top_1(bitexts_frame(targets=("deu_Latn",), n_controls=0, datasets=(("tatoeba", 9),)))
    said = bitexts_title(alone)
    assert said.startswith("Experts lift top-1 in 2 of 2 searches of Tatoeba")
    assert said.endswith("; no random control was run")


def test_a_run_without_independent_sets_has_no_chart(base: Results) -> None:
    assert bitext_retrieval_exhibits(dataclasses.replace(base, bitexts=pd.DataFrame())) == []


def test_a_set_that_is_not_known_has_its_own_name() -> None:
    assert dataset_name("ntrex") == "Ntrex"
    assert dataset_name("bucc18") == "BUCC-18"


def test_the_chart_fits_the_page_with_seven_targets() -> None:
    many = paper_results(languages=TWENTY_TWO, targets=SEVEN, layers=("final",), top_ks=(300,))
    assert width_of(spec_of(bitext_retrieval(many))) <= 1052
