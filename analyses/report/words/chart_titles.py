"""What each chart's title says: its finding, computed from the rows that it draws."""

from collections.abc import Mapping

import pandas as pd

from steer_plugin.analyses.report.words.phrases import (
    draw_note,
    how_many,
    listed,
    none_of,
    number,
    percent,
    several_draws,
)
from steer_plugin.analyses.report.words.summary import gains_and_losses
from steer_plugin.analyses.report.words.unit_choice import in_each_layer
from steer_plugin.analyses.run.results import Results, at_headline, layer_phrase
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.settings.parts import SCORES

_NAMED = 3


def experts_by_layer_title(shares: pd.DataFrame, choice: Choice = TOP) -> str:
    """Say in how few layers half of the experts sit, or that this was the choice.

    Args:
        shares: rows of `Results.layers` at one k.
        choice: of the experts.
    """
    k = int(shares["top_k"].iloc[0])
    if choice.per_layer:
        n = shares.loc[shares["experts"] > 0, "layer"].nunique()
        return f"By choice, {k} of a language's experts sit in each of {n} layers"
    mean = shares.groupby("layer")["share"].mean().sort_values(ascending=False, kind="stable")
    needed = int((mean.cumsum() < 0.5 * mean.sum()).sum()) + 1
    layers = sorted(int(layer) for layer in mean.index[:needed])
    where = f"block {layers[0]}" if needed == 1 else f"blocks {listed(map(str, layers))}"
    return f"Half of a language's {k} experts sit in {needed} of {len(mean)} layers: {where}"


def short_of_experts(layers: pd.DataFrame) -> str:
    """Say which languages have fewer experts than were asked for; or "".

    Args:
        layers: rows of `Results.layers`.
    """
    counts = layers.groupby(["top_k", "concept"], sort=False)["experts"].sum()
    parts = []
    for k, k_counts in counts.groupby(level="top_k"):
        few = k_counts[k_counts < k_counts.max()]
        if few.empty:
            continue
        names = [f"{n:,} of {language_name(str(code))}" for (_, code), n in few.items()]
        who = listed(names) if len(names) <= _NAMED else f"fewer of {len(names)} languages"
        parts.append(f"{who} at k = {k:,}")
    return f"Not all languages have so many: there are {'; '.join(parts)}." if parts else ""


def score_name(results: Results) -> str:
    """Name the expertise score as axes and sentences do."""
    score = results.provenance.get("score", "score")
    # What is saved can be reported where somebody's own score is not registered.
    return (SCORES[score].title if score in SCORES else None) or score


def score_curves_title(curve: pd.DataFrame, score: str) -> str:
    """Say how well the best unit of each language does on the held-out split."""
    best = curve.loc[curve.groupby("concept")["rank"].idxmin(), "judge_score"]
    low, high = number(float(best.min())), number(float(best.max()))
    span = low if low == high else f"{low} to {high}"
    return f"The best neuron of each language reaches {score} {span} on held-out sentences"


def expert_overlap_title(pairs: pd.DataFrame, choice: Choice = TOP) -> str:
    """Say which two languages share most experts.

    Args:
        pairs: rows of `Results.overlap` at one k, without a language's pair with itself.
        choice: of the experts.
    """
    pair = records(pairs.sort_values("shared", ascending=False, kind="stable"))[0]
    k = int(pair["top_k"])
    if pair["shared"] == 0:
        return f"No two languages share any of their {k} experts{in_each_layer(choice)}"
    names = f"{language_name(pair['concept'])} and {language_name(pair['other'])}"
    return (
        f"Of {k} experts{in_each_layer(choice)}, two languages share at most {pair['shared']} "
        f"({percent(pair['share'])}): {names}"
    )


def retrieval_title(figures: pd.DataFrame) -> str:
    """Say for how many targets experts retrieve better than random neurons.

    Args:
        figures: top-1 over all pairs, one row a target.
    """
    if not several_draws(figures):
        up = figures[figures["change_low"] > 0]
        return (
            f"Top-1 retrieval rises for {how_many(up, figures)}{_with_levels(up)}"
            f"{draw_note(figures)}"
        )
    ahead = figures[figures["advantage_low"] > 0]
    if ahead.empty:
        return f"Experts retrieve not reliably better than random neurons for {none_of(figures)}"
    # Ahead of random neurons is not yet ahead of the model as it was.
    up = ahead[ahead["change_low"] > 0]
    if up.empty:
        return (
            f"Experts retrieve better than random neurons for {how_many(ahead, figures)}, "
            f"but not reliably better than the model unsteered"
        )
    return (
        f"Experts lift top-1 retrieval beyond random neurons for "
        f"{how_many(up, figures)}{_with_levels(up)}"
    )


def _with_levels(figures: pd.DataFrame) -> str:
    """Give each target's top-1 before and after, or the highest of many."""
    named = [
        f"{language_name(row['target'])} {number(row['pre'])} to {number(row['post'])}"
        for row in records(figures.nlargest(len(figures), "change"))
    ]
    if len(named) > _NAMED:
        return f", most for {named[0]}"
    return f": {listed(named)}" if named else ""


