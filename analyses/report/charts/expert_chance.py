"""Charts of the choice of experts: against chance, and between samples of sentences."""

import math
from collections.abc import Iterable

import altair as alt
import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_curves import k_axis
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.marks import unseen_languages
from steer_plugin.analyses.report.marks.panels import ends, with_intervals
from steer_plugin.analyses.report.words import chart_titles, phrases, unit_choice
from steer_plugin.analyses.report.words.selection_titles import (
    null_title,
    short_of_units,
    stability_title,
)
from steer_plugin.analyses.run.results import Results
from steer_plugin.corpora.language_codes import language_name
from steer_plugin.experts.selection import TOP

BEST, BAR = "Best unit", "Best of all units by chance (95% bar)"

_WIDTH = 960
_ROOM = 940
_ACROSS = 7
_BAR = "M-0.2,-1L0.2,-1L0.2,1L-0.2,1Z"


def selection_exhibits(results: Results) -> list[Exhibit]:
    """Draw what the run has on its choice of experts, with the words beside it."""
    exhibits = []
    if not results.null.empty:
        exhibits.append(
            Exhibit(
                name="experts_against_chance",
                heading="Are the experts more than luck?",
                aid=(
                    "The best of many units scores well by luck alone; luck gets it beyond the "
                    "bar one time in twenty."
                ),
                caption=_null_caption(results),
                chart=experts_against_chance(results),
                table=experts_against_chance_table(results),
            )
        )
    if not results.stability.empty:
        exhibits.append(
            Exhibit(
                name="expert_stability",
                heading="Would other sentences choose the same experts?",
                aid=(
                    "At 1 the same units are chosen again; at 0.5 two thirds of them are, at a "
                    "third half of them."
                ),
                caption=_stability_caption(results),
                chart=expert_stability(results),
                table=expert_stability_table(results),
            )
        )
    return exhibits


def experts_against_chance_table(results: Results) -> pd.DataFrame:
    """Give the rows that `experts_against_chance` draws, the highest score first."""
    return results.null.sort_values("best", ascending=False, kind="stable", ignore_index=True)


def experts_against_chance(results: Results) -> ChartType:
    """Draw each language's best unit beside the bar, with the number of units beyond that."""
    table = experts_against_chance_table(results)
    score = chart_titles.score_name(results)
    label = _labels(results, table["concept"])
    data = pd.concat(
        [
            table.assign(
                name=table["concept"].map(label), what=what, value=table[column], units=units
            )
            for what, column, units in (
                (BAR, "null_high", ""),
                (BEST, "best", [_units(int(n)) for n in table["above"]]),
            )
        ],
        ignore_index=True,
    )
    data["end"] = data[["best", "null_high"]].max(axis=1)
    low, high = ends(data[["value"]])
    room = (high - low) or 0.05
    scale = alt.Scale(domain=[low - 0.08 * room, high + 0.22 * room], nice=False)
    # The room for the number of units is beyond what a score can be.
    axis = alt.Axis(tickCount=6, grid=False, labelExpr=f"datum.value <= {high} ? datum.label : ''")
    axis_title = f"{score[0].upper()}{score[1:]} of a unit"
    x = alt.X("value:Q", title=axis_title, scale=scale, axis=axis)
    base = alt.Chart(data).encode(
        y=alt.Y(
            "name:N",
            title=None,
            sort=[label[code] for code in table["concept"]],
            axis=alt.Axis(ticks=False, domain=False, grid=True),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="language"),
            alt.Tooltip("best:Q", title="best unit", format=".4f"),
            alt.Tooltip("null_high:Q", title="95% bar", format=".4f"),
            alt.Tooltip("p:Q", format=".3~g"),
            alt.Tooltip("above:Q", title="units beyond the bar", format=","),
            alt.Tooltip("permutations:Q", format=","),
        ],
    )
    order = [BEST, BAR]
    looks = alt.Legend(orient="top", direction="horizontal", columnPadding=18, symbolOpacity=1)
    points = base.mark_point(filled=True, size=75, opacity=1).encode(
        x=x,
        color=alt.Color(
            "what:N",
            title=None,
            sort=order,
            legend=looks,
            scale=alt.Scale(domain=order, range=[theme.CONDITION_COLOURS[-1], theme.INK]),
        ),
        shape=alt.Shape(
            "what:N",
            title=None,
            sort=order,
            legend=looks,
            scale=alt.Scale(domain=order, range=["circle", _BAR]),
        ),
    )
    figures = base.mark_text(align="left", dx=9, fontSize=11).encode(
        x=alt.X("end:Q", title=axis_title, scale=scale, axis=axis), text="units:N"
    )
    title = null_title(table, score)
    return (
        alt.layer(points, figures)
        .properties(width=620, height=alt.Step(20))
        .properties(title=theme.heading(title, _WIDTH))
    )


