"""The paper's tables as a report shows them, and what independent sets and chance say, in HTML."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from steer_plugin.analyses.measures.correlations import FEWEST
from steer_plugin.analyses.measures.mixed_retrieval import CORPUS
from steer_plugin.analyses.report.page import Section, table, text
from steer_plugin.analyses.report.words import phrases, summary
from steer_plugin.analyses.report.words.bitext_titles import dataset_name
from steer_plugin.analyses.report.words.chart_titles import distance_title
from steer_plugin.analyses.run.paper_tables import distance_table, mixed_table
from steer_plugin.analyses.run.results import Results, at_headline, layer_phrase
from steer_plugin.analyses.statistics.figure_rows import is_pair, records
from steer_plugin.corpora.language_codes import language_label, language_name

_CENTRINGS = {"raw": "as they are", "global": "common mean removed"}
NOT_RUN = "not run"


def paper_section(results: Results) -> Section:
    """Put Tables 1 to 3 of Sundar et al. 2025 (arXiv 2502.15639), and what backs them, together.

    Each stands with a sentence that its own figures make. What the run left out has no table.
    """
    bodies = [
        _distances(results),
        *([_correlations(results)] if not results.correlations.empty else []),
        *([_mixed(results)] if not results.mixed.empty else []),
        *([_bitexts(results)] if not results.bitexts.empty else []),
        *([_null(results)] if not results.null.empty else []),
        *([_stability(results)] if not results.stability.empty else []),
    ]
    return Section(
        name="paper_tables",
        heading="The paper's tables, and what stands behind them",
        opening="".join(bodies),
        exhibits=(),
        tables={"table_1": _last(results, distance_table(at_headline(results, results.alignment)))},
    )


def _block(heading: str, finding: str, body: str, note: str) -> str:
    return f'<h3>{text(heading)}</h3><p>{text(finding)}</p>{body}<p class="note">{text(note)}</p>'


def _last(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["layer"] == summary.reading_layer(results)].reset_index(drop=True)


def _figure(value: float, digits: int = 2) -> str:
    return phrases.number(value, digits=digits) if value == value else NOT_RUN


def _with_spread(row: Mapping[str, Any], name: str) -> str:
    spread = row[f"{name}_sem"]
    mean = _figure(row[name], 3)
    return mean if spread != spread else f"{mean} ± {phrases.number(spread, digits=3)}"


def _between(row: Mapping[str, Any], name: str, digits: int, absent: str = NOT_RUN) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if row[name] != row[name]:
        return absent
    figure = phrases.number(row[name], signed=True, digits=digits)
    return figure if low != low else f"{figure} ({phrases.interval(low, high, digits=digits)})"


def _distances(results: Results) -> str:
    rows = _last(results, distance_table(at_headline(results, results.alignment)))
    cells = [
        [
            f"{row['distance']}, {row['version']}, {_CENTRINGS[row['centring']]}",
            *(_with_spread(row, name) for name in ("pre", "post", "control")),
        ]
        for row in records(rows)
    ]
    count = int(rows["targets"].max())
    spread = (
        "± is the standard error over targets"
        if count > 1
        else "with one target there is no standard error over targets"
    )
    ks = phrases.ks(results, rows)
    where = layer_phrase(summary.reading_layer(results))
    over = "of 1 target" if count == 1 else f"mean over {count} targets"
    note = f"Cosine distance (0 to 2) {where}, k = {ks}, {over}; {spread}."
    header = ["", "Before", "Experts", "Random neurons"]
    finding = _fall(results)
    return _block("Table 1: distances", finding, table(header, cells, "figures"), note)


def _fall(results: Results) -> str:
    """Say by each target's interval whether distance falls, raw and centred."""
    raw, centred = (summary.at_last(results, "pair distance", name) for name in ("raw", "global"))
    sentences = [] if raw.empty else [f"{distance_title(raw)}."]
    sentences.append(
        "A vector that all embeddings share lowers every raw distance by itself, so the rows with "
        "the common mean removed are the ones to read."
    )
    if not centred.empty:
        fell = centred[centred["change_high"] < 0]
        moves = (
            f"does not fall reliably for {phrases.none_of(centred)}"
            if fell.empty
            else f"falls for {phrases.how_many(fell, centred)}"
        )
        sentences.append(f"With the common mean removed the distance over all pairs {moves}.")
    return " ".join(sentences)


