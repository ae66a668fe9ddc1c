"""What `run`, `compare` and `demo` share: a run file, carried out step by step."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.budget_options import memory_option
from steer_plugin.cli.options import ModelChoice, bundle, host_options, options, say, threads_option

if TYPE_CHECKING:
    from steer_plugin.analyses.run.inputs import RunData
    from steer_plugin.analyses.run.settings import RunSettings
    from steer_plugin.models.adapter import Adapter
    from steer_plugin.settings.names import Host


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
    host: "Host | None"
    ndif_url: str | None
    ndif_patience: float | None
    memory: int

    def on_host(self, settings: "RunSettings") -> "RunSettings":
        """Put a host and URL that the command line gives before those of the run file."""
        host = self.host or settings.host
        url = settings.ndif_url if host == "ndif" else None
        return replace(settings, host=host, ndif_url=self.ndif_url or url)

    def prepare(self, settings: "RunSettings", out: Path) -> "tuple[RunData, Adapter]":
        """Read the sentences, then load the model.

        What can be refused at once is refused before the model is loaded.
        """
        from steer_plugin.analyses.run.inputs import read_data

        data = read_data(settings)
        out.mkdir(parents=True, exist_ok=True)
        model = ModelChoice(
            settings.model,
            settings.device,
            settings.dtype,
            settings.bos,
            settings.batch_tokens,
            self.threads,
            settings.host,
            settings.ndif_url,
            self.ndif_patience,
        )
        return data, model.load()

    def carry_out(self, settings: "RunSettings", out: Path) -> Path:
        """Take every step that is not taken yet, and give the path of the report.

        Args:
            settings: what to do.
            out: folder for results.
        """
        from steer_plugin.analyses.measures.projection import check_method
        from steer_plugin.analyses.report.output_folder import write_report
        from steer_plugin.analyses.run.experiment import run_experiment

        settings = self.on_host(settings)
        for method in settings.projections:
            check_method(method)
        data, adapter = self.prepare(settings, out)
        results = run_experiment(adapter, data, settings, out, say=say, memory=self.memory)
        results.save(out / "results")
        return write_report(results, out)


running_options = bundle("running", Running, threads_option, memory_option, host_options)

run_file_options = bundle(
    "run_file",
    RunFile,
    options(
        click.argument("file", type=click.Path(path_type=Path)),
        click.option("--variant", help="Of the file's tables [variants.NAME], the one to take."),
        click.option("--model", help="Goes before the file's own. As in `find --help`."),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change a setting, such as top_k=[100] or generation.sentences=64. Repeatable.",
        ),
    ),
)
