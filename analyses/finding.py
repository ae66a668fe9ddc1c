"""The words of a report: what the figures say, and no more than their intervals allow."""

from collections.abc import Iterable, Sequence

import pandas as pd

from steer_plugin.analyses.results import (
    FINAL,
    Results,
    at_headline,
    layer_order,
    layer_phrase,
    over_pairs,
)
from steer_plugin.analyses.theme import language_name

MINUS = "\N{MINUS SIGN}"


def number(value: float, *, signed: bool = False) -> str:
    """Print a figure with two decimals, or three where two would show a nought that is not one."""
    digits = 2 if round(value, 2) != 0 or round(value, 3) == 0 else 3
    text = f"{abs(value):.{digits}f}"
    if value < 0 and float(text) != 0:
        return MINUS + text
    return "+" + text if signed else text


def percent(share: float) -> str:
    """Print a share of 1 as a whole percentage."""
    return f"{100 * share:.0f}%"


def listed(items: Iterable[str]) -> str:
    """Join names as a sentence does: "a, b and c"."""
    names = list(items)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def interval(low: float, high: float) -> str:
    """Print the two ends of an interval of a difference."""
    return f"{number(low, signed=True)} to {number(high, signed=True)}"


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
    sentences = [
        _setting(results),
        *(_retrieval(figure) for figure in top_1(results).to_dict("records")),
        *_distances(results),
        *_layers(results),
        *_centring(results),
    ]
    return " ".join(sentences)


def _setting(results: Results) -> str:
    about = results.provenance
    sentences = f"{about['judge_sentences']} " if "judge_sentences" in about else ""
    return (
        f"{about.get('model', 'The model')}, judged on {sentences}sentences a language that the "
        f"experts were not found on: mean top-1 retrieval over all ordered pairs of languages, "
        f"{layer_phrase(reading_layer(results))}."
    )


def _retrieval(figure: dict[str, float]) -> str:
    name = language_name(str(figure["target"]))
    levels = f"{number(figure['pre'])} to {number(figure['post'])}"
    change = interval(figure["change_low"], figure["change_high"])
    if figure["change_low"] > 0:
        moved = f"it rose from {levels} (95% interval of the change {change})"
    elif figure["change_high"] < 0:
        moved = f"it fell from {levels} (95% interval of the change {change})"
    else:
        moved = f"it did not change reliably ({levels}, 95% interval of the change {change})"
    start = f"With the top {figure['top_k']} {name} experts steered {moved}"
    if not figure["n_controls"] > 0:
        return f"{start}; no random control was run, so the figure cannot be put down to experts."
    seeds = f"{figure['n_controls']:.0f} seed" + ("s" if figure["n_controls"] > 1 else "")
    ahead = interval(figure["advantage_low"], figure["advantage_high"])
    control = f"as many random neurons gave {number(figure['control'])} ({seeds})"
    if figure["advantage_low"] > 0:
        verdict = f"so the experts are ahead by {number(figure['advantage'])} ({ahead})"
    elif figure["advantage_high"] < 0:
        verdict = f"so the experts did worse than random neurons, by {ahead}"
    else:
        verdict = f"so the experts did no better than random neurons (difference {ahead})"
    return f"{start}; {control}, {verdict}."


def _levels(figures: pd.DataFrame, column: str = "post") -> str:
    return listed(
        f"{language_name(row['target'])} {number(row['pre'])} to {number(row[column])}"
        for row in figures.to_dict("records")
    )


def _names(figures: pd.DataFrame) -> str:
    return listed(language_name(target) for target in figures["target"])


def at_last(results: Results, measure: str, centring: str = "raw") -> pd.DataFrame:
    """Give each target's mean over all pairs of an alignment measure, at headline k, last layer."""
    layer = reading_layer(results)
    return at_headline(results, over_pairs(results.alignment, measure, centring, layer))


