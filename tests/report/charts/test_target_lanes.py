"""Figure 4: from the target to each language; and the same marks in Figure 5."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts import retrieval_heat_map
from steer_plugin.analyses.report.charts.target_lanes import (
    from_targets,
    from_targets_table,
    target_exhibits,
)
from steer_plugin.analyses.report.words.pair_titles import (
    from_targets_title,
    not_seen_sentence,
    retrieval_matrix_title,
)
from steer_plugin.analyses.report.words.pair_verdicts import (
    rate_is_controlled,
    verdict_rule,
    verdicts,
)
from steer_plugin.analyses.run.results import Results
from steer_plugin.corpora.language_codes import language_name

from support.frames_of_paper import SEEN, SEVEN, TWENTY_TWO, paper_results
from support.specs import encodings, said_on, spec_of, title_of, tooltips_of, width_of

PAGE = 1052
DAGGER = "\N{DAGGER}"


@pytest.fixture(scope="module")
def base() -> Results:
    return paper_results(layers=("12", "final"), top_ks=(300,))


@pytest.fixture(scope="module")
def spec(base: Results) -> dict[str, Any]:
    return spec_of(from_targets(base))


def rows(*moved: tuple[float, float], target: str = "deu_Latn", controls: int = 0) -> pd.DataFrame:
    """Give a target's rows with these changes and q-values."""
    table = pd.DataFrame(moved, columns=["change", "change_q"])
    return table.assign(
        target=target,
        n_controls=controls,
        candidates=["eng_Latn", "fra_Latn", "jpn_Jpan", "rus_Cyrl"][: len(table)],
        change_low=table["change"] - 1,
        change_high=table["change"] + 1,
        advantage=table["change"] - 0.05,
        advantage_q=table["change_q"],
        advantage_low=0.0,
        advantage_high=0.0,
        control_change=0.1,
        control_change_low=0.05,
        control_change_high=0.2,
    )


def without_rates(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["change_q", "advantage_q"], errors="ignore")


def old(results: Results) -> Results:
    """The results as they were stored before there were false-discovery rates."""
    return dataclasses.replace(results, retrieval=without_rates(results.retrieval))


def panels(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for row in spec["vconcat"] for panel in row["hconcat"]]


def lanes(panel: dict[str, Any]) -> list[str]:
    return next(e["y"]["sort"] for e in encodings(panel) if "axis" in e.get("y", {}))


def bold(panel: dict[str, Any]) -> str:
    axes = [e["y"]["axis"] for e in encodings(panel) if "axis" in e.get("y", {})]
    return str(axes[0]["labelFontWeight"]["condition"]["test"])


def test_the_target_asks_and_each_other_language_answers_at_the_last_layer(base: Results) -> None:
    table = from_targets_table(base)
    assert (table["query"] == table["target"]).all()
    assert (table["layer"] == "final").all()
    assert len(table) == 3 * 6


def test_languages_stand_in_the_order_of_the_accuracy_before(
    base: Results, spec: dict[str, Any]
) -> None:
    table = from_targets_table(base)
    for _, of_target in table.groupby("target", sort=False):
        assert of_target["pre"].is_monotonic_decreasing
    german = table[table["target"] == "deu_Latn"]["candidates"]
    (panel, *_) = panels(spec)
    assert [name.removesuffix(f" {DAGGER}") for name in lanes(panel)] == [
        language_name(code) for code in german
    ]


def test_each_language_has_its_level_before_with_random_neurons_and_with_experts(
    base: Results, spec: dict[str, Any]
) -> None:
    wanted = from_targets_table(base)
    drawn = pd.concat(
        [pd.DataFrame(part) for part in spec["datasets"].values() if "difference" in part[0]]
    )
    for condition, column in (
        ("Before", "pre"),
        ("Random neurons", "control"),
        ("Experts", "post"),
    ):
        values = drawn[drawn["condition"] == condition].set_index(["target", "candidates"])["value"]
        found = values.reindex(pd.MultiIndex.from_frame(wanted[["target", "candidates"]]))
        np.testing.assert_allclose(found, wanted[column])


def test_conditions_have_their_colours_and_the_control_is_hollow(spec: dict[str, Any]) -> None:
    found = [e for e in encodings(spec) if "fill" in e]
    assert found
    for encoding in found:
        assert encoding["color"]["scale"]["domain"] == list(theme.CONDITIONS)
        assert encoding["color"]["scale"]["range"] == list(theme.CONDITION_COLOURS)
        grey, _, blue = theme.CONDITION_COLOURS
        assert encoding["fill"]["scale"]["range"] == [grey, "white", blue]


def test_languages_called_changed_are_bold(base: Results, spec: dict[str, Any]) -> None:
    table = from_targets_table(base)
    german = table[table["target"] == "deu_Latn"]
    assert all(language_name(code) in bold(panels(spec)[0]) for code in german["candidates"])
    none = dataclasses.replace(base, retrieval=base.retrieval.assign(change_q=0.2))
    assert "indexof([]" in bold(panels(spec_of(from_targets(none)))[0])


