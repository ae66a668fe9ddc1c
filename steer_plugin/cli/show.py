"""`show`: the experts that `find` saved."""

from pathlib import Path

import click

from steer_plugin.cli.options import json_option, say
from steer_plugin.cli.output import best_units, print_frame
from steer_plugin.cli.sections import command, option


@command
@click.argument("experts", type=click.Path(path_type=Path))
@option(
    "--concept",
    "concepts",
    section="Units",
    multiple=True,
    help="Only these. Repeatable. Default: all.",
)
@option(
    "--top-k",
    section="Units",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="How many of the best units of each.",
)
@option(
    "--view",
    section="Units",
    type=click.Choice(["units", "layers", "overlap"]),
    default="units",
    show_default=True,
    help="The best units, how they spread over layers, or which ones concepts share.",
)
@json_option
def show(experts: Path, concepts: tuple[str, ...], top_k: int, view: str, as_json: bool) -> None:
    """Show the experts that `find` saved.

    EXPERTS is the folder it saved them in.
    """
    from steer_plugin.experts.selection import tied_phrase
    from steer_plugin.experts.summaries import experts_by_layer, overlap
    from steer_plugin.experts.table import ExpertTable

    table = ExpertTable.load(experts)
    chosen = concepts or table.concepts
    for concept in chosen:
        table.row(concept)
    if view == "units":
        frame = best_units(table, chosen, top_k)
    else:
        frame = experts_by_layer(table, top_k) if view == "layers" else overlap(table, top_k)
        frame = frame[frame["concept"].isin(chosen)]
    for concept in chosen:
        if tied := table.count_tied(concept, top_k):
            say(tied_phrase(concept, top_k, tied))
    print_frame(frame, as_json)
