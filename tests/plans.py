"""The same intervention twice: for the oracle, and for the package."""

import dataclasses
import random

from steer_plugin.interventions import Intervention

from oracle import Plan


def plan(
    site: str,
    operation: str,
    *,
    width: int = 16,
    layers: tuple[int, ...] = (0, 2),
    units: int = 3,
    strength: float | None = None,
    positions: str = "all",
    bos: bool = True,
    seed: int = 0,
) -> Plan:
    """Draw some units of each layer, and values that suit the operation and are no small change."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    low, high = {"aura": (0.3, 1.0), "scale": (-2.0, 3.0)}.get(operation, (-3.0, 3.0))
    chosen = tuple(
        (layer, index, draw.uniform(low, high))
        for layer in layers
        for index in draw.sample(range(width), units)
    )
    whole = 1.0 if operation == "set" else 0.7
    return Plan(site, chosen, operation, whole if strength is None else strength, positions, bos)


def intervention(plan: Plan) -> Intervention:
    """Say the same in the package's words."""
    layers, indices, values = zip(*plan.units, strict=True) if plan.units else ((), (), ())
    fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    del fields["units"]
    return Intervention(layers=layers, indices=indices, values=values, **fields)
