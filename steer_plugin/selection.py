"""Which units are chosen by their scores."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.errors import SelectionError
from steer_plugin.sites import UnitSpace

Selection = Literal["top", "bottom", "top+bottom"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)


def select_units(
    scores: Float[np.ndarray, " unit"],
    chance: float,
    space: UnitSpace,
    k: int,
    *,
    concept: str,
    selection: Selection = "top",
    per_layer: bool = False,
    layers: tuple[int, int] | None = None,
) -> Int[np.ndarray, " chosen"]:
    """Choose k units by score; see `steer_plugin.experts.ExpertTable.top`.

    Args:
        scores: of the units of `space`; higher is more expert.
        chance: what a unit that knows nothing scores.
        space: which units these are.
        k: how many; 0 chooses none.
        concept: what the scores are for, as messages call it.
        selection: from which end.
        per_layer: k from each layer, layer after layer, instead of k from all of them.
        layers: first and last block to choose from; None for all.

    Raises:
        SelectionError: there is no such selection or layer, or fewer than k units to choose from.
    """
    if selection not in SELECTIONS:
        raise SelectionError(
            f"{selection!r} is not a selection; choose one of: {', '.join(SELECTIONS)}"
        )
    if k < 0:
        raise SelectionError(f"k is {k}; give 0 or more")
    picks = []
    for units, where in _places(space, per_layer, layers):
        found = scores[units]
        if k > len(found):
            raise SelectionError(
                f"top_k={k}, but {where} has {len(found)} units at {space.site}; take fewer"
            )
        best = {"top": k, "bottom": 0, "top+bottom": k - k // 2}[selection]
        for sign, count in ((-1, best), (1, k - best)):
            eligible = int((sign * found < sign * chance).sum())
            if count > eligible:
                side = "below" if sign > 0 else "above"
                part = "" if count == k else f" takes {count} units {side} chance"
                raise SelectionError(
                    f"top_k={k}{part}, but only {eligible} units of {where} score {side} chance "
                    f"({chance:.3g}) for {concept}; take fewer"
                )
            picks.append(units.start + np.argsort(sign * found, kind="stable")[:count])
    return np.concatenate(picks)


def _places(
    space: UnitSpace, per_layer: bool, layers: tuple[int, int] | None
) -> list[tuple[slice, str]]:
    """List the ranges of units that k are chosen from, and what to call each."""
    chosen, where = space.layers, "the model"
    if layers is not None:
        first, last = layers
        chosen = tuple(layer for layer in space.layers if first <= layer <= last)
        where = f"the range of layers {first} to {last}"
        if not chosen or first < space.layers[0] or last > space.layers[-1]:
            raise SelectionError(
                f"layers={first}..{last} is no range of the layers with units at {space.site}; "
                f"those are {', '.join(map(str, space.layers))}"
            )
    slices = [space.layer_slice(layer) for layer in chosen]
    if per_layer:
        names = [f"layer {layer}" for layer in chosen]
        return list(zip(slices, names, strict=True))
    return [(slice(slices[0].start, slices[-1].stop), where)]
