"""`generate`: prompts continued without and with steering."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.model import load_model
from steer_plugin.cli.options import Steering, json_option, model_options, steering_options
from steer_plugin.cli.output import print_frame
from steer_plugin.settings.model import ModelSettings

if TYPE_CHECKING:
    from steer_plugin.interventions.plan import Intervention


@click.command()
@model_options
@click.option(
    "--experts",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder that `find` saved.",
)
@click.option("--target", required=True, help="The language or label to steer towards.")
@steering_options
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    default=("",),
    help="Text to continue. Repeatable. Default: BOS alone.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="At most so many tokens more.",
)
@click.option(
    "--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="0 is greedy."
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Sample from the likeliest tokens that together have this probability.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the sampling."
)
@json_option
def generate(
    model: ModelSettings,
    experts: Path,
    target: str,
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

    from steer_plugin.experts.table import ExpertTable

    plan = steering.plan(ExpertTable.load(experts), target)
    adapter = load_model(model)

    def continued(intervention: "Intervention | None") -> list[str]:
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
