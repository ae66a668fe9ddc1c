"""`find`, and `merge` of what several of it have read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.budget_options import budget_options, memory_option, need_cache
from steer_plugin.cli.model import load_model
from steer_plugin.cli.options import (
    CorpusOptions,
    check_out,
    corpus_options,
    json_option,
    make_out,
    model_options,
    probe_options,
    say,
    split_option,
)
from steer_plugin.cli.output import best_units, print_frame
from steer_plugin.cli.sections import command, option
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.model import ModelSettings
from steer_plugin.settings.probe import ProbeSettings

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


experts_out_option = option(
    "--out",
    section="Output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to save in.",
)


@command
@model_options
@corpus_options
@split_option
@probe_options
@budget_options
@option(
    "--shard",
    "share",
    section="Sentences",
    metavar="I/N",
    default=None,
    callback=_share,
    help="Read only the Ith of N equal shares of the corpus, for `merge`.",
)
@option(
    "--shuffle-labels",
    "shuffled",
    section="Units",
    type=click.IntRange(0),
    metavar="SEED",
    help="Score under labels that say nothing: what the best units score by chance.",
)
@experts_out_option
@json_option
def find(
    model: ModelSettings,
    corpus: CorpusOptions,
    split_seed: int,
    probe: ProbeSettings,
    budget: Budget,
    share: tuple[int, int] | None,
    shuffled: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Score every unit for every language or label.

    The texts are the half of the corpus that finds; `align` and `retrieve` judge on the other.
    Responses are kept as they come: the same command goes on where it stopped, and another score of
    the same sentences takes no further pass. `cache ls` lists them, `cache rm` deletes them.
    """
    check_out(out, model.model)
    finding, _ = corpus.read().split(seed=split_seed)
    if share is not None:
        from steer_plugin.experts.shards import ABOUT, KIND, Shard, read_shard

        _refuse_options("memory", "disk", "cache", "shuffled")
        shard = Shard(*share)
        _claim(out, KIND, ABOUT)
        read_shard(load_model(model), finding, out, shard, probe, progress=f"find {shard}")
        say(f"Saved {out}; `steer-plugin merge` puts all {shard.of} shards together")
        return
    from steer_plugin.experts.search import find_experts

    need_cache(budget.cache)
    _claim(out, "experts")
    experts = find_experts(
        load_model(model, budget),
        finding,
        probe,
        budget=budget,
        shuffled=shuffled,
        progress="find",
        say=say,
    )
    say(f"Responses are kept in {budget.cache}; `steer-plugin cache rm` deletes them")
    _finish(experts, out, as_json)


@command
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

    make_out(out)
    if any(out.iterdir()):
        read_artifact(out / where, kind)


def _refuse_options(*names: str) -> None:
    """Refuse options that do nothing for a shard."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            option = {"shuffled": "shuffle-labels"}.get(name, name)
            raise click.UsageError(f"--{option} does nothing for a shard; leave it out")
