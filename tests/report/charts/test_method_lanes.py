from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from steer_plugin.analyses.report.charts.method_lanes import (
    method_exhibits,
    methods_compared,
    methods_compared_table,
    methods_tradeoff,
    methods_tradeoff_table,
)
from steer_plugin.analyses.report.theme import LANGUAGE_COLOURS, LANGUAGE_SHAPES
from steer_plugin.analyses.report.words.method_titles import methods_title, methods_tradeoff_title
from steer_plugin.settings.parts import METHODS

from support.frames_of_extras import SEVEN, methods_frame, set_where
from support.specs import encodings, rows_of, said_on, spec_of, tooltips_of, width_of

RETRIEVAL = {"axis": "retrieval"}
WON = {"change_low": 0.1, "change_high": 0.3, "advantage_low": 0.1, "advantage_high": 0.3}
FLAT = {"change_low": -0.1, "change_high": 0.3, "advantage_low": -0.1, "advantage_high": 0.3}
LOST = {"change_low": -0.3, "change_high": -0.1, "advantage_low": -0.3, "advantage_high": -0.1}
SOME = ("set-mean", "linear-act", "aura", "zero", "steer-pca")
NO_GENERATION = ("retrieval", "centred distance")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return methods_frame()


@pytest.fixture(scope="module")
def compared(table: pd.DataFrame) -> dict[str, Any]:
    return spec_of(methods_compared(table))


def flat(**more: Any) -> pd.DataFrame:
    """Few methods, none of which does anything."""
    table = methods_frame(methods=SOME, **more).assign(**FLAT)
    return set_where(table, {"axis": "perplexity"}, change_low=0.9, change_high=1.4)


def test_each_measure_is_a_panel_with_its_unit(compared: dict[str, Any]) -> None:
    assert said_on(compared, "x") == {
        "Change of top-1 accuracy",
        "Change of cosine distance",
        "Change of probability",
        "Perplexity / before (log)",
    }
    headings = [(part["title"]["text"], part["title"]["subtitle"]) for part in compared["hconcat"]]
    assert headings == [
        ("Retrieval", "right is better"),
        ("Centred distance", "left is nearer"),
        ("Target language", "right is better"),
        ("Perplexity", "left is cheaper"),
    ]


def test_a_line_marks_no_change_at_0_and_at_a_ratio_of_1(compared: dict[str, Any]) -> None:
    for part in compared["hconcat"]:
        marks = part["layer"][0]
        assert marks["mark"]["type"] == "rule"
        values = compared["datasets"][marks["data"]["name"]]
        log = marks["encoding"]["x"]["scale"].get("type") == "log"
        assert [row["mark"] for row in values] == [1.0 if log else 0.0]
        assert log == (part["title"]["text"] == "Perplexity")


def test_methods_stand_in_the_order_of_their_list_whatever_their_outcome(
    table: pd.DataFrame,
) -> None:
    shuffled = table.sample(frac=1, random_state=0)
    spec = spec_of(methods_compared(shuffled))
    orders = [e["y"]["scale"]["domain"] for e in encodings(spec) if "scale" in e.get("y", {})]
    titles = [method.title for method in METHODS.values()]
    assert all([name.lower() for name in order] == [t.lower() for t in titles] for order in orders)
    unknown = table.assign(method=table["method"].replace("set-mean", "new-method"))
    assert list(dict.fromkeys(methods_compared_table(unknown)["method"]))[-1] == "new-method"
    assert "new-method" in methods_title(
        set_where(unknown.assign(**FLAT), {"method": "new-method"}, **WON)
    )


def test_targets_have_colours_and_shapes_and_the_control_is_hollow_and_orange(
    compared: dict[str, Any],
) -> None:
    points = [e for e in encodings(compared) if "shape" in e]
    assert len(points) == 4
    for encoding in points:
        assert encoding["color"]["scale"]["range"] == list(LANGUAGE_COLOURS[:3])
        assert encoding["shape"]["scale"]["range"] == list(LANGUAGE_SHAPES[:3])
        assert encoding["color"]["scale"]["domain"][0] == "German (deu_Latn)"
    hollow = [
        layer
        for part in compared["hconcat"]
        for layer in part["layer"]
        if "stroke" in layer["encoding"]
    ]
    assert len(hollow) == 4
    for layer in hollow:
        assert layer["mark"]["filled"] is False
        assert layer["encoding"]["x"]["field"] == "beside"
        assert layer["encoding"]["stroke"]["scale"] == {
            "domain": ["The method's control"],
            "range": ["#E69F00"],
        }


