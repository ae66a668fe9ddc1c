"""The words of a report: what the figures say, and no more than their intervals allow."""

from typing import Any

import pandas as pd

from steer_plugin.analyses.report.words import unit_choice
from steer_plugin.analyses.report.words.phrases import (
    how_many,
    interval,
    listed,
    number,
    seeds_phrase,
    span,
)
from steer_plugin.analyses.run.results import Results, at_headline, layer_order, layer_phrase
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.experts.selection import Choice

_MANY = 3


def reading_layer(results: Results) -> str:
    """Give the layer that the headline figures are read at: the last one that was measured."""
    return layer_order(results.retrieval)[-1]


def top_1(results: Results) -> pd.DataFrame:
    """Give each target's top-1 over all pairs, at its headline k and the last layer."""
    rows = over_pairs(results.retrieval, "top-1", layer=reading_layer(results))
    return at_headline(results, rows)


def finding(results: Results) -> str:
    """Say in one paragraph what steering did to retrieval and to distances.

    Each target is reported at its headline k, at the last layer, beside random neurons. Where an
    interval includes 0 the words claim no effect.
    """
    choice = unit_choice.choice_of(results)
    sentences = [
        _setting(results),
        *(_retrieval(figure, choice) for figure in records(top_1(results))),
        *_distances(results),
        *_layers(results),
        *_centring(results),
    ]
    return " ".join(sentences)


def _setting(results: Results) -> str:
    about = results.provenance
    model = f"In {about['model']}, retrieval" if "model" in about else "Retrieval"
    where = layer_phrase(reading_layer(results))
    sentences = about.get("judge_sentences", "")
    count = f"{sentences} held-out sentences" if sentences else "held-out sentences"
    chance = f", chance {1 / int(sentences):.3f}" if sentences.isdigit() else ""
    control = f", random neurons are as many, {seeds_phrase(results)}"
    if not (top_1(results)["n_controls"] > 0).any():
        control = ""
    return (
        f"{model} is mean top-1 accuracy over all ordered pairs of languages, {where}, on "
        f"{count} a language{chance}; brackets are 95% intervals of differences{control}"
        f"{unit_choice.definition(unit_choice.choice_of(results))}."
    )


def _retrieval(figure: dict[str, Any], choice: Choice) -> str:
    levels = f"from {number(figure['pre'])} to {number(figure['post'])}"
    change = interval(figure["change_low"], figure["change_high"])
    if figure["change_low"] > 0:
        change_clause = f"it rose {levels} ({change})"
    elif figure["change_high"] < 0:
        change_clause = f"it fell {levels} ({change})"
    else:
        change_clause = f"it did not change reliably, {levels} ({change})"
    name = language_name(str(figure["target"]))
    start = f"With {unit_choice.experts(choice, figure['top_k'], name)} steered {change_clause}"
    if not figure["n_controls"] > 0:
        return f"{start}; no random control was run, so it cannot be put down to the experts."
    if figure["n_controls"] < FEWEST_DRAWS:
        return (
            f"{start}; random neurons gave {number(figure['control'])}, from too few draws to tell "
            "of others."
        )
    ahead = interval(figure["advantage_low"], figure["advantage_high"])
    if figure["advantage_low"] > 0:
        verdict = (
            f"the experts are ahead of one more draw by {number(figure['advantage'])} ({ahead})"
        )
    elif figure["advantage_high"] < 0:
        verdict = f"the experts did worse than one more draw would ({ahead})"
    else:
        verdict = f"the experts are not reliably ahead of one more draw ({ahead})"
    draws = int(figure["n_controls"])
    # Results from before the rank was kept have none.
    as_far = round(figure["control_p"] * (draws + 1)) - 1 if "control_p" in figure else None
    rank = "" if as_far is None else f", and {as_far or 'none'} changed it as much, up or down"
    return (
        f"{start}; {draws} draws of random neurons gave {number(figure['control'])} on average"
        f"{rank}: {verdict}."
    )


def _levels(figures: pd.DataFrame, among: pd.DataFrame, digits: int = 2) -> str:
    """Print the level before, which all targets have in common, and each target's after."""
    before = number(float(figures["pre"].iloc[0]), digits=digits)
    return f"from {before} to {_each(figures, 'post', among, digits)}"


def _each(figures: pd.DataFrame, column: str, among: pd.DataFrame, digits: int = 2) -> str:
    """Print a column's figures, with names where there are several targets, in short for many."""
    if len(figures) > _MANY:
        return f"{span(figures[column], digits)} ({how_many(figures, among)})"
    return listed(
        number(row[column], digits=digits)
        + (f" ({language_name(row['target'])})" if among["target"].nunique() > 1 else "")
        for row in records(figures)
    )


def at_last(results: Results, measure: str, centring: str = "raw") -> pd.DataFrame:
    """Give each target's mean over all pairs of an alignment measure, at headline k, last layer."""
    layer = reading_layer(results)
    return at_headline(results, over_pairs(results.alignment, measure, centring, layer))


