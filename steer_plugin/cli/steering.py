"""What the commands that steer ask for: saved plans, and what is done to experts."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import click

from steer_plugin.cli.options import PartChoice, bundle, say
from steer_plugin.cli.sections import option
from steer_plugin.errors import InterventionError
from steer_plugin.settings.names import (
    HEADS,
    SELECTIONS,
    Operation,
    Selection,
)
from steer_plugin.settings.parts import OPERATIONS, SITES
from steer_plugin.settings.positions import positions_text
from steer_plugin.settings.probe import ProbeSettings

if TYPE_CHECKING:
    from steer_plugin.experts.table import ExpertTable
    from steer_plugin.interventions.plan import AnyPlan
    from steer_plugin.models.adapter import Adapter


# The options that say something of experts, of units by hand, and of either.
OF_EXPERTS = ("top_k", "value", "selection", "per_layer", "unit_layers")
OF_UNITS = ("unit_site",)
OF_BOTH = ("operation", "strength", "positions", "steer_bos")


def _refuse_given(names: Sequence[str], reason: str) -> None:
    """Refuse options that would do nothing, where they are given.

    Raises:
        click.UsageError: one is.
    """
    context = click.get_current_context()
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if param.name in names and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{param.opts[0]} is for {reason}, or leave it out")


@dataclass(frozen=True)
class Steering:
    """What is done to a model: saved plans in order, then to experts, then to single units."""

    experts: Path | None
    target: str | None
    plans: tuple[Path, ...]
    units: tuple[tuple[str, float], ...]
    unit_site: str | None
    top_k: int
    operation: Operation
    value: str | None
    strength: float
    positions: str
    steer_bos: bool
    selection: Selection
    per_layer: bool
    unit_layers: tuple[int, int] | None

    def __post_init__(self) -> None:
        """Refuse experts of no language, and a language that nothing is steered towards."""
        experts_alone = self.experts is not None and self.target is None
        # A saved plan, or units by hand, may be judged by a target.
        steered = self.experts is not None or self.plans or self.units
        if experts_alone or (self.target is not None and not steered):
            raise click.UsageError("--experts and --target go together; give both or neither")
        if self.experts is None:
            _refuse_given(OF_EXPERTS, "experts, and there are none; give --experts and --target")
        if not self.units:
            _refuse_given(OF_UNITS, "units by hand, and there are none; give --unit")
        if self.experts is None and not self.units:
            _refuse_given(
                OF_BOTH,
                "experts and units by hand, and saved plans have their own; give --experts and "
                "--target, or --unit",
            )

    @cached_property
    def table(self) -> "ExpertTable | None":
        """The experts, if there are any."""
        from steer_plugin.experts.table import ExpertTable

        return None if self.experts is None else ExpertTable.load(self.experts)

    def plan(self) -> "AnyPlan | None":
        """Plan it; None where nothing is to be done.

        Raises:
            ArtifactError: a plan or the experts cannot be read.
            SelectionError: the language or label is unknown, or there are too few experts.
            InterventionError: the value does not suit the operation.
        """
        from steer_plugin.interventions.intervention import Intervention
        from steer_plugin.interventions.plan import Plan

        steps: list[AnyPlan] = [Plan.load(folder) for folder in self.plans]
        if self.table is not None and self.target is not None:
            steps.append(self._of_experts(self.table, self.target))
        if self.units:
            of_heads = any("H" in label for label, _ in self.units)
            steps.append(
                Intervention.of(
                    dict(self.units),
                    site=self.unit_site or (HEADS if of_heads else ProbeSettings.site),
                    operation=self.operation,
                    strength=self.strength,
                    positions=self.positions,
                    bos=self.steer_bos,
                )
            )
        return reduce(add, steps) if steps else None

    def check(self, adapter: "Adapter", plan: "AnyPlan | None") -> None:
        """Refuse experts of a model with other units, and a plan for what this one lacks.

        Args:
            adapter: of the model.
            plan: what was planned.

        Raises:
            SiteError: they are of such a model, or for such units.
        """
        from steer_plugin.experts.transfer import check_units

        if self.table is not None:
            check_units(self.table, adapter)
        adapter.check_plan(plan)

    def some_plan(self) -> "AnyPlan":
        """Plan it, as `plan` does.

        Raises:
            click.UsageError: nothing is to be done.
        """
        plan = self.plan()
        if plan is None:
            raise click.UsageError(
                "nothing says how to steer; give --experts and --target, --plan or --unit"
            )
        return plan

    def _of_experts(self, experts: "ExpertTable", target: str) -> "AnyPlan":
        from steer_plugin.experts.selection import Choice, tied_phrase

        value: str | float | None = self.value
        if value is not None:
            with suppress(ValueError):
                value = float(value)
        plan = experts.intervention(
            target,
            top_k=self.top_k,
            operation=self.operation,
            value=value,
            strength=self.strength,
            positions=self.positions,
            bos=self.steer_bos,
            choice=Choice(self.selection, self.per_layer, self.unit_layers),
        )
        if tied := plan.provenance["tied_at_edge"]:
            say(tied_phrase(target, self.top_k, tied))
        return plan


def _units(
    context: click.Context,  # noqa: ARG001 (click hands it over)
    option: click.Parameter,  # noqa: ARG001
    given: tuple[str, ...],
) -> tuple[tuple[str, float], ...]:
    """Read `L12N345=3.1`, each unit once."""
    units: dict[str, float] = {}
    for unit in given:
        label, _, value = unit.partition("=")
        if label in units:
            raise click.BadParameter(f"{label} is given twice; give it once")
        try:
            units[label] = float(value)
        except ValueError as error:
            raise click.BadParameter(
                f"{unit!r} is no unit with a value; write such as L12N345=3.1"
            ) from error
    return tuple(units.items())


def _positions(
    context: click.Context,  # noqa: ARG001 (click hands it over)
    option: click.Parameter,  # noqa: ARG001
    given: str,
) -> str:
    """Read a name or a slice."""
    try:
        return positions_text(given)
    except InterventionError as error:
        raise click.BadParameter(str(error)) from error


steering_options = bundle(
    "steering",
    Steering,
    option(
        "--experts",
        section="Steering",
        type=click.Path(path_type=Path),
        help="Folder that `find` saved. Steers its units.",
    ),
    option("--target", section="Steering", help="The language or label to steer towards."),
    option(
        "--plan",
        "plans",
        section="Steering",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Folder that `plan` saved. Repeatable: one after another, then experts, then units.",
    ),
    option(
        "--unit",
        "units",
        section="Steering",
        metavar="UNIT=VALUE",
        multiple=True,
        callback=_units,
        help="A unit by hand and the value that the operation takes, such as L12N345=3.1; a whole "
        "attention head is L3H7=0. Repeatable.",
    ),
    option(
        "--unit-site",
        section="Steering",
        type=PartChoice(SITES),
        default=None,
        show_default=f"{ProbeSettings.site}, for heads {HEADS}",
        help="Where the units of --unit are.",
    ),
    option(
        "--top-k",
        section="Steering",
        type=click.IntRange(0),
        default=300,
        show_default=True,
        help="How many experts to steer.",
    ),
    option(
        "--operation",
        section="Steering",
        type=PartChoice(OPERATIONS),
        default="set",
        show_default=True,
        help="What is done to them.",
    ),
    option(
        "--value",
        section="Steering",
        show_default="mean, for add mean_difference",
        help="What is written: mean, median, off_mean, mean_difference, zero, a quantile such "
        "as q95, or a number; aura and affine have values of their own.",
    ),
    option(
        "--strength",
        section="Steering",
        type=float,
        default=1.0,
        show_default=True,
        help="0 is none, 1 is whole.",
    ),
    option(
        "--positions",
        section="Steering",
        metavar="WHERE",
        default="all",
        show_default=True,
        callback=_positions,
        help="Which tokens are steered: all, prompt, the prompt's own text without what a template "
        "puts around it, generated, the prompt's last, or a slice of each prompt's tokens, such as "
        "-3: or 1:4.",
    ),
    option(
        "--steer-bos/--keep-bos",
        section="Steering",
        default=True,
        show_default=True,
        help="Whether the BOS token is steered as well.",
    ),
    option(
        "--selection",
        section="Steering",
        type=click.Choice(SELECTIONS),
        default="top",
        show_default=True,
        help="The units that score highest, lowest, or half of each.",
    ),
    option("--per-layer", section="Steering", is_flag=True, help="Choose that many in each layer."),
    option(
        "--unit-layers",
        section="Steering",
        type=(click.IntRange(0), click.IntRange(0)),
        metavar="FIRST LAST",
        default=None,
        help="Choose units of these blocks only. Default: all.",
    ),
)
