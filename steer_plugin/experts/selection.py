"""Which units are chosen by their scores."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import SelectionError
from steer_plugin.settings.names import SELECTIONS, Selection

_PRINTED = re.compile(
    r"(?P<selection>\S+)(?: over all layers|(?P<per_layer> in each layer))?"
    r"(?: of blocks (?P<first>\d+) to (?P<last>\d+))?"
)


@dataclass(frozen=True)
class Choice:
    """Which k units are chosen by their scores; printed as "top over all layers".

    Attributes:
        selection: `top`, the best, best first; `bottom`, the worst, worst first: units that are
            quiet for the concept; `top+bottom`, half of k from each end, an odd one from the top,
            the best before the worst (Kojima et al. 2024, section 3).
        per_layer: k from each layer, layer after layer, instead of k from all of them.
        layers: first and last block to choose from; None for all.

    Raises:
        SelectionError: there is no such selection.
    """

    selection: Selection = "top"
    per_layer: bool = False
    layers: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the selection."""
        if self.selection not in SELECTIONS:
            raise SelectionError(
                f"{self.selection!r} is not a selection; choose one of: {', '.join(SELECTIONS)}"
            )

    def __str__(self) -> str:
        """Print it, as `parse` reads it."""
        where = "in each layer" if self.per_layer else "over all layers"
        part = "" if self.layers is None else " of blocks {} to {}".format(*self.layers)
        return f"{self.selection} {where}{part}"

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """Read what was printed.

        Raises:
            SelectionError: it is not understood.
        """
        printed = _PRINTED.fullmatch(text)
        if printed is None or printed["selection"] not in SELECTIONS:
            raise SelectionError(f"{text!r} is no choice of units, such as '{cls()}'")
        layers = None if printed["first"] is None else (int(printed["first"]), int(printed["last"]))
        return cls(printed["selection"], printed["per_layer"] is not None, layers)

    def count(self, space: UnitSpace, k: int) -> int:
        """Count the units that are chosen.

        Raises:
            SelectionError: there are no such layers.
        """
        return k * len(_places(space, self))


TOP = Choice()
"""The k best over all layers."""


def check_choice(space: UnitSpace, k: int, choice: Choice) -> None:
    """Refuse to choose more units than there are.

    Raises:
        SelectionError: there are no such layers, or fewer than k units in one place to choose from.
    """
    if k < 0:
        raise SelectionError(f"k is {k}; give 0 or more")
    for units, where in _places(space, choice):
        count = units.stop - units.start
        if k > count:
            raise SelectionError(
                f"top_k={k}, but {where} has {count} units at {space.site}; take fewer"
            )


def select_units(
    scores: Float[np.ndarray, " unit"],
    chance: float,
    space: UnitSpace,
    k: int,
    choice: Choice,
    *,
    concept: str,
    at_most: bool = False,
) -> Int[np.ndarray, " chosen"]:
    """Choose k units by score; see `steer_plugin.experts.table.ExpertTable.top`.

    Args:
        scores: of the units of `space`; higher is more expert.
        chance: what a unit that knows nothing scores.
        space: which units these are.
        k: how many; 0 chooses none.
        choice: from which end and layers.
        concept: what the scores are for, as messages call it.
        at_most: whether fewer are given where fewer than k are on their side of chance.

    Raises:
        SelectionError: see `check_choice`; or, unless fewer will do, fewer than k units are on
            their side of chance.
    """
    check_choice(space, k, choice)
    picks = []
    for units, where in _places(space, choice):
        scores_there = scores[units]
        for sign, count in _ends(k, choice):
            eligible = int((sign * scores_there < sign * chance).sum())
            if count > eligible and not at_most:
                side = "below" if sign > 0 else "above"
                part = "" if count == k else f" takes {count} units {side} chance"
                raise SelectionError(
                    f"top_k={k}{part}, but only {eligible} units of {where} score {side} chance "
                    f"({chance:.3g}) for {concept}; take fewer"
                )
            order = np.argsort(sign * scores_there, kind="stable")
            picks.append(units.start + order[: min(count, eligible)])
    return np.concatenate(picks)


def count_tied(
    scores: Float[np.ndarray, " unit"], chance: float, space: UnitSpace, k: int, choice: Choice
) -> int:
    """Count the units that score just as the last chosen one does, and are left out.

    They come after it by layer and index. Arguments are those of `select_units`.
    """
    tied = 0
    for units, _ in _places(space, choice):
        for sign, count in _ends(k, choice):
            signed = sign * scores[units]
            ranked = np.sort(signed[signed < sign * chance])
            if 0 < count < len(ranked):
                tied += int((ranked[count:] == ranked[count - 1]).sum())
    return tied


def tied_phrase(concept: str, k: int, tied: int) -> str:
    """Say that units tie at the edge of a choice."""
    return (
        f"{concept}: {tied:,} more units score as the last of the {k:,} does; lower layers and "
        "indices go first"
    )


def _ends(k: int, choice: Choice) -> tuple[tuple[int, int], ...]:
    """Give the signs that put the best and the worst units first, and how many of each."""
    best = {"top": k, "bottom": 0, "top+bottom": k - k // 2}[choice.selection]
    return ((-1, best), (1, k - best))


def _places(space: UnitSpace, choice: Choice) -> list[tuple[slice, str]]:
    """List the ranges of units that k are chosen from, and what to call each."""
    chosen, where = space.layers, "the model"
    if choice.layers is not None:
        first, last = choice.layers
        chosen = tuple(layer for layer in space.layers if first <= layer <= last)
        where = f"the range of layers {first} to {last}"
        if not chosen or first < space.layers[0] or last > space.layers[-1]:
            raise SelectionError(
                f"layers={first}..{last} is no range of the layers with units at {space.site}; "
                f"those are {', '.join(map(str, space.layers))}"
            )
    slices = [space.layer_slice(layer) for layer in chosen]
    if choice.per_layer:
        names = [f"layer {layer}" for layer in chosen]
        return list(zip(slices, names, strict=True))
    return [(slice(slices[0].start, slices[-1].stop), where)]
