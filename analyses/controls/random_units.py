"""Random draws: the experts' plan at other units, with other values, or in another direction."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import SelectionError
from steer_plugin.interventions.plan import Intervention


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
    drawn = np.random.default_rng(seed).choice(others, len(intervention), replace=False)
    layers, indices = space.addresses(drawn)
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
        raise equal_values_error(len(intervention))
    generator = np.random.default_rng(seed)
    places = np.arange(len(intervention))
    while True:
        order = generator.permutation(len(places))
        shuffled = _moved(
            intervention,
            np.array(intervention.layers)[order].tolist(),
            np.array(intervention.indices)[order].tolist(),
            f"values shuffled, seed {seed}",
        )
        if (order != places).all() and shuffled != intervention:
            return shuffled


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
    turned = replace(intervention, values=tuple(values))
    return with_control_note(turned, f"random direction, seed {seed}")


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


def equal_values_error(count: int) -> SelectionError:
    """Make the error of values that cannot be shuffled, for so many units are steered alike."""
    return SelectionError(
        f"all {count} units have the same value, so shuffled values are the plan itself; leave "
        "the control 'shuffled-values' out"
    )


def with_control_note(intervention: Intervention, note: str) -> Intervention:
    """Say in a plan's provenance which control it is."""
    return replace(intervention, provenance={**intervention.provenance, "control": note})


def _check_space(intervention: Intervention, space: UnitSpace) -> None:
    if space.site != intervention.site:
        raise SelectionError(
            f"the plan is for {intervention.site}, the units are at {space.site}; give the same"
        )


def _moved(
    intervention: Intervention, layers: Sequence[int], indices: Sequence[int], note: str
) -> Intervention:
    """Do what is done to each unit to another one instead."""
    control = replace(intervention, layers=tuple(layers), indices=tuple(indices))
    return with_control_note(control, note)
