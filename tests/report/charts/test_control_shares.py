from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from steer_plugin.analyses.report.charts.control_shares import (
    control_advantages,
    control_advantages_table,
    control_exhibits,
    control_shares,
    control_shares_table,
)
from steer_plugin.analyses.report.words.control_titles import (
    advantages_title,
    centring_sentence,
    share_sentence,
    shares_title,
)
from steer_plugin.settings.parts import CONTROLS

from support.frames_of_extras import SEVEN, controls_frame, set_where
from support.specs import encodings, rows_of, said_on, spec_of, tooltips_of, width_of

DISTANCE = {"measure": "pair distance", "centring": "raw"}
SHIFT = {**DISTANCE, "control": "constant-shift"}
TOP_1 = {"measure": "top-1"}
CENTRING = {**TOP_1, "control": "centring"}
UNKNOWN = {"share": np.nan, "share_low": np.nan, "share_high": np.nan}
FLAT = {"change_low": -0.1, "change_high": 0.1, **UNKNOWN}
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return controls_frame()


@pytest.fixture(scope="module")
def shares(table: pd.DataFrame) -> dict[str, Any]:
    return spec_of(control_shares(table))


@pytest.fixture(scope="module")
def advantages(table: pd.DataFrame) -> dict[str, Any]:
    return spec_of(control_advantages(table))


def headings(spec: dict[str, Any]) -> dict[str, str]:
    return {part["title"]["text"]: part["title"]["subtitle"] for part in spec["hconcat"]}


def lanes_of(spec: dict[str, Any]) -> list[list[str]]:
    return [e["y"]["scale"]["domain"] for e in encodings(spec) if "scale" in e.get("y", {})]


def everything(spec: dict[str, Any]) -> pd.DataFrame:
    sets = [pd.DataFrame(rows) for rows in spec["datasets"].values()]
    return pd.concat([rows for rows in sets if "lane" in rows], ignore_index=True)


def test_every_control_of_a_run_file_has_its_words() -> None:
    assert all(words.label and words.subject and words.what for words in CONTROLS.values())


def test_only_means_over_pairs_of_raw_embeddings_at_the_last_layer_are_drawn(
    table: pd.DataFrame,
) -> None:
    single = table.iloc[[0]].assign(query="deu_Latn", candidates="fra_Latn", layer="final")
    drawn = control_advantages_table(pd.concat([table, single], ignore_index=True))
    assert set(drawn["layer"]) == {"final"}
    assert set(drawn["centring"]) == {"raw"}
    assert set(drawn["query"]) == set(drawn["candidates"]) == {"all"}
    assert list(dict.fromkeys(drawn["measure"])) == ["pair distance", "top-1", "gap"]
    assert len(drawn) == 3 * 3 * len(CONTROLS)


def test_panels_say_what_the_shares_are_of_and_who_has_none(shares: dict[str, Any]) -> None:
    assert headings(shares) == {
        "Raw distance": f"experts: {MINUS}0.66 to {MINUS}0.61",
        "Top-1 retrieval": "experts: +0.08 to +0.17; no share: Japanese",
        "Gap": f"experts: {MINUS}0.012 to {MINUS}0.011",
    }
    assert said_on(shares, "x") == {"Share of the experts' change"}
    marks = [
        [row["mark"] for row in rows] for rows in shares["datasets"].values() if "mark" in rows[0]
    ]
    assert marks
    assert all(values == [0.0, 1.0] for values in marks)


def test_axes_of_the_advantage_have_units_and_say_which_side_is_better(
    advantages: dict[str, Any],
) -> None:
    assert headings(advantages) == {
        "Raw distance": "left: experts are nearer",
        "Top-1 retrieval": "right: experts are better",
        "Gap": "right: experts are better",
    }
    assert said_on(advantages, "x") == {
        "Experts − control (cosine distance)",
        "Experts − control (accuracy)",
        "Experts − control (difference of cosines)",
    }


