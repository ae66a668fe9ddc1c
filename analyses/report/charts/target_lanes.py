"""Retrieval from the target to each other language, before and after (the paper's Figure 4)."""

from collections import Counter
from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_lanes import conditions
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.marks import unseen_languages
from steer_plugin.analyses.report.marks.panels import ends, in_rows
from steer_plugin.analyses.report.words import phrases, summary
from steer_plugin.analyses.report.words.pair_titles import from_targets_title, not_seen_sentence
from steer_plugin.analyses.report.words.pair_verdicts import verdict_rule, verdicts
from steer_plugin.analyses.run.results import (
    BEFORE,
    CONTROL,
    EXPERTS,
    Results,
    at_headline,
    layer_phrase,
)
from steer_plugin.analyses.statistics.figure_rows import between_languages
from steer_plugin.corpora.language_codes import language_label, language_name

_WIDTH = 960
_AXIS = "Top-1 retrieval accuracy (0 to 1)"
_ROOM = 1_020
_LABELS = 100
_TOOLTIP = [
    alt.Tooltip("name:N", title="target"),
    alt.Tooltip("top_k:Q", title="k", format=","),
    alt.Tooltip("searched:N", title="language searched"),
    alt.Tooltip("condition:N"),
    alt.Tooltip("value:Q", title="top-1", format=".4f"),
    alt.Tooltip("difference:N", title="change (95% interval)"),
    alt.Tooltip("ahead:N", title="experts - random (95% interval)"),
]


def target_exhibits(results: Results) -> list[Exhibit]:
    """Draw the chart with its words; nothing where no single pairs were measured."""
    table = from_targets_table(results)
    if table.empty:
        return []
    controlled = bool((table["n_controls"] > 0).any())
    return [
        Exhibit(
            name="from_targets",
            heading="From the target to each language",
            aid=(
                "Each lane is a language in which the target's translations are sought; what "
                "counts is how far blue is from grey"
                + (", and whether the hollow point is as far." if controlled else ".")
            ),
            caption=_caption(results, table),
            chart=from_targets(results),
            table=table,
        )
    ]


def from_targets_table(results: Results) -> pd.DataFrame:
    """Give the rows that `from_targets` draws: the target asks, each other language answers.

    For each target the languages stand in the order of their accuracy before, the highest first.
    """
    layer = summary.reading_layer(results)
    pairs = between_languages(at_headline(results, results.retrieval), "top-1", "raw", layer)
    pairs = pairs[pairs["query"] == pairs["target"]]
    place = {target: number for number, target in enumerate(results.targets)}
    order = pairs.assign(place=pairs["target"].map(place), down=-pairs["pre"])
    order = order.sort_values(["place", "down"], kind="stable")
    return pairs.loc[order.index].reset_index(drop=True)


