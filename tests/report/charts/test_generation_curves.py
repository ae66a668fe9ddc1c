from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from steer_plugin.analyses.report.charts.generation_curves import (
    generation_by_k,
    generation_by_k_table,
    generation_exhibits,
    generation_tradeoff,
    generation_tradeoff_table,
)
from steer_plugin.analyses.report.words.generation_titles import (
    generation_title,
    generation_tradeoff_title,
    recommendation,
)

from support.frames_of_extras import NO_RULE, RULE, SEVEN, generation_frame, set_where
from support.specs import encodings, rows_of, said_on, spec_of, title_of, tooltips_of, width_of

EXPERTS = {"condition": "experts"}
AT_300 = {"condition": "experts", "top_k": 300}
INTERVALS = [f"{name}_{end}" for name in ("gain", "cost") for end in ("low", "high")]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return generation_frame()


@pytest.fixture(scope="module")
def by_k(table: pd.DataFrame) -> dict[str, Any]:
    return spec_of(generation_by_k(table))


@pytest.fixture(scope="module")
def against_cost(table: pd.DataFrame) -> dict[str, Any]:
    return spec_of(generation_tradeoff(table))


def one(table: pd.DataFrame, target: str = "deu_Latn") -> pd.DataFrame:
    return table[table["target"] == target].reset_index(drop=True)


def test_probability_and_perplexity_stand_in_two_rows_over_the_same_values_of_k(
    by_k: dict[str, Any],
) -> None:
    assert said_on(by_k, "y") == {"Probability (0 to 1)", "Perplexity / before (log)"}
    assert said_on(by_k, "x") == {"k neurons steered (log)"}
    assert len(by_k["vconcat"]) == 2
    axes = [e["x"]["scale"] for e in encodings(by_k) if "scale" in e.get("x", {})]
    assert all(scale == axes[0] for scale in axes)
    assert axes[0]["type"] == "log"
    levels = [e["y"]["scale"] for e in encodings(by_k) if "scale" in e.get("y", {})]
    assert {scale.get("type", "linear") for scale in levels} == {"linear", "log"}
    assert all(scale["domain"][0] == 0 for scale in levels if "type" not in scale)


def test_the_conditions_have_their_own_colours(
    by_k: dict[str, Any], against_cost: dict[str, Any]
) -> None:
    for spec in (by_k, against_cost):
        scales = [e["color"]["scale"] for e in encodings(spec) if "scale" in e.get("color", {})]
        assert scales
        for scale in scales:
            assert scale["domain"] == ["Before", "Random neurons", "Experts"]
            assert scale["range"] == ["#767676", "#E69F00", "#0072B2"]


def test_tooltips_carry_the_figures_with_their_intervals(
    table: pd.DataFrame, by_k: dict[str, Any], against_cost: dict[str, Any]
) -> None:
    for spec in (by_k, against_cost):
        assert {
            "target",
            "k",
            "probability of the target language",
            "gain (95% interval)",
            "perplexity",
            "perplexity / before (95% interval)",
            "recommended",
        } <= tooltips_of(spec)
    figures = dict(zip(INTERVALS, (0.55, -0.01, 1.05, 1.3), strict=True))
    moved = set_where(table, AT_300, gain=0.6, cost=1.12, **figures)
    shown = rows_of(spec_of(generation_by_k(moved)))
    chosen = shown[(shown["condition"] == "Experts") & (shown["top_k"] == 300)]
    assert set(chosen["gained"]) == {"+0.600 (+0.550 to −0.010)"}
    assert set(chosen["paid"]) == {"1.120 (1.050 to 1.300)"}


def test_bands_are_the_level_before_plus_the_interval_of_the_gain(
    table: pd.DataFrame, by_k: dict[str, Any]
) -> None:
    moved = set_where(
        table,
        {"target": "deu_Latn", **AT_300},
        gain_low=0.5,
        gain_high=0.7,
        cost_low=1.05,
        cost_high=1.3,
    )
    moved = set_where(moved, {"target": "deu_Latn", "condition": "before"}, probability=0.1)
    rows = rows_of(spec_of(generation_by_k(moved)))
    drawn = rows[
        (rows["target"] == "deu_Latn") & (rows["top_k"] == 300) & (rows["condition"] == "Experts")
    ].set_index("measure")
    assert drawn.loc["probability", ["low", "high"]].tolist() == pytest.approx([0.6, 0.8])
    assert drawn.loc["cost", ["low", "high"]].tolist() == pytest.approx([1.05, 1.3])
    assert set(rows_of(by_k)["measure"]) == {"probability", "cost"}


