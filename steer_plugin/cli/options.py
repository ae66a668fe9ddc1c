"""What several commands ask for, each as a set of options that becomes one object."""

import functools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steer_plugin.cli.sections import option
from steer_plugin.errors import SteerError
from steer_plugin.registry import Registry, unknown
from steer_plugin.settings.model import DEMO, ModelSettings
from steer_plugin.settings.names import (
    DTYPES,
    HOSTS,
    QUANTIZE,
)
from steer_plugin.settings.parts import POOLINGS, SCORES, SITES
from steer_plugin.settings.probe import ProbeSettings

if TYPE_CHECKING:
    from steer_plugin.corpora.corpus import Corpus

Command = Callable[..., Any]


class PartChoice(click.Choice[str]):
    """A name of a registry, whose names are read when a command is asked for its help or run."""

    def __init__(self, registry: Registry[Any, Any]) -> None:
        """Leave the names until they are wanted."""
        self.registry, self.case_sensitive = registry, True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names that there are."""
        return tuple(self.registry)

    def get_invalid_choice_message(
        self,
        value: Any,
        ctx: click.Context | None,  # noqa: ARG002 (click hands it over)
    ) -> str:
        """Say what there is, and which is nearest."""
        return unknown(value, self.choices, f"a {self.registry.noun}")


def say(line: str) -> None:
    """Tell progress, on stderr."""
    click.echo(line, err=True)


@dataclass(frozen=True)
class CorpusOptions:
    """Which texts."""

    corpus: str
    languages: tuple[str, ...]
    sentences: int | None
    group: str | None
    against: str | None = None

    def read(self) -> "Corpus":
        """Read the corpus.

        Raises:
            CorpusError: it cannot be read, or lacks a language or label.
        """
        from steer_plugin.corpora.named_corpora import read_corpus

        corpus = read_corpus(self.corpus, self.languages or None, self.group, self.against)
        return corpus if self.sentences is None else corpus.take(self.sentences)


def options(*each: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make one decorator of several options, shown in this order."""

    def decorate(command: Command) -> Command:
        for add in reversed(each):
            command = add(command)
        return command

    return decorate


def bundle(
    name: str, kind: Callable[..., Any], *each: Callable[[Command], Command]
) -> Callable[[Command], Command]:
    """Make a decorator that adds options to a command and hands them over as one object.

    Args:
        name: of the command's parameter.
        kind: a dataclass; options that are named as its fields are become these. What it refuses is
            a usage error.
        each: the options.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(**values: Any) -> Any:
            names = [field.name for field in fields(kind) if field.name in values]  # type: ignore[arg-type]
            bundled = usage(kind, **{field: values.pop(field) for field in names})
            return command(**{name: bundled}, **values)

        return options(*each)(gathered)

    return decorate


def usage(kind: Callable[..., Any], **values: Any) -> Any:
    """Make something of what was given on the command line; what it refuses is a usage error."""
    try:
        return kind(**values)
    except SteerError as error:
        raise click.UsageError(str(error)) from error


def check_out(out: Path, model: str) -> None:
    """Refuse a folder for results that would be taken for the model.

    Raises:
        click.UsageError: it has the model's name, or would make a folder of that name.
    """
    path = Path(model).resolve()
    inside = path in out.resolve().parents and not path.exists()
    if model != DEMO and (out.resolve() == path or inside):
        raise click.UsageError(
            f"a folder {out} would be taken for the model {model!r}; give another --out"
        )


def make_out(out: Path) -> None:
    """Make the folder for results, and take away at the end what the command made and left empty.

    Raises:
        OSError: it cannot be made.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)

    def unmake() -> None:
        with suppress(OSError):  # of a folder that holds something
            for folder in made:
                folder.rmdir()

    click.get_current_context().call_on_close(unmake)


def distinct(
    context: click.Context,  # noqa: ARG001 (click hands it over)
    option: click.Parameter,  # noqa: ARG001
    values: tuple[int, ...],
) -> tuple[int, ...]:
    """Refuse values that are given twice."""
    if len(set(values)) < len(values):
        raise click.BadParameter("give each once")
    return values