def distance_title(figures: pd.DataFrame) -> str:
    """Say whether the raw distance falls with experts, and with random neurons.

    Args:
        figures: raw pair distance over all pairs, one row a target.
    """
    fell = figures[figures["change_high"] < 0]
    if fell.empty:
        return f"Experts do not bring languages nearer in raw distance for {none_of(figures)}"
    also = fell[fell["control_change_high"] < 0]
    start = f"Raw distance falls with experts for {how_many(fell, figures)}"
    if not also.empty:
        return f"{start}, and with random neurons for {how_many(also, figures)}"
    if not (figures["n_controls"] > 0).all():
        return f"{start}; no random control was run"
    return f"{start}, and not reliably with random neurons"


def gap_title(raw: pd.DataFrame, centred: pd.DataFrame) -> str:
    """Say for how many targets translations come nearer than other sentences do.

    Args:
        raw: gap over all pairs, one row a target.
        centred: the same with each language's mean removed; may be empty.
    """
    title = f"The gap between translations and other sentences {_gap_moves(raw)}"
    if centred.empty:
        return title
    return f"{title}; with each language's mean removed it {_gap_moves(centred)}"


def _gap_moves(figures: pd.DataFrame) -> str:
    wider = figures[figures["change_low"] > 0]
    narrower = figures[figures["change_high"] < 0]
    moves = []
    if not wider.empty:
        beyond = wider[wider["advantage_low"] > 0]
        moves.append(f"widens for {how_many(wider, figures)}")
        if not beyond.empty:
            same = len(beyond) == len(wider)
            moves[0] += ", beyond random neurons" + ("" if same else f" for {len(beyond)}")
        elif several_draws(wider):
            moves[0] += ", not reliably more than with random neurons"
    if not narrower.empty:
        moves.append(f"shrinks for {how_many(narrower, figures)}")
    return listed(moves) or f"does not change reliably for {none_of(figures)}"


def by_layer_title(results: Results) -> str:
    """Say which layers gain and which lose."""
    targets = gains_and_losses(results)
    if not targets:
        rows = at_headline(results, over_pairs(results.retrieval, "top-1"))
        up = rows[rows["change_low"] > 0]
        down = rows[rows["change_high"] < 0]
        if not up.empty:
            return "With experts some layers gain top-1 retrieval and none loses it reliably"
        if not down.empty:
            return "With experts some layers lose top-1 retrieval and none gains it reliably"
        return "With experts no layer's top-1 retrieval changes reliably"
    target, gain, loss = max(targets, key=lambda rows_of_target: rows_of_target[1]["change"])
    return (
        f"One layer gains what another loses: {language_name(target)} "
        f"{number(gain['change'], signed=True)} {layer_phrase(str(gain['layer']))}, "
        f"{number(loss['change'], signed=True)} {layer_phrase(str(loss['layer']))}"
    )


def effect_of_k_title(figures: pd.DataFrame) -> str:
    """Say at which k experts retrieve better than random neurons.

    Args:
        figures: top-1 over all pairs, one row a target and k.
    """
    against = "random neurons" if several_draws(figures) else "the unsteered model"
    low = "advantage_low" if against == "random neurons" else "change_low"
    names: dict[str, list[str]] = {}
    for target, rows in figures.groupby("target", sort=False):
        ahead = sorted(int(k) for k in rows.loc[rows[low] > 0, "top_k"])
        every = len(ahead) == len(rows)
        ks = "every k" if every else f"k = {listed(map(str, ahead))}" if ahead else "no k"
        names.setdefault(ks, []).append(language_name(str(target)))
    parts = "; ".join(f"{ks} for {listed(who)}" for ks, who in names.items())
    return f"Experts retrieve better than {against} at {parts}"


def embedding_map_title(shares: pd.DataFrame) -> str:
    """Say how much of the spread in the picture is between languages.

    Args:
        shares: columns target, condition and share (of the picture's variance that lies between
            the languages' means, 0..1).
    """
    words = {
        "before": "of the picture's spread before",
        "experts": "with experts",
        "control": "with random neurons",
    }
    return f"Between languages lies {_condition_shares(shares, words)}"


def neighbours_title(shares: pd.DataFrame) -> str:
    """Say how often a sentence's nearest point is of its own language, in each condition.

    Args:
        shares: as `own_language_share` gives them.
    """
    words = {
        "before": "of sentences before",
        "experts": "with experts",
        "control": "with random neurons",
    }
    clauses = _condition_shares(shares, words)
    return f"In the picture the nearest point is of the same language for {clauses}"


def _condition_shares(shares: pd.DataFrame, words: Mapping[str, str]) -> str:
    """Print each condition's lowest and highest share before its words."""
    clauses = []
    for condition, phrase in words.items():
        values = shares.loc[shares["condition"] == condition, "share"].dropna()
        if not values.empty:
            low, high = percent(float(values.min())), percent(float(values.max()))
            clauses.append(f"{low if low == high else f'{low[:-1]} to {high}'} {phrase}")
    return ", ".join(clauses)