def test_the_unsteered_model_is_a_line_at_its_level_and_at_a_ratio_of_1(
    by_k: dict[str, Any],
) -> None:
    rows = rows_of(by_k)
    before = rows[(rows["condition"] == "Before") & (rows["target"] == "spa_Latn")]
    assert before.set_index("measure")["value"].to_dict() == pytest.approx(
        {"probability": 0.033, "cost": 1.0}
    )


def test_only_a_recommended_k_has_a_ring_and_a_legend_for_it(
    table: pd.DataFrame, by_k: dict[str, Any], against_cost: dict[str, Any]
) -> None:
    for spec in (by_k, against_cost):
        rings = [e["stroke"]["scale"]["domain"] for e in encodings(spec) if "stroke" in e]
        assert rings == [["Recommended k"]] * len(spec["vconcat"])
    shown = rows_of(by_k)
    ringed = shown[shown["recommended"]]
    assert set(zip(ringed["target"], ringed["top_k"], strict=True)) == {
        (target, 300) for target in table["target"]
    }
    none = generation_frame(recommended={})
    for chart in (generation_by_k(none), generation_tradeoff(none)):
        assert not any("stroke" in e for e in encodings(spec_of(chart)))


def test_the_line_joins_the_front_and_labels_say_the_k_of_experts(
    against_cost: dict[str, Any],
) -> None:
    assert said_on(against_cost, "x") == {"Perplexity / before (log)"}
    assert said_on(against_cost, "y") == {"Gain in probability (after − before)"}
    (facet,) = against_cost["vconcat"]
    line = next(layer for layer in facet["spec"]["layer"] if layer["mark"].get("type") == "line")
    assert line["transform"] == [{"filter": "datum.on_front"}]
    assert line["encoding"]["order"]["field"] == "cost"
    rows = rows_of(against_cost)
    german = rows[rows["target"] == "deu_Latn"]
    labelled = german[german["text_cost"].notna()]
    assert set(labelled["condition"]) == {"Experts"}
    assert {"300", "1,000", "3,000"} <= set(labelled["text"])
    assert (labelled["text"] == [f"{k:,}" for k in labelled["top_k"]]).all()


def test_many_targets_wrap_into_rows_of_equal_panels_in_the_order_of_the_table() -> None:
    seven = generation_frame(targets=SEVEN)
    spec = spec_of(generation_by_k(seven))
    sorts = [row["facet"]["column"]["sort"] for row in spec["vconcat"]]
    assert [len(names) for names in sorts] == [4, 4, 3, 3]
    assert [name.split(" ")[0] for name in [*sorts[0], *sorts[2]]] == [
        "English",
        "German",
        "French",
        "Spanish",
        "Japanese",
        "Russian",
        "Chinese",
    ]
    assert len({row["spec"]["width"] for row in spec["vconcat"]}) == 1


