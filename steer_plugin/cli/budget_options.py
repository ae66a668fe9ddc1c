"""What commands ask for about memory, disk and the cache."""

from pathlib import Path
from typing import Any

import click

from steer_plugin.cli.options import bundle
from steer_plugin.cli.sections import option
from steer_plugin.errors import ArtifactError
from steer_plugin.settings.budget import MEMORY, Budget
from steer_plugin.settings.cache import CACHE, default_cache


class Size(click.ParamType):  # type: ignore[type-arg] # older clicks take no argument
    """A number of bytes, such as 4GB or 512MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it.

        Raises:
            click.BadParameter: it is no size, or none at all.
        """
        if isinstance(value, int):
            return value
        from pydantic import ByteSize, TypeAdapter, ValidationError

        try:
            size = int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            size = 0
        if size <= 0:
            self.fail(f"{value!r} is no size; give one such as 4GB or 512MiB", param, ctx)
        return size


def _default_cache(
    context: click.Context,  # noqa: ARG001 (click hands it over)
    option: click.Parameter,  # noqa: ARG001
    value: Path | None,
) -> Path | None:
    return default_cache() if value is None else value


def need_cache(cache: Path | None) -> Path:
    """Give the cache's folder.

    Raises:
        ArtifactError: it is not given, and the user has no folder of their own to put it in.
    """
    if cache is None:
        raise ArtifactError(
            f"no folder for responses can be named, since HOME is not set; set {CACHE} to one, or "
            "give --cache"
        )
    return cache


cache_option = option(
    "--cache",
    section="Memory and disk",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=CACHE,
    show_envvar=True,
    callback=_default_cache,
    help="Folder in which responses and converted .gguf files are kept. Default: in the user's own "
    "cache folder.",
)

memory_option = option(
    "--memory",
    section="Memory and disk",
    type=Size(),
    default=f"{MEMORY // 10**9}GB",
    show_default=True,
    help="Working memory, beside the model and the activations of one batch.",
)

budget_options = bundle(
    "budget",
    Budget,
    memory_option,
    option(
        "--disk",
        section="Memory and disk",
        type=Size(),
        default=None,
        help="What responses may take on disk; where it is short, layers are read in several "
        "passes. Default: what is free.",
    ),
    cache_option,
)
