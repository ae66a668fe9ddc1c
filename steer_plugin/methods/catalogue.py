"""The rival ways to steer towards a concept, by name."""

from dataclasses import dataclass, replace

from steer_plugin.errors import InterventionError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.experts.table import ExpertTable
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan, each_step
from steer_plugin.interventions.positions import Positions
from steer_plugin.methods.steering_vectors import SteeringVectors, VectorName
from steer_plugin.registry import with_origins
from steer_plugin.responses.probe import ProbeUnder
from steer_plugin.settings.parts import METHODS, OPERATIONS, Method


@dataclass(frozen=True, eq=False)
class MethodContext:
    """What a method plans with.

    Attributes:
        experts: the units that most methods steer.
        vectors: what methods of the residual stream add; None where none of them is planned.
        concept: what to steer towards.
        top_k: how many experts.
        layer: the block whose residual stream is steered.
        positions: `all`, `prompt` or `generated` tokens.
        bos: whether the BOS token is steered as well.
        choice: which experts; see `ExpertTable.top`.
        probe_under: reads the responses of a layer under a plan; None where no model is at hand.
    """

    experts: ExpertTable
    vectors: SteeringVectors | None
    concept: str
    top_k: int
    layer: int
    positions: Positions = "all"
    bos: bool = True
    choice: Choice = TOP
    probe_under: ProbeUnder | None = None


def unit_method(
    title: str, citation: str, operation: str, value: str | float, strength: float = 1.0
) -> Method:
    """Make a method that does an operation to a concept's experts.

    Args:
        title: for charts.
        citation: who proposed it.
        operation: one of `steer_plugin.settings.parts.OPERATIONS`.
        value: see `ExpertTable.intervention`.
        strength: of the operation.
    """

    def plan(given: MethodContext) -> Intervention:
        return given.experts.intervention(
            given.concept,
            top_k=given.top_k,
            operation=operation,
            value=value,
            strength=strength,
            positions=given.positions,
            bos=given.bos,
            choice=given.choice,
        )

    kind = OPERATIONS[operation].value
    return Method(plan, title, citation, lines=kind == "line", auroc=kind == "auroc")


def vector_method(title: str, citation: str, vector: VectorName) -> Method:
    """Make a method that adds a steering vector to the residual stream after one block.

    Args:
        title: for charts.
        citation: who proposed it.
        vector: see `steer_plugin.methods.steering_vectors.find_vectors`.
    """

    def plan(given: MethodContext) -> Intervention:
        assert given.vectors is not None  # noqa: S101 (`plan_method` sees to it)
        return given.vectors.intervention(
            given.concept,
            layer=given.layer,
            method=vector,
            positions=given.positions,
            bos=given.bos,
        )

    return Method(plan, title, citation, vectors=True)


SET_MEAN = unit_method("set to mean", "Sundar et al. 2025", "set", "mean")
SET_MEDIAN = unit_method("set to median", "Suau et al. 2022; Kojima et al. 2024", "set", "median")
BLEND_MEAN = unit_method(
    "half way to mean", "half of Sundar et al. 2025", "blend", "mean", strength=0.5
)
ADD_MEAN_DIFFERENCE = unit_method(
    "add mean difference", "Rimsky et al. 2024, on experts", "add", "mean_difference"
)
LINEAR_ACT = unit_method("Linear-AcT", "Rodriguez et al. 2024", "affine", "mean")
AURA = unit_method("AurA", "Suau et al. 2024", "aura", "mean")
ZERO = unit_method("set to zero", "zero ablation", "set", "zero")
STEER_MEAN_DIFFERENCE = vector_method(
    "residual mean difference", "Marks and Tegmark 2023; Rimsky et al. 2024", "mean_difference"
)
STEER_PCA = vector_method("residual PCA", "Zou et al. 2023", "pca")


def suited_methods(choice: Choice) -> tuple[str, ...]:
    """List the methods that do something to every unit of a choice, without passes of their own."""
    low = "bottom" in choice.selection
    return tuple(
        name for name, method in METHODS.items() if not (method.passes or (low and method.auroc))
    )


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
    probe_under: ProbeUnder | None = None,
) -> AnyPlan:
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
        probe_under: what methods with passes of their own read by; see
            `steer_plugin.responses.probe.probe_under`.

    Raises:
        InterventionError: there is no such method, or what it needs is not given.
        SelectionError: see `ExpertTable.top` and `SteeringVectors.intervention`.
        SiteError: the vectors have no such block.
    """
    method = METHODS[name]
    if method.vectors and vectors is None:
        raise InterventionError(f"{name!r} adds a steering vector; give vectors")
    if method.passes and probe_under is None:
        raise InterventionError(
            f"{name!r} reads responses under its own plan; give probe_under=probe_under(adapter, "
            "corpus, settings) of steer_plugin.responses"
        )
    given = MethodContext(
        experts, vectors, concept, top_k, layer, positions, bos, choice, probe_under
    )
    with METHODS.calling(name):
        plan = method.function(given)
    if not isinstance(plan, AnyPlan):
        raise InterventionError(
            f"the method {name!r} gave an object of type {type(plan).__name__}; give an "
            "Intervention, or several in order as a + b",
            page="own-parts",
        )
    return each_step(plan, lambda step: _signed(step, name))


def _signed(step: Intervention, name: str) -> Intervention:
    origin = with_origins(step.provenance, method=(METHODS, name))
    return replace(step, provenance={**origin, "method": name})
