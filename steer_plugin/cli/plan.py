"""`plan`: what is done to a model, saved for the commands that steer."""

from pathlib import Path

import click

from steer_plugin.cli.sections import command, option
from steer_plugin.cli.steering import Steering, steering_options


@command
@steering_options
@option(
    "--out",
    section="Output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to save it in.",
)
def plan(steering: Steering, out: Path) -> None:
    """Save what is done to a model, and say it.

    Other commands take it as --plan, and run files have [[plans]] of their own.
    """
    steps = steering.some_plan()
    steps.save(out)
    click.echo(steps.describe())
