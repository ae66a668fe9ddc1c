"""The ways in which a run puts its model to work, and what stands beside what."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import add

import numpy as np

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.analyses.controls.expert_controls import (
    ControlContext,
    check_controls,
    plan_control,
)
from steer_plugin.analyses.controls.random_units import matched_control
from steer_plugin.analyses.run.results import middle
from steer_plugin.analyses.run.setting_types import OWN
from steer_plugin.analyses.run.settings import (
    ExpertSteering,
    PlanSettings,
    RunSettings,
    StepSettings,
)
from steer_plugin.analyses.run.stages.expert_tables import RunExperts
from steer_plugin.errors import InterventionError, SelectionError
from steer_plugin.experts.selection import Choice, check_choice
from steer_plugin.experts.table import ExpertTable
from steer_plugin.experts.values import check_end, check_value
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.methods.catalogue import plan_method, suited_methods
from steer_plugin.responses.steered_probes import ProbeUnder
from steer_plugin.scores.typical_responses import typical_responses
from steer_plugin.settings.parts import CONTROLS, METHODS

MATCHED = "random-in-layers"
"""The control that stands beside every figure."""


@dataclass(frozen=True)
class Condition:
    """One way to run the model.

    Attributes:
        name: of its folder.
        plan: what is done to the model; None for nothing.
    """

    name: str
    plan: AnyPlan | None


@dataclass(frozen=True)
class Comparison:
    """Experts for one target at one k, beside their controls.

    Attributes:
        target: the language that is steered towards.
        top_k: how many units.
        headline: whether this is the k that the report begins with.
        experts: the condition with the experts steered.
        controls: by the word of the run file, the conditions with each draw of the control, equal
            ones once; `random-in-layers` first.
    """

    target: str
    top_k: int
    headline: bool
    experts: Condition
    controls: Mapping[str, tuple[Condition, ...]]

    @property
    def matched(self) -> tuple[Condition, ...]:
        """The draws of the control that stands beside every figure."""
        return self.controls[MATCHED]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The experts, then the controls."""
        return (self.experts, *chain.from_iterable(self.controls.values()))


@dataclass(frozen=True)
class Rival:
    """One of the methods, or a plan of the run file, for one target, beside its control.

    Attributes:
        method: one of `steer_plugin.settings.parts.METHODS`, the name of a plan, or `OWN`.
        target: the language that is steered towards.
        top_k: how many units, those of all steps; 0 for a vector in the residual stream.
        block: the block whose residual stream is steered; -1 for units.
        steered: the condition with the method at work.
        control: the condition with the same done to random units of the same layers, or with a
            random vector of the same length; the first draw of it.
    """

    method: str
    target: str
    top_k: int
    block: int
    steered: Condition
    control: Condition


BEFORE = Condition("before", None)


