"""The same intervention twice: for the oracle, and for the package."""

import dataclasses
import random
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from steer_plugin.interventions.intervention import Intervention
from steer_plugin.settings import names, parts

from support.oracle import Plan

# What token ids alone tell; `text` takes a tokenizer's template as well.
POSITIONS = tuple(name for name in names.POSITIONS if name != "text")
# Whole heads are made of a tensor that has a name of its own, and what is only read has no plans.
SITES = tuple(
    name for name, site in parts.SITES.items() if site.heads_of is None and not site.read_only
)


def plan(
    site: str,
    operation: str,
    *,
    width: int = 16,
    layers: tuple[int, ...] = (0, 2),
    units: int = 3,
    strength: float | None = None,
    positions: Any = "all",
    bos: bool = True,
    seed: int = 0,
) -> Plan:
    """Draw some units of each layer, and values that suit the operation and are no small change.

    Of the ranges of an affine plan, some hold all activations and some leave out one side of zero.
    """
    draw = random.Random(seed)  # noqa: S311 (no secret)
    low, high = {"aura": (0.3, 1.0), "scale": (-2.0, 3.0)}.get(operation, (-3.0, 3.0))
    chosen = tuple(
        (layer, index, draw.uniform(low, high))
        for layer in layers
        for index in draw.sample(range(width), units)
    )
    lines = tuple(
        (draw.uniform(0.2, 3.0), *draw.choice(((-20.0, 20.0), (-20.0, 0.0), (0.0, 20.0))))
        for _ in (chosen if operation == "affine" else ())
    )
    whole = 1.0 if operation == "set" else 0.7
    strength = whole if strength is None else strength
    return Plan(site, chosen, operation, strength, positions, bos, lines)


def intervention(plan: Plan) -> Intervention:
    """Say the same in the package's words."""
    layers, indices, values = zip(*plan.units, strict=True) if plan.units else ((), (), ())
    gains, lows, highs = zip(*plan.lines, strict=True) if plan.lines else ((), (), ())
    fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    del fields["units"], fields["lines"]
    return Intervention(
        layers=layers,
        indices=indices,
        values=values,
        gains=gains,
        lows=lows,
        highs=highs,
        **fields,
    )


def composed(plans: Sequence[Plan]) -> Any:
    """Say several one after another in the package's words."""
    return reduce(add, map(intervention, plans))
