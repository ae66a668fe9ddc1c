"""Table 3 as a chart: one model on both sides, and the queries of the unsteered one."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.mixed_lanes import (
    CORPUS,
    mixed_retrieval,
    mixed_retrieval_exhibits,
    mixed_retrieval_table,
)
from steer_plugin.analyses.report.words.bitext_titles import mixed_title
from steer_plugin.analyses.run.results import Results

from support.frames_of_paper import SEVEN, TARGETS, TWENTY_TWO, paper_results
from support.specs import encodings, rows_of, said_on, spec_of, title_of, tooltips_of, width_of


@pytest.fixture(scope="module")
def base() -> Results:
    return paper_results(layers=("12", "final"), top_ks=(50, 300, 1500))


@pytest.fixture(scope="module")
def spec(base: Results) -> dict[str, Any]:
    return spec_of(mixed_retrieval(base))


def rows(*moved: float, controlled: bool = True, control: float = 0.0) -> pd.DataFrame:
    """Give a target's top-1 each: 0.9 before, changed by so much, 0.02 to each side."""
    change = np.array(moved)
    return pd.DataFrame(
        {
            "target": TARGETS[: len(moved)],
            "pre": 0.9,
            "post": 0.9 + change,
            "control": 0.9 + control,
            "n_controls": 3 if controlled else 0,
            "change_low": change - 0.02,
            "change_high": change + 0.02,
            "control_change_low": control - 0.02,
            "control_change_high": control + 0.02,
        }
    )


def test_both_kinds_of_search_stand_side_by_side(base: Results, spec: dict[str, Any]) -> None:
    kinds = ("one model on both sides", "unsteered queries")
    searches = (
        "Paraphrases in the target language",
        "PAWS-X in the target language",
        "All pairs of languages",
        "From the target to the others",
    )
    table = mixed_retrieval_table(base)
    assert list(dict.fromkeys(table["panel"])) == [
        f"{search}: {kind}" for search in searches for kind in kinds
    ]
    assert spec["columns"] == 2
    for panel, part in table.groupby("panel"):
        assert list(part["target"]) == list(TARGETS)
        mixed = str(panel).endswith("unsteered queries")
        assert set(part["measure"]) == {"mixed top-1" if mixed else "top-1"}


def test_only_raw_figures_at_the_headline_and_the_last_layer_are_drawn(base: Results) -> None:
    more = [base.mixed.assign(centring="language"), base.mixed.assign(layer="12"), base.mixed]
    table = mixed_retrieval_table(dataclasses.replace(base, mixed=pd.concat(more)))
    assert len(table) == len(mixed_retrieval_table(base))
    assert set(table["top_k"]) == {300}
    assert set(table["layer"]) == {"final"}
    assert set(table["centring"]) == {"raw"}


def test_what_has_one_model_across_languages_is_the_run_s_own_retrieval(base: Results) -> None:
    table = mixed_retrieval_table(base).query("panel.str.startswith('All pairs')")
    same = table[table["measure"] == "top-1"].set_index("target")
    mix = table[table["measure"] == "mixed top-1"].set_index("target")
    own = base.retrieval.query(
        "layer == 'final' and top_k == 300 and measure == 'top-1' and centring == 'raw' "
        "and query == 'all'"
    ).set_index("target")
    assert same["post"].tolist() == own["post"].reindex(same.index).tolist()
    assert same["pre"].tolist() == mix["pre"].tolist()


def test_conditions_axes_and_tooltips_are_those_of_the_report(spec: dict[str, Any]) -> None:
    assert set(rows_of(spec)["condition"]) == set(theme.CONDITIONS)
    assert said_on(spec, "x") == {"Top-1 retrieval accuracy (0 to 1)"}
    assert {"target", "change (95% interval)"} <= tooltips_of(spec)
    scales = [e["color"]["scale"] for e in encodings(spec) if "scale" in e.get("color", {})]
    assert all(scale["range"] == list(theme.CONDITION_COLOURS) for scale in scales)


