"""Random draws: the experts' plan at other units, with other values, or in another direction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import SelectionError
from steer_plugin.interventions.columns import Column
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import Planned, each_step

Unit = tuple[int, int]


def random_control(plan: Planned, *spaces: UnitSpace, seed: int) -> Planned:
    """Move a plan to randomly chosen units of the same layers.

    As many units in each layer as the experts have there, none of them an expert, with the
    experts' values (PAPER step 17; Sundar et al. 2025, arXiv 2502.15639, section 4). Units of
    several steps are drawn together: what is an expert of one step is drawn for none, and a unit
    that several steps steer gives its place in all of them to the same other one.

    Args:
        plan: the experts' plan.
        spaces: the units of each of its sites, all layers of the plan among them.
        seed: of the choice.

    Raises:
        SelectionError: a site is another one, or a layer has too few other units.
    """
    return each_step(
        plan,
        _in_layers(plan.steps, spaces, np.random.default_rng(seed), f"random units, seed {seed}"),
    )


def random_anywhere(plan: Planned, *spaces: UnitSpace, seed: int) -> Planned:
    """Move a plan to randomly chosen units of any layer.

    As many units as the experts are, none of them an expert, with the experts' values; of several
    steps as `random_control` does.

    Args:
        plan: the experts' plan.
        spaces: the units of each of its sites, all layers of the plan among them.
        seed: of the choice.

    Raises:
        SelectionError: a site is another one, or there are too few other units.
    """
    generator = np.random.default_rng(seed)
    places: dict[str, dict[Unit, Unit]] = {}
    for site, steered in _steered(plan.steps).items():
        space = _space_of(site, spaces)
        experts = [space.layer_slice(layer).start + unit for layer, unit in steered]
        others = np.setdiff1d(np.arange(len(space)), experts)
        if len(others) < len(experts):
            raise SelectionError(
                f"the model has {len(others)} units at {site} that are no experts, "
                f"{len(experts)} are needed for a random control; take a smaller top_k"
            )
        layers, indices = space.addresses(generator.choice(others, len(experts), replace=False))
        replacements = zip(layers.tolist(), indices.tolist(), strict=True)
        places[site] = dict(zip(steered, replacements, strict=True))
    return each_step(
        plan, lambda step: _moved(step, places[step.site], f"random units anywhere, seed {seed}")
    )


def shuffled_values(plan: Planned, *, seed: int) -> Planned:
    """Permute the values of each step among its units, so that none keeps its own.

    A unit's gain and range go with its value. The permutation is drawn uniformly from those that
    leave no unit in place; units with equal values may still trade them. A step whose units all
    have the same value stays as it is beside others.

    Args:
        plan: the experts' plan.
        seed: of the permutation.

    Raises:
        SelectionError: in each step all units have the same value, so there is nothing to permute.
    """
    generator = np.random.default_rng(seed)

    def shuffled(step: Intervention) -> Intervention:
        if not _values_differ(step):
            return step
        units = _units(step)
        while True:
            order = generator.permutation(len(units))
            places = dict(zip(units, [units[place] for place in order], strict=True))
            control = _moved(step, places, f"values shuffled, seed {seed}")
            if (order != np.arange(len(units))).all() and control != step:
                return control

    if not any(map(_values_differ, plan.steps)):
        raise equal_values_error(sum(map(len, plan.steps)))
    return each_step(plan, shuffled)


def random_direction(plan: Planned, *spaces: UnitSpace, seed: int) -> Planned:
    """Turn what is added to all units of a block into a random direction, as long as it was.

    The directions of each block and step are uniform on the sphere.

    Args:
        plan: adds to every unit of its blocks, as a steering vector does.
        spaces: the units of each of its sites.
        seed: of the directions.

    Raises:
        SelectionError: a site is another one, or the plan does not add to whole blocks.
    """
    for step in plan.steps:
        if not adds_to_whole_blocks(step, *spaces):
            raise SelectionError(
                "a random direction is the control of a plan that adds to every unit of a block; "
                f"this one does {step.operation!r} to {len(step)} units"
            )
    generator = np.random.default_rng(seed)
    return each_step(plan, lambda step: _turned(step, generator, seed))


def adds_to_whole_blocks(step: Intervention, *spaces: UnitSpace) -> bool:
    """Say whether a step adds to every unit of the blocks that it is at.

    Raises:
        SelectionError: the step is for another site.
    """
    space = _space_of(step.site, spaces)
    slices = [space.layer_slice(layer) for layer in step.units]
    return step.operation == "add" and len(step) == sum(part.stop - part.start for part in slices)


def matched_control(plan: Planned, *spaces: UnitSpace, seed: int) -> Planned:
    """Draw the control that is most like each step: random units, or a random direction.

    Args:
        plan: the plan.
        spaces: the units of each of its sites.
        seed: of the draw.

    Raises:
        SelectionError: see `random_control`.
    """
    generator = np.random.default_rng(seed)
    units = [step for step in plan.steps if not adds_to_whole_blocks(step, *spaces)]
    move = _in_layers(units, spaces, generator, f"random units, seed {seed}")
    return each_step(
        plan, lambda step: move(step) if step in units else _turned(step, generator, seed)
    )


def equal_values_error(count: int) -> SelectionError:
    """Make the error of values that cannot be shuffled, for so many units are steered alike."""
    return SelectionError(
        f"all {count} units have the same value, so shuffled values are the plan itself; leave "
        "the control 'shuffled-values' out"
    )


def with_control_note(plan: Planned, note: str) -> Planned:
    """Say in a plan's provenance which control it is."""
    return each_step(
        plan, lambda step: replace(step, provenance={**step.provenance, "control": note})
    )