def from_targets(results: Results) -> ChartType:
    """Draw a panel a target, a lane a language: before, with random neurons, with experts."""
    table = from_targets_table(results)
    not_seen = unseen_languages.unseen(results, dict.fromkeys(table["candidates"]))
    label = _labels(list(dict.fromkeys(table["candidates"])), not_seen)
    data = conditions(table.assign(called=verdicts(table) != 0))
    data["language"] = data["candidates"].map(label)
    data["searched"] = data["candidates"].map(language_label)
    low, high = ends(data[["value", "low", "high"]], 0)
    scale = alt.Scale(domain=[low, max(1.03 * high, 0.05)], nice=False)
    rows = in_rows(list(dict.fromkeys(data["name"])))
    width = min(_ROOM // max(map(len, rows)) - _LABELS, 420)
    keys = [unseen_languages.key()] if not_seen else []
    panels = alt.vconcat(
        *(
            alt.hconcat(
                *(
                    _panel(data[data["name"] == name], data, scale, keys).properties(
                        width=width,
                        height=alt.Step(16),
                        title=alt.TitleParams(
                            text=name, fontSize=13, anchor="middle", frame="group", offset=6
                        ),
                    )
                    for name in names
                ),
                spacing=16,
            )
            for names in rows
        ),
        spacing=16,
    )
    title = from_targets_title(table)
    return panels.properties(title=theme.heading(title, _WIDTH))


def _labels(codes: Sequence[str], not_seen: Sequence[str]) -> dict[str, str]:
    """Name languages, in short where one name does for one of them."""
    names = Counter(map(language_name, codes))
    return {
        code: unseen_languages.with_mark(
            name if names[name] == 1 else language_label(code), code, not_seen
        )
        for code, name in zip(codes, map(language_name, codes), strict=True)
    }


def _panel(
    target_rows: pd.DataFrame, data: pd.DataFrame, scale: alt.Scale, keys: Sequence[alt.Chart]
) -> alt.LayerChart:
    """Draw one target.

    Args:
        target_rows: its rows.
        data: those of all targets, which share the legend.
        scale: of the accuracy.
        keys: layers that are there for their legend.
    """
    order = list(dict.fromkeys(target_rows["language"]))
    bold = sorted(set(target_rows.loc[target_rows["called"], "language"]))
    lane = alt.Axis(
        ticks=False,
        domain=False,
        grid=True,
        labelFontWeight=alt.condition(
            f"indexof({bold}, datum.value) >= 0", alt.value("bold"), alt.value("normal")
        ),
    )
    wide = target_rows.pivot_table(
        index="language", columns="condition", values="value", sort=False
    )
    spans = wide.reset_index()
    base = alt.Chart(target_rows).encode(
        y=alt.Y("language:N", title=None, sort=order, axis=lane, scale=alt.Scale(domain=order)),
        tooltip=_TOOLTIP,
    )
    colours = dict(zip(theme.CONDITIONS, theme.CONDITION_COLOURS, strict=True))

    def x_of(column: str) -> alt.X:
        axis = alt.Axis(tickCount=4, grid=False)
        return alt.X(f"{column}:Q", title=_AXIS, scale=scale, axis=axis)

    of_experts = base.transform_filter(alt.datum.condition == EXPERTS)
    layers = [
        alt.Chart(spans)
        .mark_rule(strokeWidth=2, color=theme.RULE)
        .encode(y=alt.Y("language:N", sort=order), x=x_of(BEFORE), x2=EXPERTS),
        of_experts.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=1.5, color=colours[EXPERTS])
        .encode(x=x_of("low"), x2="high:Q"),
        base.mark_point(filled=False, size=48, strokeWidth=1.6, opacity=1).encode(
            x=x_of("value"),
            color=_legend(data, alt.Color, colours),
            fill=_legend(data, alt.Fill, {**colours, CONTROL: "white"}),
        ),
        *keys,
    ]
    return alt.LayerChart(layer=layers)


def _legend(
    data: pd.DataFrame, channel: type[alt.Color] | type[alt.Fill], colours: Mapping[str, str]
) -> alt.Color | alt.Fill:
    names = [name for name in theme.CONDITIONS if name in set(data["condition"])]
    return channel(
        "condition:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=[colours[name] for name in names]),
        legend=alt.Legend(orient="top", direction="horizontal", columnPadding=18, symbolOpacity=1),
    )


def _caption(results: Results, table: pd.DataFrame) -> str:
    layer = layer_phrase(summary.reading_layer(results))
    ks = phrases.ks(results, table)
    hollow = (
        f" Hollow: as many random neurons, {phrases.seeds_phrase(results)}."
        if (table["n_controls"] > 0).any()
        else " No random control was run."
    )
    not_seen = unseen_languages.unseen(results, dict.fromkeys(table["candidates"]))
    dagger = f"{unseen_languages.footnote(not_seen)} {not_seen_sentence(table, not_seen)}"
    return (
        "Top-1 by cosine of the target's sentences among all sentences of each language, ties "
        f"counted as misses, raw embeddings, {layer}, k = {ks}. Languages stand in the order of "
        "the accuracy before. Lines: the value before plus the 95% interval of the change (over "
        f"{phrases.sampled_units(results)}). Bold: called changed {verdict_rule(table)}.{hollow}"
        f"{dagger if not_seen else ''}"
    )