def _correlations(results: Results) -> str:
    rows = _last(results, at_headline_or_all(results, results.correlations))
    rows = rows[(rows["centring"] == "raw") & (rows["distance"] == "pair distance")]
    sure = rows[(rows["r_low"] > 0) | (rows["r_high"] < 0)]
    n = sorted({int(n) for n in rows["n"]})
    judged = int(rows["r_low"].notna().sum())
    over = f"Each is over {phrases.listed(map(str, n))} candidate languages"
    finding = (
        f"{len(sure)} of {judged} correlations with an interval exclude 0. {over}: with so few, "
        "only very strong relations can be told from none."
        if judged
        else f"No correlation can be told from none. {over}; intervals are made from {FEWEST} on."
    )
    cells = []
    for row in records(rows):
        who = "all targets" if row["target"] == "all" else language_label(str(row["target"]))
        which = "" if row["languages"] == "all" else ", languages seen in pre-training"
        cells.append(
            [
                f"{row['correlation']}, {who}{which}",
                _between(row, "r", 2, "too few"),
                f"{row['n']:.0f}",
            ]
        )
    note = (
        "Pearson's r over candidate languages of top-1 accuracy from the target and of the mean "
        "cosine distance to it, raw embeddings. In brackets: 95% interval "
        f"(Fisher's), from {FEWEST} languages on."
    )
    header = ["", "r", "Languages"]
    return _block("Table 2: correlations", finding, table(header, cells, "figures"), note)


