"""The tables of the page: their figures are those of the results, their words hold for them."""

import dataclasses
import html
import re
from collections.abc import Sequence

import pandas as pd
import pytest

from steer_plugin.analyses.report.paper_section import paper_section
from steer_plugin.analyses.run.results import Results

from support import frames

KEYS = {"top_k": 300, "layer": "final", "centring": "raw"}


@pytest.fixture(scope="module")
def base() -> Results:
    return frames.results(layers=("12", "final"), top_ks=(300,))


def cells(part_html: str, heading: str) -> list[list[str]]:
    """Give the cells of the table below a heading, row by row."""
    (body,) = re.findall(rf"<h3>{heading}.*?<tbody>(.*?)</tbody>", part_html, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", body)
    return [[html.unescape(c) for c in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", r)] for r in rows]


def said(part_html: str, heading: str) -> str:
    (found,) = re.findall(rf"<h3>{heading}.*?</h3><p>(.*?)</p>", part_html)
    return html.unescape(found)


def with_table(base: Results, **tables: pd.DataFrame) -> str:
    return paper_section(dataclasses.replace(base, **tables)).opening


def compared(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """Give rows as `compare` does, with intervals of 0.02 to each side."""
    made = []
    for given in rows:
        figure = {**KEYS, "control_min": 0.0, "control_max": 0.0, "n_controls": 3, **given}
        pre, post, control = (float(str(figure[name])) for name in ("pre", "post", "control"))
        for name, value in (
            ("change", post - pre),
            ("control_change", control - pre),
            ("advantage", post - control),
        ):
            figure |= {name: value, f"{name}_low": value - 0.02, f"{name}_high": value + 0.02}
        made.append({**figure, "change_p": 0.5, "advantage_p": 0.5, "sentences": 48})
    return pd.DataFrame(made)


def test_what_was_left_out_has_no_table(base: Results) -> None:
    page = paper_section(base).opening

    assert re.findall(r"<h3>(.*?)</h3>", page) == ["Table 1: distances"]


def test_table_1_is_the_mean_over_targets_with_its_standard_error(base: Results) -> None:
    rows = base.alignment.query(
        "layer == 'final' and measure == 'pair distance' and centring == 'raw' and query == 'all'"
    )

    table = {row[0]: row[1:] for row in cells(paper_section(base).opening, "Table 1")}

    found = table["all pairs, sentence pairs, as they are"]
    assert found == [
        f"{rows[name].mean():.3f} ± {rows[name].sem():.3f}" for name in ("pre", "post", "control")
    ]


def test_table_1_claims_a_fall_only_where_the_targets_intervals_hold_it(base: Results) -> None:
    assert said(paper_section(base).opening, "Table 1") == (
        "Raw distance falls with experts for all 3 targets, and with random neurons for all 3 "
        "targets. A vector that all embeddings share lowers every raw distance by itself, so the "
        "rows with the common mean removed are the ones to read. With the common mean removed the "
        "distance over all pairs falls for all 3 targets."
    )
    flat = base.alignment.assign(change_low=-0.1, change_high=0.1)
    page = with_table(base, alignment=flat)
    assert said(page, "Table 1").startswith("Experts do not bring languages nearer in raw distance")
    assert said(page, "Table 1").endswith("does not fall reliably for any of 3 targets.")


def test_a_control_that_was_not_run_has_no_figure() -> None:
    alone = frames.results(layers=("final",), top_ks=(300,), n_controls=0)
    table = cells(paper_section(alone).opening, "Table 1")
    assert {row[-1] for row in table} == {"not run"}


def test_one_target_has_no_standard_error() -> None:
    one = frames.results(layers=("final",), top_ks=(300,), targets=("deu_Latn",))
    page = paper_section(one).opening

    assert "±" not in "".join(cell for row in cells(page, "Table 1") for cell in row)
    assert "with one target there is no standard error" in page


def test_table_2_counts_the_intervals_that_exclude_0_and_says_of_how_many_languages(
    base: Results,
) -> None:
    rows = [
        ("deu_Latn", "accuracy and distance, after", -0.9, -0.99, -0.2, 6),
        ("deu_Latn", "accuracy and distance, before", -0.3, -0.8, 0.4, 6),
        ("all", "accuracy and distance, after", 0.5, 0.1, 0.8, 6),
        ("spa_Latn", "accuracy and distance, after", float("nan"), float("nan"), float("nan"), 2),
    ]
    names = ["target", "correlation", "r", "r_low", "r_high", "n"]
    table = pd.DataFrame(rows, columns=names).assign(
        **KEYS, distance="pair distance", languages="all"
    )

    page = with_table(base, correlations=table)

    assert said(page, "Table 2").startswith("2 of 3 correlations with an interval exclude 0")
    assert "over 2 and 6 candidate languages" in said(page, "Table 2")
    assert cells(page, "Table 2") == [
        ["accuracy and distance, after, German (deu_Latn)", "−0.90 (−0.99 to −0.20)", "6"],
        ["accuracy and distance, before, German (deu_Latn)", "−0.30 (−0.80 to +0.40)", "6"],
        ["accuracy and distance, after, all targets", "+0.50 (+0.10 to +0.80)", "6"],
        ["accuracy and distance, after, Spanish (spa_Latn)", "too few", "2"],
    ]


def test_table_3_puts_both_steered_beside_mixed(base: Results) -> None:
    pair = {"dataset": "paraphrases", "target": "deu_Latn", "query": "deu_Latn"}
    pair |= {"candidates": "deu_Latn", "pre": 0.96}
    table = compared(
        [
            {**pair, "measure": "top-1", "post": 0.95, "control": 0.90},
            {**pair, "measure": "mixed top-1", "post": 0.31, "control": 0.60},
        ]
    )

    page = with_table(base, mixed=table)

    assert cells(page, "Table 3") == [
        [
            "Paraphrases, German (deu_Latn)",
            "0.96",
            "0.95",
            "0.31",
            "0.60",
            "−0.01 (−0.03 to +0.01)",
            "−0.65 (−0.67 to −0.63)",
            "48",
        ]
    ]
    assert "1 of 1 rows retrieve reliably less" in said(page, "Table 3")
    assert "with both sides steered 1 are not told from before" in said(page, "Table 3")


def test_independent_sets_count_what_rises_beyond_random_neurons(base: Results) -> None:
    pair = {"dataset": "tatoeba", "target": "deu_Latn", "measure": "top-1", "pre": 0.1}
    table = compared(
        [
            {**pair, "query": "deu_Latn", "candidates": "eng_Latn", "post": 0.4, "control": 0.1},
            {**pair, "query": "eng_Latn", "candidates": "deu_Latn", "post": 0.4, "control": 0.5},
        ]
    )

    page = with_table(base, bitexts=table)

    assert "in 1 of 2 searches of independent sets" in said(page, "Independent sets")
    first, _ = cells(page, "Independent sets")
    assert first[0] == "Tatoeba, German to English, towards German"
    assert first[4:] == ["+0.30 (+0.28 to +0.32)", "+0.30 (+0.28 to +0.32)", "48"]


def test_experts_stand_against_chance_and_against_other_samples(base: Results) -> None:
    null = pd.DataFrame(
        {
            "concept": ["deu_Latn", "spa_Latn"],
            "score": "auroc",
            "best": [0.99, 0.58],
            "null_high": [0.6, 0.61],
            "p": [1 / 51, 0.4],
            "above": [120, 0],
            "permutations": 50,
        }
    )
    stability = pd.DataFrame(
        {
            "concept": ["deu_Latn", "deu_Latn"],
            "top_k": [50, 300],
            "jaccard": [0.5, 0.75],
            "jaccard_low": [0.4, 0.7],
            "jaccard_high": [0.6, 0.8],
            "resamples": 10,
        }
    )

    page = with_table(base, null=null, stability=stability)

    assert said(page, "Experts against chance").startswith("The best unit of 1 of 2 languages")
    assert cells(page, "Experts against chance")[0] == [
        "German (deu_Latn)",
        "0.990",
        "0.600",
        "120",
        "0.0196",
    ]
    assert "0.50 to 0.75 on average" in said(page, "How stable the choice is")
    assert cells(page, "How stable the choice is") == [
        ["German (deu_Latn)", "0.50 (0.40 to 0.60)", "0.75 (0.70 to 0.80)"]
    ]
