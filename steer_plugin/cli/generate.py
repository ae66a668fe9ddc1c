"""`generate`: prompts continued without and with steering."""

from typing import TYPE_CHECKING

import click

from steer_plugin.cli.model import load_model
from steer_plugin.cli.options import json_option, model_options
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
@json_option
def generate(
    model: ModelSettings,
    steering: Steering,
    prompts: tuple[str, ...],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    as_json: bool,
) -> None:
    """Continue prompts without and with steering."""
    import pandas as pd

    plan = steering.some_plan()
    adapter = load_model(model)

    def continued(intervention: "AnyPlan | None") -> list[str]:
        return adapter.generate(
            prompts,
            intervention=intervention,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )

    before, after = continued(None), continued(plan)
    if as_json:
        print_frame(pd.DataFrame({"prompt": prompts, "before": before, "after": after}), as_json)
        return
    for texts in zip(prompts, before, after, strict=True):
        click.echo("prompt: {}\nbefore: {}\nafter:  {}\n".format(*texts))
