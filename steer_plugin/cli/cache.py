"""`cache`: the responses that `find` keeps, and the models that were converted."""

from pathlib import Path

import click

from steer_plugin.cli.budget_options import cache_option, need_cache
from steer_plugin.cli.options import json_option, say
from steer_plugin.cli.output import print_frame
from steer_plugin.cli.sections import SectionedGroup, option


@click.group(cls=SectionedGroup)
def cache() -> None:
    """List, verify or delete kept responses and models."""


@cache.command()
@cache_option
@json_option
def ls(cache: Path | None, as_json: bool) -> None:
    """List what is kept, of which model, and its size."""
    from steer_plugin.responses.pass_cache import Cache

    kept = Cache(need_cache(cache)).frame()
    if kept.empty:
        say(f"{cache} keeps nothing")
    if as_json or not kept.empty:
        print_frame(kept, as_json)


@cache.command()
@click.argument("names", nargs=-1)
@option("--all", "everything", section="Memory and disk", is_flag=True, help="Delete all of them.")
@cache_option
def rm(names: tuple[str, ...], everything: bool, cache: Path | None) -> None:
    """Delete what is kept under these names, as `cache ls` gives them."""
    from steer_plugin.responses.pass_cache import Cache
    from steer_plugin.storage.disk_space import size

    if everything == bool(names):
        raise click.UsageError("give the names of what to delete, or --all")
    say(f"Deleted {size(Cache(need_cache(cache)).remove(names))}")


@cache.command()
@click.argument("names", nargs=-1)
@cache_option
def verify(names: tuple[str, ...], cache: Path | None) -> None:
    """Look at every byte of what is kept under these names, or of all.

    Names files that are damaged on stdout and fails if there is one.
    """
    from steer_plugin.errors import ArtifactError
    from steer_plugin.responses.pass_cache import Cache

    damaged = Cache(need_cache(cache)).damaged(names)
    for path in damaged:
        click.echo(path)
    if damaged:
        raise ArtifactError(f"{len(damaged)} damaged; whoever reads them next makes them anew")
    say("All is whole")
