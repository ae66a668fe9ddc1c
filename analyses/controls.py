"""Random controls: the same values on as many neurons that are no experts."""

from dataclasses import replace

import numpy as np

from steer_plugin.errors import SelectionError
from steer_plugin.interventions import Intervention
from steer_plugin.sites import UnitSpace


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
    if space.site != intervention.site:
        raise SelectionError(
            f"the plan is for {intervention.site}, the units are at {space.site}; give the same"
        )
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
    return replace(
        intervention,
        indices=tuple(indices),
        provenance={**intervention.provenance, "control": f"random units, seed {seed}"},
    )
