"""The command line. Every import of something slow lives in the command that needs it."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steer_plugin.cli_choices import (
    CorpusChoice,
    ModelChoice,
    Steering,
    corpus_options,
    json_option,
    model_options,
    say,
    split_option,
    steering_options,
    threads_option,
)
from steer_plugin.errors import CorpusError, SteerError

if TYPE_CHECKING:
    import pandas as pd

    from steer_plugin.corpus import ParallelCorpus
    from steer_plugin.experts import ExpertTable
    from steer_plugin.interventions import Intervention
    from steer_plugin.protocols import Adapter
    from steer_plugin.settings import RunSettings

SITE_NAMES = (
    "mlp.hook_post",
    "mlp.hook_pre",
    "mlp.hook_pre_linear",
    "hook_mlp_out",
    "attn.hook_z",
    "hook_attn_out",
    "hook_resid_post",
    "ln_final.hook_out",
)
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
        click.echo("Interrupted. What was finished is kept; the same command goes on.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has left; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SteerError, OSError) as error:
        click.echo(f"Error: {' '.join(str(error).split())}", err=True)
        return 1
    return 0


@click.group(name="steer-plugin", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="steer-plugin", prog_name="steer-plugin")
def steer_plugin() -> None:
    """Find a language model's expert neurons for each language, steer them, and measure it.

    Data goes to stdout, progress to stderr. Exit codes: 0 done, 1 failed, 2 usage,
    130 interrupted.
    """


@steer_plugin.command()
@model_options
@corpus_options
@split_option
@click.option("--site", type=click.Choice(SITE_NAMES), default="mlp.hook_post", show_default=True)
@click.option(
    "--pooling",
    type=click.Choice(["max", "mean", "min", "last"]),
    default="max",
    show_default=True,
    help="How a sentence's tokens become one response.",
)
@click.option(
    "--score",
    type=click.Choice(["auroc", "average_precision"]),
    default="auroc",
    show_default=True,
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to save the expert table in.",
)
@json_option
def find(
    model: ModelChoice,
    corpus: CorpusChoice,
    split_seed: int,
    site: str,
    pooling: Any,
    score: Any,
    out: Path,
    as_json: bool,
) -> None:
    """Score every unit for every language and save the expert table.

    The sentences are the half of the corpus that finds; `align` and `retrieve` judge on the other.
    """
    from steer_plugin.experts import find_experts

    finding, _ = corpus.read().split(seed=split_seed)
    experts = find_experts(
        model.load(), finding, site=site, pooling=pooling, score=score, progress="find"
    )
    experts.save(out)
    say(f"Saved {out}")
    _print(_best(experts, experts.concepts, 1), as_json)


@steer_plugin.command()
@click.argument("experts", type=click.Path(path_type=Path))
@click.option("--concept", "concepts", multiple=True, help="Only these. Repeatable. Default: all.")
@click.option("--top-k", type=click.IntRange(0), default=10, show_default=True)
@click.option(
    "--view",
    type=click.Choice(["units", "layers", "overlap"]),
    default="units",
    show_default=True,
    help="The best units, how they spread over layers, or which ones concepts share.",
)
@json_option
def show(experts: Path, concepts: tuple[str, ...], top_k: int, view: str, as_json: bool) -> None:
    """Show an expert table that `find` saved in the folder EXPERTS."""
    from steer_plugin.analyses.expertise import experts_by_layer, overlap
    from steer_plugin.experts import ExpertTable

    table = ExpertTable.load(experts)
    chosen = concepts or table.concepts
    for concept in chosen:
        table.row(concept)
    if view == "units":
        frame = _best(table, chosen, top_k)
    else:
        frame = experts_by_layer(table, top_k) if view == "layers" else overlap(table, top_k)
        frame = frame[frame["concept"].isin(chosen)]
    _print(frame, as_json)


def _measuring(command: Any) -> Any:
    """Add the options of a measurement before and after steering."""
    for option in (
        json_option,
        click.option("--bootstrap-seed", type=click.IntRange(0), default=0, show_default=True),
        click.option("--resamples", type=click.IntRange(1), default=1000, show_default=True),
        click.option(
            "--control-seed",
            "control_seeds",
            type=click.IntRange(0),
            multiple=True,
            default=(0,),
            show_default=True,
            help="One random control each. Repeatable.",
        ),
        click.option(
            "--layer", default="final", show_default=True, help="A block's index, or final."
        ),
        steering_options,
        click.option("--target", help="The language to steer towards. Needs --experts."),
        click.option(
            "--experts",
            type=click.Path(path_type=Path),
            help="Folder that `find` saved. Without it, the model is measured as it is.",
        ),
        split_option,
        corpus_options,
        model_options,
    ):
        command = option(command)
    return command


@steer_plugin.command()
@_measuring
def align(**choices: Any) -> None:
    """Measure how far apart the languages lie, before and after steering."""
    from steer_plugin.analyses.alignment import alignment_figures

    _measure(alignment_figures, **choices)


@steer_plugin.command()
@_measuring
def retrieve(**choices: Any) -> None:
    """Measure how well sentences find their translations, before and after steering."""
    from steer_plugin.analyses.retrieval import retrieval_figures

    _measure(retrieval_figures, **choices)


def _measure(
    figures: Any,
    *,
    model: ModelChoice,
    corpus: CorpusChoice,
    split_seed: int,
    experts: Path | None,
    target: str | None,
    steering: Steering,
    layer: str,
    control_seeds: tuple[int, ...],
    resamples: int,
    bootstrap_seed: int,
    as_json: bool,
) -> None:
    from steer_plugin.analyses.controls import random_control
    from steer_plugin.analyses.statistics import compare
    from steer_plugin.embeddings import embed
    from steer_plugin.experts import ExpertTable

    if (experts is None) != (target is None):
        raise click.UsageError("--experts and --target go together; give both or neither")
    finding, judging = corpus.read().split(seed=split_seed)
    table = plan = None
    if experts is not None and target is not None:
        if target not in judging.languages:
            raise CorpusError(
                f"target {target!r} is not in the corpus; it has: {', '.join(judging.languages)}"
            )
        table = ExpertTable.load(experts)
        plan = steering.plan(table, target)
    adapter = model.load()

    def measured(name: str, intervention: "Intervention | None") -> Any:
        embedded = embed(
            adapter,
            judging,
            layer=int(layer) if layer.isdigit() else layer,
            intervention=intervention,
            progress=name,
        )
        return figures(embedded, target=target)

    if table is None or plan is None:
        _print(measured("before", None).frame(), as_json)
        return
    _tell_differences(table, adapter, finding)
    controls = [random_control(plan, table.space, seed=seed) for seed in control_seeds]
    frame = compare(
        measured("before", None),
        measured("experts", plan),
        [measured("control", control) for control in controls],
        count=resamples,
        seed=bootstrap_seed,
    )
    _print(frame, as_json)


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
    help="Repeatable. Default: BOS alone.",
)
@click.option("--max-new-tokens", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="0 is greedy."
)
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=0.9, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
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
    """Continue prompts without and with steering, side by side."""
    import pandas as pd

    from steer_plugin.experts import ExpertTable

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

    texts = {"prompt": prompts, "before": continued(None), "after": continued(plan)}
    _print(pd.DataFrame(texts), as_json)


@steer_plugin.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--png", is_flag=True, help="Write each chart as a PNG too.")
@click.option("--svg", is_flag=True, help="Write each chart as an SVG too.")
def report(folder: Path, png: bool, svg: bool) -> None:
    """Write the report again from the results that `run` left in FOLDER."""
    from steer_plugin.analyses.report import export_charts, write_report
    from steer_plugin.analyses.results import Results

    results = Results.load(folder / "results")
    path = write_report(results, folder)
    if png:
        export_charts(results, folder / "charts", "png")
    if svg:
        export_charts(results, folder / "charts", "svg")
    click.echo(path)


@steer_plugin.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for results. Default: out/ and the file's name.",
)
@threads_option
def run(file: Path, out: Path | None, threads: int | None) -> None:
    """Run the whole protocol from a TOML FILE, or go on with it where it stopped.

    Ends with the path of the report on stdout.
    """
    from steer_plugin.settings import read_settings

    _run(read_settings(file), out or Path("out") / file.stem, threads)


@steer_plugin.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/demo"),
    show_default=True,
    help="Folder for results.",
)
@threads_option
def demo(out: Path, threads: int | None) -> None:
    """Run the protocol on Gemma 3 270M and the bundled corpus, offline, in a few minutes."""
    from steer_plugin.settings import read_settings

    with as_file(files("steer_plugin.data") / "demo.toml") as file:
        settings = read_settings(file)
    _run(settings, out, threads)


def _run(settings: "RunSettings", out: Path, threads: int | None) -> None:
    from steer_plugin.analyses.experiment import run_experiment
    from steer_plugin.analyses.report import write_report

    corpus = CorpusChoice(settings.corpus, settings.languages or (), settings.sentences).read()
    model = ModelChoice(
        settings.model,
        settings.device,
        settings.dtype,
        settings.bos,
        settings.batch_tokens,
        threads,
    )
    results = run_experiment(model.load(), corpus, settings, out, say=say)
    results.save(out / "results")
    click.echo(write_report(results, out))


def _tell_differences(table: "ExpertTable", adapter: "Adapter", finding: "ParallelCorpus") -> None:
    saved = table.provenance
    for name, here in asdict(adapter.info).items():
        if saved["model"][name] != here:
            say(f"Note: the experts' model has {name} {saved['model'][name]}, this one {here}")
    if saved["corpus"]["hash"] != finding.hash:
        say(
            "Note: the experts were found on another corpus or split; sentences that found them "
            "may judge them here"
        )


def _best(experts: "ExpertTable", concepts: Sequence[str], k: int) -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([experts.frame(concept, k) for concept in concepts], ignore_index=True)


def _print(frame: "pd.DataFrame", as_json: bool) -> None:
    if as_json:
        records = json.loads(frame.to_json(orient="records", double_precision=15))
        click.echo(json.dumps(records, ensure_ascii=False, indent=2))
    else:
        click.echo(frame.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