@dataclass(frozen=True, eq=False)
class Planner:
    """Makes conditions, the same plan always being the same one.

    Attributes:
        tables: of experts, and the vectors, that the plans are made from.
        settings: of the run.
        known: the conditions so far, by plan.
    """

    tables: RunExperts
    settings: RunSettings
    known: dict[AnyPlan, Condition]

    def condition(self, name: str, plan: AnyPlan) -> Condition:
        """Give the condition of a plan; an earlier one's where the plan is the same."""
        return self.known.setdefault(plan, Condition(name, plan))

    def comparison(self, target: str, k: int, controls: Sequence[str] = ()) -> Comparison:
        """Plan the experts of a target, the matched control, and those that are asked for.

        Raises:
            SelectionError: k is too large.
            InterventionError: value and operation do not go together.
        """
        settings = self.settings

        def plan_from(table: ExpertTable, concept: str, choice: Choice) -> Intervention:
            return _plan_experts(table, concept, k, settings, choice)

        plan = plan_from(self.tables.experts, target, settings.choice)
        name = f"{target}-k{k}"
        experts = self.condition(f"{name}-experts", plan)
        context = ControlContext(
            plan=plan,
            plan_from=plan_from,
            experts=self.tables.experts,
            concept=target,
            choice=settings.choice,
            shuffled=self.tables.shuffled,
        )
        draws = {}
        for control in (MATCHED, *controls):
            seeds = settings.control_seeds[: None if CONTROLS[control].drawn else 1]
            conditions = [
                self.condition(
                    f"{name}-{_FOLDERS.get(control, control)}-{seed}",
                    plan_control(control, context, seed),
                )
                for seed in seeds
            ]
            # More seeds than there are draws say no more than one of each.
            draws[control] = tuple(dict.fromkeys(conditions))
        return Comparison(target, k, k == middle(settings.top_k), experts, draws)

    def rival(self, method: str, target: str, k: int, block: int) -> Rival:
        """Plan one of the methods and its controls.

        Raises:
            SelectionError: k is too large.
            InterventionError: the method needs what was not found.
        """
        tables, settings = self.tables, self.settings

        def make(probe_under: ProbeUnder | None = None) -> AnyPlan:
            return plan_method(
                method,
                tables.by_auroc if METHODS[method].auroc and tables.by_auroc else tables.experts,
                tables.vectors,
                target,
                top_k=k,
                layer=block,
                positions=settings.positions,
                bos=settings.steer_bos,
                choice=settings.choice,
                probe_under=probe_under,
            )

        plan = tables.plan(method, target, k, make) if METHODS[method].passes else make()
        vector = METHODS[method].vectors
        space = tables.vectors.space if vector and tables.vectors else tables.experts.space
        steered = self.condition(f"{target}-{method}", plan)
        seed = settings.control_seeds[0]
        control = self.condition(
            f"{target}-{method}-control-{seed}", matched_control(plan, space, seed=seed)
        )
        return Rival(method, target, 0 if vector else k, block if vector else -1, steered, control)

    def own(self, target: str) -> Rival:
        """Give a target's own experts as a rival of plans."""
        k = middle(self.settings.top_k)
        comparison = self.comparison(target, k)
        return Rival(OWN, target, k, -1, comparison.experts, comparison.matched[0])

    def composed(self, plan: PlanSettings) -> Rival:
        """Plan the steps of a plan one after another, and the control that draws for each.

        Raises:
            SelectionError: a k is too large, or a layer has too few units that are no experts.
            InterventionError: value and operation of a step do not go together.
        """
        tables = [self.tables.of(step, self.settings) for step in plan.steps]
        steps: list[AnyPlan] = [
            _plan_experts(table, step.concept, step.top_k, step, step.choice)
            for table, step in zip(tables, plan.steps, strict=True)
        ]
        whole, seed = reduce(add, steps), self.settings.control_seeds[0]
        control = matched_control(whole, *(table.space for table in tables), seed=seed)
        return Rival(
            plan.name,
            plan.target,
            sum(map(len, whole.steps)),
            -1,
            self.condition(f"plan-{plan.name}", whole),
            self.condition(f"plan-{plan.name}-control-{seed}", control),
        )


_FOLDERS = {MATCHED: "random"}


def _plan_experts(
    table: ExpertTable, concept: str, k: int, steering: ExpertSteering, choice: Choice
) -> Intervention:
    return table.intervention(
        concept,
        top_k=k,
        operation=steering.operation,
        value=steering.value,
        strength=steering.strength,
        positions=steering.positions,
        bos=steering.steer_bos,
        choice=choice,
    )


