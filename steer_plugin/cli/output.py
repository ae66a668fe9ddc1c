"""How commands print what they find."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

    from steer_plugin.experts.table import ExpertTable


def best_units(experts: "ExpertTable", concepts: Sequence[str], k: int) -> "pd.DataFrame":
    """List the k best units for each of some concepts."""
    import pandas as pd

    return pd.concat([experts.frame(concept, k) for concept in concepts], ignore_index=True)


def print_frame(frame: "pd.DataFrame", as_json: bool) -> None:
    """Print a table on stdout, for people or as JSON records."""
    if as_json:
        records = json.loads(frame.to_json(orient="records", double_precision=15))
        click.echo(json.dumps(records, ensure_ascii=False, indent=2))
    else:
        click.echo(frame.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
