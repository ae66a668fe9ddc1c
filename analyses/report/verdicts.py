"""What the figures allow to be said: yes, no or unclear, and why something is not judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steer_plugin.analyses.report.numbers import (
    between,
    listed,
    names,
    number,
    sampled,
    score_name,
    several_draws,
    span,
    units_name,
)
from steer_plugin.analyses.run.results import Results, at_headline, layer_order
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records
from steer_plugin.analyses.statistics.held_out import auroc_interval
from steer_plugin.corpora.language_codes import language_name

YES, NO, UNCLEAR = "yes", "no", "unclear"
WORDS = 25
"""Of the verdict, at the most."""

RATE = 0.05
"""False-discovery rate at which a single pair of languages is called changed."""

_NAMED = 3
_UNJUDGED = 2
"""In place of a sign, where there is no interval."""


@dataclass(frozen=True)
class Answer:
    """What is said to one question.

    Attributes:
        question: in a few words.
        answers: target -> yes, no or unclear, by the targets' names.
        figures: the numbers and intervals behind it.
    """

    question: str
    answers: dict[str, str]
    figures: str

    @property
    def badges(self) -> list[tuple[str, str]]:
        """Give each answer with whom it is for: "" where all have the same."""
        kinds = [kind for kind in (YES, NO, UNCLEAR) if kind in self.answers.values()]
        if len(kinds) == 1:
            return [(kinds[0], "")]
        return [(kind, self.who(kind)) for kind in kinds]

    def who(self, kind: str) -> str:
        """Name the targets with an answer, or count them where they are many."""
        those = [name for name, answer in self.answers.items() if answer == kind]
        return _whom(those, len(self.answers))


def _whom(those: Sequence[str], of: int) -> str:
    if len(those) == of:
        return {1: those[0], 2: "both targets"}.get(of, f"all {of} targets")
    return f"{len(those)} of {of} targets" if of > _NAMED else listed(those)


def judged(row: dict[str, Any]) -> str:
    """Judge one figure: yes where steering betters it, and more than a further random draw would.

    A figure that gets worse, or is behind a further draw, is a no; what the intervals leave open,
    and what too few draws were run for, is unclear.

    Args:
        row: of `comparison.compare`, of a measure of which more is better.
    """
    better, worse = (
        [row[f"{name}_{end}"] for name in ("change", "advantage")] for end in ("low", "high")
    )
    if min(worse[0], worse[1] if worse[1] == worse[1] else 1) < 0:
        return NO
    return YES if better[0] > 0 and better[1] > 0 else UNCLEAR


def reading_layer(results: Results) -> str:
    """Give the layer that the headline figures are read at: the last one that was measured."""
    return layer_order(results.retrieval)[-1]


def at_last(
    results: Results, table: pd.DataFrame, measure: str, centring: str = "raw"
) -> pd.DataFrame:
    """Give each target's mean over all pairs of a measure, at its headline k and the last layer."""
    return at_headline(results, over_pairs(table, measure, centring, reading_layer(results)))


def answers(results: Results) -> list[Answer]:
    """Answer the three questions that a report begins with."""
    content = [experts_answer(results), retrieval_answer(results), space_answer(results)]
    return [answer for answer in content if answer is not None]


EXPERTS = "Are there experts?"
RETRIEVAL = "Does steering help retrieval beyond random {units}?"
SPACE = "Is the space better aligned, beyond random {units}?"


def retrieval_answer(results: Results) -> Answer:
    """Judge top-1 over all pairs."""
    return _answer(results, RETRIEVAL, _top_1(results), "top-1", 2)


def space_answer(results: Results) -> Answer | None:
    """Judge the gap, language means removed where that was measured; None without a gap."""
    gap = _gap(results)
    if gap.empty:
        return None
    centred = {"raw": "raw"}.get(str(gap["centring"].iloc[0]), "language means removed")
    return _answer(results, SPACE, gap, f"gap, {centred}", 3)


def _top_1(results: Results) -> pd.DataFrame:
    return at_last(results, results.retrieval, "top-1")


def _gap(results: Results) -> pd.DataFrame:
    centred = at_last(results, results.alignment, "gap", "language")
    return at_last(results, results.alignment, "gap") if centred.empty else centred


