"""`run`, `compare` and `demo`: a run file, carried out step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.budget_options import memory_option
from steer_plugin.cli.model import load_model
from steer_plugin.cli.options import (
    bundle,
    check_out,
    host_options,
    json_option,
    make_out,
    options,
    out_option,
    say,
    threads_option,
    usage,
)
from steer_plugin.cli.output import print_frame
from steer_plugin.cli.sections import command, option
from steer_plugin.settings.names import Host

if TYPE_CHECKING:
    from steer_plugin.analyses.run.inputs import RunData
    from steer_plugin.analyses.run.settings import RunSettings
    from steer_plugin.models.adapter import Adapter


@dataclass(frozen=True)
class RunFile:
    """Which run file, and what of it is changed."""

    file: Path
    variant: str | None
    model: str | None
    changes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name the run: the file's name, and the variant's."""
        return self.file.stem if self.variant is None else f"{self.file.stem}-{self.variant}"

    def read(self) -> "RunSettings":
        """Read the settings.

        Raises:
            SettingsError: the file, the variant or a change is not understood.
        """
        import json

        from steer_plugin.analyses.run.files import read_settings

        # JSON's strings are TOML's.
        model = () if self.model is None else (f"model={json.dumps(self.model)}",)
        return read_settings(self.file, variant=self.variant, changes=(*self.changes, *model))


@dataclass(frozen=True)
class Running:
    """Where a run is carried out."""

    threads: int | None
    host: Host | None
    ndif_url: str | None
    ndif_patience_s: float | None
    memory: int

    def on_host(self, settings: "RunSettings") -> "RunSettings":
        """Put a host and URL that the command line gives before those of the run file."""
        host = self.host or settings.host
        url = settings.ndif_url if host == "ndif" else None
        return replace(settings, host=host, ndif_url=self.ndif_url or url)

    def read(self, settings: "RunSettings", out: Path) -> "RunData":
        """Read the sentences, before the model is loaded: what can be refused is refused here."""
        from steer_plugin.analyses.run.inputs import read_data

        check_out(out, settings.model)
        data = read_data(settings)
        make_out(out)
        return data

    def load(self, settings: "RunSettings") -> "Adapter":
        """Load the model."""
        return load_model(
            usage(
                settings.model_settings, threads=self.threads, ndif_patience_s=self.ndif_patience_s
            )
        )

    def carry_out(self, settings: "RunSettings", out: Path) -> Path:
        """Take every step that is not taken yet, and give the path of the report.

        Args:
            settings: what to do.
            out: folder for results.
        """
        from steer_plugin.analyses.measures.projection import check_method
        from steer_plugin.analyses.report.output_folder import write_report
        from steer_plugin.analyses.run.experiment import run_experiment
        from steer_plugin.corpora.named_corpora import need_parallel

        settings = self.on_host(settings)
        for method in settings.projections:
            check_method(method)
        data = self.read(settings, out)
        need_parallel(data.judge, "`run`")
        adapter = self.load(settings)
        results = run_experiment(adapter, data, settings, out, say=say, memory=self.memory)
        results.save(out / "results")
        return write_report(results, out)

    def show_concepts(self, run_files: Sequence[RunFile], out: Path) -> None:
        """Print how well units tell concepts, then what steering them does to what is written.

        Args:
            run_files: what to do, all with the same model.
            out: folder for results, in a folder a run file.
        """
        from steer_plugin.analyses.run.concepts import judge_concepts
        from steer_plugin.analyses.run.experiment import compare_methods

        runs = [(self.on_host(file.read()), out / file.name) for file in run_files]
        texts = [self.read(settings, folder) for settings, folder in runs]
        adapter = self.load(runs[0][0])
        for (settings, folder), data in zip(runs, texts, strict=True):
            for take in (judge_concepts, compare_methods):
                frame = take(adapter, data, settings, folder, say=say, memory=self.memory)
                print_frame(frame, as_json=False)


running_options = bundle("running", Running, threads_option, memory_option, host_options(None))

run_file_options = bundle(
    "run_file",
    RunFile,
    options(
        click.argument("file", type=click.Path(path_type=Path)),
        option(
            "--variant",
            section="Run file",
            help="Of the file's tables [variants.NAME], the one to take.",
        ),
        option("--model", section="Model", help="Goes before the file's own. As in `find --help`."),
        option(
            "--set",
            "changes",
            section="Run file",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change a setting, such as top_k=[100] or generation.sentences=64. Repeatable.",
        ),
    ),
)


@command
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


@command
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
    from steer_plugin.analyses.run.experiment import check_axes, compare_methods

    out = out or Path("out") / run_file.name
    settings = running.on_host(run_file.read())
    data = running.read(settings, out)
    check_axes(data, settings)
    adapter = running.load(settings)
    print_frame(
        compare_methods(adapter, data, settings, out, say=say, memory=running.memory), as_json
    )


@command
@option(
    "--out",
    section="Output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for results. Default: out/demo, or out/concepts.",
)
@option(
    "--concept",
    "concepts",
    section="Run file",
    is_flag=True,
    help="Steer towards questions and registers of English, not languages; prints two tables each.",
)
@running_options
def demo(out: Path | None, concepts: bool, running: Running) -> None:
    """Run the protocol on Gemma 3 270M, offline.

    It takes a few minutes on the bundled corpus. The same command goes on where it stopped. Ends
    with the path of the report on stdout.
    """
    if concepts:
        variants = (None, "registers")
        run_files = [RunFile(Path("concepts.toml"), variant, None, ()) for variant in variants]
        running.show_concepts(run_files, out or Path("out/concepts"))
        return
    out = out or Path("out/demo")
    click.echo(running.carry_out(RunFile(Path("demo.toml"), None, None, ()).read(), out))