def _distances(results: Results) -> list[str]:
    raw = at_last(results, "pair distance")
    if raw.empty:
        return []
    fell = raw[raw["change_high"] < 0]
    if fell.empty:
        return [f"The raw distance between languages did not fall ({_levels(raw)})."]
    said = [f"The raw distance between languages fell ({_levels(fell)})."]
    if len(fell) < len(raw):
        still = raw[~raw["target"].isin(fell["target"])]
        said = [said[0][:-1] + f"; for {_names(still)} it did not."]
    also = fell[fell["control_change_high"] < 0]
    if not also.empty:
        levels = listed(
            f"{language_name(row['target'])} {number(row['control'])}"
            for row in also.to_dict("records")
        )
        said.append(
            f"It fell with random neurons too (to {levels}), as it does when any constant is "
            f"added, so by itself it is no sign of alignment."
        )
    elif (fell["n_controls"] > 0).all():
        said.append("It did not fall with random neurons.")
    centred = at_last(results, "pair distance", "global")
    if not centred.empty:
        said.append(f"With the common mean removed it went {_levels(centred)}.")
    return [*said, *_gaps(results, fell)]


def _gaps(results: Results, fell: pd.DataFrame) -> list[str]:
    gap = at_last(results, "gap")
    if gap.empty:
        return []
    wider = gap[gap["change_low"] > 0]
    said = []
    if not wider.empty:
        said.append(
            "The gap between the cosine of translations and of other sentences widened for "
            f"{_levels(wider)}."
        )
    flat = gap[gap["target"].isin(fell["target"]) & ~gap["target"].isin(wider["target"])]
    if not flat.empty:
        said.append(
            f"For {_names(flat)} the distance fell while the gap between the cosine of "
            f"translations and of other sentences did not improve ({_levels(flat)})."
        )
    return said


def gains_and_losses(results: Results) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """Give the targets for which one layer gains top-1 and another loses it.

    Returns:
        Per such target: its code, the row of the layer with the largest gain and the row of the
        layer with the largest loss; both intervals exclude 0.
    """
    found = []
    rows = at_headline(results, over_pairs(results.retrieval, "top-1"))
    for target, layers in rows.groupby("target", sort=False):
        up = layers[layers["change_low"] > 0]
        down = layers[layers["change_high"] < 0]
        if not up.empty and not down.empty:
            gain = up.loc[up["change"].idxmax()].to_dict()
            loss = down.loc[down["change"].idxmin()].to_dict()
            found.append((str(target), gain, loss))
    return found


def _layers(results: Results) -> list[str]:
    said = []
    both = gains_and_losses(results)
    if both:
        parts = listed(
            f"{language_name(target)} {number(gain['change'], signed=True)} "
            f"{layer_phrase(str(gain['layer']))} but {number(loss['change'], signed=True)} "
            f"{layer_phrase(str(loss['layer']))}"
            for target, gain, loss in both
        )
        said.append(f"One layer gains what another loses: {parts}.")
    rows = at_headline(results, over_pairs(results.retrieval, "top-1"))
    if rows["layer"].nunique() > 1:
        best = rows.loc[rows["pre"].idxmax()]
        steered = rows.loc[rows["post"].idxmax()]
        if best["pre"] >= steered["post"]:
            said.append(
                f"The unsteered model retrieves best {layer_phrase(str(best['layer']))} "
                f"({number(best['pre'])}), and no layer does better with experts."
            )
    return said


def _centring(results: Results) -> list[str]:
    layer = reading_layer(results)
    centred = at_headline(results, over_pairs(results.retrieval, "top-1", "language", layer))
    if centred.empty:
        return []
    baseline = float(centred["pre"].iloc[0])
    best = float(top_1(results)["post"].max())
    verdict = (
        "more than steering gives for any target"
        if baseline > best
        else f"less than the best target with experts ({number(best)})"
    )
    return [
        f"Without steering, taking each language's mean off its embeddings gives "
        f"{number(baseline)}, {verdict}."
    ]


