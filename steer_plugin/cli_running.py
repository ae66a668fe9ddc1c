"""What `run` and `demo` share: a whole protocol, carried out step by step."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from steer_plugin.cli_choices import (
    CorpusChoice,
    ModelChoice,
    bundle,
    host_options,
    say,
    threads_option,
)

if TYPE_CHECKING:
    from steer_plugin.adapters.loading import Host
    from steer_plugin.settings import RunSettings


@dataclass(frozen=True)
class Running:
    """Where and how a run file is carried out."""

    threads: int | None
    host: "Host | None"
    ndif_url: str | None
    ndif_patience: float | None

    def carry_out(self, settings: "RunSettings", out: Path) -> Path:
        """Take every step that is not taken yet, and give the path of the report.

        Args:
            settings: what to do; a host or URL given on the command line goes before theirs.
            out: folder for results.
        """
        from steer_plugin.analyses.experiment import check_targets, run_experiment
        from steer_plugin.analyses.report import write_report

        host = self.host or settings.host
        url = settings.ndif_url if host == "ndif" else None
        settings = replace(settings, host=host, ndif_url=self.ndif_url or url)
        corpus = CorpusChoice(settings.corpus, settings.languages or (), settings.sentences).read()
        # What can be refused at once is refused before the model is loaded.
        check_targets(corpus, settings.targets)
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
        results = run_experiment(model.load(), corpus, settings, out, say=say)
        results.save(out / "results")
        return write_report(results, out)


running_options = bundle("running", Running, threads_option, host_options)
