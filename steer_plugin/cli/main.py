"""The command line. Every import of something slow lives in the command that needs it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.cache import cache
from steer_plugin.cli.find import find, merge
from steer_plugin.cli.measure import Measurement, measurement_options
from steer_plugin.cli.options import (
    ModelChoice,
    Steering,
    json_option,
    model_options,
    out_option,
    say,
    steering_options,
)
from steer_plugin.cli.output import best_units, print_frame
from steer_plugin.cli.run import RunFile, Running, run_file_options, running_options
from steer_plugin.errors import SteerError

if TYPE_CHECKING:
    from steer_plugin.analyses.report.page import Section
    from steer_plugin.analyses.run.results import Results
    from steer_plugin.interventions.plan import Intervention

FAILED = 1
INTERRUPTED = 130


def main() -> None:
    """Run the command line and end the process with its exit code."""
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
    except SystemExit:  # how click ends when whoever reads stdout has left
        return FAILED
    return 0


@click.group(name="steer-plugin", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="steer-plugin", prog_name="steer-plugin")
def steer_plugin() -> None:
    """Find a language model's expert neurons for each language, steer them, and measure it.

    `steer-plugin demo` shows it all on a small model. Data goes to stdout, progress to stderr.
    Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.
    """


steer_plugin.add_command(find)
steer_plugin.add_command(merge)
steer_plugin.add_command(cache)


@steer_plugin.command()
@click.argument("experts", type=click.Path(path_type=Path))
@click.option("--concept", "concepts", multiple=True, help="Only these. Repeatable. Default: all.")
@click.option(
    "--top-k",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="How many of the best units of each.",
)
@click.option(
    "--view",
    type=click.Choice(["units", "layers", "overlap"]),
    default="units",
    show_default=True,
    help="The best units, how they spread over layers, or which ones concepts share.",
)
@json_option
def show(experts: Path, concepts: tuple[str, ...], top_k: int, view: str, as_json: bool) -> None:
    """Show the experts that `find` saved.

    EXPERTS is the folder it saved them in.
    """
    from steer_plugin.experts.summaries import experts_by_layer, overlap
    from steer_plugin.experts.table import ExpertTable

    table = ExpertTable.load(experts)
    chosen = concepts or table.concepts
    for concept in chosen:
        table.row(concept)
    if view == "units":
        frame = best_units(table, chosen, top_k)
    else:
        frame = experts_by_layer(table, top_k) if view == "layers" else overlap(table, top_k)
        frame = frame[frame["concept"].isin(chosen)]
    print_frame(frame, as_json)


@steer_plugin.command()
@measurement_options
@json_option
def align(measurement: Measurement, as_json: bool) -> None:
    """Measure how far apart the languages lie.

    With --experts and --target: before and after steering, beside random controls.
    """
    from steer_plugin.analyses.measures.alignment import alignment_figures

    print_frame(measurement.frame(alignment_figures), as_json)


@steer_plugin.command()
@measurement_options
@json_option
def retrieve(measurement: Measurement, as_json: bool) -> None:
    """Measure how well sentences find translations.

    With --experts and --target: before and after steering, beside random controls.
    """
    from steer_plugin.analyses.measures.retrieval import retrieval_figures

    print_frame(measurement.frame(retrieval_figures, search=True), as_json)


@steer_plugin.command()
@model_options
@click.option(
    "--experts",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder that `find` saved.",
)
@click.option("--target", required=True, help="The language to steer towards.")
@steering_options
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    default=("",),
    help="Text to continue. Repeatable. Default: BOS alone.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="At most so many tokens more.",
)
@click.option(
    "--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="0 is greedy."
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Sample from the likeliest tokens that together have this probability.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the sampling."
)
@json_option
def generate(
    model: ModelChoice,
    experts: Path,
    target: str,
    steering: Steering,
    prompts: tuple[str, ...],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    as_json: bool,
) -> None:
    """Continue prompts without and with steering."""
    import pandas as pd

    from steer_plugin.experts.table import ExpertTable

    plan = steering.plan(ExpertTable.load(experts), target)
    adapter = model.load()

    def continued(intervention: "Intervention | None") -> list[str]:
        return adapter.generate(
            prompts,
            intervention=intervention,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )

    before, after = continued(None), continued(plan)
    if as_json:
        print_frame(pd.DataFrame({"prompt": prompts, "before": before, "after": after}), as_json)
        return
    for texts in zip(prompts, before, after, strict=True):
        click.echo("prompt: {}\nbefore: {}\nafter:  {}\n".format(*texts))


@steer_plugin.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--beside",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the same run on another host, to overlay.",
)
@click.option("--png", is_flag=True, help="Write each chart as a PNG too.")
@click.option("--svg", is_flag=True, help="Write each chart as an SVG too.")
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


@steer_plugin.command()
@run_file_options
@out_option
@running_options
def run(run_file: RunFile, out: Path | None, running: Running) -> None:
    """Run the whole protocol from a TOML file.

    FILE names at least model, targets and top_k; sundar2025.toml and sundar2025-small.toml ship
    with the package. Each step is saved as it ends, and the same command goes on where it stopped.
    Ends with the path of the report on stdout.
    """
    click.echo(running.carry_out(run_file.read(), out or Path("out") / run_file.name))


@steer_plugin.command()
@run_file_options
@out_option
@running_options
@json_option
def compare(run_file: RunFile, out: Path | None, running: Running, as_json: bool) -> None:
    """Compare rival interventions on the same axes.

    FILE is as for `run`; of it, what compares its `methods` (all that there are, where it names
    none) is done, and `run` in the same folder goes on from there. Prints each method's change in
    retrieval, in mean-centred distance and, where the file generates, in language probability and
    perplexity, beside its control.
    """
    from steer_plugin.analyses.run.experiment import compare_methods

    out = out or Path("out") / run_file.name
    settings = running.on_host(run_file.read())
    data, adapter = running.prepare(settings, out)
    print_frame(
        compare_methods(adapter, data, settings, out, say=say, memory=running.memory), as_json
    )


@steer_plugin.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/demo"),
    show_default=True,
    help="Folder for results.",
)
@running_options
def demo(out: Path, running: Running) -> None:
    """Run the protocol on Gemma 3 270M, offline.

    It takes a few minutes on the bundled corpus. The same command goes on where it stopped. Ends
    with the path of the report on stdout.
    """
    click.echo(running.carry_out(RunFile(Path("demo.toml"), None, None, ()).read(), out))