def experts_answer(results: Results) -> Answer:
    """Judge by permutation where that was run, else by the best unit's score on held-out text."""
    name = names(results, results.targets)
    null = results.null[results.null["concept"].isin(results.targets)]
    if len(null):
        kinds = {
            name[row["concept"]]: YES if row["best"] > row["null_high"] else UNCLEAR
            for row in records(null)
        }
        text = (
            f"best unit's {score_name(results)} {span(null['best'])}; the best of all units "
            f"reaches {span(null['null_high'])} by chance (95%)"
        )
        return Answer(EXPERTS, kinds, text)
    curve = results.curve[results.curve["concept"].isin(results.targets)]
    if curve.empty:
        return Answer(EXPERTS, dict.fromkeys(name.values(), UNCLEAR), "not measured")
    best = curve.loc[curve.groupby("concept", sort=False)["rank"].idxmin()]
    # Where the groups are not known, sentences stand for themselves.
    sizes = [results.provenance.get(name, "") for name in ("judge_groups", "judge_sentences")]
    independent = next((int(size) for size in sizes if size.isdigit()), 0)
    known = results.provenance.get("score") == "auroc" and independent > 0
    kinds, parts = {}, []
    for row in records(best):
        low, high = (
            auroc_interval(row["judge_score"], independent)
            if known
            else (float("nan"), float("nan"))
        )
        kinds[name[row["concept"]]] = YES if low > 0.5 else NO if high < 0.5 else UNCLEAR
        ends = f" ({number(low, digits=3)} to {number(high, digits=3)})" if known else ""
        parts.append(f"{name[row['concept']]} {number(row['judge_score'], digits=3)}{ends}")
    chance = "; chance 0.5" if known else "; not compared with chance: set permutations"
    over = f", intervals over {sampled(results)}" if known else ""
    text = f"best unit's held-out {score_name(results)}{over}: {_short(parts)}{chance}"
    return Answer(EXPERTS, kinds, text)


def _answer(results: Results, question: str, rows: pd.DataFrame, what: str, digits: int) -> Answer:
    name = names(results, results.targets)
    kinds = {name[row["target"]]: judged(row) for row in records(rows)}
    order = records(rows.sort_values("change", ascending=False, kind="stable"))
    columns = [_deciding(row) for row in order]
    same = len(set(columns)) == 1
    parts = [
        f"{name[row['target']]} {between(row, column, digits=digits)}"
        + ("" if same else f" {_AGAINST[column]}")
        for row, column in zip(order, columns, strict=True)
    ]
    against = f" {_AGAINST[columns[0]]}" if same else ""
    if same and rows[["change_low", "advantage_low"]].notna().all(axis=None):
        against += ", the less favourable of two comparisons"
    units = units_name(results)
    text = f"{what}{against}: {_short(parts)}{draw_note(rows)}"
    return Answer(question.format(units=units), kinds, text)


_AGAINST = {"change": "against before", "advantage": "against a random draw"}


def _deciding(row: dict[str, Any]) -> str:
    """Name the difference that the verdict hangs on: the one that is worst, of those judged."""
    known = [name for name in _AGAINST if row[f"{name}_low"] == row[f"{name}_low"]]
    end = "high" if judged(row) == NO else "low"
    return min(known or ["change"], key=lambda name: float(row[f"{name}_{end}"]))


def _short(parts: Sequence[str]) -> str:
    if len(parts) <= _NAMED:
        return ", ".join(parts)
    return f"{parts[0]} … {parts[-1]}"


def draw_note(rows: pd.DataFrame) -> str:
    """Say why nothing is judged against random units; "" where it is."""
    if several_draws(rows):
        return ""
    if (rows["n_controls"] > 0).all():
        return f"; fewer than {FEWEST_DRAWS} random draws tell nothing of others"
    return "; no random control was run"


def verdict(results: Results) -> str:
    """Say in one sentence of at most 25 words what steering did, and whether it can be believed."""
    first, ahead = f"Steering {_retrieval_clause(results)}", centring_ahead(results)
    space, named = space_answer(results), units_name(results) in first
    clauses = [first, ahead]
    if space is not None:
        clauses.insert(1, _space_clause(results, space, named=named, short=False))
        if _words(clauses) > WORDS:
            clauses[1] = _space_clause(results, space, named=named, short=True)
    clauses = [clause for clause in clauses if clause]
    while _words(clauses) > WORDS:
        clauses.pop()
    return f"{'; '.join(clauses)}."


def _words(clauses: Sequence[str]) -> int:
    return len(" ".join(clauses).split())


def _retrieval_clause(results: Results) -> str:
    """Say for whom retrieval is better than random units make it, and for whom it is worse."""
    rows, answer = _top_1(results), retrieval_answer(results)
    kinds, whom, units = set(answer.answers.values()), answer.who(YES), units_name(results)
    lowered = rows["change_high"] < 0
    if lowered.all():
        return "lowers retrieval"
    name = names(results, results.targets)
    harmed = _whom([name[code] for code in rows.loc[lowered, "target"]], len(rows))
    harm = f", lowers it for {harmed}" if lowered.any() else ""
    if not several_draws(rows) and kinds != {NO}:
        up = rows["change_low"] > 0
        does = "raises retrieval" if up.any() else "does not reliably raise retrieval"
        some = " for some" if up.any() and not up.all() else ""
        return f"{does}{some}{harm}, not judged against random {units}"
    if YES in kinds:
        which = "" if kinds == {YES} else f" for {whom}" if harm else f" for {whom} only"
        return f"improves retrieval beyond random {units}{which}{harm}"
    not_ = "does not" if kinds == {NO} else "does not reliably"
    return f"{not_} improve retrieval beyond random {units}{harm}"


