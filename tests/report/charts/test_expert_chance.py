"""The choice of experts: against chance, and between samples of sentences."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.expert_chance import (
    expert_stability,
    experts_against_chance,
    experts_against_chance_table,
    selection_exhibits,
)
from steer_plugin.analyses.report.words.selection_titles import (
    null_title,
    short_of_units,
    stability_title,
)
from steer_plugin.analyses.run.results import Results

from support.frames_of_paper import (
    LANGUAGES,
    TWENTY_TWO,
    null_frame,
    paper_results,
    stability_frame,
)
from support.specs import encodings, rows_of, said_on, spec_of, tooltips_of, width_of

DAGGER = "\N{DAGGER}"


@pytest.fixture(scope="module")
def base() -> Results:
    return paper_results(layers=("final",))


@pytest.fixture(scope="module")
def chance(base: Results) -> dict[str, Any]:
    return spec_of(experts_against_chance(base))


@pytest.fixture(scope="module")
def stable(base: Results) -> dict[str, Any]:
    return spec_of(expert_stability(base))


def test_each_language_has_its_best_unit_and_its_bar(base: Results, chance: dict[str, Any]) -> None:
    table = experts_against_chance_table(base)
    assert table["best"].is_monotonic_decreasing
    drawn = rows_of(chance).set_index("concept")
    for what, column in (
        ("Best unit", "best"),
        ("Best of all units by chance (95% bar)", "null_high"),
    ):
        values = drawn.loc[drawn["what"] == what, "value"]
        assert values.reindex(table["concept"]).tolist() == pytest.approx(table[column].tolist())


def test_the_number_of_units_beyond_the_bar_stands_beside_it(chance: dict[str, Any]) -> None:
    drawn = rows_of(chance)
    texts = drawn.loc[drawn["units"] != "", ["above", "units", "end", "best", "null_high"]]
    assert len(texts) == len(LANGUAGES)
    assert "4,000 units beyond" in set(texts["units"])
    assert (texts["end"] == texts[["best", "null_high"]].max(axis=1)).all()
    one = null_frame().assign(above=1)
    spec = spec_of(
        experts_against_chance(dataclasses.replace(paper_results(layers=("final",)), null=one))
    )
    assert "1 unit beyond" in set(rows_of(spec)["units"])


def test_axes_and_tooltips_name_the_score_and_the_figures(
    chance: dict[str, Any], stable: dict[str, Any]
) -> None:
    assert said_on(chance, "x") == {"AUROC of a unit"}
    assert {"best unit", "95% bar", "p", "units beyond the bar"} <= tooltips_of(chance)
    assert said_on(stable, "x") == {"k (log)"}
    assert said_on(stable, "y") == {"Jaccard's index (0 to 1)"}
    assert {"language", "k", "Jaccard's index (middle 95% of resamples)"} <= tooltips_of(stable)


def test_experts_are_blue_and_languages_that_were_not_seen_are_marked(
    chance: dict[str, Any], stable: dict[str, Any]
) -> None:
    (scale, *_) = [e["color"]["scale"] for e in encodings(chance) if "scale" in e.get("color", {})]
    assert scale["range"] == [theme.CONDITION_COLOURS[-1], theme.INK]
    for spec in (chance, stable):
        names = set(rows_of(spec)["name"])
        assert {f"Japanese {DAGGER}", f"Russian {DAGGER}", "German"} <= names


def test_the_title_counts_who_is_beyond_chance() -> None:
    table = pd.DataFrame(
        {
            "concept": ["deu_Latn", "fra_Latn", "jpn_Jpan"],
            "best": [0.99, 0.9, 0.6],
            "null_high": [0.65, 0.66, 0.65],
            "above": [1200, 1, 0],
        }
    )
    assert null_title(table, "AUROC") == (
        "The best unit of 2 of 3 languages scores beyond chance (AUROC 0.90 to 0.99 against 0.65 "
        "to 0.66); 1 to 1,200 units do in each"
    )
    assert null_title(table[:2], "AUROC").startswith("The best unit of each of 2 languages")
    assert null_title(table[1:2], "AUROC") == (
        "The best unit of French scores beyond chance (AUROC 0.90 against 0.66); 1 unit does"
    )
    assert null_title(table[2:], "AUROC") == (
        "No language's best unit scores beyond chance (AUROC 0.60 against 0.65)"
    )
    unknown = table.assign(null_high=np.nan)
    assert null_title(unknown, "AUROC").startswith("No language's best unit scores beyond chance")


def test_a_score_at_the_bar_is_not_beyond_it() -> None:
    table = null_frame(LANGUAGES[:2]).assign(best=0.65, null_high=0.65)
    assert null_title(table, "AUROC").startswith("No language's best unit")


def test_the_words_say_where_fewer_units_than_are_steered_lie_beyond_the_bar(base: Results) -> None:
    table = pd.DataFrame({"concept": LANGUAGES[:5], "above": [1000, 200, 200, 200, 40]})
    assert short_of_units(table, [30, 300]) == (
        "Fewer than k units lie beyond it at k = 300 for 4 of 5 targets."
    )
    assert short_of_units(table[:2], [30, 300]) == (
        "Fewer than k units lie beyond it at k = 300 for German."
    )
    assert short_of_units(table, [40]) == ""
    (against, _) = selection_exhibits(base)
    assert "Fewer than k units lie beyond it at k = 300 for Spanish and Japanese" in against.caption
    assert "Chinese" not in against.caption


def test_stability_has_a_panel_a_language_and_a_point_a_k(stable: dict[str, Any]) -> None:
    drawn = rows_of(stable)
    assert len(drawn) == len(LANGUAGES) * 3
    assert stable["columns"] == 7
    wanted = stability_frame()
    assert sorted(drawn["jaccard"]) == pytest.approx(sorted(wanted["jaccard"]))
    domains = [e["y"]["scale"]["domain"] for e in encodings(stable) if "scale" in e.get("y", {})]
    assert all(domain == [0, 1] for domain in domains)


def test_the_title_says_how_stable_the_choice_is_at_the_middle_k_and_at_the_ends() -> None:
    table = pd.DataFrame(
        {
            "concept": ["deu_Latn", "fra_Latn"] * 3,
            "top_k": [50, 50, 300, 300, 1500, 1500],
            "jaccard": [0.8, 0.7, 0.6, 0.65, 0.5, 0.5],
        }
    )
    assert stability_title(table) == (
        "With the sentences drawn anew, Jaccard's index of the 300 best units with those chosen is "
        "0.60 to 0.65 on average; 0.70 to 0.80 at k = 50, 0.50 at k = 1,500"
    )
    assert stability_title(table[2:4]).endswith("is 0.60 to 0.65 on average")


def test_captions_say_how_often_and_what_the_bands_are(base: Results) -> None:
    against, stability = selection_exhibits(base)
    assert "100 shufflings" in against.caption
    assert "20 resamples" in stability.caption
    assert "middle 95%" in stability.caption


def test_what_the_run_left_out_is_not_drawn(base: Results) -> None:
    nothing = dataclasses.replace(base, null=pd.DataFrame(), stability=pd.DataFrame())
    assert selection_exhibits(nothing) == []
    (only,) = selection_exhibits(dataclasses.replace(base, null=pd.DataFrame()))
    assert only.name == "expert_stability"


@pytest.mark.parametrize("languages", [LANGUAGES[:1], LANGUAGES[:2], LANGUAGES, TWENTY_TWO])
def test_the_charts_fit_the_page(base: Results, languages: tuple[str, ...]) -> None:
    run = dataclasses.replace(
        base, null=null_frame(languages), stability=stability_frame(languages, (300,))
    )
    for figure in selection_exhibits(run):
        assert width_of(spec_of(figure.chart)) <= 1052


def test_an_index_without_its_spread_is_drawn_as_a_point(base: Results) -> None:
    ends = ["jaccard_low", "jaccard_high"]
    run = dataclasses.replace(
        base, stability=stability_frame().assign(**dict.fromkeys(ends, np.nan))
    )
    assert width_of(spec_of(expert_stability(run))) <= 1052
