"""A run's results as one page to read, with the tables behind its charts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import vl_convert

from steer_plugin.analyses.report.contents import exhibits, headline_phrase, several_ks
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.page import (
    Section,
    exhibit_html,
    page,
    section_html,
    section_tag,
    specification,
    table,
    text,
)
from steer_plugin.analyses.report.paper_section import paper_section
from steer_plugin.analyses.report.words import chart_titles, phrases, summary
from steer_plugin.analyses.report.words.control_titles import centring_sentence, share_sentence
from steer_plugin.analyses.run.results import Results, at_headline, layer_phrase
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS
from steer_plugin.analyses.statistics.figure_rows import over_pairs, records
from steer_plugin.corpora.language_codes import language_label
from steer_plugin.storage.artifacts import whole_file, whole_folder

PAGE = "report.html"
TABLES = "tables"


def write_report(results: Results, folder: str | Path, first: Section | None = None) -> Path:
    """Write the report and its tables.

    The page is one file that works without a network. Beside it, `tables/` holds the rows behind
    each chart under the chart's name, and the tables of the results as they are.

    Args:
        results: what was measured.
        folder: made where it is missing; an earlier report in it is replaced.
        first: a section before the others.

    Returns:
        The page's path.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    target = Path(folder)
    content: list[Section | Exhibit] = [
        *([] if first is None else [first]),
        *exhibits(results),
        paper_section(results),
    ]
    sections = [item for item in content if isinstance(item, Section)]
    every_exhibit = [
        *(exhibit for section in sections for exhibit in section.exhibits),
        *(item for item in content if isinstance(item, Exhibit)),
    ]
    specs = {exhibit.name: specification(exhibit) for exhibit in every_exhibit}
    bodies = [
        section_html(item, specs)
        if isinstance(item, Section)
        else exhibit_html(item, specs[item.name])
        for item in content
    ]
    links = "".join(f'<a href="#{item.name}">{text(item.heading)}</a>' for item in content)
    model = results.provenance.get("model", "a language model")
    html = page(
        f"Language experts in {model}",
        f'{_opening(results)}<nav aria-label="Sections">{links}'
        '<a href="#provenance">Provenance</a><a href="#tables">Tables</a></nav>',
        [*bodies, _provenance(results), _tables(results)],
        specs,
    )
    chart_tables = {exhibit.name: exhibit.table for exhibit in every_exhibit}
    for section in sections:
        chart_tables.update(section.tables)
    # The page is on the disk before the tables take their names, so that neither comes alone.
    with whole_file(target / PAGE) as file:
        file.write_text(html, encoding="utf-8")
        with whole_folder(target / TABLES) as draft:
            for name, rows in {**results.tables(), **chart_tables}.items():
                rows.to_parquet(draft / f"{name}.parquet", index=False)
    return target / PAGE


def export_charts(
    results: Results,
    folder: str | Path,
    format: Literal["png", "svg"],  # noqa: A002 - the usual word for it
    first: Section | None = None,
) -> list[Path]:
    """Write every chart as a picture with its title.

    Args:
        results: what was measured.
        folder: made where it is missing.
        format: "png" at twice the screen's resolution, or "svg".
        first: a section before the others, whose charts come first.

    Returns:
        The pictures' paths, in the report's order.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    paths = []
    for exhibit in (*(first.exhibits if first else ()), *exhibits(results)):
        spec = specification(exhibit)
        path = Path(folder) / f"{exhibit.name}.{format}"
        with whole_file(path) as file:
            if format == "png":
                file.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
            else:
                file.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        paths.append(path)
    return paths


def _opening(results: Results) -> str:
    headline = chart_titles.retrieval_title(summary.top_1(results))
    where = layer_phrase(summary.reading_layer(results))
    chosen = ": the middle of the values that were run, whatever their outcome"
    note = (
        f"Means over all pairs of languages, {where}, {headline_phrase(results)}"
        f"{chosen if several_ks(results) else ''}. In brackets: 95% interval, "
        f"{_resampled(results)}. Distances and gaps are of raw embeddings."
    )
    finding = summary.finding(results)
    controls = results.controls
    for sentence in (share_sentence(controls, "constant-shift"), centring_sentence(controls)):
        finding += f" {sentence}." if sentence else ""
    return (
        f'<p class="headline">{text(headline)}.</p><p id="finding">{text(finding)}</p>'
        f'{_glance(results)}<p class="note">{text(note)}</p>'
    )


def _resampled(results: Results) -> str:
    """Say what the intervals are over, and what they are for beside random neurons."""
    draws = int(results.retrieval["n_controls"].min())
    over = f"over {phrases.sampled_units(results)}"
    if draws < FEWEST_DRAWS:
        return over
    return f"{over}; beside random neurons for one more draw, from {draws} draws"


def _glance(results: Results) -> str:
    layer = summary.reading_layer(results)
    sources = {
        "Top-1": over_pairs(results.retrieval, "top-1", "raw", layer),
        "Distance": over_pairs(results.alignment, "pair distance", "raw", layer),
        "Gap": over_pairs(results.alignment, "gap", "raw", layer),
    }
    rows = []
    for name, source in sources.items():
        for row in records(at_headline(results, source)):
            control, ahead = "not run", "not run"
            if row["n_controls"] > 0:
                control = phrases.number(row["control"], digits=3)
                ahead = _difference(row, "advantage")
            rows.append(
                [
                    f"{name}, {language_label(row['target'])}",
                    phrases.number(row["pre"], digits=3),
                    phrases.number(row["post"], digits=3),
                    control,
                    _difference(row, "change"),
                    ahead,
                ]
            )
    header = ["", "Before", "Experts", "Random", "Experts − before", "Experts − random"]
    return table(header, rows, "figures")


def _difference(row: Mapping[str, Any], name: str) -> str:
    between = phrases.interval(row[f"{name}_low"], row[f"{name}_high"], digits=3)
    return f"{phrases.number(row[name], signed=True, digits=3)} ({between})"


def _provenance(results: Results) -> str:
    rows = [[name.replace("_", " "), value] for name, value in results.provenance.items()]
    aid = '<p class="aid">What every figure on this page depends on.</p>'
    return section_tag("provenance", "Provenance", aid + table([], rows, "words"))


def _tables(results: Results) -> str:
    aid = (
        '<p class="aid">Beside this page, as parquet: the rows behind each chart under its name, '
        "and everything that was measured:</p>"
    )
    links = "".join(
        f'<li><a href="{TABLES}/{name}.parquet">{name}.parquet</a>, {_size(rows)}</li>'
        for name, rows in results.tables().items()
    )
    return section_tag("tables", "Tables", f"{aid}<ul>{links}</ul>")


def _size(rows: pd.DataFrame) -> str:
    return f"{len(rows):,} rows, {len(rows.columns)} columns"