@pytest.mark.parametrize("targets", [SEVEN[:1], SEVEN[:3], SEVEN])
def test_charts_fit_the_page_and_compile_without_a_warning(
    targets: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    for figure in generation_exhibits(generation_frame(targets=targets)):
        assert width_of(spec_of(figure.chart)) <= 1052, figure.name
    assert capfd.readouterr().err == ""


def test_a_single_k_has_bars_and_no_picture_of_gain_against_cost(
    capfd: pytest.CaptureFixture[str],
) -> None:
    single = generation_frame(top_ks=(300,))
    (figure,) = generation_exhibits(single)
    assert figure.name == "generation_by_k"
    spec = spec_of(figure.chart)
    vl_convert.vegalite_to_vega(spec, show_warnings=True)
    assert capfd.readouterr().err == ""
    svg = vl_convert.vegalite_to_svg(spec)
    assert svg.count('stroke="#0072B2" stroke-width="1.8"') == 2 * 3


def test_what_was_not_measured_is_not_drawn() -> None:
    nothing = generation_frame()[:0]
    assert generation_exhibits(nothing) == []
    costs = ["perplexity", "cost", "cost_low", "cost_high", "documents", "tokens"]
    (unpriced,) = generation_exhibits(generation_frame().assign(**dict.fromkeys(costs, np.nan)))
    assert said_on(spec_of(unpriced.chart), "y") == {"Probability (0 to 1)"}
    assert "Perplexity was not measured." in unpriced.caption
    assert "ratio of perplexities" not in unpriced.caption
    assert "times the perplexity" not in title_of(spec_of(unpriced.chart))
    alone = generation_exhibits(generation_frame(controlled=False))
    for figure in alone:
        assert set(rows_of(spec_of(figure.chart))["condition"]) == {"Before", "Experts"}
    assert "No random control was run." in alone[0].caption


def test_figures_without_intervals_are_points_and_claim_nothing(table: pd.DataFrame) -> None:
    bare = table.assign(**dict.fromkeys(INTERVALS, np.nan))
    for figure in generation_exhibits(bare):
        svg = vl_convert.vegalite_to_svg(spec_of(figure.chart))
        assert 'stroke="#0072B2" stroke-width="1.8"' not in svg
    assert "not reliably" in generation_title(bare)


def test_an_infinite_perplexity_is_left_out_and_said_to_be(table: pd.DataFrame) -> None:
    beyond = {"cost": np.inf, "cost_low": np.inf, "cost_high": np.inf, "perplexity": np.inf}
    broken = set_where(table, {"condition": "experts", "top_k": 3000}, **beyond)
    for figure in generation_exhibits(broken):
        assert "An infinite one is not drawn." in figure.caption
        rows = rows_of(spec_of(figure.chart))
        assert rows["cost"].max() < 2
    assert len(generation_tradeoff_table(broken)) == len(table) - 3


def test_the_tables_are_the_rows_that_are_drawn(table: pd.DataFrame) -> None:
    drawn = {figure.name: figure.table for figure in generation_exhibits(table)}
    pd.testing.assert_frame_equal(drawn["generation_by_k"], table)
    pd.testing.assert_frame_equal(drawn["generation_by_k"], generation_by_k_table(table))
    pd.testing.assert_frame_equal(drawn["generation_tradeoff"], table)


def test_the_title_gives_the_targets_that_gain_beyond_random_neurons_and_what_they_pay(
    table: pd.DataFrame,
) -> None:
    # Japanese gains 0.02 there, no more than the top of the interval of random neurons.
    assert generation_title(table) == (
        "At the recommended k, experts raise the probability of the target language beyond the "
        "one random draw for 2 of 3 targets: German 0.02 to 0.62 at 1.12 times the perplexity and "
        "Spanish "
        "0.03 to 0.34 at 1.12 times"
    )
    assert generation_title(one(table)) == (
        "At the recommended k, experts raise the probability of the target language beyond the "
        "one random draw: German 0.02 to 0.62 at 1.12 times the perplexity"
    )
    assert generation_title(generation_frame(targets=SEVEN)) == (
        "At the recommended k, experts raise the probability of the target language beyond the "
        "one random draw for 6 of 7 targets, most for German 0.03 to 0.63 at 1.12 times the "
        "perplexity"
    )


def test_a_gain_is_beyond_random_neurons_only_where_the_intervals_are_apart(
    table: pd.DataFrame,
) -> None:
    random = {"condition": "control", "top_k": 300}
    elsewhere = set_where(table, {"condition": "control", "top_k": 1000}, gain_high=0.9)
    assert generation_title(elsewhere) == generation_title(table)
    alike = set_where(one(table), random, gain_high=0.6)
    assert generation_title(alike) == (
        "At the recommended k, experts raise the probability of the target language: German 0.02 "
        "to 0.62 at 1.12 times the perplexity, but not beyond the one random draw"
    )
    unknown = set_where(one(table), random, gain_high=np.nan)
    assert "but not beyond the one random draw" in generation_title(unknown)
    assert generation_title(one(generation_frame(controlled=False))).endswith(
        "at 1.12 times the perplexity; no random control was run"
    )


def test_the_title_claims_no_gain_that_its_interval_does_not_support(table: pd.DataFrame) -> None:
    flat = set_where(table, EXPERTS, gain_low=-0.1, gain_high=0.9)
    assert generation_title(flat) == (
        "At the recommended k, experts do not reliably raise the probability of the target "
        "language for any of 3 targets"
    )
    lost = set_where(table, EXPERTS, gain_low=-0.2, gain_high=-0.1)
    assert generation_title(lost) == (
        "At the recommended k, experts lower the probability of the target language for all 3 "
        "targets"
    )
    assert generation_title(one(lost)) == (
        "At the recommended k, experts lower the probability of the target language"
    )


def test_the_title_says_where_no_k_is_recommended() -> None:
    some = generation_frame(recommended={"deu_Latn": 300})
    assert generation_title(some).endswith("; no k is recommended for Spanish and Japanese")
    none = generation_frame(recommended={})
    # Of Japanese, 3 of 6 values of k have an interval above 0.
    assert generation_title(none) == (
        "No k is recommended for any of 3 targets; experts raise the probability of the target "
        "language at some k for all 3 targets"
    )
    flat = set_where(none, EXPERTS, gain_low=-0.1, gain_high=0.9)
    assert generation_title(flat) == (
        "No k is recommended for any of 3 targets; at no k do experts reliably change the "
        "probability of the target language"
    )
    lost = set_where(flat, {"target": "spa_Latn", **AT_300}, gain_low=-0.3, gain_high=-0.1)
    assert generation_title(lost) == (
        "No k is recommended for any of 3 targets; experts lower the probability of the target "
        "language at some k for 1 of 3 targets"
    )
    both = set_where(lost, {"target": "deu_Latn", **AT_300}, gain_low=0.1)
    assert generation_title(both).endswith(
        "experts raise the probability of the target language at some k for 1 of 3 targets and "
        "lower it at some k for 1 of 3 targets"
    )
    single = generation_frame(targets=("deu_Latn",), top_ks=(300,), recommended={})
    assert generation_title(single) == (
        "No k is recommended; experts raise the probability of the target language at k = 300"
    )


def test_the_other_title_says_which_k_is_recommended_for_whom() -> None:
    mixed = generation_frame(recommended={"deu_Latn": 1000, "spa_Latn": 100})
    assert generation_tradeoff_title(mixed) == (
        "Gain against perplexity recommends k = 100 for Spanish, k = 1,000 for German and no k "
        "for Japanese"
    )
    seven = generation_frame(targets=SEVEN, recommended=dict.fromkeys(SEVEN[:5], 300))
    assert generation_tradeoff_title(seven) == (
        "Gain against perplexity recommends k = 300 for 5 of 7 targets and no k for 2 of 7 targets"
    )
    assert generation_tradeoff_title(generation_frame(recommended={})) == (
        "Gain against perplexity recommends no k for any of 3 targets"
    )


def test_the_caption_states_the_rule_and_why_no_k_is_recommended(table: pd.DataFrame) -> None:
    chosen = f"Ring: the recommended k, {RULE}, on the other half of the seeds."
    assert recommendation(table) == chosen
    some = generation_frame(recommended={"deu_Latn": 300})
    assert recommendation(some) == (
        f"{chosen} No k is recommended for Spanish and Japanese: {NO_RULE}."
    )
    assert recommendation(one(generation_frame(recommended={}))) == (
        f"No k is recommended: {NO_RULE}."
    )
    for figure in generation_exhibits(some):
        assert recommendation(some) in figure.caption
        assert "32 texts with each of 4 seeds" in figure.caption
        assert "9,650 tokens of the target language, in 12 documents," in figure.caption
    assert "bootstrap over seeds and their texts" in generation_exhibits(some)[0].caption
    assert "(over documents)" in generation_exhibits(some)[0].caption