def _space_clause(results: Results, answer: Answer, *, named: bool, short: bool) -> str:
    """Say for whom the space is better aligned than random units make it.

    Args:
        results: of the run.
        answer: to whether it is.
        named: whether random units were named before.
        short: whether to leave out for whom it is not.
    """
    kinds, rows = set(answer.answers.values()), _gap(results)
    random = f"random {units_name(results)}"
    beyond = "beyond them" if named else f"beyond {random}"
    if kinds == {YES}:
        return "the space is better aligned"
    if YES in kinds:
        return f"the space is better aligned {beyond} for {answer.who(YES)} only"
    if kinds == {UNCLEAR}:
        return f"better alignment {beyond} is unclear"
    up = rows["change_low"] > 0
    no_better = f"the space is no better aligned{f' {beyond}' if up.any() else ''}"
    if UNCLEAR in kinds:
        if short:
            return f"better alignment {beyond} is not shown"
        return f"{no_better} for {answer.who(NO)}, unclear for {answer.who(UNCLEAR)}"
    return f"the space is better aligned, but less than with {random}" if up.all() else no_better


def centring_ahead(results: Results) -> str:
    """Say whether removing language means, without steering, retrieves better; "" if it does not.

    By the interval where that control was run; else by every target's figure, without one.
    """
    rows = results.controls
    rows = rows[(rows["control"] == "centring")]
    if len(rows):
        rows = over_pairs(rows, "top-1", "raw", layer_order(results.controls)[-1])
        sure = len(rows) > 0 and bool((rows["advantage_high"] < 0).all())
        return "centring alone does better" if sure else ""
    centred = at_last(results, results.retrieval, "top-1", "language")
    steered = _top_1(results)
    if centred.empty:
        return ""
    higher = float(centred["pre"].iloc[0]) > float(steered["post"].max())
    return "centring alone scores higher" if higher else ""


def pair_verdicts(pairs: pd.DataFrame, difference: str = "change") -> pd.Series:
    """Say which single pairs of languages are called up (1) and down (-1); the others are 0.

    By their false-discovery rate where it was controlled; else by each pair's own interval.

    Args:
        pairs: rows of single pairs of languages.
        difference: "change", "advantage" or "control_change", which has no rate.
    """
    if f"{difference}_q" in pairs:
        sure = pairs[f"{difference}_q"] < RATE
        up, down = sure & (pairs[difference] > 0), sure & (pairs[difference] < 0)
    else:
        up, down = pairs[f"{difference}_low"] > 0, pairs[f"{difference}_high"] < 0
    return up.astype(int) - down.astype(int)


def pair_rule(pairs: pd.DataFrame) -> str:
    """Say by which rule a pair is called changed."""
    if "change_q" in pairs:
        return f"at a false-discovery rate of {RATE:.0%} (Benjamini and Hochberg)"
    return "by each pair's own 95% interval"


def _counted(sign: pd.Series) -> str:
    up, down, unjudged = (int((sign == way).sum()) for way in (1, -1, _UNJUDGED))
    without = f", {unjudged} without an interval" if unjudged else ""
    return f"{up} up, {down} down of {len(sign)}{without}"


def moves(rows: pd.DataFrame, *, pairs: bool = False) -> str:
    """Say for whom figures go up and down by their intervals; of several a target, how many.

    Args:
        rows: of `comparison.compare`.
        pairs: whether they are single pairs of languages, judged as `pair_verdicts` does.
    """
    sign = (
        pair_verdicts(rows)
        if pairs
        else (rows["change_low"] > 0).astype(int) - (rows["change_high"] < 0).astype(int)
    )
    sign = sign.where(rows["change_low"].notna(), _UNJUDGED)
    several = len(rows) > rows["target"].nunique()
    if several and rows["target"].nunique() <= _NAMED:
        return "; ".join(
            f"{language_name(str(target))} {_counted(part)}"
            for target, part in sign.groupby(rows["target"], sort=False)
        )
    if several or len(rows) > _NAMED:
        return _counted(sign)
    groups = {
        word: [language_name(str(code)) for code in rows.loc[sign == way, "target"]]
        for word, way in (
            ("up for", 1),
            ("down for", -1),
            ("no reliable change for", 0),
            ("no interval for", _UNJUDGED),
        )
    }
    return ", ".join(f"{word} {listed(who)}" for word, who in groups.items() if who)
