"""What is chosen by name and can be anybody's: scores, poolings and operations, ours among them.

Each axis has a registry: `SCORES.register("name")` decorates a function, and an installed package
names what it has in its entry points (see `steer_plugin.registry`). What is registered here by
where it is comes with this package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from steer_plugin.errors import InterventionError, ModelError, ScoreError
from steer_plugin.registry import Registry


@dataclass(frozen=True)
class Score:
    """What makes a unit an expert.

    Attributes:
        function: from `steer_plugin.scores.SortedUnits` to a score [unit, concept], higher for more
            expert, finite. Of one that counts tokens, from shares of active tokens, numbers of
            tokens, labels and memory; see `steer_plugin.scores.lape`.
        chance: what a unit that knows nothing scores, or a function of the numbers of texts
            [concept] that gives it for each concept.
        counts_tokens: whether it counts the tokens at which a unit is active.
        below_chance: whether a unit can score below chance: respond to all texts but the concept's.
        all_units: whether it compares units with one another, so that none can wait on disk.
        title: on axes and in sentences; None for the name.
        column: in tables that have typical responses as well; None for the name.
    """

    function: Callable[..., Any]
    chance: float | Callable[..., Any] = 0.0
    counts_tokens: bool = False
    below_chance: bool = True
    all_units: bool = False
    title: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class Pooler:
    """How the tokens of a text become one response.

    Attributes:
        function: from activations [text, token, unit] and which tokens count [text, token], one at
            least a text, to responses [text, unit]. What other tokens hold may be anything, NaN
            too; a NaN at one that counts must come through. It runs where the activations are, on
            an NDIF server as its source: it may name torch and functions of its own module.
        exact: whether a response is the activation of one of the tokens, so that the model's own
            dtype holds it.
    """

    function: Callable[..., Any]
    exact: bool = False


@dataclass(frozen=True)
class Arithmetic:
    """What an operation does to a unit.

    Attributes:
        function: from activations h [*position, unit], a value v [unit] and the strength to what
            h becomes, alike in shape and dtype; strength 0 must leave h as it is. It runs where the
            activations are, as that of a `Pooler` does.
        verb: what it does, where a plan is printed; None for the name.
        value: what v is: an `activation`, a `gain`, the unit's `auroc`, or the offset of its
            `line`, whose function is given gain, low and high [unit] too (Linear-AcT).
        usual: the statistic that an activation is where nothing is said.
        whole: whether h becomes v whatever it was, so that strength is 0 or 1.
    """

    function: Callable[..., Any]
    verb: str | None = None
    value: Literal["activation", "gain", "auroc", "line"] = "activation"
    usual: str = "mean"
    whole: bool = False


SCORES = Registry("score", Score, ScoreError)
POOLINGS = Registry("pooling", Pooler, ModelError)
OPERATIONS = Registry("operation", Arithmetic, InterventionError)

_RANKS = "steer_plugin.scores.rank_scores"
_TOKENS = "steer_plugin.scores.token_scores"
SCORES.add("auroc", f"{_RANKS}:AUROC")
SCORES.add("average_precision", f"{_RANKS}:AVERAGE_PRECISION")
SCORES.add("mean_difference", "steer_plugin.scores.mean_difference:MEAN_DIFFERENCE")
SCORES.add("activation_frequency", f"{_TOKENS}:ACTIVATION_FREQUENCY")
SCORES.add("lape", f"{_TOKENS}:LAPE")

_POOLING = "steer_plugin.activations.pooling"
POOLINGS.add("max", f"{_POOLING}:MAX")
POOLINGS.add("mean", f"{_POOLING}:MEAN")
POOLINGS.add("min", f"{_POOLING}:MIN")
POOLINGS.add("last", f"{_POOLING}:LAST")

_ARITHMETIC = "steer_plugin.interventions.operations"
OPERATIONS.add("set", f"{_ARITHMETIC}:SET")
OPERATIONS.add("add", f"{_ARITHMETIC}:ADD")
OPERATIONS.add("scale", f"{_ARITHMETIC}:SCALE")
OPERATIONS.add("blend", f"{_ARITHMETIC}:BLEND")
OPERATIONS.add("aura", f"{_ARITHMETIC}:AURA")
OPERATIONS.add("affine", f"{_ARITHMETIC}:AFFINE")
