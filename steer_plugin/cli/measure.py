"""`align` and `retrieve`: a measurement before and after steering."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.model import load_model
from steer_plugin.cli.options import (
    CorpusOptions,
    PartChoice,
    bundle,
    corpus_options,
    distinct,
    json_option,
    model_options,
    say,
    split_option,
    usage,
)
from steer_plugin.cli.output import print_frame
from steer_plugin.cli.sections import command, option
from steer_plugin.cli.steering import Steering, steering_options
from steer_plugin.settings.model import ModelSettings
from steer_plugin.settings.parts import MEASURES

if TYPE_CHECKING:
    import pandas as pd

    from steer_plugin.analyses.statistics.figures import Figures
    from steer_plugin.corpora.parallel import ParallelCorpus
    from steer_plugin.experts.table import ExpertTable
    from steer_plugin.interventions.plan import AnyPlan
    from steer_plugin.models.adapter import Adapter


@dataclass(frozen=True)
class Measurement:
    """What is measured, and beside what."""

    model: ModelSettings
    corpus: CorpusOptions
    split_seed: int
    steering: Steering
    layer: str
    control_seeds: tuple[int, ...]

    def frame(self, measure: str) -> "pd.DataFrame":
        """Measure the half of the corpus that judges.

        Args:
            measure: one of `steer_plugin.settings.parts.MEASURES`.

        Returns:
            The figures as the model is; with a plan, the figures before and after steering beside
            those of the controls.
        """
        from steer_plugin.analyses.controls.random_units import matched_control
        from steer_plugin.analyses.measures.every_measure import figures_by
        from steer_plugin.analyses.run.inputs import check_groups, check_targets
        from steer_plugin.analyses.statistics.comparison import compare
        from steer_plugin.corpora.named_corpora import need_parallel
        from steer_plugin.interventions.plan import acting_steps
        from steer_plugin.models.provenance import moved_lines
        from steer_plugin.responses.embeddings import embed

        target = self.steering.target
        finding, judging = usage(need_parallel, corpus=self.corpus.read(), what=measure).split(
            seed=self.split_seed
        )
        check_groups(judging)
        if target is not None:
            check_targets(judging, [target])
        plan = self.steering.plan()
        steered = {step.positions for step in acting_steps(plan)}
        if "generated" in (self.steering.positions, *steered):
            raise click.UsageError("embeddings have no generated tokens; steer all or prompt")
        adapter = load_model(self.model)
        self.steering.check(adapter, plan)

        def measured(name: str, intervention: "AnyPlan | None") -> "Figures":
            embedded = embed(
                adapter,
                judging,
                layer=int(self.layer) if self.layer.isdecimal() else self.layer,
                intervention=intervention,
                progress=name,
            )
            return figures_by(
                measure, embedded, target=target, same=judging.same, groups=judging.groups
            )

        if plan is None:
            return measured("before", None).frame()
        if self.steering.table is not None:
            _tell_differences(self.steering.table, adapter, finding)
        else:
            for line in moved_lines(plan, adapter.info):
                say(line)
        spaces = [adapter.space(site) for site in {step.site for step in plan.steps}]
        controls = [matched_control(plan, *spaces, seed=seed) for seed in self.control_seeds]
        return compare(
            measured("before", None),
            measured("experts", plan),
            [measured("control", control) for control in controls],
        )


measurement_options = bundle(
    "measurement",
    Measurement,
    model_options,
    corpus_options,
    split_option,
    steering_options,
    option(
        "--layer",
        section="Measurement",
        default="final",
        show_default=True,
        help="A block's index, or final.",
    ),
    option(
        "--control-seed",
        "control_seeds",
        section="Measurement",
        type=click.IntRange(0),
        multiple=True,
        default=(0, 1, 2),
        show_default="0, 1 and 2",
        callback=distinct,
        help="One random control each. Repeatable; of fewer than three nothing is said but their "
        "values.",
    ),
)


def _tell_differences(table: "ExpertTable", adapter: "Adapter", finding: "ParallelCorpus") -> None:
    from steer_plugin.experts.transfer import differences

    for line in differences(table, adapter):
        say(line)
    if table.provenance.get("corpus", {}).get("hash") != finding.hash:
        say(
            "Note: the experts were found on another corpus or split; sentences that found them "
            "may judge them here"
        )


@command
@measurement_options
@json_option
def align(measurement: Measurement, as_json: bool) -> None:
    """Measure how far apart the languages lie.

    With --experts, --plan or --unit: before and after steering, beside random controls.
    """
    print_frame(measurement.frame("alignment"), as_json)


@command
@measurement_options
@json_option
def retrieve(measurement: Measurement, as_json: bool) -> None:
    """Measure how well sentences find translations.

    With --experts, --plan or --unit: before and after steering, beside random controls.
    """
    print_frame(measurement.frame("retrieval"), as_json)


@command
@click.argument("name", type=PartChoice(MEASURES))
@measurement_options
@json_option
def measure(name: str, measurement: Measurement, as_json: bool) -> None:
    """Measure embeddings by any measure that is registered.

    With --experts, --plan or --unit: before and after steering, beside random controls.
    """
    print_frame(measurement.frame(name), as_json)