def at_headline_or_all(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows at each target's headline k, and those of all targets at any of these."""
    headline = results.headline()
    keep = [
        k in headline.values() if target == "all" else headline.get(str(target)) == k
        for target, k in zip(rows["target"], rows["top_k"], strict=True)
    ]
    return rows[keep].reset_index(drop=True)


def _mixed(results: Results) -> str:
    rows = []
    # Across languages the retrieval that is not mixed is that of the whole run.
    unmixed = results.retrieval.assign(dataset=CORPUS)
    for dataset, figures in pd.concat([results.mixed, unmixed]).groupby("dataset", sort=False):
        dataset_rows = _last(results, mixed_table(at_headline(results, figures)))
        dataset_rows = dataset_rows[dataset_rows["centring"] == "raw"]
        if dataset == CORPUS:
            dataset_rows = dataset_rows[~is_pair(dataset_rows)]
        rows.append(dataset_rows)
    mixed = pd.concat(rows, ignore_index=True)
    cells = []
    for row in records(mixed):
        within = row["dataset"] != CORPUS
        if within:
            search = f"{dataset_name(row['dataset'])}, {language_label(str(row['query']))}"
        elif row["query"] == "all":
            search = f"all pairs of languages, towards {language_name(str(row['target']))}"
        else:
            search = f"{language_name(str(row['target']))} to the others"
        cells.append(
            [
                search,
                *(phrases.number(row[name]) for name in ("pre", "post", "mixed")),
                _figure(row["mixed_control"]),
                _between(row, "change", 2),
                _between(row, "mixed_change", 2),
                f"{row['sentences']:,.0f}",
            ]
        )
    lost = mixed[mixed["mixed_change_high"] < 0]
    kept = mixed[(mixed["change_low"] <= 0) & (mixed["change_high"] >= 0)]
    finding = (
        f"Searched among steered candidates by unsteered queries, {len(lost)} of {len(mixed)} rows "
        f"retrieve reliably less than before; with both sides steered {len(kept)} are not told "
        "from before. Where the first falls and the second does not, steering moved the space as a "
        "whole."
    )
    header = [
        "",
        "Before",
        "Both steered",
        "Mixed",
        "Mixed, random",
        "Both − before",
        "Mixed − before",
        "Queries",
    ]
    note = (
        "Top-1 accuracy, raw embeddings; Mixed: queries of the unsteered model, candidates of the "
        "steered one. In brackets: 95% interval; of independent sets over queries, of these "
        "candidates."
    )
    return _block("Table 3: mixed retrieval", finding, table(header, cells, "figures"), note)


def _bitexts(results: Results) -> str:
    rows = at_headline(results, results.bitexts)
    rows = rows[rows["measure"] == "top-1"]
    controlled = phrases.several_draws(rows)
    up = rows[(rows["change_low"] > 0) & ((rows["advantage_low"] > 0) | (not controlled))]
    beyond = ", beyond random neurons," if controlled else ""
    finding = (
        f"Top-1 rises with experts{beyond} in {len(up)} of {len(rows)} searches of independent "
        f"sets{phrases.draw_note(rows)}."
    )
    cells = []
    for row in records(rows):
        query, candidates, target = (
            language_name(row[name]) for name in ("query", "candidates", "target")
        )
        cells.append(
            [
                f"{dataset_name(row['dataset'])}, {query} to {candidates}, towards {target}",
                *(_figure(row[name], 3) for name in ("pre", "post", "control")),
                _between(row, "change", 2),
                _between(row, "advantage", 2),
                f"{row['sentences']:,.0f}",
            ]
        )
    header = ["", "Before", "Experts", "Random", "Experts − before", "Experts − random", "Queries"]
    note = (
        "Top-1 accuracy after the final norm, ties counted as misses, candidates with the same "
        "text as the translation as the translation. In brackets: 95% interval over "
        "queries, of these candidates."
    )
    return _block("Independent sets", finding, table(header, cells, "figures"), note)


def _null(results: Results) -> str:
    rows = results.null
    beyond = rows[rows["best"] > rows["null_high"]]
    permutations = int(rows["permutations"].max())
    finding = (
        f"The best unit of {len(beyond)} of {len(rows)} languages scores above what the best of "
        "all units reaches under shuffled labels 95% of the time."
    )
    cells = [
        [
            language_label(str(row["concept"])),
            phrases.number(row["best"], digits=3),
            phrases.number(row["null_high"], digits=3),
            f"{row['above']:,.0f}",
            f"{row['p']:.3g}",
        ]
        for row in records(rows)
    ]
    header = ["", "Best unit", "95% of the null", "Units beyond it", "p"]
    note = (
        f"{permutations} permutations of the languages within each sentence; the null is the best "
        "of all units. No p can be below 1 / (1 + permutations)."
    )
    return _block("Experts against chance", finding, table(header, cells, "figures"), note)


def _stability(results: Results) -> str:
    rows = results.stability
    low, high = rows["jaccard"].min(), rows["jaccard"].max()
    finding = (
        "With the sentences drawn anew, the same k experts are chosen with a Jaccard index of "
        f"{phrases.number(low)} to {phrases.number(high)} on average."
    )
    ks = sorted({int(k) for k in rows["top_k"]})
    cells = []
    for concept, concept_rows in rows.groupby("concept", sort=False):
        by_k = {int(row["top_k"]): row for row in records(concept_rows)}
        cells.append(
            [
                language_label(str(concept)),
                *(
                    f"{phrases.number(by_k[k]['jaccard'])} "
                    f"({phrases.number(by_k[k]['jaccard_low'])} to "
                    f"{phrases.number(by_k[k]['jaccard_high'])})"
                    for k in ks
                ),
            ]
        )
    header = ["", *(f"k = {k:,}" for k in ks)]
    note = (
        f"Mean over {int(rows['resamples'].max())} bootstrap resamples of the sentences that find; "
        "in brackets the middle 95% of them."
    )
    return _block("How stable the choice is", finding, table(header, cells, "figures"), note)