def experts_by_layer_title(shares: pd.DataFrame) -> str:
    """Say in how few layers half of the experts sit.

    Args:
        shares: rows of `Results.layers` at one k.
    """
    mean = shares.groupby("layer")["share"].mean().sort_values(ascending=False, kind="stable")
    needed = int((mean.cumsum() < 0.5 * mean.sum()).sum()) + 1
    layers = sorted(int(layer) for layer in mean.index[:needed])
    where = f"block {layers[0]}" if needed == 1 else f"blocks {listed(map(str, layers))}"
    return (
        f"Half of a language's {int(shares['top_k'].iloc[0])} experts sit in "
        f"{needed} of {len(mean)} layers: {where}"
    )


def score_name(results: Results) -> str:
    """Name the expertise score as axes and sentences do."""
    score = results.provenance.get("score", "score")
    return {"auroc": "AUROC", "average_precision": "average precision"}.get(score, score)


def score_curves_title(curve: pd.DataFrame, score: str) -> str:
    """Say how well the best unit of each language does on the held-out split."""
    best = curve.loc[curve.groupby("concept")["rank"].idxmin(), "judge_score"]
    low, high = number(float(best.min())), number(float(best.max()))
    span = low if low == high else f"{low} to {high}"
    return f"The best neuron of each language reaches {score} {span} on held-out sentences"


def expert_overlap_title(pairs: pd.DataFrame) -> str:
    """Say which two languages share most experts.

    Args:
        pairs: rows of `Results.overlap` at one k, without a language's pair with itself.
    """
    most = pairs.loc[pairs["shared"].idxmax()]
    k = int(most["top_k"])
    if most["shared"] == 0:
        return f"No two languages share any of their {k} experts"
    names = f"{language_name(most['concept'])} and {language_name(most['other'])}"
    return (
        f"Of {k} experts, two languages share at most {int(most['shared'])} "
        f"({percent(float(most['share']))}): {names}"
    )


def retrieval_title(figures: pd.DataFrame) -> str:
    """Say for how many targets experts retrieve better than random neurons.

    Args:
        figures: top-1 over all pairs, one row a target.
    """
    if not (figures["n_controls"] > 0).all():
        up = figures[figures["change_low"] > 0]
        return (
            f"Top-1 retrieval rises for {_of(up, figures)}{_with_levels(up)}; "
            f"no random control was run"
        )
    ahead = figures[figures["advantage_low"] > 0]
    if ahead.empty:
        return f"Experts retrieve no better than random neurons for {_none_of(figures)}"
    # Ahead of random neurons is not yet ahead of the model as it was.
    up = ahead[ahead["change_low"] > 0]
    if up.empty:
        return (
            f"Experts retrieve better than random neurons for {_of(ahead, figures)}, "
            f"but no better than the model unsteered"
        )
    return (
        f"Experts lift top-1 retrieval beyond random neurons for "
        f"{_of(up, figures)}{_with_levels(up)}"
    )


def _of(some: pd.DataFrame, among: pd.DataFrame) -> str:
    if len(some) == len(among):
        return "the target" if len(among) == 1 else f"all {len(among)} targets"
    return f"{len(some)} of {len(among)} targets"


def _none_of(among: pd.DataFrame) -> str:
    return "the target" if len(among) == 1 else f"any of {len(among)} targets"


def _with_levels(some: pd.DataFrame) -> str:
    return "" if some.empty else f": {_levels(some.nlargest(3, 'change'))}"


def distance_title(figures: pd.DataFrame) -> str:
    """Say whether the raw distance falls with experts, and with random neurons.

    Args:
        figures: raw pair distance over all pairs, one row a target.
    """
    fell = figures[figures["change_high"] < 0]
    if fell.empty:
        return f"Experts do not bring languages nearer in raw distance for {_none_of(figures)}"
    also = fell[fell["control_change_high"] < 0]
    start = f"Raw distance falls with experts for {_of(fell, figures)}"
    if not also.empty:
        return f"{start}, and with random neurons for {_of(also, figures)}"
    if not (figures["n_controls"] > 0).all():
        return f"{start}; no random control was run"
    return f"{start}, and not with random neurons"


