"""The command line. Every import of something slow lives in the command that needs it."""

import io
import sys
from collections.abc import Sequence

import click

from steer_plugin.cli.cache import cache
from steer_plugin.cli.completion import completion
from steer_plugin.cli.find import find, merge
from steer_plugin.cli.generate import generate
from steer_plugin.cli.measure import align, measure, retrieve
from steer_plugin.cli.options import say
from steer_plugin.cli.parts import parts
from steer_plugin.cli.plan import plan
from steer_plugin.cli.report import report
from steer_plugin.cli.run import compare, demo, run
from steer_plugin.cli.sections import SectionedGroup
from steer_plugin.cli.show import show
from steer_plugin.errors import SteerError

FAILED = 1
INTERRUPTED = 130


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal cannot print is printed as its escape, not lost after the long work.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code: 0 done, 1 failed, 2 usage, 130 interrupted."""
    try:
        steer_plugin.main(list(arguments), prog_name="steer-plugin", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say(
            "Interrupted. What was finished is kept; `find`, `run`, `compare` and `demo` go on "
            "from there."
        )
        return INTERRUPTED
    except (SteerError, OSError) as error:
        say(f"Error: {' '.join(str(error).split())}")
        return FAILED
    except SystemExit as end:  # how click completes a word, or ends where nobody reads stdout
        return end.code if isinstance(end.code, int) else FAILED
    return 0


@click.group(
    cls=SectionedGroup,
    name="steer-plugin",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="steer-plugin", prog_name="steer-plugin")
def steer_plugin() -> None:
    """Find a language model's expert neurons for each language, steer them, and measure it.

    `steer-plugin demo` shows it all on a small model. Data goes to stdout, progress to stderr.
    Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.
    """


for command in (
    *(find, merge, show, plan, align, retrieve, measure, generate),
    *(run, compare, demo, report, cache, parts, completion),
):
    steer_plugin.add_command(command)
