"""Controls: plans that do as much as the experts' without what is claimed for the experts."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import SelectionError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.experts.table import ExpertTable
from steer_plugin.interventions.plan import Intervention
from steer_plugin.settings.names import Operation, ScoreName


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


def random_control(intervention: Intervention, space: UnitSpace, *, seed: int) -> Intervention:
    """Move an intervention to randomly chosen units of the same layers.

    As many units in each layer as the experts have there, none of them an expert, with the
    experts' values (PAPER step 17; Sundar et al. 2025, arXiv 2502.15639, section 4).

    Args:
        intervention: the experts' plan.
        space: the units of its site, all layers of the plan among them.
        seed: of the choice.

    Raises:
        SelectionError: the site is another one, or a layer has too few other units.
    """
    _check_space(intervention, space)
    generator = np.random.default_rng(seed)
    indices: list[int] = []
    for layer, (experts, _) in intervention.by_layer().items():
        units = space.layer_slice(layer)
        others = np.setdiff1d(np.arange(units.stop - units.start), experts.numpy())
        if len(others) < len(experts):
            raise SelectionError(
                f"layer {layer} has {len(others)} units that are no experts, {len(experts)} are "
                "needed for a random control; take a smaller top_k"
            )
        indices += generator.choice(others, len(experts), replace=False).tolist()
    return _moved(intervention, intervention.layers, indices, f"random units, seed {seed}")


def random_anywhere(intervention: Intervention, space: UnitSpace, *, seed: int) -> Intervention:
    """Move an intervention to randomly chosen units of any layer.

    As many units as the experts are, none of them an expert, with the experts' values.

    Args:
        intervention: the experts' plan.
        space: the units of its site, all layers of the plan among them.
        seed: of the choice.

    Raises:
        SelectionError: the site is another one, or there are too few other units.
    """
    _check_space(intervention, space)
    experts = [
        space.layer_slice(layer).start + indices.numpy()
        for layer, (indices, _) in intervention.by_layer().items()
    ]
    others = np.setdiff1d(np.arange(len(space)), np.concatenate([*experts, []]))
    if len(others) < len(intervention):
        raise SelectionError(
            f"the model has {len(others)} units at {space.site} that are no experts, "
            f"{len(intervention)} are needed for a random control; take a smaller top_k"
        )
    chosen = np.random.default_rng(seed).choice(others, len(intervention), replace=False)
    layers, indices = space.addresses(chosen)
    return _moved(
        intervention, layers.tolist(), indices.tolist(), f"random units anywhere, seed {seed}"
    )


def shuffled_values(intervention: Intervention, *, seed: int) -> Intervention:
    """Permute the values of an intervention among its units, so that none keeps its own.

    A unit's gain and range go with its value. The permutation is drawn uniformly from those that
    leave no unit in place; units with equal values may still trade them.

    Args:
        intervention: the experts' plan.
        seed: of the permutation.

    Raises:
        SelectionError: all units have the same value, so there is nothing to permute.
    """
    rows = [row for _, rows in intervention.by_layer().values() for row in rows.T.tolist()]
    if len(set(map(tuple, rows))) < 2:
        raise _alike(len(intervention))
    generator = np.random.default_rng(seed)
    own = np.arange(len(intervention))
    while True:
        order = generator.permutation(len(own))
        moved = _moved(
            intervention,
            np.array(intervention.layers)[order].tolist(),
            np.array(intervention.indices)[order].tolist(),
            f"values shuffled, seed {seed}",
        )
        if (order != own).all() and moved != intervention:
            return moved


def random_direction(intervention: Intervention, space: UnitSpace, *, seed: int) -> Intervention:
    """Turn what is added to all units of a block into a random direction, as long as it was.

    The directions of each block are uniform on the sphere.

    Args:
        intervention: a plan that adds to every unit of its blocks, such as a steering vector.
        space: the units of its site.
        seed: of the directions.

    Raises:
        SelectionError: the site is another one, or the plan does not add to whole blocks.
    """
    if not adds_to_whole_blocks(intervention, space):
        raise SelectionError(
            f"a random direction is the control of a plan that adds to every unit of a block; this "
            f"one does {intervention.operation!r} to {len(intervention)} units"
        )
    generator = np.random.default_rng(seed)
    values: list[float] = []
    for _, (vector,) in intervention.by_layer().values():
        direction = generator.normal(size=len(vector))
        values += (direction * (float(vector.norm()) / np.linalg.norm(direction))).tolist()
    return replace(
        intervention,
        values=tuple(values),
        provenance={**intervention.provenance, "control": f"random direction, seed {seed}"},
    )


def adds_to_whole_blocks(intervention: Intervention, space: UnitSpace) -> bool:
    """Say whether a plan adds to every unit of the blocks that it is at.

    Raises:
        SelectionError: the plan is for another site.
    """
    _check_space(intervention, space)
    layers = intervention.by_layer()
    widths = sum(len(range(*space.layer_slice(layer).indices(len(space)))) for layer in layers)
    return intervention.operation == "add" and len(intervention) == widths


def matched_control(intervention: Intervention, space: UnitSpace, *, seed: int) -> Intervention:
    """Draw the control that is most like a plan: random units, or a random direction.

    Args:
        intervention: the plan.
        space: the units of its site.
        seed: of the draw.

    Raises:
        SelectionError: see `random_control` and `random_direction`.
    """
    draw = random_direction if adds_to_whole_blocks(intervention, space) else random_control
    return draw(intervention, space, seed=seed)


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
    return _noted(plan, f"experts of {other}")


def bottom(context: ControlContext, _seed: int) -> Intervention:
    """Steer the units that score lowest for the concept, with their own values.

    Raises:
        SelectionError: the plan itself steers these, or there are too few.
    """
    lowest = _lowest(context.choice, context.experts.score)
    plan = context.plan_from(context.experts, context.concept, lowest)
    return _noted(plan, "lowest-scoring units")


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
    return _noted(plan, f"labels shuffled, seed {seed}")


PLAN_CONTROLS: Mapping[str, Callable[[ControlContext, int], Intervention]] = MappingProxyType(
    {
        "random-in-layers": lambda context, seed: random_control(
            context.plan, context.experts.space, seed=seed
        ),
        "random-anywhere": lambda context, seed: random_anywhere(
            context.plan, context.experts.space, seed=seed
        ),
        "shuffled-values": lambda context, seed: shuffled_values(context.plan, seed=seed),
        "other-experts": other_experts,
        "bottom": bottom,
        "shuffled-labels": shuffled_labels,
    }
)
"""What each word of a run file plans, given a seed."""

DRAWN = frozenset(PLAN_CONTROLS) - {"bottom"}
"""Those of `PLAN_CONTROLS` that are another plan with another seed."""


def check_controls(
    names: Collection[str],
    *,
    operation: Operation,
    score: ScoreName,
    choice: Choice,
    count: int,
    value: str | float,
) -> None:
    """Refuse controls that no table of experts has a plan for.

    Args:
        names: of `PLAN_CONTROLS`, among others.
        operation: what is done to the units.
        score: of the experts.
        choice: of the units that are steered.
        count: how many these are.
        value: what is written to them; see `ExpertTable.intervention`.

    Raises:
        SelectionError: a control would be the plan itself, would do nothing, or has no units.
    """
    if "bottom" in names:
        _lowest(choice, score)
        if operation == "aura":
            raise SelectionError(
                "'aura' leaves units below chance as they are; leave the control 'bottom' out, or "
                "take another operation"
            )
    if "shuffled-values" in names and (count < 2 or not isinstance(value, str) or value == "zero"):
        raise _alike(count)


def _lowest(choice: Choice, score: ScoreName) -> Choice:
    """Choose from the other end."""
    lowest = replace(choice, selection="bottom")
    if choice == lowest:
        raise SelectionError(
            "the lowest-scoring units are the plan itself; leave the control 'bottom' out"
        )
    if score == "lape":
        raise SelectionError(
            "no unit scores below chance by lape; leave the control 'bottom' out, or take another "
            "score"
        )
    return lowest


def _alike(count: int) -> SelectionError:
    return SelectionError(
        f"all {count} units have the same value, so shuffled values are the plan itself; leave "
        "the control 'shuffled-values' out"
    )


def _check_space(intervention: Intervention, space: UnitSpace) -> None:
    if space.site != intervention.site:
        raise SelectionError(
            f"the plan is for {intervention.site}, the units are at {space.site}; give the same"
        )


def _moved(
    intervention: Intervention, layers: Sequence[int], indices: Sequence[int], note: str
) -> Intervention:
    """Do what is done to each unit to another one instead."""
    moved = replace(intervention, layers=tuple(layers), indices=tuple(indices))
    return _noted(moved, note)


def _noted(intervention: Intervention, note: str) -> Intervention:
    return replace(intervention, provenance={**intervention.provenance, "control": note})
