"""What several commands ask for, each as a set of options that becomes one object."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from steer_plugin.adapters.nnsight.ndif import Traffic
    from steer_plugin.corpora.parallel import ParallelCorpus
    from steer_plugin.experts.table import ExpertTable
    from steer_plugin.interventions.plan import Intervention
    from steer_plugin.models.adapter import Adapter
    from steer_plugin.settings.names import Host, Operation, Positions, Selection

Command = Callable[..., Any]
DEMO = "demo"
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
DEVICE, DTYPE = "cpu", "float32"


def say(line: str) -> None:
    """Tell progress, on stderr."""
    click.echo(line, err=True)


@dataclass(frozen=True)
class ModelChoice:
    """Which model, and how it is run."""

    model: str
    device: str
    dtype: str
    bos: bool | None
    batch_tokens: int
    threads: int | None
    host: "Host | None"
    ndif_url: str | None
    ndif_patience: float | None

    def load(self) -> "Adapter":
        """Load the model.

        Raises:
            ModelError: there is no such model, or it cannot be read.
        """
        host = self.host or "transformer_lens"
        if host != "ndif" and (self.ndif_url, self.ndif_patience) != (None, None):
            raise click.UsageError("--ndif-url and --ndif-patience go with --host ndif")
        if host == "ndif" and (self.device, self.dtype) != (DEVICE, DTYPE):
            raise click.UsageError("an NDIF server decides device and dtype itself; leave them out")
        # The libraries read these when they are imported, below.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        if self.model == DEMO or Path(self.model).exists():
            os.environ["HF_HUB_OFFLINE"] = "1"
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        say(f"Loading {self.model}")
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        from steer_plugin.adapters.loader import DEMO_TERMS, load_adapter

        if self.model == DEMO:
            say(DEMO_TERMS)
        adapter = load_adapter(
            self.model,
            host=host,
            ndif_url=self.ndif_url,
            ndif_patience_s=self.ndif_patience,
            say=say,
            device=self.device,
            dtype=self.dtype,
            bos=self.bos,
            batch_tokens=self.batch_tokens,
        )
        ndif = getattr(adapter, "ndif", None)
        if ndif is not None:
            click.get_current_context().call_on_close(partial(_tell_traffic, ndif.traffic))
        return adapter


def _tell_traffic(traffic: "Traffic") -> None:
    say(
        f"NDIF: {traffic.requests} requests ({traffic.again} made again), "
        f"{traffic.sent:,} bytes sent, {traffic.received:,} received"
    )


@dataclass(frozen=True)
class CorpusChoice:
    """Which sentences."""

    corpus: str
    languages: tuple[str, ...]
    sentences: int | None

    def read(self) -> "ParallelCorpus":
        """Read the corpus.

        Raises:
            CorpusError: it cannot be read, or lacks a language.
        """
        from steer_plugin.analyses.run.inputs import read_corpus

        corpus = read_corpus(self.corpus, self.languages or None)
        return corpus if self.sentences is None else corpus.take(self.sentences)


@dataclass(frozen=True)
class Steering:
    """What is done to how many experts."""

    top_k: int
    operation: "Operation"
    value: str
    strength: float
    positions: "Positions"
    steer_bos: bool
    selection: "Selection"
    per_layer: bool
    unit_layers: tuple[int, int] | None

    def plan(self, experts: "ExpertTable", target: str) -> "Intervention":
        """Plan it for the experts of a language.

        Raises:
            SelectionError: the language is unknown, or there are too few experts.
            InterventionError: the value does not suit the operation.
        """
        from steer_plugin.experts.selection import Choice

        try:
            value: str | float = float(self.value)
        except ValueError:
            value = self.value
        return experts.intervention(
            target,
            top_k=self.top_k,
            operation=self.operation,
            value=value,
            strength=self.strength,
            positions=self.positions,
            bos=self.steer_bos,
            choice=Choice(self.selection, self.per_layer, self.unit_layers),
        )


def options(*each: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make one decorator of several options, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(each):
            command = option(command)
        return command

    return decorate


def bundle(
    name: str, kind: type, *each: Callable[[Command], Command]
) -> Callable[[Command], Command]:
    """Make a decorator that adds options to a command and hands them over as one object."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(**given: Any) -> Any:
            chosen = kind(**{part.name: given.pop(part.name) for part in fields(kind)})
            return command(**{name: chosen}, **given)

        return options(*each)(gathered)

    return decorate


