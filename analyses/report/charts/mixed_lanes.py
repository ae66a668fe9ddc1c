"""Retrieval with one side steered: are the two models' embeddings still in one space? Table 3."""

import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.measures.mixed_retrieval import CORPUS, MIXED
from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_lanes import (
    condition_lanes,
    conditions,
    in_panels,
    random_lanes,
)
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.words import phrases, summary
from steer_plugin.analyses.report.words.bitext_titles import dataset_name, mixed_title
from steer_plugin.analyses.run.results import Results, at_headline, layer_phrase
from steer_plugin.analyses.statistics.figure_rows import from_target, over_pairs
from steer_plugin.corpora.language_codes import language_name

_MEASURE = "top-1"
_SIDES = ("one model on both sides", "unsteered queries")
_ACROSS = ("All pairs of languages", "From the target to the others")
_WIDTH = 960


def mixed_retrieval_exhibits(results: Results) -> list[Exhibit]:
    """Draw the chart with its words; nothing where no mix was measured."""
    if not _parts(results):
        return []
    table = mixed_retrieval_table(results)
    return [
        Exhibit(
            name="mixed_retrieval",
            heading="Do the steered and the unsteered model share a space?",
            aid=(
                "Left, one model embeds queries and candidates; right, the unsteered model embeds "
                "the queries and the other one the candidates. What falls on the right alone has "
                "moved away from the unsteered model and still agrees with itself."
            ),
            caption=_caption(results, table),
            chart=mixed_retrieval(results),
            table=table,
        )
    ]


def mixed_retrieval_table(results: Results) -> pd.DataFrame:
    """Give the rows that `mixed_retrieval` draws: of each search both kinds, beside each other."""
    return in_panels(
        [
            (f"{search}: {side}", rows)
            for search, figures in _parts(results).items()
            for side, rows in zip(_SIDES, figures, strict=True)
        ]
    )


def mixed_retrieval(results: Results) -> ChartType:
    """Draw top-1 with one model on both sides, and with unsteered queries, a lane a condition."""
    data = conditions(mixed_retrieval_table(results))
    chart = condition_lanes(data, columns=2, axis="Top-1 retrieval accuracy (0 to 1)")
    return chart.properties(title=theme.heading(_title(results), _WIDTH))


def _parts(results: Results) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Give what is drawn: the search -> its rows with one model, and those of the mix."""
    layer = summary.reading_layer(results)
    mixed = at_headline(results, results.mixed)
    if mixed.empty:
        return {}
    mixed = mixed[(mixed["layer"] == layer) & (mixed["centring"] == "raw")]
    parts = {}
    within = mixed[mixed["dataset"] != CORPUS]
    for dataset, rows in within.groupby("dataset", sort=False):
        figures = tuple(rows[rows["measure"] == name] for name in (_MEASURE, MIXED + _MEASURE))
        parts[f"{dataset_name(str(dataset))} in the target language"] = figures
    retrieval = at_headline(results, results.retrieval)
    across = mixed[mixed["dataset"] == CORPUS]
    for search, select in zip(_ACROSS, (over_pairs, from_target), strict=True):
        parts[search] = (
            select(retrieval, _MEASURE, "raw", layer),
            select(across, MIXED + _MEASURE, "raw", layer),
        )
    return {search: (same, mix) for search, (same, mix) in parts.items() if len(same) and len(mix)}


def _title(results: Results) -> str:
    parts = _parts(results)
    search, (same, mix) = next(iter(parts.items()))
    if search in _ACROSS:
        return mixed_title(same, mix, "translations", "Between languages")
    single = len(same) == 1
    where = language_name(same["target"].iloc[0]) if single else "the target language"
    names = dataset_name(str(same["dataset"].iloc[0]))
    paraphrases = "paraphrases" if names == "Paraphrases" else f"{names} paraphrases"
    return mixed_title(same, mix, paraphrases, f"Within {where}")


def _caption(results: Results, table: pd.DataFrame) -> str:
    layer = layer_phrase(summary.reading_layer(results))
    ks = phrases.ks(results, table)
    return (
        f"Top-1 by cosine, ties counted as misses, raw embeddings, {layer}, k = {ks}. Grey is the "
        "unsteered model on both sides, left and right. Lines: that value plus the 95% interval of "
        f"the change (over {phrases.sampled_units(results)} between languages, over queries "
        "within, not corrected for their number). "
        f"{random_lanes(results, table)}"
    )
