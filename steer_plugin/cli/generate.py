"""`generate`: prompts continued without and with steering."""

import sys
from typing import TYPE_CHECKING, Any

import click

from steer_plugin.cli.model import load_model
from steer_plugin.cli.options import json_option, model_options, say
from steer_plugin.cli.output import print_frame
from steer_plugin.cli.sections import command, option
from steer_plugin.cli.steering import Steering, steering_options
from steer_plugin.settings.model import ModelSettings

if TYPE_CHECKING:
    from steer_plugin.interventions.plan import AnyPlan


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
    help="Print each text as it is written, one prompt after another. Default: on a terminal.",
)
@json_option
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
    import pandas as pd

    from steer_plugin.models.provenance import found_on

    if stream and as_json:
        raise click.UsageError("--stream prints texts, and --json records; give one of them")
    plan = steering.some_plan()
    adapter = load_model(model)
    for name in found_on(plan):
        if name != adapter.info.name:
            say(f"Note: the experts were found on {name}, and {adapter.info.name} is steered")

    def continued(intervention: "AnyPlan | None", **how: Any) -> tuple[str, ...]:
        return adapter.generate(
            prompts,
            intervention=intervention,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            **how,
        ).texts

    if not as_json and (sys.stdout.isatty() if stream is None else stream):
        for row, prompt in enumerate(prompts):
            click.echo(f"prompt: {prompt}")
            for name, intervention in (("before: ", None), ("after:  ", plan)):
                click.echo(name, nl=False)
                continued(
                    intervention, rows=[row], told=lambda _, piece: click.echo(piece, nl=False)
                )
                click.echo()
            click.echo()
        return
    before = continued(None, progress="before")
    after = continued(plan, progress="after")
    if as_json:
        print_frame(pd.DataFrame({"prompt": prompts, "before": before, "after": after}), as_json)
        return
    for texts in zip(prompts, before, after, strict=True):
        click.echo("prompt: {}\nbefore: {}\nafter:  {}\n".format(*texts))