def _distances(results: Results) -> list[str]:
    raw = at_last(results, "pair distance")
    if raw.empty:
        return []
    fell = raw[raw["change_high"] < 0]
    still = raw[~raw["target"].isin(fell["target"])]
    sentences = []
    if not fell.empty:
        sentences.append(
            f"Raw distance between languages fell {_levels(fell, raw)}"
            f"{_distance_of_control(fell, raw)}."
        )
    if not still.empty:
        sentences.append(
            f"Raw distance between languages did not fall reliably: {_levels(still, raw)}."
        )
    centred = at_last(results, "pair distance", "global")
    if not centred.empty:
        sentences.append(f"With the common mean removed, distance went {_levels(centred, raw)}.")
    return [*sentences, *_gaps(results, fell)]


def _distance_of_control(fell: pd.DataFrame, among: pd.DataFrame) -> str:
    if not (fell["n_controls"] > 0).all():
        return ""
    also = fell[fell["control_change_high"] < 0]
    if also.empty:
        return ", and did not reliably with random neurons"
    return (
        f", but it fell with random neurons too, to {_each(also, 'control', among)}, as it does "
        "when one vector is added to every embedding: by itself no sign of alignment"
    )


def _gaps(results: Results, fell: pd.DataFrame) -> list[str]:
    gap = at_last(results, "gap")
    if gap.empty:
        return []
    wider = gap[gap["change_low"] > 0]
    flat = gap[gap["target"].isin(fell["target"]) & ~gap["target"].isin(wider["target"])]
    name = "gap (cosine of translations less that of other sentences)"
    sentences = []
    if not wider.empty:
        sentences.append(f"The {name} widened {_levels(wider, gap, 3)}.")
    if not flat.empty:
        which = "gap" if sentences else name
        sentences.append(
            f"While distance fell, the {which} did not improve reliably: {_levels(flat, gap, 3)}."
        )
    centred = at_last(results, "gap", "language")
    if sentences and not centred.empty:
        sentences.append(
            f"With each language's mean removed the gap went {_levels(centred, gap, 3)}."
        )
    return sentences


def gains_and_losses(results: Results) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Give the targets for which one layer gains top-1 and another loses it.

    Returns:
        Per such target: its code, the row of the layer with the largest gain and the row of the
        layer with the largest loss; both intervals exclude 0.
    """
    targets = []
    rows = at_headline(results, over_pairs(results.retrieval, "top-1"))
    for target, layers in rows.groupby("target", sort=False):
        up = layers[layers["change_low"] > 0]
        down = layers[layers["change_high"] < 0]
        if not up.empty and not down.empty:
            gain = records(up.sort_values("change", kind="stable"))[-1]
            loss = records(down.sort_values("change", kind="stable"))[0]
            targets.append((str(target), gain, loss))
    return targets


def _layers(results: Results) -> list[str]:
    sentences = []
    rows = at_headline(results, over_pairs(results.retrieval, "top-1"))
    layers = rows["layer"].nunique()
    targets = gains_and_losses(results)
    if targets:
        largest = (
            sorted(targets, key=lambda figures: -figures[1]["change"])
            if len(targets) > _MANY
            else targets
        )
        parts = "; ".join(
            f"{language_name(target)} {number(gain['change'], signed=True)} "
            f"{layer_phrase(str(gain['layer']))}, {number(loss['change'], signed=True)} "
            f"{layer_phrase(str(loss['layer']))}"
            for target, gain, loss in largest[:_MANY]
        )
        count = (
            f" for {len(targets)} of {len(results.targets)} targets" if len(targets) > _MANY else ""
        )
        sentences.append(
            f"One layer gains what another loses{count}: {parts}; these are the largest of "
            f"{layers} layers, each by an interval that is not corrected for their number."
        )
    if layers > 1:
        best = records(rows.sort_values("pre", kind="stable"))[-1]
        if best["pre"] >= rows["post"].max():
            sentences.append(
                f"The unsteered model retrieves best {layer_phrase(str(best['layer']))} "
                f"({number(best['pre'])}), and no layer reads higher with experts; these are the "
                "best of several figures, without an interval."
            )
    return sentences


def _centring(results: Results) -> list[str]:
    # The control has the interval of this difference: `control_titles.centring_sentence` gives it.
    if (results.controls["control"] == "centring").any():
        return []
    layer = reading_layer(results)
    centred = at_headline(results, over_pairs(results.retrieval, "top-1", "language", layer))
    if centred.empty:
        return []
    best = records(top_1(results).sort_values("post", kind="stable"))[-1]
    return [
        (
            "Without steering, taking each language's mean off its embeddings gives "
            f"{number(float(centred['pre'].iloc[0]))}; the best target with experts, "
            f"{language_name(best['target'])}, gives {number(best['post'])}; no interval is made "
            "of that difference."
        )
    ]
