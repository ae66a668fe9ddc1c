"""One finished run for all tests that read one; whoever changes something copies its folder."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from steer_plugin.cli.main import run_command

from support import saved_models


@dataclass(frozen=True)
class FinishedRun:
    """What `steer-plugin run` left and told.

    Attributes:
        source: holds the model `llama`, and `corpus.tsv`, and `long.tsv` with more sentences.
        file: the run file.
        folder: where the results and the report are.
        printed: what the command wrote on stdout.
    """

    source: Path
    file: Path
    folder: Path
    printed: str


def write_settings(file: Path, source: Path, corpus: str = "corpus.tsv", *more: str) -> Path:
    """Write a run file, and further lines into it."""
    lines = [
        f'model = "{source / "llama"}"',
        f'corpus = "{source / corpus}"',
        'targets = ["deu_Latn"]',
        "top_k = [6]",
        "resamples = 20",
        *more,
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Carry out the run file, once in a session."""
    source = tmp_path_factory.mktemp("run")
    saved_models.save_model(source / "llama")
    saved_models.save_corpus(source / "corpus.tsv")
    saved_models.save_corpus(source / "long.tsv", sentences=100)
    file = write_settings(source / "run.toml", source)
    out = source / "finished"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run_command(["run", str(file), "--out", str(out)]) == 0
    return FinishedRun(source, file, out, printed.getvalue())