def test_points_intervals_and_controls_are_the_changes(
    table: pd.DataFrame, compared: dict[str, Any]
) -> None:
    where = {"method": "linear-act", "target": "spa_Latn", "axis": "perplexity"}
    keep = np.logical_and.reduce([table[name] == value for name, value in where.items()])
    wanted = table[keep].iloc[0]
    sets = [pd.DataFrame(rows) for rows in compared["datasets"].values()]
    rows = pd.concat([rows for rows in sets if "lane" in rows])
    keep = np.logical_and.reduce([rows[name] == value for name, value in where.items()])
    drawn = rows[keep].iloc[0]
    for shown, column in (
        ("value", "change"),
        ("low", "change_low"),
        ("high", "change_high"),
        ("beside", "control_change"),
    ):
        assert drawn[shown] == pytest.approx(wanted[column])
    assert drawn["lane"] == "Linear-AcT"
    assert drawn["citation"] == "Rodriguez et al. 2024"
    assert drawn["ahead"] == "not measured"
    assert drawn["moved"].startswith("1.")


def test_tooltips_carry_the_figures(table: pd.DataFrame, compared: dict[str, Any]) -> None:
    assert {
        "method",
        "from",
        "target",
        "steered",
        "before",
        "with the method",
        "change (95% interval)",
        "change with its control (95% interval)",
        "method against control (95% interval)",
    } <= tooltips_of(compared)
    assert {
        "method",
        "gain in probability (95% interval)",
        "perplexity / before (95% interval)",
    } <= tooltips_of(spec_of(methods_tradeoff(table)))
    steered = rows_of(compared).drop_duplicates("method").set_index("method")["where"]
    assert steered["set-mean"] == "k = 300"
    assert steered["steer-pca"] == "after block 9"


def test_without_generation_two_panels_are_left_and_no_picture_of_costs() -> None:
    (figure,) = method_exhibits(methods_frame(axes=NO_GENERATION))
    spec = spec_of(figure.chart)
    assert [part["title"]["text"] for part in spec["hconcat"]] == ["Retrieval", "Centred distance"]
    assert "perplexity" not in figure.caption
    assert method_exhibits(methods_frame()[:0]) == []


def test_without_controls_nothing_is_hollow_and_nothing_is_said_of_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    alone = methods_frame(controlled=False)
    first, second = method_exhibits(alone)
    for figure in (first, second):
        spec = spec_of(figure.chart)
        vl_convert.vegalite_to_vega(spec, show_warnings=True)
        assert not any("stroke" in e for e in encodings(spec))
    assert capfd.readouterr().err == ""
    assert "No random control was run." in first.caption
    assert "hollow" not in first.aid.lower()
    assert methods_title(alone).endswith("; no random control was run")
    assert "own control" not in methods_title(alone)