def test_without_rates_each_interval_decides_and_the_words_say_so(base: Results) -> None:
    flat = old(base).retrieval.assign(change_low=-0.1, change_high=0.1)
    (figure,) = target_exhibits(dataclasses.replace(base, retrieval=flat))
    spec = spec_of(figure.chart)
    assert "indexof([]" in bold(panels(spec)[0])
    assert "each pair's own 95% interval" in figure.caption
    assert "false-discovery" not in title_of(spec) + figure.caption


def test_the_caption_says_by_which_rate_and_what_is_hollow(base: Results) -> None:
    (figure,) = target_exhibits(base)
    for words in ("false-discovery rate of 5%", "k = 300", "mean of 3 seeds", "final norm", "95%"):
        assert words in figure.caption


def test_axis_and_tooltips_carry_the_figures(spec: dict[str, Any]) -> None:
    assert said_on(spec, "x") == {"Top-1 retrieval accuracy (0 to 1)"}
    assert {"target", "language searched", "top-1", "change (95% interval)"} <= tooltips_of(spec)


def test_no_interval_is_cut_off(base: Results, spec: dict[str, Any]) -> None:
    ends = from_targets_table(base)
    low, high = next(
        e["x"]["scale"]["domain"] for e in encodings(spec) if "scale" in e.get("x", {})
    )
    assert low <= min(0, (ends["pre"] + ends["change_low"]).min())
    assert high >= (ends["pre"] + ends["change_high"]).max()


def test_languages_that_were_not_seen_are_marked_and_the_legend_explains_it(
    base: Results, spec: dict[str, Any]
) -> None:
    text = str(spec)
    for code in TWENTY_TWO[:7]:
        assert (f"{language_name(code)} {DAGGER}" in text) == (code not in SEEN)
    keys = [e["shape"]["scale"]["domain"] for e in encodings(spec) if "shape" in e]
    assert keys
    assert all(key == ["not seen in pre-training"] for key in keys)
    (figure,) = target_exhibits(base)
    assert f"{DAGGER}: not seen in pre-training" in figure.caption


def test_where_nothing_says_what_was_seen_nothing_is_marked() -> None:
    told = paper_results(layers=("final",), top_ks=(300,), seen=None)
    (figure,) = target_exhibits(told)
    assert DAGGER not in str(spec_of(figure.chart)) + figure.caption
    assert DAGGER not in str(spec_of(retrieval_heat_map.retrieval_matrix(told)))


def test_two_scripts_of_one_language_stay_apart() -> None:
    codes = ("deu_Latn", "zho_Hans", "zho_Hant")
    two = paper_results(
        languages=codes, targets=codes[:1], layers=("final",), top_ks=(300,), seen=None
    )
    (panel,) = panels(spec_of(from_targets(two)))
    assert set(lanes(panel)) == {"Chinese (zho_Hans)", "Chinese (zho_Hant)"}


@pytest.mark.parametrize("n_targets", [1, 3, 7])
def test_the_chart_fits_the_page_with_22_languages(n_targets: int) -> None:
    many = paper_results(
        languages=TWENTY_TWO, targets=SEVEN[:n_targets], layers=("final",), top_ks=(300,)
    )
    spec = spec_of(from_targets(many))
    assert len(panels(spec)) == n_targets
    assert all(len(lanes(panel)) == 21 for panel in panels(spec))
    assert width_of(spec) <= PAGE


def test_without_intervals_and_control_the_points_are_drawn_and_nothing_is_claimed() -> None:
    bare = paper_results(
        languages=TWENTY_TWO[:2],
        targets=("deu_Latn",),
        layers=("final",),
        top_ks=(300,),
        n_controls=0,
        seen=None,
    )
    unknown = [name for name in bare.retrieval if name.endswith(("_low", "_high", "_p", "_q"))]
    blank = bare.retrieval.assign(**dict.fromkeys(unknown, np.nan))
    (figure,) = target_exhibits(dataclasses.replace(bare, retrieval=blank))
    assert title_of(spec_of(figure.chart)) == (
        "From the target to the other language with experts, at a false-discovery rate of 5%: "
        "German too few sentences to tell"
    )
    assert "No random control was run" in figure.caption
    assert width_of(spec_of(figure.chart)) <= PAGE


def test_without_single_pairs_there_is_no_chart(base: Results) -> None:
    table = base.retrieval
    groups = table[table["query"].isin(["all"]) | (table["candidates"] == "others")]
    assert target_exhibits(dataclasses.replace(base, retrieval=groups)) == []


