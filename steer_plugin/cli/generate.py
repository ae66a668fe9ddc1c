"""`generate`: prompts continued without and with steering."""

import sys
from typing import TYPE_CHECKING, Any

import click

from steer_plugin.cli.model import load_model
from steer_plugin.cli.options import model_options, say
from steer_plugin.cli.output import print_json
from steer_plugin.cli.sections import command, option
from steer_plugin.cli.steering import Steering, steering_options
from steer_plugin.settings.model import ModelSettings

if TYPE_CHECKING:
    from steer_plugin.interventions.plan import AnyPlan
    from steer_plugin.models.generation import Generation


@command
@model_options
@steering_options
@option(
    "--prompt",
    "prompts",
    section="Text",
    multiple=True,
    default=("",),
    help="Text to continue. Repeatable. Default: BOS alone.",
)
@option(
    "--max-new-tokens",
    section="Text",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="At most so many tokens more.",
)
@option(
    "--temperature",
    section="Text",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="0 is greedy.",
)
@option(
    "--top-p",
    section="Text",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Sample from the likeliest tokens that together have this probability.",
)
@option(
    "--seed",
    section="Text",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the sampling.",
)
@option(
    "--stream/--no-stream",
    section="Text",
    default=None,
    help="Print each text as it is written, one prompt after another; with --json each prompt's "
    "object as soon as it is whole. Default: on a terminal, but not with --json.",
)
@option(
    "--json",
    "as_json",
    section="Output",
    is_flag=True,
    help="Print one JSON object a prompt, each on a line of its own, on stdout: prompt, before and "
    "after; these with text, ids, log_probabilities (of each new token, in nats), finish_reason "
    "(stop or length) and provenance.",
)
def generate(
    model: ModelSettings,
    steering: Steering,
    prompts: tuple[str, ...],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stream: bool | None,
    as_json: bool,
) -> None:
    """Continue prompts without and with steering.

    What is written depends on the seed and a prompt's place, not on the other prompts.
    """
    from steer_plugin.models.provenance import moved_lines

    plan = steering.some_plan()
    adapter = load_model(model)
    steering.check(adapter, plan)
    for line in moved_lines(plan, adapter.info):
        say(line)

    def continued(intervention: "AnyPlan | None", rows: list[int], **how: Any) -> "Generation":
        return adapter.generate(
            prompts,
            rows=rows,
            intervention=intervention,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            **how,
        )

    everything = [*range(len(prompts))]
    if not as_json and (sys.stdout.isatty() if stream is None else stream):
        for row in everything:
            click.echo(f"prompt: {prompts[row]}")
            for name, intervention in (("before: ", None), ("after:  ", plan)):
                click.echo(name, nl=False)
                continued(intervention, [row], told=lambda _, piece: click.echo(piece, nl=False))
                click.echo()
            click.echo()
        return
    for rows in [[row] for row in everything] if stream else [everything]:
        before = continued(None, rows, progress=None if stream else "before")
        after = continued(plan, rows, progress=None if stream else "after")
        halves = zip(before.records(), after.records(), strict=True)
        for row, (unsteered, steered) in zip(rows, halves, strict=True):
            if as_json:
                print_json({"prompt": prompts[row], "before": unsteered, "after": steered})
            else:
                texts = (prompts[row], unsteered["text"], steered["text"])
                click.echo("prompt: {}\nbefore: {}\nafter:  {}\n".format(*texts))
