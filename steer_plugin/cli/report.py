"""`report`: a run's page again, by itself or beside the same run on another host."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.sections import command, option

if TYPE_CHECKING:
    from steer_plugin.analyses.report.page import Section
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
@option("--png", section="Output", is_flag=True, help="Write each chart as a PNG too.")
@option("--svg", section="Output", is_flag=True, help="Write each chart as an SVG too.")
def report(folder: Path, beside: Path | None, png: bool, svg: bool) -> None:
    """Write a run's report again.

    FOLDER is where `run` or `demo` put its results. With --beside the report begins with how far
    the two hosts agree.
    """
    from steer_plugin.analyses.report.output_folder import export_charts, write_report
    from steer_plugin.analyses.run.results import Results

    results = Results.load(folder / "results")
    first = None if beside is None else _beside(results, folder, beside)
    path = write_report(results, folder, first)
    if png:
        export_charts(results, folder / "charts", "png", first)
    if svg:
        export_charts(results, folder / "charts", "svg", first)
    click.echo(path)


def _beside(results: "Results", folder: Path, beside: Path) -> "Section":
    """Put the results of a run beside those of the same run on another host."""
    from steer_plugin.analyses.report.hosts_section import hosts_section
    from steer_plugin.analyses.run.results import Results
    from steer_plugin.analyses.run.two_hosts import Hosts
    from steer_plugin.experts.table import ExpertTable

    other = Results.load(beside / "results")
    experts = [ExpertTable.load(place / "experts") for place in (folder, beside)]
    return hosts_section(Hosts(results, other, *experts))