@pytest.mark.parametrize("targets", [SEVEN[:1], SEVEN])
def test_charts_fit_the_page_and_compile_without_a_warning(
    targets: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    for figure in method_exhibits(methods_frame(targets=targets)):
        assert width_of(spec_of(figure.chart)) <= 1052, figure.name
    assert capfd.readouterr().err == ""


def test_figures_without_intervals_are_drawn_and_claim_nothing(table: pd.DataFrame) -> None:
    ends = [name for name in table if name.endswith(("_low", "_high"))]
    bare = table.assign(**dict.fromkeys(ends, np.nan))
    for figure in method_exhibits(bare):
        assert vl_convert.vegalite_to_svg(spec_of(figure.chart)).count("<path") > 20
    assert methods_title(bare) == (
        "No method reliably raises retrieval beyond its own control for any of 3 targets"
    )


def test_a_method_of_infinite_perplexity_is_said_to_be_one(table: pd.DataFrame) -> None:
    beyond = {"change": np.inf, "change_low": np.inf, "change_high": np.inf}
    broken = set_where(table, {"method": "zero", "axis": "perplexity"}, **beyond)
    compared, tradeoff = method_exhibits(broken)
    assert vl_convert.vegalite_to_svg(spec_of(compared.chart)).count("∞ →</text>") == 3
    assert "zero" not in set(tradeoff.table["method"])
    assert "A method of infinite perplexity is not drawn." in tradeoff.caption


def test_gain_stands_against_cost_for_each_method_and_target(table: pd.DataFrame) -> None:
    costs = methods_tradeoff_table(table)
    assert len(costs) == len(METHODS) * 3
    german = costs[(costs["method"] == "set-mean") & (costs["target"] == "deu_Latn")].iloc[0]
    for axis, name in (("language probability", "gain"), ("perplexity", "cost")):
        keep = (table["method"] == "set-mean") & (table["target"] == "deu_Latn")
        wanted = table[keep & (table["axis"] == axis)].iloc[0]
        for end in ("", "_low", "_high"):
            assert german[f"{name}{end}"] == wanted[f"change{end}"]
    spec = spec_of(methods_tradeoff(table))
    assert said_on(spec, "x") == {"Perplexity / before (log)"}
    assert said_on(spec, "y") == {"Gain in probability (after − before)"}
    looks = next(e for e in encodings(spec) if "shape" in e)
    assert len(looks["color"]["scale"]["domain"]) == len(METHODS)
    pairs = zip(looks["color"]["scale"]["range"], looks["shape"]["scale"]["range"], strict=True)
    assert len(set(pairs)) == len(METHODS)


def test_the_title_groups_methods_by_the_targets_they_win() -> None:
    some = set_where(flat(), {**RETRIEVAL, "method": "set-mean"}, **WON)
    some = set_where(some, {**RETRIEVAL, "method": "aura", "target": "jpn_Jpan"}, **WON)
    assert methods_title(some) == (
        "Retrieval rises beyond the method's own control for all 3 targets with set to mean; for "
        "1 of 3 targets with AurA; for none with Linear-AcT, set to zero and residual PCA"
    )
    every = set_where(flat(), RETRIEVAL, **WON)
    assert methods_title(every) == (
        "Retrieval rises beyond the method's own control for all 3 targets with each of 5 methods"
    )
    most = set_where(every, {"method": "zero"}, **FLAT)
    assert methods_title(most) == (
        "Retrieval rises beyond the method's own control for all 3 targets with every method but "
        "set to zero"
    )
    one = set_where(flat(targets=("deu_Latn",)), {"method": "set-mean"}, **WON)
    assert methods_title(one) == (
        "Retrieval rises beyond the method's own control with set to mean; not with the other 4 "
        "methods"
    )
    seven = set_where(flat(targets=SEVEN), {"method": "set-mean", "target": "fra_Latn"}, **WON)
    assert methods_title(seven) == (
        "Retrieval rises beyond the method's own control for 1 of 7 targets with set to mean; for "
        "none with the other 4 methods"
    )


def test_a_method_wins_only_where_it_beats_both_its_control_and_no_steering() -> None:
    nothing = "No method reliably raises retrieval beyond its own control for any of 3 targets"
    assert methods_title(flat()) == nothing
    for lacking in ("change_low", "advantage_low"):
        half = set_where(flat(), {"method": "set-mean"}, **{**WON, lacking: -0.01})
        assert methods_title(half) == nothing
    elsewhere = set_where(flat(), {"axis": "centred distance"}, **WON)
    assert methods_title(elsewhere) == nothing


def test_the_title_says_how_many_methods_harm() -> None:
    lost = set_where(flat(), {"method": "zero", "target": "deu_Latn"}, **LOST)
    assert methods_title(lost) == (
        "No method reliably raises retrieval beyond its own control for any of 3 targets; 1 of 5 "
        "lower it for at least one"
    )
    one = set_where(flat(targets=("deu_Latn",)), {"method": "zero"}, **LOST)
    assert methods_title(one).endswith("beyond its own control; 1 of 5 lower it")


def test_where_no_difference_was_made_the_intervals_must_lie_apart() -> None:
    probability = {"axis": "language probability", "method": "set-mean"}
    unknown = {"advantage_low": np.nan, "advantage_high": np.nan, "advantage": np.nan}
    written = flat().assign(**unknown)
    apart = {**WON, **unknown, "control_change_high": 0.09}
    won = set_where(written, probability, **apart)
    won = set_where(won, {"axis": "perplexity", "method": "set-mean"}, change=1.31)
    assert methods_tradeoff_title(won) == (
        "The probability of the target language rises beyond the method's own control for all 3 "
        "targets with set to mean; for none with the other 4 methods; perplexity is then 1.31 "
        "times that before"
    )
    together = set_where(written, probability, **{**apart, "control_change_high": 0.11})
    nothing = (
        "No method reliably raises the probability of the target language beyond its own control "
        "for any of 3 targets"
    )
    assert methods_tradeoff_title(together) == nothing
    known = set_where(won, probability, advantage=0.1, advantage_low=-0.1, advantage_high=0.3)
    assert methods_tradeoff_title(known) == nothing
    for figures, said in ((won, True), (known.assign(advantage=0.1), False)):
        caption = method_exhibits(figures)[1].caption
        assert ("where its whole interval lies above that one's" in caption) == said


def test_the_caption_says_what_was_steered_by_whose_method(table: pd.DataFrame) -> None:
    caption = method_exhibits(table)[0].caption
    for words in (
        "experts: k = 300; residual stream: after block 9",
        "Linear-AcT (Rodriguez et al. 2024)",
        "residual PCA (Zou et al. 2023)",
        "95% intervals",
        "mean of 3 draws.",
    ):
        assert words in caption
    assert "; 1 draw." in method_exhibits(table.assign(n_controls=1))[0].caption
    pd.testing.assert_frame_equal(method_exhibits(table)[0].table, methods_compared_table(table))