def test_controls_stand_in_a_fixed_order_and_a_new_word_last(
    table: pd.DataFrame, shares: dict[str, Any]
) -> None:
    labels = [words.label for words in CONTROLS.values()]
    assert all(order == labels for order in lanes_of(shares))
    new = table.assign(control=table["control"].replace("bottom", "new-control"))
    spec = spec_of(control_shares(new.sample(frac=1, random_state=0)))
    assert all(order[-1] == "new-control" for order in lanes_of(spec))
    alone = controls_frame(controls=("bottom",)).assign(control="new-control")
    assert shares_title(alone).startswith("The control new-control gives 36% to 40%")


def test_the_rows_that_are_drawn_are_shares_and_advantages(
    table: pd.DataFrame, shares: dict[str, Any], advantages: dict[str, Any]
) -> None:
    where = {**SHIFT, "target": "spa_Latn", "layer": "final"}
    keep = np.logical_and.reduce([table[name] == value for name, value in where.items()])
    wanted = table[keep].iloc[0]
    for spec, column in ((shares, "share"), (advantages, "advantage")):
        rows = everything(spec)
        keep = np.logical_and.reduce([rows[name] == value for name, value in where.items()])
        drawn = rows[keep].iloc[0]
        assert drawn["value"] == pytest.approx(wanted[column])
        assert drawn["low"] == pytest.approx(wanted[f"{column}_low"])
        assert drawn["high"] == pytest.approx(wanted[f"{column}_high"])
    rows = everything(shares)
    japanese = rows[(rows["target"] == "jpn_Jpan") & (rows["measure"] == "top-1")]
    assert japanese.empty
    assert set(control_shares_table(table)["share"].isna()) == {False}


def test_tooltips_carry_the_figures(shares: dict[str, Any], advantages: dict[str, Any]) -> None:
    for spec in (shares, advantages):
        assert {
            "control",
            "target",
            "k",
            "before",
            "with experts",
            "with the control (lowest to highest seed)",
            "experts' change (95% interval)",
            "share of the experts' change (95% interval)",
            "experts − control (95% interval)",
        } <= tooltips_of(spec)
    rows = rows_of(advantages)
    japanese = rows[(rows["target"] == "jpn_Jpan") & (rows["measure"] == "top-1")]
    assert set(japanese["part"]) <= {"not measured"}


def test_centring_does_not_squeeze_the_controls_that_steer(
    table: pd.DataFrame, advantages: dict[str, Any]
) -> None:
    rows = everything(advantages)
    assert set(rows.loc[rows["beyond"] != 0, "control"]) == {"centring"}
    assert set(rows.loc[rows["control"] == "centring", "beyond"]) == {-1}
    alone = table[table["control"] == "centring"]
    assert set(everything(spec_of(control_advantages(alone)))["beyond"]) == {0}


