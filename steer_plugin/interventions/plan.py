"""What to do to a model, step by step, as plans that any host can carry out."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, Union, cast

from steer_plugin.errors import InterventionError
from steer_plugin.interventions.intervention import Intervention, restored, saved_form
from steer_plugin.interventions.positions import mask_of_others
from steer_plugin.storage.artifacts import read_artifact, readable, write_artifact


@dataclass(frozen=True, repr=False)
class Plan:
    """Interventions one after another, at any sites: what `a + b` gives.

    Each step acts as a PyTorch hook that was set after those of the steps before it, so where two
    meet at a tensor the later one sees what the earlier one wrote. Pure data; equal steps in the
    same order are equal plans.

    Attributes:
        steps: in order.

    Raises:
        InterventionError: a step is no `Intervention`.
    """

    steps: tuple[Intervention, ...]

    def __post_init__(self) -> None:
        """Check the steps."""
        for step in self.steps:
            if not isinstance(step, Intervention):
                raise InterventionError(
                    f"a step of the plan is of type {type(step).__name__}; give Interventions, or "
                    "add plans with +"
                )

    def __add__(self, other: Union[Intervention, "Plan"]) -> "Plan":
        """Plan this, and then the other."""
        if not isinstance(other, Intervention | Plan):
            return NotImplemented
        return Plan((*self.steps, *other.steps))

    def __repr__(self) -> str:
        """Say what is done."""
        return f"<Plan: {'; then '.join(step.describe() for step in self.steps)}>"

    def describe(self) -> str:
        """Say what each step does, a numbered line each."""
        return "\n".join(
            f"{number}. {step.describe()}" for number, step in enumerate(self.steps, start=1)
        )

    @property
    def hash(self) -> str:
        """SHA-256 of the steps in order, in hexadecimal; of one step, that step's own."""
        if len(self.steps) == 1:
            return self.steps[0].hash
        hashes = [step.hash for step in self.steps]
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()

    @property
    def changes_nothing(self) -> bool:
        """Whether the plan leaves every model bit for bit as it is."""
        return all(step.changes_nothing for step in self.steps)

    def fwd_hooks(self, bridge: Any, *, prompt_length: int | None = None) -> list[tuple[str, Any]]:
        """List the plan as hooks for a TransformerBridge; see `Intervention.fwd_hooks`."""
        from steer_plugin.adapters.transformer_lens.hooks import fwd_hooks

        return fwd_hooks(bridge, self, prompt_length)

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and a parquet file a step into `folder`, whole or not at all.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        saved = [saved_form(step) for step in self.steps]
        tables = {f"units-{number}": units for number, (_, units) in enumerate(saved)}
        write_artifact(folder, "plan", {"steps": [config for config, _ in saved]}, tables=tables)

    @classmethod
    def load(cls, folder: str | Path) -> "Plan":
        """Read what `save` wrote, or what `Intervention.save` did as a plan of one step.

        Raises:
            ArtifactError: the folder holds no plan, or a damaged one.
        """
        artifact = read_artifact(folder, "plan", "intervention")
        if artifact.kind == "intervention":
            return cls((Intervention.load(folder),))
        with readable(artifact.folder):
            return cls(
                tuple(
                    restored(config, artifact.table(f"units-{number}"))
                    for number, config in enumerate(artifact.config["steps"])
                )
            )


AnyPlan = Intervention | Plan
"""What may be done to a model."""

Planned = TypeVar("Planned", bound=AnyPlan)


def check_intervention(given: object) -> None:
    """Refuse what is no plan where one may be given.

    Raises:
        InterventionError: it is neither an `Intervention`, nor a `Plan`, nor None.
    """
    if given is not None and not isinstance(given, AnyPlan):
        raise InterventionError(
            f"the intervention is of type {type(given).__name__}; give an Intervention, several in "
            "order as a + b, or None"
        )


def for_texts(plan: Planned, rows: Sequence[int], texts: int) -> Planned:
    """Give the plan for some of the texts that it is for: of its masks, the rows of these.

    Args:
        plan: for all of them.
        rows: which ones.
        texts: how many there are.

    Raises:
        InterventionError: a mask is not of so many texts.
    """

    def chosen(step: Intervention) -> Intervention:
        if not isinstance(step.where, tuple):
            return step
        if len(step.where) != texts:
            raise InterventionError(mask_of_others(len(step.where), texts))
        return replace(step, positions=tuple(step.where[row] for row in rows))

    return each_step(plan, chosen)


def each_step(plan: Planned, change: Callable[[Intervention], Intervention]) -> Planned:
    """Give the plan of the same kind whose steps are changed ones."""
    changed = tuple(map(change, plan.steps))
    return cast("Planned", changed[0] if isinstance(plan, Intervention) else Plan(changed))


def acting_steps(plan: AnyPlan | None) -> tuple[Intervention, ...]:
    """Give the steps of a plan that do something, in order."""
    steps = () if plan is None else plan.steps
    return tuple(step for step in steps if not step.changes_nothing)