def test_pairs_are_called_by_their_rate_and_otherwise_by_their_interval() -> None:
    table = rows((0.3, 0.01), (0.2, 0.2), (-0.1, 0.04), (0.1, np.nan))
    assert rate_is_controlled(table)
    assert verdicts(table).tolist() == [1, 0, -1, 0]
    before = without_rates(table).assign(
        change_low=[0.1, -0.1, -0.3, np.nan], change_high=[0.4, 0.3, -0.1, np.nan]
    )
    assert not rate_is_controlled(before)
    assert verdicts(before).tolist() == [1, 0, -1, 0]
    assert verdicts(table, "control_change").tolist() == [1, 1, 1, 1]
    assert "5%" in verdict_rule(table)
    assert "own 95% interval" in verdict_rule(before)


def test_titles_count_what_is_called_and_who_is_ahead_of_random_neurons() -> None:
    table = rows((0.3, 0.01), (0.2, 0.2), (-0.1, 0.04), (0.1, 0.049), controls=3)
    assert from_targets_title(table) == (
        "From the target to each of 4 languages with experts, at a false-discovery rate of 5%: "
        "German 2 up, 1 down (ahead of one more random draw in 2, behind in 1)"
    )
    assert retrieval_matrix_title(table).startswith("Top-1 of 4 pairs of languages with experts, ")
    level = table.assign(advantage_q=[0.01, 0.01, 0.2, 0.2])
    assert from_targets_title(level).endswith("2 up, 1 down (ahead of one more random draw in 2)")
    none = table.assign(advantage_q=0.2)
    assert from_targets_title(none).endswith("2 up, 1 down (ahead of one more random draw in 0)")
    alone = rows((0.3, 0.01), (0.2, 0.2))
    assert from_targets_title(alone).endswith("5%: German 1 up, 0 down")
    before = without_rates(table).assign(change_low=0.1, change_high=0.2)
    assert from_targets_title(before) == (
        "From the target to each of 4 languages with experts: German 4 up, 0 down (random neurons "
        "4 up, 0 down)"
    )


def test_titles_give_the_fewest_and_the_most_of_many_targets() -> None:
    targets = [
        rows((0.3, q), (0.2, 0.01), target=target, controls=3)
        for target, q in zip(SEVEN[:4], (0.01, 0.2, 0.2, 0.2), strict=True)
    ]
    assert from_targets_title(pd.concat(targets)).endswith(
        "4 targets 1 to 2 up, 0 down (ahead of one more random draw in 1 to 2)"
    )


def test_what_was_not_seen_is_counted_by_itself() -> None:
    table = rows((0.3, 0.01), (0.2, 0.2), (0.1, 0.04), (0.1, 0.2))
    assert not_seen_sentence(table, ["jpn_Jpan", "rus_Cyrl"]) == (
        "Of languages not seen in pre-training: German 1 of 2 up."
    )
    assert not_seen_sentence(table, []) == ""
    many = pd.concat([rows((0.3, 0.01), (0.2, 0.2), target=target) for target in SEVEN[:4]])
    assert not_seen_sentence(many, ["eng_Latn"]) == (
        "Of languages not seen in pre-training: 1 of 1 up for 4 targets."
    )


def matrix_rows(results: Results) -> pd.DataFrame:
    spec = spec_of(retrieval_heat_map.retrieval_matrix(results))
    sets = [pd.DataFrame(part) for part in spec["datasets"].values() if "sure" in part[0]]
    return pd.concat(sets)


def test_figures_of_the_matrix_are_bold_by_their_rate(base: Results) -> None:
    where = (base.retrieval["query"] == "eng_Latn") & (base.retrieval["candidates"] == "fra_Latn")
    moved = base.retrieval.assign(change_q=np.where(where, 0.01, 0.2))
    drawn = matrix_rows(dataclasses.replace(base, retrieval=moved))
    sure = drawn[drawn["sure"]]
    assert set(sure["query"]) == {"English (eng_Latn)"}
    assert set(sure["candidates"]) == {"French (fra_Latn)"}
    assert set(sure["condition"]) == {"Experts"}
    assert set(sure["q"]) == {"0.010"}


def test_the_matrix_of_old_results_goes_by_each_interval_of_both_conditions(base: Results) -> None:
    ends = {"change_low": 0.1, "change_high": 0.2}
    ends |= {f"control_{name}": end for name, end in ends.items()}
    before = old(base).retrieval.assign(**ends)
    drawn = matrix_rows(dataclasses.replace(base, retrieval=before))
    assert drawn["sure"].all()
    assert set(drawn["condition"]) == {"Experts", "Random neurons"}


def test_the_matrix_marks_what_was_not_seen_on_both_axes(base: Results) -> None:
    drawn = matrix_rows(base)
    for axis in ("query", "candidates"):
        assert f"Japanese (jpn_Jpan) {DAGGER}" in set(drawn[axis])
        assert "German (deu_Latn)" in set(drawn[axis])
    spec = spec_of(retrieval_heat_map.retrieval_matrix(base))
    keys = [e["shape"]["scale"]["domain"] for e in encodings(spec) if "shape" in e]
    assert keys == [["not seen in pre-training"]]
    assert width_of(spec) <= PAGE