def test_the_title_is_of_the_paraphrases_and_names_a_single_target(base: Results) -> None:
    assert title_of(spec_of(mixed_retrieval(base))).startswith(
        "Within the target language, top-1 of paraphrases"
    )
    one = paper_results(targets=("deu_Latn",), layers=("final",), top_ks=(300,))
    assert title_of(spec_of(mixed_retrieval(one))) == (
        "Within German, top-1 of paraphrases does not change reliably with both sides steered "
        "(0.96 before, 0.94 after); with unsteered queries it falls (0.31), and with random "
        "neurons (0.62)"
    )


def test_without_paraphrases_the_title_is_of_languages(base: Results) -> None:
    across = base.mixed[base.mixed["dataset"] == CORPUS]
    spec = spec_of(mixed_retrieval(dataclasses.replace(base, mixed=across)))
    assert title_of(spec).startswith("Between languages, top-1 of translations")
    assert len(set(rows_of(spec)["panel"])) == 4


def test_the_title_claims_what_the_intervals_hold() -> None:
    def said(same: pd.DataFrame, mix: pd.DataFrame) -> str:
        return mixed_title(same, mix, "paraphrases", "Within the target language")

    assert said(rows(-0.01, 0.01, -0.1), rows(-0.5, -0.4, -0.01)) == (
        "Within the target language, top-1 of paraphrases falls for 1 of 3 targets with both sides "
        "steered (0.90 before, 0.80 to 0.91 after); with unsteered queries it falls for 2 of 3 "
        "targets (0.40 to 0.89), and not reliably with random neurons"
    )
    assert "does not change reliably for any of 3 targets with both sides" in said(
        rows(0.01, 0.0, -0.01), rows(-0.5, -0.4, -0.3)
    )
    assert said(rows(0.01), rows(0.01)).endswith(
        "with unsteered queries it does not change reliably (0.91)"
    )
    assert said(rows(0.1, -0.1), rows(-0.5, -0.4, control=-0.3)).endswith(
        "and with random neurons for both targets (0.60)"
    )
    assert "rises for 1 of 2 targets and falls for 1 of 2 targets" in said(
        rows(0.1, -0.1), rows(-0.5, -0.4)
    )
    assert said(rows(0.0), rows(-0.5, controlled=False)).endswith("no random control was run")
    unknown = rows(-0.5, -0.4).assign(change_low=np.nan, change_high=np.nan)
    assert said(unknown, unknown).count("does not change reliably for either target") == 2


def test_the_caption_says_what_grey_is_and_what_the_lines_are(base: Results) -> None:
    (figure,) = mixed_retrieval_exhibits(base)
    for words in ("k = 300", "95% interval", "mean of 3 seeds", "Grey is the unsteered model"):
        assert words in figure.caption
    bare = paper_results(layers=("final",), top_ks=(300,), n_controls=0)
    (figure,) = mixed_retrieval_exhibits(bare)
    assert "No random control was run" in figure.caption
    assert set(rows_of(spec_of(figure.chart))["condition"]) == {"Before", "Experts"}


def test_a_run_without_the_mix_has_no_chart(base: Results) -> None:
    assert mixed_retrieval_exhibits(dataclasses.replace(base, mixed=pd.DataFrame())) == []
    alone = base.mixed[base.mixed["measure"] == "top-1"]
    assert mixed_retrieval_exhibits(dataclasses.replace(base, mixed=alone)) == []


def test_a_search_without_its_other_half_is_left_out(base: Results) -> None:
    half = base.mixed[(base.mixed["dataset"] != "pawsx") | (base.mixed["measure"] == "top-1")]
    panels = mixed_retrieval_table(dataclasses.replace(base, mixed=half))["panel"]
    assert not panels.str.startswith("PAWS-X").any()
    assert panels.str.startswith("Paraphrases").any()


def test_the_chart_fits_the_page_with_seven_targets() -> None:
    many = paper_results(languages=TWENTY_TWO, targets=SEVEN, layers=("final",), top_ks=(300,))
    assert width_of(spec_of(mixed_retrieval(many))) <= 1052