def _in_layers(
    steps: Sequence[Intervention],
    spaces: Sequence[UnitSpace],
    generator: np.random.Generator,
    note: str,
) -> Callable[[Intervention], Intervention]:
    """Draw other units of the same layers for several steps together, and give what moves one."""
    places: dict[str, dict[Unit, Unit]] = {}
    for site, steered in _steered(steps).items():
        space, places[site] = _space_of(site, spaces), {}
        for layer in sorted({layer for layer, _ in steered}):
            experts = [unit for at, unit in steered if at == layer]
            units = space.layer_slice(layer)
            others = np.setdiff1d(np.arange(units.stop - units.start), experts)
            if len(others) < len(experts):
                raise SelectionError(
                    f"layer {layer} has {len(others)} units that are no experts, {len(experts)} "
                    "are needed for a random control; take a smaller top_k"
                )
            replacements = generator.choice(others, len(experts), replace=False).tolist()
            places[site] |= {
                (layer, expert): (layer, unit)
                for expert, unit in zip(experts, replacements, strict=True)
            }
    return lambda step: _moved(step, places[step.site], note)


def _turned(step: Intervention, generator: np.random.Generator, seed: int) -> Intervention:
    """Turn what is added to each block into a random direction."""
    vectors = []
    for _, (vector,) in step.units.values():
        direction = generator.normal(size=len(vector))
        vectors.append(direction * (float(vector.norm()) / np.linalg.norm(direction)))
    values = np.concatenate(vectors).reshape(np.shape(step.values))
    turned = replace(step, values=Column(values))
    return with_control_note(turned, f"random direction, seed {seed}")


def _space_of(site: str, spaces: Iterable[UnitSpace]) -> UnitSpace:
    sites = {space.site: space for space in spaces}
    if site not in sites:
        raise SelectionError(
            f"the plan is for {site}, the units are at {', '.join(sites) or 'no site'}; give the "
            "same"
        )
    return sites[site]


def _steered(steps: Iterable[Intervention]) -> dict[str, list[Unit]]:
    """List the units that any of the steps steers at each site, in order of layer and index."""
    steered: dict[str, set[Unit]] = {}
    for step in steps:
        steered.setdefault(step.site, set()).update(_units(step))
    return {site: sorted(units) for site, units in steered.items()}


def _units(step: Intervention) -> list[Unit]:
    return list(zip(step.layers, step.indices, strict=True))


def _values_differ(step: Intervention) -> bool:
    columns = [np.asarray(column) for column in (step.values, step.gains, step.lows, step.highs)]
    return any((column != column[:1]).any() for column in columns)


def _moved(step: Intervention, places: dict[Unit, Unit], note: str) -> Intervention:
    """Do what is done to each unit to another one instead."""
    units = np.array([places[unit] for unit in _units(step)], dtype=np.int64).reshape(-1, 2)
    layers, indices = map(Column, units.T)
    return with_control_note(replace(step, layers=layers, indices=indices), note)
