"""How commands print what they find."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from steer_plugin.experts.table import ExpertTable


def _is_printable(text: str) -> bool:
    """Tell whether stdout has all of a text's characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def best_units(experts: "ExpertTable", concepts: Sequence[str], k: int) -> "pd.DataFrame":
    """List the k best units for each of some concepts."""
    import pandas as pd

    return pd.concat([experts.frame(concept, k) for concept in concepts], ignore_index=True)


def print_frame(frame: "pd.DataFrame", as_json: bool) -> None:
    """Print a table on stdout, for people or as JSON records."""
    if as_json:
        print_json(json.loads(frame.to_json(orient="records", double_precision=15)), indent=2)
    else:
        click.echo(frame.to_string(index=False, float_format=lambda value: f"{value:.4g}"))


def print_json(value: Any, indent: int | None = None) -> None:
    """Print JSON on stdout, on one line where nothing is indented."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    click.echo(text if _is_printable(text) else json.dumps(value, indent=indent))
