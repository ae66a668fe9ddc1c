"""Where a tensor is read or written, and how its units are numbered.

A site is named by the TransformerLens hook it is, without the `blocks.{layer}.` in front:
`mlp.hook_post`, `hook_resid_post`. The final norm, which no block owns, is `ln_final.hook_out`.
Where units are attention heads (`attn.hook_z.heads`), each is all values of a head in the tensor
of another site.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from steer_plugin.errors import ScoreError, SiteError
from steer_plugin.settings.names import FINAL_NORM, ROUTER
from steer_plugin.settings.parts import SITES

_LABEL = re.compile(r"L([0-9]+)([NH])([0-9]+)")
_OF_EXPERT = re.compile(r"L([0-9]+)E([0-9]+)N([0-9]+)")


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
    return site if site == FINAL_NORM else f"blocks.{layer}.{tensor_site(site)}"


def tensor_site(site: str) -> str:
    """Name the site whose tensor holds the units of `site`: itself, but where these are heads."""
    return SITES[site].heads_of or site


def of_heads(site: str) -> bool:
    """Tell whether the units of `site` are whole attention heads; of an unknown site, no."""
    return site in SITES and SITES[site].heads_of is not None


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
        """Print a unit as `L12N345`, and a head as `L3H7`."""
        return self.labels(np.array([unit]))[0]

    def labels(self, units: Int[np.ndarray, " k"]) -> list[str]:
        """Print units, as `label` does."""
        layers, indices = self.addresses(units)
        return [
            unit_label(self.site, layer, index)
            for layer, index in zip(layers.tolist(), indices.tolist(), strict=True)
        ]

    def parse(self, label: str) -> int:
        """Give the number of the unit that `label` prints so.

        Raises:
            SiteError: it is no label, or the space has no such unit.
        """
        ((layer, index),) = parse_units([label], self.site)
        units = self.layer_slice(layer)
        if index >= units.stop - units.start:
            raise SiteError(
                f"unit {label} does not exist: {self.site} has {units.stop - units.start} units in "
                f"layer {layer}"
            )
        return int(units.start) + index


def values_per_head(heads: UnitSpace, values: UnitSpace) -> int:
    """Count the values that each head has.

    Args:
        heads: of some layers.
        values: of the same layers' heads.

    Raises:
        SiteError: heads of one layer have more than those of another.
    """
    counts = [width // count for width, count in zip(values.widths, heads.widths, strict=True)]
    if len(set(counts)) != 1:
        raise SiteError(
            f"heads have {counts} values in layers {list(heads.layers)}; choose layers where they "
            "have as many"
        )
    return counts[0]


def unit_label(site: str, layer: int, index: int) -> str:
    """Print a unit of `site` as `L12N345`, and a head as `L3H7`."""
    return f"L{layer}{'H' if of_heads(site) else 'N'}{index}"


def site_of_units(labels: Iterable[str], site: str) -> str:
    """Give the site of units that are chosen by hand: where they are heads, that of its heads.

    Args:
        labels: of the units, such as `L12N345`, or `L3H7` for heads.
        site: one of `SITES`; for heads that of their values will do, such as `attn.hook_z`.

    Raises:
        SiteError: a label is not written so, or `site` has no heads.
    """
    check_site(site)
    if of_heads(site) or not any(_parsed(label)[1] == "H" for label in labels):
        return site
    heads = [name for name in SITES if SITES[name].heads_of == site]
    if not heads:
        tensors = sorted({SITES[name].heads_of or "" for name in SITES} - {""})
        raise SiteError(f"{site} has no attention heads; they are at {' and '.join(tensors)}")
    return heads[0]


def parse_units(labels: Iterable[str], site: str) -> list[tuple[int, int]]:
    """Read layers and indices of units at `site` from labels such as `L12N345` or `L3H7`.

    Raises:
        SiteError: `site` is not one of `SITES`, or a label is not written so, or is of a head where
            units are none, or the reverse.
    """
    check_site(site)
    kind = "H" if of_heads(site) else "N"
    units = []
    for label in labels:
        layer, letter, index = _parsed(label)
        if letter != kind:
            given, are = ("a head", "single values") if letter == "H" else ("no head", "heads")
            raise SiteError(
                f"{label} is {given}, and the units at {site} are {are}; write such as "
                f"{unit_label(site, layer, index)}, or name another site"
            )
        units.append((layer, index))
    return units


def _parsed(label: str) -> tuple[int, str, int]:
    if _OF_EXPERT.fullmatch(label):
        raise SiteError(
            f"{label!r} is a neuron within one expert, and no tensor of a model holds those; take "
            f"another site, such as {ROUTER}",
            page="models",
        )
    written = _LABEL.fullmatch(label)
    if written is None:
        raise SiteError(
            f"{label!r} is no unit; write its layer and index, such as L12N345, or L3H7 for a head"
        )
    return int(written[1]), written[2], int(written[3])


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