def check_plans(
    settings: RunSettings, space_of: Callable[[str], UnitSpace], concepts: Collection[str]
) -> None:
    """Refuse what no table of experts would have plans for, before there is one.

    Args:
        settings: of the run.
        space_of: numbers the units of a site.
        concepts: the languages whose experts are found.

    Raises:
        SelectionError: there are fewer units than are steered, a control cannot be drawn, or a step
            is for a language without experts.
        InterventionError: operation, value, strength and selection do not go together.
        SiteError: the model lacks a site.
    """
    space, choice, k = space_of(settings.site), settings.choice, middle(settings.top_k)
    _check_steering(settings, space, settings.every_k, settings.score)
    for plan in settings.plans:
        for step in plan.steps:
            _check_told(step, plan.name, concepts, settings.source)
            there = space_of(step.site or settings.site)
            _check_steering(step, there, (step.top_k,), settings.score)
    suited = suited_methods(choice)
    unsuited = [name for name in settings.methods if not (METHODS[name].passes or name in suited)]
    if unsuited:
        raise InterventionError(
            f"selection={choice.selection!r}, but {unsuited[0]!r} leaves units below chance as "
            f"they are; leave {unsuited[0]!r} out of methods, or take 'top'"
        )
    check_controls(
        settings.controls,
        operation=settings.operation,
        score=settings.score,
        choice=choice,
        count=choice.count(space, k),
        value=settings.written_value,
    )


def _check_told(
    step: StepSettings, plan: str, concepts: Collection[str], source: str | None
) -> None:
    """Refuse a step whose concept is not told from its source."""
    every = list(dict.fromkeys([*concepts, *([] if source is None else [source])]))
    if step.source is not None and step.source not in every:
        raise SelectionError(
            f"source {step.source!r} of step {step.name!r} of the plan {plan!r} is not read; "
            f"choose one of: {', '.join(every)}"
        )
    told = [concept for concept in every if concept != (step.source or source)]
    if step.concept not in told:
        raise SelectionError(
            f"step {step.name!r} of the plan {plan!r} is for {step.concept!r}, whose experts are "
            f"not found; choose one of: {', '.join(told)}"
        )


def _check_steering(
    steering: ExpertSteering, space: UnitSpace, counts: Sequence[int], score: str
) -> None:
    for k in counts:
        check_choice(space, k, steering.choice)
    check_end(score, steering.choice)
    # Any responses have these; the run keeps lines where they are needed.
    statistics = typical_responses(np.zeros((2, 1), dtype=np.float32), np.arange(2), lines=True)
    check_value(steering.operation, steering.written_value, score, statistics, steering.choice)
    # A plan checks itself, with or without units.
    Intervention(
        space.site,
        *((), (), ()),
        operation=steering.operation,
        strength=steering.strength,
        positions=steering.positions,
    )


def most_conditions(settings: RunSettings) -> int:
    """Say how many steered conditions a run compares at most beside each target's headline.

    Equal plans are one condition, so that there may be fewer.
    """
    draws = len(settings.control_seeds)
    further = sum(draws if CONTROLS[name].drawn else 1 for name in _planned_controls(settings))
    of_target = (len(settings.top_k) - 1) * (1 + draws) + further
    return len(settings.targets) * of_target + most_rivals(settings)


def most_rivals(settings: RunSettings) -> int:
    """Say how many steered conditions the methods and plans of a run have at most."""
    targets = {plan.target for plan in settings.plans}
    methods = len(settings.targets) * len(settings.methods)
    return 2 * (methods + len(targets) + len(settings.plans))


def _planned_controls(settings: RunSettings) -> list[str]:
    return [name for name in settings.controls if CONTROLS[name].of == "plan" and name != MATCHED]


def plan_comparisons(planner: Planner) -> list[Comparison]:
    """Plan every target at every k, the controls of the run file at the middle k alone.

    Raises:
        SelectionError: a k is too large.
        InterventionError: value and operation do not go together.
    """
    settings = planner.settings
    controls = _planned_controls(settings)
    headline = middle(settings.top_k)
    return [
        planner.comparison(target, k, controls if k == headline else ())
        for target in settings.targets
        for k in settings.top_k
    ]


def plan_rivals(planner: Planner, block: int) -> list[Rival]:
    """Plan every method for every target, at the middle k, and every plan beside the target's own.

    Args:
        planner: makes the conditions.
        block: the block where the residual stream is steered.
    """
    settings = planner.settings
    methods = [
        planner.rival(method, target, middle(settings.top_k), block)
        for target in settings.targets
        for method in settings.methods
    ]
    targets = dict.fromkeys(plan.target for plan in settings.plans)
    return [*methods, *map(planner.own, targets), *map(planner.composed, settings.plans)]
