"""Tables 1 to 3 of Sundar et al. 2025 (arXiv 2502.15639), and what backs them."""

from collections.abc import Callable

import pandas as pd

from steer_plugin.analyses.measures.correlations import FEWEST
from steer_plugin.analyses.measures.mixed_retrieval import CORPUS
from steer_plugin.analyses.report.figure import Section, Table
from steer_plugin.analyses.report.numbers import CENTRINGS, counts, dataset_name, span, units_name
from steer_plugin.analyses.report.verdicts import at_last, draw_note, moves, reading_layer
from steer_plugin.analyses.run.paper_tables import distance_table, mixed_table
from steer_plugin.analyses.run.results import Results, at_headline
from steer_plugin.analyses.statistics.figure_rows import is_pair


def paper_section(results: Results) -> Section:
    """Put the tables together; what the run left out has none."""
    tables: list[tuple[pd.DataFrame, Callable[[Results], Table]]] = [
        (results.correlations, _correlations),
        (results.mixed, _mixed),
        (results.bitexts, _bitexts),
        (results.null, _null),
        (results.stability, _stability),
    ]
    kept = (_distances(results), *(make(results) for rows, make in tables if not rows.empty))
    how = (
        "Tables 1 to 3 are those of Sundar et al. 2025, “Steering into New Embedding Spaces” "
        "(arXiv 2502.15639). In brackets: 95% intervals, not corrected for the number of "
        "comparisons; ± is the standard error over targets, of one target there is none."
    )
    return Section("paper_tables", "The paper's tables", tables=kept, how=how)


def _last(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["layer"] == reading_layer(results)].reset_index(drop=True)


def table_1(results: Results) -> pd.DataFrame:
    """Give Table 1 at the headline k and the last layer."""
    return _last(results, distance_table(at_headline(results, results.alignment)))


def _distances(results: Results) -> Table:
    rows = table_1(results)
    raw, centred = (
        at_last(results, results.alignment, "pair distance", c) for c in ("raw", "global")
    )
    fell = f"Raw: {moves(raw)}. " if len(raw) else ""
    fell += f"Common mean removed: {moves(centred)}. " if len(centred) else ""
    return Table(
        "table_1",
        "Table 1: distances",
        f"{fell}Cosine distance, mean over {counts(rows['targets'])} targets; a shift that all "
        "embeddings share lowers raw distance by itself.",
        rows.assign(centring=rows["centring"].map(CENTRINGS)),
        {"table_1": rows},
    )


def at_headline_or_all(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows at each target's headline k, and those of all targets at any of these."""
    headline = results.headline()
    keep = [
        k in headline.values() if target == "all" else headline.get(str(target)) == k
        for target, k in zip(rows["target"], rows["top_k"], strict=True)
    ]
    return rows[keep].reset_index(drop=True)


def _correlations(results: Results) -> Table:
    rows = _last(results, at_headline_or_all(results, results.correlations))
    rows = rows[(rows["centring"] == "raw") & (rows["distance"] == "pair distance")]
    sure, known = rows[(rows["r_low"] > 0) | (rows["r_high"] < 0)], int(rows["r_low"].notna().sum())
    told = (
        f"{len(sure)} of {known} correlations with an interval exclude 0"
        if known
        else "No correlation can be told from none"
    )
    kept = ["target", "languages", "correlation", "r", "r_low", "r_high", "n"]
    return Table(
        "table_2",
        "Table 2: correlations",
        f"{told}, over {counts(rows['n'])} candidate languages; Pearson's r of top-1 from the "
        f"target and distance to it, with intervals from {FEWEST} languages on.",
        rows[kept].reset_index(drop=True),
    )


def _mixed(results: Results) -> Table:
    parts = []
    # Across languages the retrieval that is not mixed is that of the whole run.
    unmixed = results.retrieval.assign(dataset=CORPUS)
    for dataset, figures in pd.concat([results.mixed, unmixed]).groupby("dataset", sort=False):
        rows = _last(results, mixed_table(at_headline(results, figures)))
        rows = rows[rows["centring"] == "raw"]
        parts.append(rows[~is_pair(rows)] if dataset == CORPUS else rows)
    rows = pd.concat(parts, ignore_index=True)
    lost = rows[rows["mixed_change_high"] < 0]
    kept = rows[(rows["change_low"] <= 0) & (rows["change_high"] >= 0)]
    return Table(
        "table_3",
        "Table 3: mixed retrieval",
        f"With unsteered queries {len(lost)} of {len(rows)} rows lose reliably, with both sides "
        f"steered {len(kept)} are not told from before. Where only the first falls, the space "
        "moved as a whole.",
        rows.assign(dataset=rows["dataset"].map(lambda name: dataset_name(str(name)))),
    )


def _bitexts(results: Results) -> Table:
    rows = at_headline(results, results.bitexts)
    rows = rows[rows["measure"] == "top-1"].reset_index(drop=True)
    controlled = not draw_note(rows)
    up = rows[(rows["change_low"] > 0) & ((rows["advantage_low"] > 0) | (not controlled))]
    beyond = f" beyond random {units_name(results)}" if controlled else ""
    return Table(
        "independent_sets",
        "Independent sets",
        f"Top-1 rises{beyond} in {len(up)} of {len(rows)} searches{draw_note(rows)}. Ties are "
        "misses, equal texts the translation; over queries, of these candidates.",
        rows.assign(dataset=rows["dataset"].map(lambda name: dataset_name(str(name)))),
    )


def _null(results: Results) -> Table:
    rows = results.null
    beyond = rows[rows["best"] > rows["null_high"]]
    return Table(
        "experts_beyond_chance",
        "Experts against chance",
        f"The best unit of {len(beyond)} of {len(rows)} languages scores above what the best of "
        "all units reaches under shuffled labels 95% of the time.",
        rows[["concept", "best", "null_high", "above", "p"]].rename(columns={"p": "p value"}),
    )


def _stability(results: Results) -> Table:
    rows = results.stability
    return Table(
        "choice_stability",
        "How stable the choice is",
        f"Jaccard's index with the choice from resampled sentences is {span(rows['jaccard'])} on "
        "average; in brackets the middle 95% of resamples.",
        rows[["concept", "top_k", "jaccard", "jaccard_low", "jaccard_high"]],
    )