def gap_title(figures: pd.DataFrame) -> str:
    """Say for how many targets translations come nearer than other sentences do.

    Args:
        figures: raw gap over all pairs, one row a target.
    """
    wider = figures[figures["change_low"] > 0]
    narrower = figures[figures["change_high"] < 0]
    verb = "widens" if len(wider) else "does not widen"
    count = _of(wider, figures) if len(wider) else _none_of(figures)
    shrinks = f" and shrinks for {_of(narrower, figures)}" if len(narrower) else ""
    return f"The raw gap between translations and other sentences {verb} for {count}{shrinks}"


def retrieval_matrix_title(pairs: pd.DataFrame) -> str:
    """Say how many pairs of languages gain and lose top-1, by their own intervals.

    Args:
        pairs: one row a target and an ordered pair.
    """
    counts = []
    for target, rows in pairs.groupby("target", sort=False):
        up, down = int((rows["change_low"] > 0).sum()), int((rows["change_high"] < 0).sum())
        counts.append(f"{language_name(str(target))} {up} up, {down} down of {len(rows)}")
    return f"Pairs of languages whose top-1 moves with experts: {'; '.join(counts)}"


def by_layer_title(results: Results) -> str:
    """Say which layers gain and which lose."""
    both = gains_and_losses(results)
    if not both:
        rows = at_headline(results, over_pairs(results.retrieval, "top-1"))
        up = rows[rows["change_low"] > 0]
        down = rows[rows["change_high"] < 0]
        if not up.empty:
            return "With experts some layers gain top-1 retrieval and none loses it reliably"
        if not down.empty:
            return "With experts some layers lose top-1 retrieval and none gains it reliably"
        return "With experts no layer's top-1 retrieval changes reliably"
    target, gain, loss = max(both, key=lambda found: found[1]["change"])
    return (
        f"One layer gains what another loses: {language_name(target)} "
        f"{number(gain['change'], signed=True)} {layer_phrase(str(gain['layer']))}, "
        f"{number(loss['change'], signed=True)} {layer_phrase(str(loss['layer']))}"
    )


def effect_of_k_title(figures: pd.DataFrame) -> str:
    """Say at which k each target's top-1 is highest, or that none beats random neurons.

    Args:
        figures: top-1 over all pairs, one row a target and k.
    """
    best = figures.loc[figures.groupby("target", sort=False)["post"].idxmax()]
    parts = listed(
        f"{language_name(row['target'])} {row['top_k']} ({number(row['post'])})"
        for row in best.to_dict("records")
    )
    return f"Top-1 with experts is highest at k = {parts}"


def embedding_map_title(shares: pd.DataFrame) -> str:
    """Say how much of the spread in the picture is between languages.

    Args:
        shares: columns target, condition and share (of the picture's variance that lies between
            the languages' means, 0..1).
    """
    parts = []
    for target, rows in shares.groupby("target", sort=False):
        share = dict(zip(rows["condition"], rows["share"], strict=True))
        steps = [f"{percent(share[name])} {said}" for name, said in _CONDITIONS if name in share]
        parts.append(f"{language_name(str(target))} {', '.join(steps)}")
    return f"Share of the picture's spread that lies between languages: {'; '.join(parts)}"


_CONDITIONS = (("before", "before"), ("experts", "with experts"), ("control", "random neurons"))


def seeds_phrase(figures: pd.DataFrame) -> str:
    """Say how many seeds the random control has."""
    counts: Sequence[int] = sorted({int(n) for n in figures["n_controls"]})
    if counts == [0]:
        return "no random control was run"
    return f"random neurons: mean of {listed(map(str, counts))} seed{'s' * (counts != [1])}"


def reading_phrase(results: Results) -> str:
    """Say where the headline figures are read."""
    layer = reading_layer(results)
    return "the final norm's output" if layer == FINAL else f"block {layer}'s output"
