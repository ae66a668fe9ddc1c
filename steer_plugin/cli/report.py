"""`report`: a run's page again, by itself or beside the same run on another host."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from steer_plugin.cli.sections import command, option

if TYPE_CHECKING:
    from steer_plugin.analyses.report.figure import Section
    from steer_plugin.analyses.run.results import Results


@command
@click.argument("folder", type=click.Path(path_type=Path))
@option(
    "--beside",
    section="Output",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the same run on another host, to overlay.",
)
@option(
    "--png",
    section="Output",
    is_flag=True,
    help="Write each chart as a PNG too, for a paper's column.",
)
@option("--svg", section="Output", is_flag=True, help="Write each chart as an SVG too.")
@option("--pdf", section="Output", is_flag=True, help="Write each chart as a PDF too.")
@option(
    "--tables",
    section="Output",
    type=click.Choice(["csv", "latex"]),
    multiple=True,
    help="Write each table with its intervals too; may be given twice.",
)
def report(
    folder: Path, beside: Path | None, png: bool, svg: bool, pdf: bool, tables: tuple[str, ...]
) -> None:
    """Write a run's report again.

    FOLDER is where `run` or `demo` put its results. With --beside the report begins with how far
    the two hosts agree. Pictures are written to FOLDER/charts, one a state of a chart's selectors,
    and tables to FOLDER/csv and FOLDER/latex.
    """
    from steer_plugin.analyses.report.output_folder import (
        export_charts,
        export_tables,
        write_report,
    )
    from steer_plugin.analyses.run.results import Results

    results = Results.load(folder / "results")
    first = None if beside is None else _beside(results, folder, beside)
    path = write_report(results, folder, first)
    asked: dict[Literal["png", "svg", "pdf"], bool] = {"png": png, "svg": svg, "pdf": pdf}
    for picture in (kind for kind, wanted in asked.items() if wanted):
        export_charts(results, folder / "charts", picture, first)
    for form in dict.fromkeys(tables):
        export_tables(results, folder / form, "csv" if form == "csv" else "latex", first)
    click.echo(path)


def _beside(results: "Results", folder: Path, beside: Path) -> "Section":
    """Put the results of a run beside those of the same run on another host."""
    from steer_plugin.analyses.report.sections.hosts import hosts_section
    from steer_plugin.analyses.run.results import Results
    from steer_plugin.analyses.run.two_hosts import Hosts
    from steer_plugin.experts.table import ExpertTable

    other = Results.load(beside / "results")
    experts = [ExpertTable.load(place / "experts") for place in (folder, beside)]
    return hosts_section(Hosts(results, other, *experts))
