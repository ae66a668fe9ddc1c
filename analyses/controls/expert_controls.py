"""The controls of a run file: plans that do as much as the experts, without what is claimed."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from steer_plugin.analyses.controls.random_units import (
    equal_values_error,
    random_anywhere,
    random_control,
    shuffled_values,
    with_control_note,
)
from steer_plugin.errors import SelectionError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.experts.table import ExpertTable
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.settings.names import Operation
from steer_plugin.settings.parts import CONTROLS, OPERATIONS, SCORES, Control


@dataclass(frozen=True, eq=False)
class ControlContext:
    """What the controls of one plan are made from.

    Attributes:
        plan: the experts' plan.
        plan_from: makes such a plan, with all of its other settings, from a table of experts, a
            concept and a choice of units.
        experts: the table that `plan` is from.
        concept: that `plan` steers towards.
        choice: of the units of `plan`.
        shuffled: by seed, the same units scored under labels that say nothing (see
            `Probe.shuffled`); empty where `shuffled-labels` is not asked for.
    """

    plan: Intervention
    plan_from: Callable[[ExpertTable, str, Choice], Intervention]
    experts: ExpertTable
    concept: str
    choice: Choice = TOP
    shuffled: Mapping[int, ExpertTable] = field(default_factory=dict)


def other_experts(context: ControlContext, seed: int) -> Intervention:
    """Steer towards another concept: its own experts, with its own values.

    The other concepts take turns: seed 0 gives the one after this in the table, and so on.

    Raises:
        SelectionError: there is no other concept, or it has too few experts.
    """
    concepts = context.experts.concepts
    row = context.experts.row(context.concept)
    others = (*concepts[row + 1 :], *concepts[:row])
    if not others:
        raise SelectionError(f"the expert table has no concept but {context.concept}; find more")
    other = others[seed % len(others)]
    plan = context.plan_from(context.experts, other, context.choice)
    return with_control_note(plan, f"experts of {other}")


def bottom(context: ControlContext, _seed: int) -> Intervention:
    """Steer the units that score lowest for the concept, with their own values.

    Raises:
        SelectionError: the plan itself steers these, or there are too few.
    """
    lowest = _lowest(context.choice, context.experts.score)
    plan = context.plan_from(context.experts, context.concept, lowest)
    return with_control_note(plan, "lowest-scoring units")


def shuffled_labels(context: ControlContext, seed: int) -> Intervention:
    """Steer the best units that shuffled labels find, with those labels' values.

    Raises:
        SelectionError: there is no such table of this seed, or it is of other units.
    """
    if seed not in context.shuffled:
        raise SelectionError(
            f"there is no table by labels shuffled with seed {seed}, only with "
            f"{list(context.shuffled)}; give it in shuffled"
        )
    table = context.shuffled[seed]
    if table.space != context.experts.space:
        raise SelectionError(
            f"the table by shuffled labels is of {len(table.space)} units at {table.space.site}, "
            f"the experts are of {len(context.experts.space)} at {context.experts.space.site}; "
            "give the same"
        )
    plan = context.plan_from(table, context.concept, context.choice)
    return with_control_note(plan, f"labels shuffled, seed {seed}")


def plan_control(name: str, context: ControlContext, seed: int) -> AnyPlan:
    """Plan a control.

    Args:
        name: one of `steer_plugin.settings.parts.CONTROLS` that make plans.
        context: what it is made from.
        seed: of the draw.

    Raises:
        SelectionError: there is no such control, it cannot be drawn, or somebody's own gives no
            plan.
    """
    control = CONTROLS[name]
    with CONTROLS.calling(name):
        plan = control.function(context, seed)
    if not isinstance(plan, AnyPlan):
        raise SelectionError(
            f"the control {name!r} gave an object of type {type(plan).__name__}; give an "
            "Intervention, or several in order as a + b"
        )
    noted = all("control" in step.provenance for step in plan.steps)
    return plan if noted else with_control_note(plan, f"{name}, seed {seed}")


def check_controls(
    names: Collection[str],
    *,
    operation: Operation,
    score: str,
    choice: Choice,
    count: int,
    value: str | float,
) -> None:
    """Refuse controls that no table of experts has a plan for.

    Args:
        names: of `steer_plugin.settings.parts.CONTROLS`.
        operation: what is done to the units.
        score: of the experts.
        choice: of the units that are steered.
        count: how many these are.
        value: what is written to them; see `ExpertTable.intervention`.

    Raises:
        SelectionError: a control would be the plan itself, would do nothing, or has no units.
    """
    for name in names:
        if check := CONTROLS[name].check:
            check(operation=operation, score=score, choice=choice, count=count, value=value)


def _check_bottom(*, operation: str, score: str, choice: Choice, **_: object) -> None:
    _lowest(choice, score)
    if OPERATIONS[operation].value == "auroc":
        raise SelectionError(
            f"{operation!r} leaves units below chance as they are; leave the control 'bottom' "
            "out, or take another operation"
        )


def _check_values(*, count: int, value: str | float, **_: object) -> None:
    if count < 2 or not isinstance(value, str) or value == "zero":
        raise equal_values_error(count)


def _lowest(choice: Choice, score: str) -> Choice:
    """Choose from the other end."""
    lowest = replace(choice, selection="bottom")
    if choice == lowest:
        raise SelectionError(
            "the lowest-scoring units are the plan itself; leave the control 'bottom' out"
        )
    if not SCORES[score].below_chance:
        raise SelectionError(
            f"no unit scores below chance by {score}; leave the control 'bottom' out, or take "
            "another score"
        )
    return lowest


RANDOM_IN_LAYERS = Control(
    lambda context, seed: random_control(context.plan, context.experts.space, seed=seed),
    label="Random, same layers",
    subject="Random neurons of the same layers give",
    what="as many other neurons of the same layers with the experts' values",
)
RANDOM_ANYWHERE = Control(
    lambda context, seed: random_anywhere(context.plan, context.experts.space, seed=seed),
    label="Random, any layer",
    subject="Random neurons of any layer give",
    what="as many other neurons of all layers with the experts' values",
)
SHUFFLED_VALUES = Control(
    lambda context, seed: shuffled_values(context.plan, seed=seed),
    check=_check_values,
    label="Shuffled values",
    subject="The experts with each other's values give",
    what="the experts with each other's values",
)
OTHER_EXPERTS = Control(
    other_experts,
    label="Other languages' experts",
    subject="Other languages' experts give",
    what="another language's experts with their own values",
)
BOTTOM = Control(
    bottom,
    drawn=False,
    check=_check_bottom,
    label="Lowest-scoring neurons",
    subject="The lowest-scoring neurons give",
    what="the neurons{layers} that score lowest, with their own values",
)
SHUFFLED_LABELS = Control(
    shuffled_labels,
    shuffled=True,
    label="Shuffled labels",
    subject="Experts found with shuffled labels give",
    what="the {end} neurons{layers} under shuffled labels, with those labels' values",
)
