"""Where a tensor is read or written, and how its units are numbered.

A site is named by the TransformerLens hook it is, without the `blocks.{layer}.` in front:
`mlp.hook_post`, `hook_resid_post`. The final norm, which no block owns, is `ln_final.hook_out`.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from steer_plugin.errors import ScoreError, SiteError
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.settings.parts import SITES

_LABEL = re.compile(r"L([0-9]+)N([0-9]+)")


def check_site(site: str) -> None:
    """Refuse a name that is no site.

    Raises:
        SiteError: `site` is not one of `SITES`.
    """
    SITES.check(site)


def chosen_layers(site: str, layers: tuple[int, ...] | None, n_layers: int) -> tuple[int, ...]:
    """Give the layers to look at, ascending: those that are given, or all of a model's.

    Raises:
        SiteError: `site` is not one of `SITES`, or an empty choice is given.
    """
    check_site(site)
    if layers is None:
        return tuple(range(1 if site == FINAL_NORM else n_layers))
    if not layers:
        raise SiteError("no layers were given; give at least one, or none for all")
    return tuple(sorted(set(layers)))


def hook_name(site: str, layer: int) -> str:
    """Name the TransformerLens hook of `site` in block `layer` (0 for the final norm)."""
    return site if site == FINAL_NORM else f"blocks.{layer}.{site}"


@dataclass(frozen=True)
class UnitSpace:
    """All units at one site of a model, numbered layer after layer.

    Attributes:
        site: one of `SITES`.
        layers: the block indices, ascending; `(0,)` for the final norm.
        widths: units in each of `layers`.
    """

    site: str
    layers: tuple[int, ...]
    widths: tuple[int, ...]

    def __len__(self) -> int:
        """Count the units over all layers."""
        return sum(self.widths)

    @cached_property
    def _starts(self) -> Int[np.ndarray, " layer_and_end"]:
        return np.concatenate([[0], np.cumsum(self.widths)]).astype(np.int64)

    def layer_slice(self, layer: int) -> slice:
        """Give the range of unit numbers that block `layer` holds.

        Raises:
            SiteError: the space has no such layer.
        """
        if layer not in self.layers:
            raise SiteError(
                f"layer {layer} has no units at {self.site}; the layers are {list(self.layers)}"
            )
        position = self.layers.index(layer)
        return slice(int(self._starts[position]), int(self._starts[position + 1]))

    def addresses(
        self, units: Int[np.ndarray, " k"]
    ) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
        """Split unit numbers, 0..len(self)-1, into block indices and indices in the block."""
        positions = np.searchsorted(self._starts, units, side="right") - 1
        return np.asarray(self.layers)[positions], units - self._starts[positions]

    def label(self, unit: int) -> str:
        """Print a unit as `L12N345`."""
        layers, indices = self.addresses(np.array([unit]))
        return f"L{layers[0]}N{indices[0]}"

    def parse(self, label: str) -> int:
        """Give the number of the unit that `label` prints so.

        Raises:
            SiteError: it is no label, or the space has no such unit.
        """
        layer, index = parse_unit(label)
        units = self.layer_slice(layer)
        if index >= units.stop - units.start:
            raise SiteError(
                f"unit {label} does not exist: {self.site} has {units.stop - units.start} units in "
                f"layer {layer}"
            )
        return int(units.start) + index


def parse_unit(label: str) -> tuple[int, int]:
    """Read a unit's layer and index from `L12N345`.

    Raises:
        SiteError: it is not written so.
    """
    written = _LABEL.fullmatch(label)
    if written is None:
        raise SiteError(f"{label!r} is no unit; write its layer and index, such as L12N345")
    return int(written[1]), int(written[2])


def active_site(site: str) -> str:
    """Name the site at which an activation above 0 says that a neuron is active.

    For a gated MLP that is the gate, whose activation function LAPE looks at (Tang et al. 2024,
    arXiv 2402.16438, section 2.2).

    Raises:
        ScoreError: units of `site` have no activation function, so none is ever silent.
    """
    active = SITES[site].active_at
    if active is None:
        choices = [name for name in SITES if SITES[name].active_at is not None]
        raise ScoreError(
            "scores of active tokens count those at which a neuron's activation function is above "
            f"0, and units at {site} have none; take {' or '.join(choices)}, "
            "or another score"
        )
    return active
