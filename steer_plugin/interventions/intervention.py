"""What to do to which units: one step of a plan."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np
import pandas as pd

from steer_plugin.activations.sites import (
    check_site,
    of_heads,
    parse_units,
    site_of_units,
    tensor_site,
    unit_label,
)
from steer_plugin.errors import InterventionError
from steer_plugin.interventions import positions as token_positions
from steer_plugin.interventions.columns import (
    COLUMNS,
    Array,
    Column,
    UnitsByLayer,
    Values,
    as_array,
    stacked,
    units_by_layer,
)
from steer_plugin.interventions.operations import arithmetic_of
from steer_plugin.interventions.positions import Positions, Where
from steer_plugin.registry import Registry, with_origins
from steer_plugin.settings.names import Operation
from steer_plugin.settings.parts import OPERATIONS, SITES, Arithmetic
from steer_plugin.storage.artifacts import read_artifact, readable, write_artifact

if TYPE_CHECKING:
    import steer_plugin.interventions.plan

# So many units are printed one by one.
FEW = 4


@dataclass(frozen=True, repr=False)
class Intervention:
    """A plan of one step: which units at a site, what to do to them, where in the text.

    Pure data. Equal plans compare and hash equal whatever order their units were given in; units
    are kept in order of layer and index, as arrays that equal tuples (see `Column`). `a + b` is the
    `Plan` that does a, and then b.

    Attributes:
        site: one of `steer_plugin.settings.parts.SITES`.
        layers: block index of each unit.
        indices: index of each unit within its block's site.
        values: what each unit is set to, moved by, or scaled with: an activation for `set`, `add`
            and `blend`, a gain for `scale`, the unit's AUROC for `aura`, an offset for `affine`.
            What is done to a head is done to each of its values: by the same number, or by one for
            each, [head, value].
        operation: see `steer`.
        strength: 0 leaves the model as it is, 1 is the whole operation.
        positions: which tokens are touched: `all`, those of the `prompt`, or the `generated` ones;
            or, of the prompt's alone, the `last` one, a slice such as `slice(-3, None)` or `"-3:"`,
            a boolean mask with a row a text, or a function of ids and attention mask, each [batch,
            position], that gives a boolean mask [batch, position]. A text is counted from its first
            real token, BOS among them, whatever padding it stands in: slices and masks are of these
            tokens, and a function is asked once for each text, without padding. Padding is never
            touched.
        bos: whether the BOS token is steered as well.
        gains: what each unit is multiplied by before its offset is added; only for `affine`, as
            are `lows` and `highs`; of heads as `values` are.
        lows: the least activation of each unit that is moved.
        highs: the largest.
        provenance: where the plan comes from; not part of its identity.

    Raises:
        InterventionError: the fields contradict each other.
    """

    site: str
    layers: Sequence[int]
    indices: Sequence[int]
    values: Values
    operation: Operation = "set"
    strength: float = 1.0
    positions: Positions = "all"
    bos: bool = True
    gains: Values = ()
    lows: Values = ()
    highs: Values = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Check the fields and put the units in order."""
        check_site(self.site)
        if SITES[self.site].read_only:
            raise InterventionError(
                f"units at {self.site} are read and cannot be steered: "
                f"{SITES[self.site].read_only}; choose another site"
            )
        arithmetic = self.arithmetic
        object.__setattr__(self, "positions", token_positions.settled(self.positions))
        if not len(self.layers) == len(self.indices) == len(self.values):
            raise InterventionError(
                f"{len(self.layers)} layers, {len(self.indices)} indices and {len(self.values)} "
                "values were given; each unit needs one of each"
            )
        columns = {
            name: as_array(getattr(self, name), name, len(self), self.site)
            for name in COLUMNS.values()
        }
        self._check_ranges(columns)
        layers, indices = columns["layers"], columns["indices"]
        if min(layers.min(initial=0), indices.min(initial=0)) < 0:
            raise InterventionError("layers and indices count from 0; one of them is negative")
        if not (np.isfinite(columns["values"]).all() and np.isfinite(self.strength)):
            raise InterventionError("values and strength must be finite; one is NaN or infinite")
        if arithmetic.whole and self.strength not in (0, 1):
            raise InterventionError(
                f"{self.operation!r} writes the value itself and takes strength 1 (or 0 for "
                f"nothing), not {self.strength}; use operation='blend' to go part of the way"
            )
        order = np.lexsort((indices, layers))
        layers, indices = layers[order], indices[order]
        again = np.flatnonzero((np.diff(layers) == 0) & (np.diff(indices) == 0))
        if len(again):
            label = unit_label(self.site, int(layers[again[0]]), int(indices[again[0]]))
            raise InterventionError(f"unit {label} is given twice; give it once")
        for name, column in columns.items():
            numbers = column[order] if len(column) == len(order) else column
            object.__setattr__(self, name, Column(numbers))
        # The zero below 0 equals that above it, and would not hash like it.
        object.__setattr__(self, "strength", float(self.strength) + 0.0)
        object.__setattr__(self, "bos", bool(self.bos))

    def _check_ranges(self, columns: Mapping[str, Array]) -> None:
        """Refuse gains and ranges that do not suit the operation, the values, or one another."""
        gains, lows, highs = (columns[name] for name in ("gains", "lows", "highs"))
        counts = [len(gains), len(lows), len(highs)]
        wanted = len(self) if self.arithmetic.value == "line" else 0
        if counts != [wanted] * 3:
            raise InterventionError(
                f"{counts[0]} gains, {counts[1]} lows and {counts[2]} highs were given; "
                f"{self.operation!r} takes {wanted} of each (one a unit for 'affine', else none)"
            )
        shapes = {column.shape for column in (columns["values"], gains, lows, highs) if len(column)}
        if len(shapes) > 1:
            raise InterventionError(
                f"the numbers of heads have shapes {sorted(shapes)}; give as many of each kind"
            )
        if not all(np.isfinite(numbers).all() for numbers in (gains, lows, highs)):
            raise InterventionError("gains, lows and highs must be finite; one is NaN or infinite")
        for unit, *value in np.argwhere(lows > highs)[:1].tolist():
            at = (int(columns[name][unit]) for name in ("layers", "indices"))
            label = unit_label(self.site, *at)
            ends = [numbers[unit, *value] for numbers in (lows, highs)]
            raise InterventionError(
                f"unit {label} is moved from {ends[0]} up to {ends[1]}, which is nowhere; give the "
                "lower end as its low"
            )

    @classmethod
    def of(
        cls,
        units: Mapping[str, float | Sequence[float]],
        *,
        site: str,
        operation: Operation = "set",
        strength: float = 1.0,
        positions: Positions = "all",
        bos: bool = True,
    ) -> "Intervention":
        """Plan what is done to units that are chosen by hand.

        Args:
            units: the value of each, by its label: `{"L12N345": 3.1}`. A head is `L3H7`: its value
                is that of all it gives, or it has a list of as many as a head gives.
            site: as all further ones, of the plan; for heads `attn.hook_z` will do.
            operation: any but `affine`, which takes more than a value.
            strength: of the operation.
            positions: which tokens are touched.
            bos: whether the BOS token is steered as well.

        Raises:
            SiteError: a label is not written so, or the site has no such units.
            InterventionError: the fields contradict each other, or a unit is given twice.
        """
        site = site_of_units(units, site)
        layers, indices = zip(*parse_units(units, site), strict=True) if units else ((), ())
        values = cast("Values", tuple(units.values()))
        return cls(site, layers, indices, values, operation, strength, positions, bos)

    def __len__(self) -> int:
        """Count the units."""
        return len(self.layers)

    def __add__(
        self, other: Union["Intervention", "steer_plugin.interventions.plan.Plan"]
    ) -> "steer_plugin.interventions.plan.Plan":
        """Plan this, and then the other."""
        from steer_plugin.interventions.plan import Plan

        return Plan((self,)) + other

    def __repr__(self) -> str:
        """Say what is done."""
        return f"<Intervention: {self.describe()}>"

    @property
    def where(self) -> Where:
        """The positions in the form in which a plan holds them."""
        return cast("Where", self.positions)

    @property
    def steps(self) -> tuple["Intervention", ...]:
        """The steps of the plan: this one alone."""
        return (self,)

    def describe(self) -> str:
        """Say on one line what is done to which units, at which tokens, and towards what."""
        kind = "head" if self.of_heads else "unit"
        units = f"{len(self):,} {kind}{'' if len(self) == 1 else 's'}"
        layers = ""
        if 0 < len(self) <= FEW:
            rows = zip(self.layers, self.indices, self.values, strict=True)
            units = ", ".join(
                f"{unit_label(self.site, layer, unit)}={_printed(value)}"
                for layer, unit, value in rows
            )
        elif len(self):
            ends = sorted({self.layers[0], self.layers[-1]})
            layers = f" in layer{'s' * (len(ends) > 1)} {'..'.join(map(str, ends))}"
        verb = self.arithmetic.verb or self.operation
        parts = [f"{verb} {units} at {tensor_site(self.site)}{layers}"]
        if self.strength != 1:
            parts.append(f"strength {self.strength:g}")
        if self.positions != "all":
            parts.append(token_positions.described(self.where))
        if not self.bos:
            parts.append("BOS left alone")
        origin = self.provenance
        names = [str(origin[key]) for key in ("concept", "control") if key in origin]
        if "concept" in origin and "source" in origin:
            names[0] += f" against {origin['source']}"
        return ", ".join(parts) + (f" ({', '.join(names)})" if names else "")

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that makes the plan what it is, in hexadecimal."""
        where = token_positions.as_json(self.where)
        identity = {part.name: getattr(self, part.name) for part in fields(self)}
        identity |= {name: np.asarray(identity[name]).tolist() for name in COLUMNS.values()}
        identity |= {"provenance": None, "positions": where}
        identity |= with_origins({}, **self.parts)
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def parts(self) -> dict[str, tuple[Registry[Any, Any], str]]:
        """By axis, the parts that the plan is made with."""
        return {"operation": (OPERATIONS, self.operation), "site": (SITES, self.site)}

    @property
    def arithmetic(self) -> Arithmetic:
        """What the operation does.

        Raises:
            InterventionError: there is no such operation, or it cannot be what it is registered as.
        """
        return arithmetic_of(self.operation)

    @property
    def module_paths(self) -> dict[str, str]:
        """Where the site is for nnsight, by kind of model; empty for ours."""
        return dict(SITES[self.tensor_site].paths)

    @property
    def tensor_site(self) -> str:
        """The site whose tensor is steered: where units are heads, that of their values."""
        return tensor_site(self.site)

    @property
    def of_heads(self) -> bool:
        """Whether the units are whole attention heads."""
        return of_heads(self.site)

    @property
    def changes_nothing(self) -> bool:
        """Whether the plan leaves every model bit for bit as it is."""
        return not len(self) or self.strength == 0

    @property
    def units(self) -> UnitsByLayer:
        """For each layer, in ascending order, the indices and parameters of its units.

        The parameters of a unit are its value and, for `affine`, its gain, low and high; those of a
        head that has a value for each of its own stand side by side.
        """
        numbers = (self.values, self.gains, self.lows, self.highs)
        return units_by_layer(self.layers, self.indices, numbers)

    def fwd_hooks(self, bridge: Any, *, prompt_length: int | None = None) -> list[tuple[str, Any]]:
        """List the plan as `(hook_name, function)` pairs for a TransformerBridge.

        They go into `bridge.run_with_hooks(..., fwd_hooks=...)` and `bridge.hooks(fwd_hooks=...)`
        beside anybody else's.

        Args:
            bridge: the model.
            prompt_length: see `steer_plugin.steered`.

        Raises:
            ModelError: the model is an encoder-decoder, or the bridge computes otherwise than it.
            SiteError: the model lacks the site or one of the units.
        """
        from steer_plugin.adapters.transformer_lens.hooks import fwd_hooks

        return fwd_hooks(bridge, self, prompt_length)

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `units.parquet` into `folder`, whole or not at all.

        Raises:
            ArtifactError: the folder cannot be written.
            InterventionError: its positions are a function that could not be found again.
        """
        config, units = saved_form(self)
        write_artifact(folder, "intervention", config, tables={"units": units})

    @classmethod
    def load(cls, folder: str | Path) -> "Intervention":
        """Read what `save` wrote.

        Raises:
            ArtifactError: the folder holds no intervention, or a damaged one.
        """
        artifact = read_artifact(folder, "intervention")
        with readable(artifact.folder):
            return restored(artifact.config, artifact.table("units"))