@pytest.mark.parametrize("targets", [SEVEN[:1], SEVEN])
def test_charts_fit_the_page_and_compile_without_a_warning(
    targets: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    for figure in control_exhibits(controls_frame(targets=targets)):
        assert width_of(spec_of(figure.chart)) <= 1052, figure.name
    assert capfd.readouterr().err == ""


def test_figures_without_intervals_are_drawn_and_claim_nothing(table: pd.DataFrame) -> None:
    ends = [name for name in table if name.endswith(("_low", "_high"))]
    (figure,) = control_exhibits(table.assign(**dict.fromkeys(ends, np.nan), share=np.nan))
    assert figure.name == "control_advantages"
    assert vl_convert.vegalite_to_svg(spec_of(figure.chart)).count("<path") > 20
    assert "no control has a share of the change" in figure.caption
    assert advantages_title(figure.table) == (
        "Every control was drawn too few times to tell of others"
    )


def test_what_was_not_run_is_neither_drawn_nor_spoken_of(table: pd.DataFrame) -> None:
    assert control_exhibits(table[:0]) == []
    assert share_sentence(table[:0], "constant-shift") == centring_sentence(table[:0]) == ""
    drawn = controls_frame(controls=("random-in-layers", "bottom"))
    assert share_sentence(drawn, "constant-shift") == centring_sentence(drawn) == ""
    for figure in control_exhibits(drawn):
        assert "entring" not in figure.caption
        assert "onstant" not in figure.caption
    no_retrieval = table[table["measure"] == "pair distance"]
    assert [figure.name for figure in control_exhibits(no_retrieval)] == ["control_shares"]
    assert centring_sentence(no_retrieval) == ""


def test_the_constant_shift_has_a_sentence_with_its_share_and_interval(
    table: pd.DataFrame,
) -> None:
    german = table[table["target"] == "deu_Latn"]
    one = set_where(german, SHIFT, share=0.97, share_low=0.951, share_high=0.988)
    assert share_sentence(one, "constant-shift") == (
        "Adding the intervention's mean effect alone gives 97% (95% interval 95% to 99%) of the "
        "drop in raw distance"
    )
    assert shares_title(one) == (
        "Adding the intervention's mean effect alone gives 97% (95% interval 95% to 99%) of the "
        f"drop in raw distance; the other 7 controls, {MINUS}33% to 91%"
    )
    several = set_where(table, SHIFT, share=0.97, share_low=0.951, share_high=0.988)
    several = set_where(several, {**SHIFT, "target": "jpn_Jpan"}, share=0.8, share_low=0.7)
    assert share_sentence(several, "constant-shift") == (
        "Adding the intervention's mean effect alone gives 80% to 97% (95% intervals from 70% to "
        "99%) of the drop in raw distance for all 3 targets"
    )
    no_ends = set_where(one, SHIFT, share_low=np.nan, share_high=np.nan)
    assert share_sentence(no_ends, "constant-shift") == (
        "Adding the intervention's mean effect alone gives 97% of the drop in raw distance"
    )


def test_a_rise_is_no_drop_and_both_are_a_change(table: pd.DataFrame) -> None:
    rose = set_where(table, DISTANCE, change_low=0.1, change_high=0.2)
    assert "of the rise in raw distance for all 3 targets" in share_sentence(rose, "bottom")
    mixed = set_where(table, {**DISTANCE, "target": "deu_Latn"}, change_low=0.1, change_high=0.2)
    assert "of the change in raw distance for all 3 targets" in share_sentence(mixed, "bottom")


def test_there_is_no_share_where_the_interval_of_the_change_includes_0(
    table: pd.DataFrame,
) -> None:
    flat = set_where(table, DISTANCE, **FLAT)
    assert share_sentence(flat, "constant-shift") == (
        "Experts do not change raw distance reliably for any of 3 targets, so no control has a "
        "share of the change"
    )
    german = flat[flat["target"] == "deu_Latn"]
    assert share_sentence(german, "constant-shift") == (
        "Experts do not change raw distance reliably, so no control has a share of the change"
    )
    some = set_where(table, {**DISTANCE, "target": "spa_Latn"}, **FLAT)
    assert share_sentence(some, "constant-shift").endswith(
        "of the drop in raw distance for 2 of 3 targets; experts do not change it reliably for "
        "Spanish"
    )
    panels = headings(spec_of(control_shares(some)))
    assert panels["Raw distance"].endswith("; no share: Spanish")
    (figure,) = control_exhibits(table.assign(**FLAT))
    assert figure.name == "control_advantages"
    assert figure.caption.startswith(
        "Experts do not change raw distance reliably for any of 3 targets, so no control has a "
        "share of the change. Subtracting"
    )


def test_without_a_constant_shift_the_first_control_leads_the_title() -> None:
    drawn = controls_frame(controls=("bottom", "random-in-layers"))
    assert shares_title(drawn) == (
        "Random neurons of the same layers give 80% to 84% (95% intervals from 78% to 86%) of the "
        "drop in raw distance for all 3 targets; lowest-scoring neurons, 36% to 40%"
    )


def test_centring_has_a_sentence_with_both_levels_and_the_verdict_of_the_interval(
    table: pd.DataFrame,
) -> None:
    levels = set_where(table, CENTRING, control_value=0.604, post=0.166)
    german = levels[levels["target"] == "deu_Latn"]
    said = "Subtracting each language's mean, without steering, retrieves at 0.60, experts at "
    assert centring_sentence(german) == f"{said}0.17: reliably lower"
    assert centring_sentence(levels) == (
        f"{said}0.17 (German), 0.17 (Spanish) and 0.17 (Japanese): reliably lower for all 3 targets"
    )
    flat = set_where(levels, CENTRING, advantage_low=-0.1, advantage_high=0.1)
    assert centring_sentence(flat).endswith(": not reliably different")
    ahead = {"advantage_low": 0.1, "advantage_high": 0.2}
    mixed = set_where(levels, {**CENTRING, "target": "deu_Latn"}, **ahead)
    assert centring_sentence(mixed).endswith(
        ": reliably higher for 1 of 3 targets and lower for 2 of 3 targets"
    )
    seven = controls_frame(targets=SEVEN)
    assert "experts at 0.05 to 0.21: reliably lower for all 7 targets" in centring_sentence(seven)
    assert centring_sentence(levels) in control_exhibits(levels)[1].caption


def test_the_title_counts_the_controls_that_experts_beat(table: pd.DataFrame) -> None:
    assert advantages_title(table) == (
        "Experts retrieve better than 7 of 8 controls for German and Spanish, than none for "
        "Japanese; better than the unsteered model for German and Spanish"
    )
    german = table[table["target"] == "deu_Latn"]
    assert advantages_title(german) == (
        "Experts retrieve better than 7 of 8 controls, and better than the unsteered model"
    )
    assert advantages_title(set_where(german, TOP_1, advantage_low=0.1)) == (
        "Experts retrieve better than all 8 controls, and better than the unsteered model"
    )
    assert advantages_title(controls_frame(targets=SEVEN)) == (
        "Experts retrieve better than 7 of 8 controls for 6 of 7 targets, than none for 1 of 7 "
        "targets; better than the unsteered model for 6 of 7 targets"
    )


def test_ahead_of_controls_is_not_yet_ahead_of_the_unsteered_model(table: pd.DataFrame) -> None:
    harmed = set_where(table, TOP_1, change_low=-0.2)
    assert advantages_title(harmed).endswith(
        "; no better than the unsteered model for any of 3 targets"
    )
    german = harmed[harmed["target"] == "deu_Latn"]
    assert advantages_title(german) == (
        "Experts retrieve better than 7 of 8 controls, and no better than the unsteered model"
    )


def test_the_title_claims_no_advantage_that_its_interval_does_not_support() -> None:
    for controls, words in (
        (("random-in-layers",), "the control"),
        (("random-in-layers", "bottom"), "either control"),
        (("random-in-layers", "bottom", "centring"), "any of 3 controls"),
    ):
        few = controls_frame(controls=controls)
        flat = set_where(few, TOP_1, advantage_low=-0.1, advantage_high=0.1)
        assert advantages_title(flat).startswith(
            f"Experts retrieve no better than {words} for any of 3 targets; "
        )
    both = controls_frame(targets=("deu_Latn",), controls=("random-in-layers", "bottom"))
    assert advantages_title(both).startswith("Experts retrieve better than both controls, ")


def test_captions_say_what_each_control_is_once(table: pd.DataFrame) -> None:
    first, second = control_exhibits(table)
    for words in CONTROLS.values():
        what = words.what.format(end="best", layers="")
        assert what in first.caption
        assert what not in second.caption
    for figure in (first, second):
        assert "150 held-out sentences" in figure.caption
        assert "k = 300" in figure.caption
        assert "after the final norm" in figure.caption
        assert "95% intervals (over sentences, not corrected" in figure.caption
    for figure in control_exhibits(table.assign(groups=10)):
        assert "95% intervals (over 10 groups of sentences, not" in figure.caption
    assert "mean of 3 seeds" in first.caption
    pd.testing.assert_frame_equal(first.table, control_shares_table(table))
    pd.testing.assert_frame_equal(second.table, control_advantages_table(table))
