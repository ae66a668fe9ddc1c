"""Retrieval in independent sets of translations, both ways: Tatoeba and BUCC-18."""

import pandas as pd
from altair.typing import ChartType

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts.condition_lanes import (
    condition_lanes,
    conditions,
    in_panels,
    random_lanes,
)
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.marks import unseen_languages
from steer_plugin.analyses.report.words import phrases
from steer_plugin.analyses.report.words.bitext_titles import bitexts_title, dataset_name
from steer_plugin.analyses.run.results import Results, at_headline, layer_phrase
from steer_plugin.corpora.language_codes import language_name

_WIDTH = 960


def bitext_retrieval_exhibits(results: Results) -> list[Exhibit]:
    """Draw the chart with its words; nothing where no set was read."""
    table = bitext_retrieval_table(results)
    if table.empty:
        return []
    return [
        Exhibit(
            name="bitext_retrieval",
            heading="Retrieval in independent sets",
            aid=(
                "Sentences that nothing else in this report uses, in the target and another "
                "language: on the left the target's sentences are the queries, on the right they "
                "are what is searched."
            ),
            caption=_caption(results, table),
            chart=bitext_retrieval(results),
            table=table,
        )
    ]


def bitext_retrieval_table(results: Results) -> pd.DataFrame:
    """Give the rows that `bitext_retrieval` draws: top-1, from the target and into it."""
    rows = at_headline(results, results.bitexts)
    if rows.empty:
        return rows
    rows = rows[(rows["measure"] == "top-1") & (rows["centring"] == "raw")]
    return in_panels(
        [
            (
                f"{dataset_name(str(dataset))}, {way}",
                dataset_rows[dataset_rows[side] == dataset_rows["target"]],
            )
            for dataset, dataset_rows in rows.groupby("dataset", sort=False)
            for way, side in (("from the target", "query"), ("into the target", "candidates"))
        ]
    )


def bitext_retrieval(results: Results) -> ChartType:
    """Draw top-1 before, with random neurons and with experts, a lane a condition."""
    table = bitext_retrieval_table(results)
    data = conditions(table)
    not_seen = unseen_languages.unseen(
        results, dict.fromkeys([*data["query"], *data["candidates"]])
    )
    other = data["candidates"].where(data["query"] == data["target"], data["query"])
    data["name"] = [
        " and ".join(
            unseen_languages.with_mark(language_name(code), code, not_seen) for code in pair
        )
        for pair in zip(data["target"], other, strict=True)
    ]
    chart = condition_lanes(
        data, columns=2, axis="Top-1 retrieval accuracy (0 to 1)", named="target and other language"
    )
    return chart.properties(title=theme.heading(bitexts_title(table), _WIDTH))


def _caption(results: Results, table: pd.DataFrame) -> str:
    ks = phrases.ks(results, table)
    layer = layer_phrase(str(table["layer"].iloc[0]))
    sizes = phrases.listed(
        f"{phrases.count_span(dataset_rows['sentences'])} ({dataset_name(str(dataset))})"
        for dataset, dataset_rows in table.groupby("dataset", sort=False)
    )
    not_seen = unseen_languages.unseen(
        results, dict.fromkeys([*table["query"], *table["candidates"]])
    )
    return (
        f"Top-1 by cosine over {sizes} queries a search, among all sentences of the other side, "
        "ties counted as misses, raw embeddings, "
        f"{layer}, k = {ks}. Lines: the value before plus the 95% interval of the change (over "
        "queries, of these candidates, not corrected for the number of searches)."
        f" {random_lanes(results, table)}{unseen_languages.footnote(not_seen)}"
    )
