"""A run's results as one page to read, with its tables, and its charts and tables for a paper."""

import textwrap
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import vl_convert

from steer_plugin.analyses.report.contents import sections
from steer_plugin.analyses.report.figure import Figure, Section, Table
from steer_plugin.analyses.report.first_screen import first_screen, glance
from steer_plugin.analyses.report.page import render
from steer_plugin.analyses.report.readable import latex
from steer_plugin.analyses.run.results import Results
from steer_plugin.storage.artifacts import whole_file, whole_folder

PAGE = "report.html"
TABLES = "tables"
COLUMN = 336
"""Pixels of a paper's column of 3.5 inches."""

Picture = Literal["svg", "png", "pdf"]
TableFormat = Literal["csv", "latex"]


def write_report(results: Results, folder: str | Path, first: Section | None = None) -> Path:
    """Write the report and its tables.

    The page is one file that works without a network. Beside it, `tables/` holds the rows behind
    each chart, and the tables of the results as they are.

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
    content = _content(results, first)
    head = first_screen(results)
    html = render(results, head, content)
    stored = dict(results.tables())
    for item in (head.figure, *(item for part in content for item in part.items)):
        stored.update(item.tables)
    # The page is on the disk before the tables take their names, so that neither comes alone.
    with whole_file(target / PAGE) as file:
        file.write_text(html, encoding="utf-8")
        with whole_folder(target / TABLES) as draft:
            for name, rows in stored.items():
                rows.to_parquet(draft / f"{name}.parquet", index=False)
    return target / PAGE


def export_charts(
    results: Results,
    folder: str | Path,
    format: Picture,  # noqa: A002 - the usual word for it
    first: Section | None = None,
) -> list[Path]:
    """Write every chart as a picture for a paper's column, once a state of its selectors.

    Args:
        results: what was measured.
        folder: made where it is missing.
        format: "png" (300 dots an inch), "svg" or "pdf".
        first: a section before the others.

    Returns:
        The pictures' paths, in the report's order.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    paths = []
    content = _content(results, first)
    for figure in (glance(results), *(figure for part in content for figure in part.figures)):
        for state in figure.states():
            name = "-".join([figure.name, *map(_word, state.values())])
            path = Path(folder) / f"{name}.{format}"
            with whole_file(path) as file:
                file.write_bytes(_picture(figure, state, format))
            paths.append(path)
    return paths


def export_tables(
    results: Results,
    folder: str | Path,
    format: TableFormat,  # noqa: A002
    first: Section | None = None,
) -> list[Path]:
    """Write every table that the page shows, with intervals, for a paper or a spreadsheet.

    Args:
        results: what was measured.
        folder: made where it is missing.
        format: "csv", figures and the ends of their intervals in columns of their own, or "latex",
            a `tabular` for booktabs with the intervals in brackets.
        first: a section before the others.

    Returns:
        The files' paths.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    paths = []
    for item in (glance(results), *(i for part in _content(results, first) for i in part.items)):
        for name, rows in _written(item).items():
            path = Path(folder) / f"{name}.{'csv' if format == 'csv' else 'tex'}"
            text = (
                rows.to_csv(index=False)
                if format == "csv"
                else latex(results, rows, f"{item.title} {item.caption}")
            )
            with whole_file(path) as file:
                file.write_text(text, encoding="utf-8")
            paths.append(path)
    return paths


def _content(results: Results, first: Section | None) -> list[Section]:
    return [*([] if first is None else [first]), *sections(results)]


def _written(item: Figure | Table) -> dict[str, pd.DataFrame]:
    return dict(item.tables) if isinstance(item, Figure) else {item.name: item.rows}


def _word(option: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in option).strip("_")


def _picture(figure: Figure, state: dict[str, str], kind: Picture) -> bytes:
    spec = _with_title(figure, state)
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=300 / 96))
    if kind == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec))
    return str(vl_convert.vegalite_to_svg(spec)).encode()


def _with_title(figure: Figure, state: dict[str, str]) -> dict[str, Any]:
    spec = figure.spec(COLUMN, state)
    title = {
        "text": textwrap.wrap(figure.title, 52),
        "subtitle": [", ".join(state.values())] if state else [],
        "fontSize": 12,
        "subtitleFontSize": 10,
    }
    config = spec["config"]
    config["legend"] = {**config["legend"], "columns": 2, "labelFontSize": 10}
    return {**spec, "title": title}
