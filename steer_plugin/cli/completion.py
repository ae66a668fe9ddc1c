"""`completion`: what a shell reads to complete commands, options and names of parts."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from steer_plugin.cli.sections import command

SHELLS = ("bash", "zsh", "fish")


def _this_shell() -> str:
    """Name the user's shell, which is asked for where it is none of ours."""
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"SHELL is {name or 'not set'}; give one of {', '.join(SHELLS)}")
    return name


@command
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the script that completes this command's words.

    SHELL is by default the one of the variable SHELL. bash and zsh: `eval "$(steer-plugin
    completion)"` in ~/.bashrc or ~/.zshrc; fish: `steer-plugin completion | source`.
    """
    root = context.find_root()
    name = root.info_name or root.command.name or ""
    variable = f"_{name}_COMPLETE".replace("-", "_").upper()
    kind = get_completion_class(shell or _this_shell())
    if kind is None:
        raise click.UsageError(f"click knows no {shell}; give one of {', '.join(SHELLS)}")
    click.echo(kind(root.command, {}, name, variable).source())
