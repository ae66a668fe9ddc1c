"""`find`, and `merge` of what several of it have read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steer_plugin.cli.budget_options import Size, cache_option, memory_option
from steer_plugin.cli.options import (
    SITE_NAMES,
    CorpusChoice,
    ModelChoice,
    corpus_options,
    json_option,
    model_options,
    say,
    split_option,
)
from steer_plugin.cli.output import best_units, print_frame

if TYPE_CHECKING:
    from steer_plugin.experts.table import ExpertTable


def _share(
    context: click.Context,  # noqa: ARG001 (click hands it over)
    option: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> tuple[int, int] | None:
    if value is None:
        return None
    parsed = re.fullmatch(r"(\d+)/(\d+)", value)
    if parsed is None or not 1 <= int(parsed[1]) <= int(parsed[2]):
        raise click.BadParameter(f"{value!r} is no share; give one such as 1/4 or 4/4")
    return int(parsed[1]), int(parsed[2])


experts_out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to save in.",
)


@click.command()
@model_options
@corpus_options
@split_option
@click.option(
    "--site",
    type=click.Choice(SITE_NAMES),
    default="mlp.hook_post",
    show_default=True,
    help="Which tensor's coordinates are the units, by its TransformerLens name.",
)
@click.option(
    "--pooling",
    type=click.Choice(["max", "mean", "min", "last"]),
    default="max",
    show_default=True,
    help="How a sentence's tokens become one response.",
)
@click.option(
    "--score",
    type=click.Choice(
        ["auroc", "average_precision", "mean_difference", "activation_frequency", "lape"]
    ),
    default="auroc",
    show_default=True,
    help="How well a unit tells a language from the others.",
)
@memory_option
@click.option(
    "--disk",
    type=Size(),
    default=None,
    help="What responses may take on disk; where it is short, layers are read in several passes. "
    "Default: what is free.",
)
@cache_option
@click.option(
    "--shard",
    "share",
    metavar="I/N",
    default=None,
    callback=_share,
    help="Read only the Ith of N equal shares of the corpus, for `merge`.",
)
@experts_out_option
@json_option
def find(
    model: ModelChoice,
    corpus: CorpusChoice,
    split_seed: int,
    site: str,
    pooling: Any,
    score: Any,
    memory: int,
    disk: int | None,
    cache: Path,
    share: tuple[int, int] | None,
    out: Path,
    as_json: bool,
) -> None:
    """Score every unit for every language.

    The sentences are the half of the corpus that finds; `align` and `retrieve` judge on the other.
    Responses are kept as they come: the same command goes on where it stopped, and another score of
    the same sentences takes no further pass. `cache ls` lists them, `cache rm` deletes them.
    """
    finding, _ = corpus.read().split(seed=split_seed)
    if share is not None:
        from steer_plugin.experts.shards import ABOUT, KIND, Shard, read_shard

        _refuse_given("memory", "disk", "cache")
        shard = Shard(*share)
        _claim(out, KIND, ABOUT)
        read_shard(
            model.load(),
            finding,
            out,
            shard,
            site=site,
            pooling=pooling,
            score=score,
            progress=f"find {shard}",
        )
        say(f"Saved {out}; `steer-plugin merge` puts all {shard.of} shards together")
        return
    from steer_plugin.experts.search import find_experts

    _claim(out, "experts")
    experts = find_experts(
        model.load(),
        finding,
        site=site,
        pooling=pooling,
        score=score,
        memory=memory,
        disk=disk,
        progress="find",
        say=say,
        keep=cache,
    )
    say(f"Responses are kept in {cache}; `steer-plugin cache rm` deletes them")
    _finish(experts, out, as_json)


@click.command()
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@memory_option
@experts_out_option
@json_option
def merge(shards: tuple[Path, ...], memory: int, out: Path, as_json: bool) -> None:
    """Put the shards of `find --shard` together.

    SHARDS are the folders of all of them. The table is the one that `find` makes alone.
    """
    from steer_plugin.experts.shards import merge_shards

    _claim(out, "experts")
    _finish(merge_shards(shards, memory=memory), out, as_json)


def _finish(experts: "ExpertTable", out: Path, as_json: bool) -> None:
    experts.save(out)
    say(f"Saved {out}")
    print_frame(best_units(experts, experts.concepts, 1), as_json)


def _claim(out: Path, kind: str, where: str = ".") -> None:
    """Refuse, before the long work, a folder that holds something else."""
    from steer_plugin.storage.artifacts import read_artifact

    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        read_artifact(out / where, kind)


def _refuse_given(*names: str) -> None:
    """Refuse options that do nothing for a shard."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} does nothing for a shard; leave it out")
