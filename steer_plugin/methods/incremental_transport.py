"""Linear-AcT layer after layer: each layer's maps are fitted to responses under those before it."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from steer_plugin.activations.sites import of_heads
from steer_plugin.experts.values import LINE, LINES
from steer_plugin.interventions.columns import Column
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.methods.catalogue import MethodContext
from steer_plugin.responses.probe import Probe
from steer_plugin.scores.typical_responses import typical_responses
from steer_plugin.settings.parts import Method


def incremental_transport(given: MethodContext) -> Intervention:
    """Move each expert along its line, each layer's fitted while those below it are moved.

    The texts of the concept and all others pass through the model once a layer that has experts,
    under the maps of the layers below; so a map is of the responses that it will meet (Rodriguez et
    al. 2024, arXiv 2410.23054, section 3, whose code calls it `incr`). What is steered is that of
    `linear-act`; in the lowest layer the maps are the same, too.

    Raises:
        SelectionError: see `ExpertTable.top`.
    """
    assert given.probe_under is not None  # noqa: S101 (`plan_method` sees to it)
    chosen = given.experts.intervention(
        given.concept,
        top_k=given.top_k,
        value=0.0,
        positions=given.positions,
        bos=given.bos,
        choice=given.choice,
    )
    source = given.experts.provenance.get("source")
    lines: dict[str, list[Float[np.ndarray, k * value]]] = {name: [] for name in LINE}
    plan: Intervention | None = None
    units = 0
    for layer, (indices, _) in chosen.units.items():
        # Whatever tokens are steered later, each of a text is pooled, and so is moved.
        under = None if plan is None else replace(plan, positions="all")
        probe = given.probe_under(under, layer)
        told = probe if source is None else probe.against(given.concept, source)
        fitted = _lines(told, given.concept, indices.numpy())
        units += len(indices)
        for name in LINE:
            lines[name].append(fitted[LINE[name]])
        columns: dict[str, Any] = {
            name: Column(np.concatenate(parts)) for name, parts in lines.items()
        }
        plan = replace(
            chosen,
            layers=chosen.layers[:units],
            indices=chosen.indices[:units],
            operation="affine",
            provenance={**chosen.provenance, "value": f"{LINES}, layer after layer"},
            **columns,
        )
    return replace(chosen, operation="affine") if plan is None else plan


def _lines(
    probe: Probe, concept: str, indices: Int[np.ndarray, " k"]
) -> dict[str, Float[np.ndarray, "k *value"]]:
    """Fit the lines of some units of a layer from the other texts to the concept's."""
    responses, columns, shape = probe.responses, indices, [len(indices)]
    if of_heads(probe.space.site):
        assert probe.values is not None  # noqa: S101 (a probe of heads has them)
        responses, shape = probe.values, [len(indices), -1]
        within = np.arange(responses.shape[1] // len(probe.space))
        columns = (indices[:, None] * len(within) + within).ravel()
    chosen = torch.cat([responses[:, column : column + 1] for column in columns.tolist()], 1)
    fitted = typical_responses(chosen, probe.labels, (), lines=True)
    row = probe.concepts.index(concept)
    return {name: fitted[name][row].reshape(shape) for name in LINE.values()}


LINEAR_ACT_INCREMENTAL = Method(
    incremental_transport,
    "Linear-AcT, layer after layer",
    "Rodriguez et al. 2024",
    passes=True,
)
