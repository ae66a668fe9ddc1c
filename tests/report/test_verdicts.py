"""What a page claims: yes, no and unclear follow from intervals, and 25 words say them."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.report.first_screen import first_screen, run_line
from steer_plugin.analyses.report.numbers import number, size
from steer_plugin.analyses.report.sections.controls import centring_sentence
from steer_plugin.analyses.report.verdicts import (
    EXPERTS,
    NO,
    UNCLEAR,
    YES,
    Answer,
    answers,
    centring_ahead,
    judged,
    moves,
    pair_rule,
    pair_verdicts,
    verdict,
)
from steer_plugin.analyses.report.verdicts import RETRIEVAL as RETRIEVAL_OF
from steer_plugin.analyses.report.verdicts import SPACE as SPACE_OF
from steer_plugin.analyses.run.results import Results

from support.frames import changed, results
from support.frames_of_extras import controls_frame
from support.frames_of_paper import null_frame, paper_results

RETRIEVAL, SPACE = (question.format(units="neurons") for question in (RETRIEVAL_OF, SPACE_OF))
AT_LAST = {"layer": "final", "centring": "raw", "query": "all", "candidates": "all", "top_k": 300}
TOP_1 = {**AT_LAST, "measure": "top-1"}
GAP = {**AT_LAST, "measure": "gap", "centring": "language"}
SMALL: dict[str, Any] = {"layers": ("12", "final"), "top_ks": (300,), "sentences": 20}


@pytest.fixture(scope="module")
def run() -> Results:
    return results(**SMALL)


def by_question(run: Results) -> dict[str, Answer]:
    return {answer.question: answer for answer in answers(run)}


def moved(base: Results, table: str, where: dict[str, Any], **ends: tuple[float, float]) -> Results:
    """Set intervals by the name of the difference: change=(low, high)."""
    given = {
        f"{name}_{end}": value
        for name, pair in ends.items()
        for end, value in zip(("low", "high"), pair, strict=True)
    }
    return changed(base, table, where, **given)


UP, DOWN, FLAT, NONE = (0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (float("nan"),) * 2


@pytest.mark.parametrize(
    ("change", "advantage", "wanted"),
    [
        (UP, UP, YES),
        (UP, FLAT, UNCLEAR),
        (FLAT, UP, UNCLEAR),
        (FLAT, FLAT, UNCLEAR),
        (DOWN, UP, NO),
        (UP, DOWN, NO),
        (FLAT, DOWN, NO),
        (UP, NONE, UNCLEAR),
        (DOWN, NONE, NO),
        (NONE, NONE, UNCLEAR),
    ],
)
def test_yes_needs_both_intervals_and_no_needs_one(
    change: tuple[float, float], advantage: tuple[float, float], wanted: str
) -> None:
    row = {}
    for name, ends in (("change", change), ("advantage", advantage)):
        row[f"{name}_low"], row[f"{name}_high"] = ends
    assert judged(row) == wanted


def test_each_question_has_the_verdict_of_its_own_figures(run: Results) -> None:
    mixed = moved(run, "retrieval", {**TOP_1, "target": "jpn_Jpan"}, change=DOWN)
    mixed = moved(mixed, "alignment", GAP, change=UP, advantage=FLAT)
    asked = by_question(mixed)

    assert list(asked) == [EXPERTS, RETRIEVAL, SPACE]
    assert asked[RETRIEVAL].answers == {"German": YES, "Spanish": YES, "Japanese": NO}
    assert asked[RETRIEVAL].badges == [(YES, "German and Spanish"), (NO, "Japanese")]
    assert asked[SPACE].badges == [(UNCLEAR, "")]


def test_the_number_beside_a_verdict_is_the_one_that_it_hangs_on(run: Results) -> None:
    flat = moved(run, "alignment", GAP, change=DOWN, advantage=UP)
    assert "(−0.200 to −0.100)" in by_question(flat)[SPACE].figures
    assert "against before" in by_question(flat)[SPACE].figures
    behind = moved(run, "alignment", GAP, change=UP, advantage=FLAT)
    assert "against a random draw, the less favourable of two comparisons: German" in (
        by_question(behind)[SPACE].figures
    )
    alone = moved(run, "alignment", GAP, change=UP, advantage=NONE)
    assert "comparisons" not in by_question(alone)[SPACE].figures
    row = run.retrieval.query("target == 'deu_Latn' and measure == 'top-1' and layer == 'final'")
    row = row[(row["query"] == "all") & (row["centring"] == "raw")].iloc[0]
    shown = by_question(run)[RETRIEVAL].figures
    for name in ("advantage", "advantage_low", "advantage_high"):
        assert number(row[name], signed=True) in shown


def test_of_many_targets_a_verdict_counts_and_the_best_and_worst_are_named() -> None:
    targets = ("eng_Latn", "deu_Latn", "fra_Latn", "spa_Latn", "jpn_Jpan")
    many = results(**SMALL, targets=targets)
    answer = by_question(many)[RETRIEVAL]
    assert all(who.endswith("of 5 targets") for _, who in answer.badges)
    assert " … " in answer.figures


@pytest.mark.parametrize("draws", [0, 2])
def test_too_few_random_draws_judge_nothing_and_are_said(draws: int) -> None:
    few = results(**SMALL, n_controls=draws)
    answer = by_question(few)[RETRIEVAL]
    assert set(answer.answers.values()) == {UNCLEAR}
    assert ("no random control" if draws == 0 else "fewer than 3 random draws") in answer.figures
    assert "not judged against random neurons" in verdict(few)


def test_experts_are_judged_by_permutation_where_it_was_run(run: Results) -> None:
    null = null_frame(("deu_Latn", "spa_Latn", "jpn_Jpan"))
    asked = by_question(dataclasses.replace(run, null=null))[EXPERTS]
    assert asked.answers == {"German": YES, "Spanish": YES, "Japanese": UNCLEAR}
    assert "by chance (95%)" in asked.figures


def test_experts_are_judged_by_held_out_sentences_where_it_was_not(run: Results) -> None:
    assert set(by_question(run)[EXPERTS].answers.values()) == {YES}
    unknown = dataclasses.replace(run, provenance={**run.provenance, "judge_groups": "not known"})
    assert by_question(unknown)[EXPERTS] == by_question(run)[EXPERTS]
    assert "chance 0.5" in by_question(unknown)[EXPERTS].figures
    grouped = dataclasses.replace(run, provenance={**run.provenance, "judge_groups": "3"})
    assert set(by_question(grouped)[EXPERTS].answers.values()) == {UNCLEAR}
    assert "AUROC, intervals over 3 groups of sentences:" in by_question(grouped)[EXPERTS].figures
    for few, said in (("4", UNCLEAR), ("", UNCLEAR)):
        told = {**run.provenance, "judge_sentences": few}
        curve = run.curve.assign(judge_score=0.7)
        asked = by_question(dataclasses.replace(run, provenance=told, curve=curve))[EXPERTS]
        assert set(asked.answers.values()) == {said}
    other = dataclasses.replace(run, provenance={**run.provenance, "score": "lape"})
    assert "not compared with chance" in by_question(other)[EXPERTS].figures


def test_the_verdict_has_at_most_25_words_whatever_was_found() -> None:
    names = ("jpn_Jpan", "arb_Arab", "zho_Hant")
    base = results(**SMALL, targets=names, languages=("eng_Latn", *names))
    kinds = {"up": (UP, UP), "no": (DOWN, UP), "flat": (FLAT, FLAT)}
    for controls in (controls_frame(targets=names, controls=("centring",)), pd.DataFrame()):
        for first in kinds.values():
            for second in kinds.values():
                given = dataclasses.replace(base, controls=controls)
                for target, (change, advantage) in zip(names, (first, second, first), strict=True):
                    for table, where in (("retrieval", TOP_1), ("alignment", GAP)):
                        place = {**where, "target": target}
                        given = moved(given, table, place, change=change, advantage=advantage)
                said = verdict(given)
                assert len(said.split()) <= 25, said
                assert said.startswith("Steering ")
                assert said.count(".") == 1


def test_the_verdict_claims_no_more_than_the_answers(run: Results) -> None:
    every = moved(run, "retrieval", TOP_1, change=UP, advantage=UP)
    none = moved(run, "retrieval", TOP_1, change=FLAT, advantage=FLAT)
    assert "does not reliably improve retrieval" in verdict(none)
    behind = moved(run, "retrieval", TOP_1, change=UP, advantage=DOWN)
    assert "does not improve retrieval beyond random neurons" in verdict(behind)
    harmed = moved(run, "retrieval", TOP_1, change=DOWN, advantage=DOWN)
    assert verdict(harmed).startswith("Steering lowers retrieval;")
    one = moved(every, "retrieval", {**TOP_1, "target": "jpn_Jpan"}, change=DOWN)
    assert verdict(one).startswith(
        "Steering improves retrieval beyond random neurons for German and Spanish, lowers it for "
        "Japanese;"
    )
    assert verdict(every).startswith("Steering improves retrieval beyond random neurons;")
    assert "the space is better aligned" in verdict(
        moved(run, "alignment", GAP, change=UP, advantage=UP)
    )
    assert "no better aligned" in verdict(moved(run, "alignment", GAP, change=DOWN))
    less = moved(run, "alignment", GAP, change=UP, advantage=DOWN)
    assert "is better aligned, but less than with random neurons" in verdict(less)
    japanese = {**GAP, "target": "jpn_Jpan"}
    flat = moved(every, "alignment", GAP, change=UP, advantage=FLAT)
    behind = moved(flat, "alignment", japanese, change=UP, advantage=DOWN)
    whom = "for Japanese, unclear for German and Spanish; centring alone scores higher."
    assert f"; the space is no better aligned beyond them {whom}" in verdict(behind)
    flat = moved(every, "alignment", GAP, change=FLAT, advantage=UP)
    worse = moved(flat, "alignment", japanese, change=DOWN)
    assert f"; the space is no better aligned {whom}" in verdict(worse)
    mixed = moved(worse, "retrieval", {**TOP_1, "target": "jpn_Jpan"}, change=DOWN)
    assert "; better alignment beyond them is not shown; centring alone" in verdict(mixed)
    some = moved(less, "alignment", {**GAP, "target": "deu_Latn"}, advantage=UP)
    assert "better aligned beyond them for German only" in verdict(some)


def test_units_have_the_name_of_their_site(run: Results) -> None:
    for site, units in (
        ("attn.hook_z.heads", "heads"),
        ("hook_resid_post", "units"),
        ("my.own", "units"),
        ("mlp.hook_post", "neurons"),
    ):
        there = dataclasses.replace(run, provenance={**run.provenance, "site": site})
        head = first_screen(there)
        assert f"with random {units}" in head.figure.title
        assert all(f"random {units}" in answer.question for answer in head.answers[1:])
        assert f"random {units}" in head.verdict


def test_centring_alone_is_named_by_its_interval_or_called_higher_by_its_figure(
    run: Results,
) -> None:
    control = controls_frame(targets=run.targets, controls=("centring",))
    assert (
        centring_ahead(dataclasses.replace(run, controls=control)) == "centring alone does better"
    )
    level = control.assign(advantage_high=0.1)
    assert centring_ahead(dataclasses.replace(run, controls=level)) == ""
    centred = {**TOP_1, "centring": "language"}
    assert (
        centring_ahead(changed(run, "retrieval", centred, pre=0.9))
        == "centring alone scores higher"
    )
    assert centring_ahead(changed(run, "retrieval", centred, pre=0.01)) == ""


def test_the_headline_k_is_judged_whatever_another_k_gives() -> None:
    base = results(layers=("final",), sentences=20)
    better = changed(base, "retrieval", {**TOP_1, "top_k": 1500}, post=0.999)
    assert verdict(better) == verdict(base)


def test_single_pairs_go_by_their_false_discovery_rate_where_there_is_one() -> None:
    rows = pd.DataFrame(
        {
            "target": "deu_Latn",
            "change": [0.2, 0.2, -0.2],
            "change_low": [0.1, 0.1, -0.3],
            "change_high": [0.3, 0.3, -0.1],
            "change_q": [0.01, 0.2, 0.01],
        }
    )
    assert pair_verdicts(rows).tolist() == [1, 0, -1]
    assert "false-discovery rate of 5%" in pair_rule(rows)
    own = rows.drop(columns="change_q")
    assert pair_verdicts(own).tolist() == [1, 1, -1]
    assert "own 95% interval" in pair_rule(own)
    assert moves(rows, pairs=True) == "German 1 up, 1 down of 3"
    assert moves(rows[:1].assign(change_low=-1)) == "no reliable change for German"
    unknown = rows.assign(change_low=float("nan"), change_high=float("nan"))
    assert moves(unknown[:1]) == "no interval for German"
    assert moves(unknown) == "German 0 up, 0 down of 3, 3 without an interval"


def test_one_line_says_what_was_run() -> None:
    run = paper_results(layers=("12", "final"), top_ks=(300,), sentences=20)
    assert run_line(run) == (
        "300 experts each of German, Spanish and Japanese † set to their mean at "
        "mlp.hook_post · 3 random draws · 150 held-out sentences in 7 languages"
    )
    fewer = {**run.provenance, "languages": "eng_Latn, deu_Latn, spa_Latn, jpn_Jpan"}
    assert run_line(dataclasses.replace(run, provenance=fewer)).endswith("in 4 languages")
    head = first_screen(run)
    assert any("95% intervals of the change (over sentences" in text for text in head.how)
    grouped = dataclasses.replace(run, provenance={**run.provenance, "judge_groups": "10"})
    assert any("over 10 groups of sentences" in text for text in first_screen(grouped).how)


@pytest.mark.parametrize(
    ("difference", "shown"),
    [(0.0, "0"), (3e-7, "3.0e-7"), (0.0123, "0.012"), (-1.23, "1.2"), (150.0, "150"), (12.0, "12")],
)
def test_a_difference_of_any_size_has_about_two_digits(difference: float, shown: str) -> None:
    assert size(difference) == shown


def test_centring_that_cannot_be_told_from_experts_is_not_called_mixed() -> None:
    rows = controls_frame(controls=("centring",), layers=("final",))
    for low, high, word in (
        (-0.1, 0.1, "not told apart"),
        (-0.2, -0.1, "reliably better"),
        (0.1, 0.2, "reliably worse"),
    ):
        told = centring_sentence(rows.assign(advantage_low=low, advantage_high=high))
        assert told.endswith(f", {word}.")
    first = rows["target"] == rows["target"].iloc[0]
    parted = rows.assign(advantage_low=np.where(first, 0.1, -0.2))
    parted = parted.assign(advantage_high=parted["advantage_low"] + 0.05)
    assert centring_sentence(parted).endswith(", mixed.")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.047, "0.05"), (0.415, "0.41"), (-0.003, "−0.003"), (0.0, "0.00"), (-0.0001, "0.00")],
)
def test_a_figure_gets_a_decimal_more_before_it_is_rounded_to_nothing(
    value: float, shown: str
) -> None:
    assert number(value) == shown
