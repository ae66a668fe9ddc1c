"""The rival ways to steer towards a concept, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from steer_plugin.errors import InterventionError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.experts.table import ExpertTable
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.positions import Positions
from steer_plugin.methods.steering_vectors import SteeringVectors, VectorName
from steer_plugin.settings.names import Operation


@dataclass(frozen=True)
class UnitMethod:
    """A way to steer a concept's experts.

    Attributes:
        title: for charts.
        citation: who proposed it.
        operation: see `steer_plugin.interventions.arithmetic.steer`.
        value: see `ExpertTable.intervention`.
        strength: of the operation.
    """

    title: str
    citation: str
    operation: Operation
    value: str
    strength: float = 1.0


@dataclass(frozen=True)
class VectorMethod:
    """A way to steer the residual stream after one block.

    Attributes:
        title: for charts.
        citation: who proposed it.
        vector: see `steer_plugin.methods.steering_vectors.find_vectors`.
    """

    title: str
    citation: str
    vector: VectorName


METHODS: Mapping[str, UnitMethod | VectorMethod] = MappingProxyType(
    {
        "set-mean": UnitMethod("set to mean", "Sundar et al. 2025", "set", "mean"),
        "set-median": UnitMethod(
            "set to median", "Suau et al. 2022; Kojima et al. 2024", "set", "median"
        ),
        "blend-mean": UnitMethod(
            "half way to mean", "half of Sundar et al. 2025", "blend", "mean", strength=0.5
        ),
        "add-mean-difference": UnitMethod(
            "add mean difference", "Rimsky et al. 2024, on experts", "add", "mean_difference"
        ),
        "linear-act": UnitMethod("Linear-AcT", "Rodriguez et al. 2024", "affine", "mean"),
        "aura": UnitMethod("AurA", "Suau et al. 2024", "aura", "mean"),
        "zero": UnitMethod("set to zero", "zero ablation", "set", "zero"),
        "steer-mean-difference": VectorMethod(
            "residual mean difference",
            "Marks and Tegmark 2023; Rimsky et al. 2024",
            "mean_difference",
        ),
        "steer-pca": VectorMethod("residual PCA", "Zou et al. 2023", "pca"),
    }
)


def needs_lines(name: str) -> bool:
    """Tell whether one of `METHODS` moves each unit along its line (Linear-AcT)."""
    method = METHODS[name]
    return isinstance(method, UnitMethod) and method.operation == "affine"


def suited_methods(choice: Choice) -> tuple[str, ...]:
    """List those of `METHODS` that do something to every unit of a choice."""
    return tuple(name for name in METHODS if name != "aura" or "bottom" not in choice.selection)


def plan_method(
    name: str,
    experts: ExpertTable,
    vectors: SteeringVectors | None,
    concept: str,
    *,
    top_k: int,
    layer: int,
    positions: Positions = "all",
    bos: bool = True,
    choice: Choice = TOP,
) -> Intervention:
    """Plan one of the methods.

    Args:
        name: one of `METHODS`.
        experts: the units that most methods steer; by AUROC for `aura`.
        vectors: what the methods of the residual stream add; None where none of them is planned.
        concept: what to steer towards.
        top_k: how many experts.
        layer: the block whose residual stream is steered.
        positions: which tokens are touched; see `Intervention`.
        bos: whether the BOS token is steered as well.
        choice: which experts; see `ExpertTable.top`.

    Raises:
        InterventionError: there is no such method, or what it needs is not given.
        SelectionError: see `ExpertTable.top` and `SteeringVectors.intervention`.
        SiteError: the vectors have no such block.
    """
    if name not in METHODS:
        raise InterventionError(f"{name!r} is not a method; choose one of: {', '.join(METHODS)}")
    method = METHODS[name]
    if isinstance(method, UnitMethod):
        plan = experts.intervention(
            concept,
            top_k=top_k,
            operation=method.operation,
            value=method.value,
            strength=method.strength,
            positions=positions,
            bos=bos,
            choice=choice,
        )
    elif vectors is None:
        raise InterventionError(f"{name!r} adds a steering vector; give vectors")
    else:
        plan = vectors.intervention(
            concept, layer=layer, method=method.vector, positions=positions, bos=bos
        )
    return replace(plan, provenance={**plan.provenance, "method": name})