def host_options(default: str | None) -> Callable[[Command], Command]:
    """Ask what runs the model.

    Args:
        default: the host; None where the run file says it.
    """
    return options(
        option(
            "--host",
            section="Model",
            type=click.Choice(HOSTS),
            default=default,
            show_default=True if default else "the run file's",
            help="What runs the model: TransformerLens, nnsight or transformers here, or NDIF.",
        ),
        option(
            "--ndif-url",
            section="Model",
            help="Of the NDIF server. Default: nnsight's own setting, as for the API key.",
        ),
        option(
            "--ndif-patience",
            "ndif_patience_s",
            section="Model",
            type=click.FloatRange(0),
            help="Seconds to wait for an NDIF server that is gone. Default: 120.",
        ),
    )


threads_option = option(
    "--threads",
    section="Model",
    type=click.IntRange(1),
    help="CPU threads. Default: one a core; take 1 where other work keeps the cores busy.",
)

model_options = bundle(
    "model",
    ModelSettings,
    option(
        "--model",
        section="Model",
        required=True,
        help="Hub id, folder (of adapters too), .gguf file, or 'demo' for Gemma 3 270M.",
    ),
    option(
        "--device",
        section="Model",
        default=ModelSettings.device,
        show_default=True,
        help="Such as cpu or cuda:0; auto: the accelerator there is, or all there are.",
    ),
    option(
        "--dtype",
        section="Model",
        type=click.Choice(DTYPES),
        default=ModelSettings.dtype,
        show_default=True,
        help="Precision of the model; auto is its own on an accelerator, float32 on the CPU.",
    ),
    option(
        "--quantize",
        section="Model",
        type=click.Choice(QUANTIZE),
        help="Hold weights so; takes bitsandbytes.",
    ),
    option(
        "--bos/--no-bos",
        section="Model",
        default=None,
        help="Put BOS before each text. Default: as the model's tokenizer ships.",
    ),
    option(
        "--chat",
        section="Model",
        is_flag=True,
        help="Give each text as what a user says, by the model's own chat template; of it the text "
        "alone is pooled.",
    ),
    option(
        "--batch-tokens",
        section="Model",
        type=click.IntRange(1),
        default=ModelSettings.batch_tokens,
        show_default=True,
        help="Padded tokens a batch.",
    ),
    threads_option,
    host_options(ModelSettings.host),
)

probe_options = bundle(
    "probe",
    ProbeSettings,
    option(
        "--site",
        section="Units",
        type=PartChoice(SITES),
        default=ProbeSettings.site,
        show_default=True,
        help="Which tensor's coordinates are the units, by its TransformerLens name.",
    ),
    option(
        "--pooling",
        section="Units",
        type=PartChoice(POOLINGS),
        default=ProbeSettings.pooling,
        show_default=True,
        help="How a sentence's tokens become one response.",
    ),
    option(
        "--score",
        section="Units",
        type=PartChoice(SCORES),
        default=ProbeSettings.score,
        show_default=True,
        help="How well a unit tells a language or label from the others.",
    ),
    option(
        "--lines",
        section="Units",
        is_flag=True,
        help="Keep Linear-AcT's line of each unit too, for --operation affine.",
    ),
    option(
        "--source",
        section="Units",
        help="The language or label that each other is told from. Default: all others together.",
    ),
)

corpus_options = bundle(
    "corpus",
    CorpusOptions,
    option(
        "--corpus",
        section="Sentences",
        default="everyday",
        show_default=True,
        help="Sentences by language, or texts with labels: FLORES-200 folder, .tsv, .csv, .jsonl "
        "or .parquet file (columns text and label), .json, folder a label; 'everyday', 'questions' "
        "and 'registers' are bundled.",
    ),
    option(
        "--language",
        "--label",
        "languages",
        section="Sentences",
        multiple=True,
        help="Take only these languages, such as deu_Latn, or labels. Repeatable. Default: all.",
    ),
    option(
        "--against",
        section="Sentences",
        metavar="SOURCE",
        help="What the texts of --corpus are told from: a .txt with a text a line, or a corpus.",
    ),
    option(
        "--sentences",
        section="Sentences",
        type=click.IntRange(4),
        help="Take only the first so many, of each label.",
    ),
    option(
        "--group",
        section="Sentences",
        metavar="COLUMN",
        help="The column that says which sentences belong together, such as a document: they find "
        "or judge together. Default: the topics of what is bundled, the documents of FLORES.",
    ),
)

split_option = option(
    "--split-seed",
    section="Sentences",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the split into the half that finds experts and the half that judges.",
)

json_option = option(
    "--json", "as_json", section="Output", is_flag=True, help="Print JSON records on stdout."
)

out_option = option(
    "--out",
    section="Output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for results. Default: out/ and the file's name.",
)
