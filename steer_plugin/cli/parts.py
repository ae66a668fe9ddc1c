"""`parts`: what can be chosen by name, and whose it is."""

from typing import Any

import click

from steer_plugin.cli.options import json_option
from steer_plugin.cli.output import print_frame
from steer_plugin.cli.sections import command, option
from steer_plugin.errors import SteerError
from steer_plugin.registry import Registry
from steer_plugin.settings.parts import REGISTRIES


@command
@option(
    "--axis",
    section="Units",
    type=click.Choice([registry.noun for registry in REGISTRIES]),
    help="Of this axis alone. Default: of all.",
)
@json_option
def parts(axis: str | None, as_json: bool) -> None:
    """List what can be chosen by name, and whose it is.

    Sites, poolings, scores, operations, methods, controls, measures and corpus readers: ours, and
    those of installed packages. docs/own-parts.md says how to add one.
    """
    import pandas as pd

    rows = [
        {"axis": registry.noun, "name": name, **_about(registry, name)}
        for registry in REGISTRIES
        for name in registry
        if axis in (None, registry.noun)
    ]
    print_frame(pd.DataFrame(rows), as_json)


def _about(registry: Registry[Any, Any], name: str) -> dict[str, str]:
    """Say whose a part is and what it is; of one that cannot be loaded, why."""
    try:
        part, origin = registry[name], registry.origin(name) or {"package": "steer-plugin"}
    except SteerError as error:
        return {"from": "?", "what": str(error)}
    whose = origin.get("package") or origin["module"]
    words = [getattr(part, name, None) for name in ("help", "title", "label")]
    words.append(getattr(getattr(part, "function", None), "__doc__", None))
    return {
        "from": " ".join(filter(None, [whose, origin.get("version")])),
        "what": next(filter(None, words), "").strip().partition("\n")[0],
    }