def saved_form(step: Intervention) -> tuple[dict[str, Any], pd.DataFrame]:
    """Give the saved form of one step: JSON values, and a row a unit.

    Raises:
        InterventionError: its positions are a function that could not be found again.
    """
    token_positions.require_importable(step.where)
    columns = {column: np.asarray(getattr(step, name)) for column, name in COLUMNS.items()}
    units = {
        column: numbers if numbers.ndim == 1 else list(numbers)
        for column, numbers in columns.items()
        if len(numbers) == len(step)
    }
    config = {
        "site": step.site,
        "operation": step.operation,
        "strength": step.strength,
        "positions": token_positions.as_json(step.where),
        "bos": step.bos,
        "provenance": with_origins(step.provenance, **step.parts),
    }
    return config, pd.DataFrame(units)


def restored(config: dict[str, Any], units: pd.DataFrame) -> Intervention:
    """Make a step of its saved form.

    Raises:
        InterventionError: its operation is somebody's own, and not registered here.
        SiteError: its site is.
    """
    parts = config["provenance"].get("parts", {})
    OPERATIONS.check(config["operation"], parts.get("operation"))
    SITES.check(config["site"], parts.get("site"))
    columns: dict[str, Any] = {
        name: Column(stacked(units[column])) for column, name in COLUMNS.items() if column in units
    }
    where = token_positions.from_json(config.pop("positions"))
    return Intervention(**columns, **config, positions=where)


def _printed(value: Any) -> str:
    if isinstance(value, Sequence):
        return f"[{len(value)} values]"
    return f"{value:.4g}"