def expert_stability_table(results: Results) -> pd.DataFrame:
    """Give the rows that `expert_stability` draws: all of them."""
    return results.stability.reset_index(drop=True)


def expert_stability(results: Results) -> ChartType:
    """Draw Jaccard's index against k, a panel a language."""
    table = expert_stability_table(results)
    choice = unit_choice.choice_of(results)
    label = _labels(results, dict.fromkeys(table["concept"]))
    data = table.assign(
        name=table["concept"].map(label), said=with_intervals(table, "jaccard", signed=False)
    )
    names = list(dict.fromkeys(data["name"]))
    columns = math.ceil(len(names) / math.ceil(len(names) / _ACROSS))
    y = alt.Scale(domain=[0, 1], nice=False)
    axis = alt.Axis(values=[0, 0.5, 1])
    title = "Jaccard's index (0 to 1)"
    colour = theme.CONDITION_COLOURS[-1]
    base = alt.Chart().encode(
        x=k_axis(data, choice).title(f"k{unit_choice.in_each_layer(choice)} (log)"),
        tooltip=[
            alt.Tooltip("name:N", title="language"),
            alt.Tooltip("top_k:Q", title="k", format=","),
            alt.Tooltip("said:N", title="Jaccard's index (middle 95% of resamples)"),
            alt.Tooltip("resamples:Q", format=","),
        ],
    )
    spread = base.transform_filter("isValid(datum.jaccard_low) && isValid(datum.jaccard_high)")
    low = alt.Y("jaccard_low:Q", title=title, scale=y, axis=axis)
    return (
        alt.layer(
            spread.mark_area(opacity=0.2, color=colour).encode(y=low, y2="jaccard_high:Q"),
            spread.mark_rule(strokeWidth=1.5, color=colour).encode(y=low, y2="jaccard_high:Q"),
            base.mark_line(
                color=colour, point=alt.OverlayMarkDef(size=34, filled=True, color=colour)
            ).encode(y=alt.Y("jaccard:Q", title=title, scale=y, axis=axis)),
            data=data,
        )
        .properties(width=min((_ROOM - 60) // columns - 16, 300), height=120)
        .facet(facet=alt.Facet("name:N", title=None, sort=names), columns=columns, spacing=16)
        .properties(title=theme.heading(stability_title(table, choice), _WIDTH))
    )


def _labels(results: Results, concepts: Iterable[str]) -> dict[str, str]:
    codes = list(concepts)
    return unseen_languages.labels(codes, unseen_languages.unseen(results, codes), language_name)


def _units(number: int) -> str:
    return f"{number:,} unit{'' if number == 1 else 's'} beyond"


def _dagger(results: Results, concepts: pd.Series) -> str:
    return unseen_languages.footnote(unseen_languages.unseen(results, concepts))


def _null_caption(results: Results) -> str:
    table = results.null
    ks = sorted({int(k) for k in results.retrieval["top_k"]})
    steered = table[table["concept"].isin(results.targets)]
    # The bar is for the best of all units: it says nothing of units that are chosen otherwise.
    short = short_of_units(steered, ks) if unit_choice.choice_of(results) == TOP else ""
    permutations = phrases.distinct_numbers(table["permutations"])
    return (
        f"{chart_titles.score_name(results)} on the sentences that choose the experts. The bar is "
        f"exceeded by the best of all units in 5% of {permutations} shufflings of the languages "
        "within each parallel sentence; where no unit knows anything, one is beyond it with a "
        "chance of 5%, in each language by itself."
        f"{f' {short}' if short else ''}{_dagger(results, table['concept'])}"
    )


def _stability_caption(results: Results) -> str:
    table = results.stability
    resamples = phrases.distinct_numbers(table["resamples"])
    choice = unit_choice.choice_of(results)
    end = unit_choice.end_phrase(choice)
    return (
        f"Shared units over units in either, of the k {end} of all sentences that choose and the k "
        f"{end} of a bootstrap resample of them{unit_choice.k_of_layers(choice)}. Points: mean "
        "over "
        f"{resamples} resamples; bands and bars: the middle 95% of these, which is how much one "
        "resample differs from the next."
        f"{_dagger(results, table['concept'])}"
    )