def distinct(
    context: click.Context,  # noqa: ARG001 (click hands it over)
    option: click.Parameter,  # noqa: ARG001
    values: tuple[int, ...],
) -> tuple[int, ...]:
    """Refuse values that are given twice."""
    if len(set(values)) < len(values):
        raise click.BadParameter("give each once")
    return values


host_options = options(
    click.option(
        "--host",
        type=click.Choice(["transformer_lens", "nnsight", "ndif"]),
        help="What runs the model: TransformerLens or nnsight here, or an NDIF server. "
        "Default: transformer_lens.",
    ),
    click.option(
        "--ndif-url",
        help="Of the NDIF server. Default: nnsight's own setting, as for the API key.",
    ),
    click.option(
        "--ndif-patience",
        type=click.FloatRange(0),
        help="Seconds to wait for an NDIF server that is gone. Default: 120.",
    ),
)

threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    help="CPU threads. Default: one a core; take 1 where other work keeps the cores busy.",
)

model_options = bundle(
    "model",
    ModelChoice,
    click.option(
        "--model",
        required=True,
        help="Hub id, local folder, .gguf file, or 'demo' for Gemma 3 270M.",
    ),
    click.option(
        "--device",
        default=DEVICE,
        show_default=True,
        help="Such as cpu or cuda:0; with --host nnsight also auto, over all there are.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default=DTYPE,
        show_default=True,
        help="Precision of the model.",
    ),
    click.option(
        "--bos/--no-bos",
        default=None,
        help="Put BOS before each text. Default: as the model's tokenizer ships.",
    ),
    click.option(
        "--batch-tokens",
        type=click.IntRange(1),
        default=2048,
        show_default=True,
        help="Padded tokens a batch.",
    ),
    threads_option,
    host_options,
)

corpus_options = bundle(
    "corpus",
    CorpusChoice,
    click.option(
        "--corpus",
        default="everyday",
        show_default=True,
        help="FLORES-200 folder, .tsv, .csv, .jsonl or .parquet file; 'everyday' is bundled.",
    ),
    click.option(
        "--language",
        "languages",
        multiple=True,
        help="Take only these languages, such as deu_Latn. Repeatable. Default: all.",
    ),
    click.option("--sentences", type=click.IntRange(4), help="Take only the first so many."),
)

steering_options = bundle(
    "steering",
    Steering,
    click.option(
        "--top-k",
        type=click.IntRange(0),
        default=300,
        show_default=True,
        help="How many experts to steer.",
    ),
    click.option(
        "--operation",
        type=click.Choice(["set", "add", "scale", "blend", "aura", "affine"]),
        default="set",
        show_default=True,
        help="What is done to them.",
    ),
    click.option(
        "--value",
        default="mean",
        show_default=True,
        help="What is written: mean, median, off_mean, mean_difference, zero, a quantile such "
        "as q95, or a number; aura and affine have values of their own.",
    ),
    click.option(
        "--strength", type=float, default=1.0, show_default=True, help="0 is none, 1 is whole."
    ),
    click.option(
        "--positions",
        type=click.Choice(["all", "prompt", "generated"]),
        default="all",
        show_default=True,
        help="Which tokens are steered.",
    ),
    click.option(
        "--steer-bos/--keep-bos",
        default=True,
        show_default=True,
        help="Whether the BOS token is steered as well.",
    ),
    click.option(
        "--selection",
        type=click.Choice(["top", "bottom", "top+bottom"]),
        default="top",
        show_default=True,
        help="The units that score highest, lowest, or half of each.",
    ),
    click.option("--per-layer", is_flag=True, help="Choose that many in each layer."),
    click.option(
        "--unit-layers",
        type=(click.IntRange(0), click.IntRange(0)),
        metavar="FIRST LAST",
        default=None,
        help="Choose units of these blocks only. Default: all.",
    ),
)

split_option = click.option(
    "--split-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the split into the half that finds experts and the half that judges.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON records on stdout.")

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for results. Default: out/ and the file's name.",
)
