"""Table 2 as a chart: how many correlations can be told from none, and over how many languages."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.measures.correlations import CORRELATED, correlations
from steer_plugin.analyses.report.charts.correlation_lanes import (
    correlation_exhibits,
    correlations_chart,
    correlations_table,
)
from steer_plugin.analyses.report.words.correlation_titles import correlations_title
from steer_plugin.analyses.run.results import Results

from support.frames_of_paper import (
    LANGUAGES,
    SEEN,
    SEVEN,
    TWENTY_TWO,
    correlations_frame,
    paper_results,
)
from support.specs import encodings, said_on, spec_of, title_of, tooltips_of, width_of

MINUS = "\N{MINUS SIGN}"
AFTER, BEFORE, DISTANCES, CHANGES = CORRELATED


@pytest.fixture(scope="module")
def base() -> Results:
    return paper_results(layers=("12", "final"))


@pytest.fixture(scope="module")
def spec(base: Results) -> dict[str, Any]:
    return spec_of(correlations_chart(base))


def row(target: str, correlation: str, r: float, low: float, high: float) -> dict[str, Any]:
    ends = {"r": r, "r_low": low, "r_high": high}
    return {"target": target, "correlation": correlation, "n": 6, **ends}


def drawn(spec: dict[str, Any]) -> pd.DataFrame:
    sets = [pd.DataFrame(rows) for rows in spec["datasets"].values() if "lane" in rows[0]]
    return pd.concat(sets).drop_duplicates(["panel", "lane", "name"])


def headings(spec: dict[str, Any]) -> list[tuple[str, str]]:
    return [(part["title"]["text"], part["title"]["subtitle"]) for part in spec["hconcat"]]


def test_the_headline_k_and_the_last_layer_are_drawn(base: Results) -> None:
    table = correlations_table(base)
    assert set(table["top_k"]) == {300}
    assert set(table["layer"]) == {"final"}
    assert set(table["centring"]) == {"raw"}
    assert len(table) == 4 * 4 * 2 * 2


def test_centred_distances_are_left_to_the_table(base: Results) -> None:
    centred = base.correlations.assign(centring="language")
    both = pd.concat([base.correlations, centred], ignore_index=True)
    table = correlations_table(dataclasses.replace(base, correlations=both))
    assert len(table) == len(correlations_table(base))


def test_panels_say_which_distance_and_how_many_languages(spec: dict[str, Any]) -> None:
    assert headings(spec) == [
        ("Distance of sentences", "all languages, n = 6"),
        ("Distance of sentences", "seen in pre-training, n = 4 to 5"),
        ("Distance of means", "all languages, n = 6"),
        ("Distance of means", "seen in pre-training, n = 4 to 5"),
    ]


def test_every_panel_has_the_whole_axis_of_r_with_0_marked(spec: dict[str, Any]) -> None:
    assert said_on(spec, "x") == {f"Pearson's r ({MINUS}1 to 1)"}
    domains = [e["x"]["scale"]["domain"] for e in encodings(spec) if "scale" in e.get("x", {})]
    assert all(low <= -1 and high >= 1 for low, high in domains)
    marks = [
        [row["mark"] for row in rows] for rows in spec["datasets"].values() if "mark" in rows[0]
    ]
    assert marks == [[0, -1, 1]]


def test_each_target_and_their_pool_is_drawn_with_its_interval(
    base: Results, spec: dict[str, Any]
) -> None:
    wanted = correlations_table(base)
    assert len(drawn(spec)) == len(wanted)
    assert sorted(drawn(spec)["value"]) == pytest.approx(sorted(wanted["r"]))
    assert sorted(drawn(spec)["low"]) == pytest.approx(sorted(wanted["r_low"]))
    assert sorted(drawn(spec)["high"]) == pytest.approx(sorted(wanted["r_high"]))
    assert "All targets pooled" in set(drawn(spec)["name"])


def test_tooltips_carry_r_its_interval_and_n(spec: dict[str, Any]) -> None:
    assert {"r (95% interval)", "languages", "points"} <= tooltips_of(spec)


def test_the_title_counts_the_intervals_without_0_and_says_n() -> None:
    table = pd.DataFrame(
        [
            row("deu_Latn", AFTER, -0.9, -0.99, -0.2),
            row("spa_Latn", AFTER, -0.7, -0.95, -0.1),
            row("deu_Latn", DISTANCES, 0.2, -0.5, 0.6),
            row("spa_Latn", DISTANCES, 0.9, 0.4, 1.0),
            row("all", AFTER, -0.3, -0.5, 0.1),
            row("all", DISTANCES, 0.5, 0.2, 0.7),
        ]
    )
    assert correlations_title(table) == (
        "Over 6 languages 3 of 4 correlations have an interval without 0: accuracy and distance, "
        f"after (r = {MINUS}0.90 to {MINUS}0.70) for both targets and distance after and before "
        "(r = 0.90) for 1 of 2 targets; with all targets pooled 1 of 2"
    )
    one = table[table["target"] == "deu_Latn"]
    assert correlations_title(one) == (
        "Over 6 languages 1 of 2 correlations has an interval without 0: accuracy and distance, "
        f"after (r = {MINUS}0.90)"
    )
    flat = table.assign(r_low=-0.1, r_high=0.1)
    assert correlations_title(flat) == (
        "Over 6 languages 0 of 4 correlations have an interval without 0; with all targets pooled "
        "0 of 2"
    )


def test_what_has_no_r_is_not_counted() -> None:
    unknown = row("deu_Latn", AFTER, np.nan, np.nan, np.nan)
    known = row("deu_Latn", BEFORE, 0.5, -0.2, 0.9)
    assert correlations_title(pd.DataFrame([unknown, known])).startswith(
        "Over 6 languages 0 of 1 correlation have"
    )
    assert correlations_title(pd.DataFrame([unknown])) == (
        "No correlation is defined over 6 languages"
    )


def test_the_title_counts_each_correlation_once(base: Results) -> None:
    assert " of 12 correlations " in title_of(spec_of(correlations_chart(base)))


def test_the_pool_of_one_target_is_left_out() -> None:
    one = paper_results(targets=("deu_Latn",), layers=("final",), top_ks=(300,))
    table = correlations_table(one)
    assert set(table["target"]) == {"deu_Latn"}
    (figure,) = correlation_exhibits(one)
    assert "ooled" not in figure.caption + title_of(spec_of(figure.chart))


def test_without_a_list_of_seen_languages_there_are_two_panels() -> None:
    told = paper_results(layers=("final",), top_ks=(300,), seen=None)
    assert len(headings(spec_of(correlations_chart(told)))) == 2


def test_too_few_languages_have_no_chart_and_some_are_counted_in_the_caption() -> None:
    two = paper_results(
        languages=LANGUAGES[:2], targets=("deu_Latn",), layers=("final",), top_ks=(300,)
    )
    assert correlation_exhibits(two) == []
    few = paper_results(targets=("deu_Latn",), layers=("final",), seen=LANGUAGES[:2])
    (figure,) = correlation_exhibits(few)
    assert "8 of 16 have too few languages or no spread" in figure.caption
    assert width_of(spec_of(figure.chart)) <= 1052


def test_a_run_without_correlations_has_no_chart(base: Results) -> None:
    assert correlation_exhibits(dataclasses.replace(base, correlations=pd.DataFrame())) == []


def test_the_chart_fits_the_page_with_seven_targets_and_22_languages() -> None:
    many = paper_results(
        languages=TWENTY_TWO,
        targets=SEVEN,
        layers=("final",),
        top_ks=(300,),
        seen=TWENTY_TWO[:15],
    )
    assert width_of(spec_of(correlations_chart(many))) <= 1052


def test_targets_with_different_k_are_not_pooled(base: Results) -> None:
    table = base.retrieval
    fewer = table[(table["target"] != "deu_Latn") | (table["top_k"] == 1500)]
    mixed = dataclasses.replace(base, retrieval=fewer)
    drawn = correlations_table(mixed)
    assert set(drawn["target"]) == {"deu_Latn", "spa_Latn", "jpn_Jpan"}
    assert set(drawn.loc[drawn["target"] == "deu_Latn", "top_k"]) == {1500}


def test_where_no_correlation_has_an_interval_the_title_says_so(base: Results) -> None:
    unsure = base.correlations.assign(r_low=np.nan, r_high=np.nan)
    (figure,) = correlation_exhibits(dataclasses.replace(base, correlations=unsure))
    title = title_of(spec_of(figure.chart))
    assert "no correlation can be told from none; intervals are made from 8 on" in title


def test_the_frame_of_the_tests_is_like_the_real_one(base: Results) -> None:
    real = correlations(base.retrieval, base.alignment, seen=SEEN)
    assert set(correlations_frame()) == set(real)
    for name in ("correlation", "distance", "languages"):
        assert set(correlations_frame()[name]) >= set(real[name])


def test_the_rows_that_are_drawn_do_not_take_the_place_of_all_that_was_measured(
    base: Results,
) -> None:
    (figure,) = correlation_exhibits(base)
    assert figure.name not in base.tables()
