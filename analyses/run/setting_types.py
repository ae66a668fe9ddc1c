"""What a setting of a run file may be, and what is said of one that may not."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from steer_plugin.errors import InterventionError
from steer_plugin.registry import Registry
from steer_plugin.settings.parts import (
    CONTROLS,
    MEASURES,
    METHODS,
    OPERATIONS,
    POOLINGS,
    SCORES,
    SITES,
)
from steer_plugin.settings.positions import positions_text


def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) < len(items):
        raise ValueError("Each item may be given once")
    return items


def registered(registry: Registry[Any, Any]) -> Callable[[str], str]:
    """Make a check that a name is one of a registry's."""

    def check(name: str) -> str:
        if name not in registry:
            raise ValueError(f"Input should be one of {', '.join(registry)}")
        return name

    return check


def _further(measure: str) -> str:
    registered(MEASURES)(measure)
    if MEASURES[measure].usual:
        raise ValueError("Input should be a measure that not every run takes by itself")
    return measure


def named_once(steps: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse two of one name."""
    if len({step.name for step in steps}) < len(steps):
        raise ValueError("Each name may be given once")
    return steps


def beside_targets(plans: tuple[Any, ...], info: Any) -> tuple[Any, ...]:
    """Refuse a plan whose rows could not stand beside a target's own, or would be another's."""
    targets = info.data.get("targets", ())
    for plan in plans:
        if targets and plan.target not in targets:
            raise ValueError(f"The target of each should be one of targets, {', '.join(targets)}")
        if plan.name in (OWN, *METHODS):
            raise ValueError(f"Each name should be none of {OWN} and the methods")
    return named_once(plans)


def _before_generation(positions: str) -> str:
    expected = (
        "Input should be all, prompt, text, last, or a slice of each text's tokens such as -3:"
    )
    if positions == "generated":
        raise ValueError(f"{expected}, since embeddings have no generated tokens")
    try:
        return positions_text(positions)
    except InterventionError as error:
        raise ValueError(expected) from error


def _steered(site: str) -> str:
    if SITES[site].read_only:
        raise ValueError("Input should be a site that plans steer, and its units are only read")
    return site


def told_from(source: str, info: Any) -> str:
    """Refuse a source that is a target, or beside figures that are of all languages at once."""
    if source in info.data.get("targets", ()):
        raise ValueError("Input should be none of the targets")
    for name in ("permutations", "stability_resamples"):
        if info.data.get(name):
            raise ValueError(f"Input should be left out beside {name}, which compares with all")
    return source


def from_table_alone(method: str, score: str) -> bool:
    """Tell whether a method takes no more than a table of experts by that score."""
    kind = METHODS[method]
    return not (kind.vectors or kind.passes or (kind.auroc and score != "auroc"))


def with_what_is_given(experts: str, info: Any) -> str:
    """Refuse experts that are given beside what the run would have to find on its own model."""
    told = info.data
    methods, score = told.get("methods", ()), told.get("score", "auroc")
    finding = [
        *(name for name in ("permutations", "stability_resamples") if told.get(name)),
        *(f"the control {name}" for name in told.get("controls", ()) if CONTROLS[name].shuffled),
        *(f"the method {name}" for name in methods if not from_table_alone(name, score)),
        *(
            f"the step {step.name} of a plan"
            for plan in told.get("plans", ())
            for step in plan.steps
            if step.site not in (None, told.get("site"))
            or step.source not in (None, told.get("source"))
        ),
    ]
    if finding:
        raise ValueError(
            f"Input should be left out beside {', '.join(finding)}, for which the run searches its "
            "own model"
        )
    return experts


def _ascending(ends: tuple[int, int]) -> tuple[int, int]:
    if ends[0] > ends[1]:
        raise ValueError("The first block should not come after the last")
    return ends


OWN = "experts"
"""What the rows of a target's own experts are called beside plans."""

Measure = Annotated[str, AfterValidator(_further)]
Method = Annotated[str, AfterValidator(registered(METHODS))]
Control = Annotated[str, AfterValidator(registered(CONTROLS))]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Operation = Annotated[str, AfterValidator(registered(OPERATIONS))]
Pooling = Annotated[str, AfterValidator(registered(POOLINGS))]
Score = Annotated[str, AfterValidator(registered(SCORES))]
Site = Annotated[str, AfterValidator(registered(SITES)), AfterValidator(_steered)]
Written = Annotated[str, AfterValidator(_before_generation)]
Blocks = Annotated[tuple[Index, Index], AfterValidator(_ascending)]
ONE_OR_MORE = Field(min_length=1)
DISTINCT = AfterValidator(_distinct)
Languages = Annotated[tuple[str, ...], Field(min_length=2), DISTINCT]
Seeds = Annotated[tuple[Index, ...], ONE_OR_MORE, DISTINCT]
CHECKED = ConfigDict(extra="forbid", strict=True)
