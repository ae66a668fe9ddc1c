"""Options under the heading that they belong to, so that `--help` is read a group at a time."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import click

Section = Literal[
    "Model",
    "Sentences",
    "Units",
    "Steering",
    "Measurement",
    "Text",
    "Run file",
    "Memory and disk",
    "Output",
]


class SectionedOption(click.Option):
    """An option that says its section.

    Attributes:
        section: the heading of `--help` that it stands under.
    """

    def __init__(self, *names: Any, section: Section, **attributes: Any) -> None:
        """Take what `click.Option` does, and the section."""
        super().__init__(*names, **attributes)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose `--help` has a list of options a section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections in their order, then what click itself adds."""
        records: dict[str, list[tuple[str, str]]] = {name: [] for name in get_args(Section)}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                section = getattr(param, "section", "Help")
                records.setdefault(section, []).append(record)
        for section, rows in records.items():
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)


class SectionedGroup(click.Group):
    """A group of such commands."""

    command_class = SectionedCommand


def option(
    *names: str, section: Section, **attributes: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add an option to a command, as `click.option` does, under a section of its help."""
    return click.option(*names, cls=SectionedOption, section=section, **attributes)


def command(function: Callable[..., Any]) -> SectionedCommand:
    """Make a command of a function, named as it is."""
    return click.command(cls=SectionedCommand)(function)
