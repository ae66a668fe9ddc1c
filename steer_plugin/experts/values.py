"""What is written to experts: which values an operation takes, and where they come from."""

from collections.abc import Collection

from steer_plugin.errors import InterventionError, SelectionError
from steer_plugin.experts.selection import Choice
from steer_plugin.settings.names import Operation
from steer_plugin.settings.parts import OPERATIONS, SCORES

# Linear-AcT as statistics of an expert table hold it: the fields of an `affine` plan.
LINE = {"values": "act_offset", "gains": "act_gain", "lows": "act_low", "highs": "act_high"}
# What a table's provenance says of them.
LINES = "linear transport"
# What is written to a unit where it is neither a statistic nor a number.
WRITTEN = {"auroc": "auroc", "line": LINES}


def usual_value(operation: Operation) -> str:
    """Name what an operation writes where nothing is said: the mean, or `add` its difference."""
    return OPERATIONS[operation].usual


def check_end(score: str, choice: Choice) -> None:
    """Refuse to choose from an end that a score does not have.

    Raises:
        SelectionError: the score has none.
    """
    if not SCORES[score].below_chance and "bottom" in choice.selection:
        raise SelectionError(
            f"selection={choice.selection!r}, but no unit scores below chance by {score}: it tells "
            "which concepts a unit responds to, not which it is silent in; take 'top', or another "
            "score"
        )


def check_value(
    operation: Operation,
    value: str | float,
    score: str,
    statistics: Collection[str],
    choice: Choice,
) -> None:
    """Refuse a value or a choice of units that does not suit an operation, or is not to be had.

    Args:
        operation: see `steer_plugin.interventions.operations.steer`.
        value: see `ExpertTable.intervention`.
        score: of the table.
        statistics: names of those that it holds.
        choice: which units are steered.

    Raises:
        InterventionError: it does not suit, or is not there.
    """
    kind = OPERATIONS[operation].value
    if kind == "auroc" and (score != "auroc" or value != "mean"):
        raise InterventionError(
            f"{operation!r} scales by each unit's AUROC, but value is {value!r} and the table "
            f"holds {score}; leave value out and find experts by auroc"
        )
    if kind == "auroc" and "bottom" in choice.selection:
        raise InterventionError(
            f"selection={choice.selection!r}, but {operation!r} dampens units above chance and "
            "leaves those below as they are; take 'top', or another operation"
        )
    if kind == "line":
        if value != "mean":
            raise InterventionError(
                f"{operation!r} moves each unit along its own line, but value is {value!r}; "
                "leave value out"
            )
        if not set(LINE.values()) <= set(statistics):
            raise InterventionError(
                f"{operation!r} moves each unit along its own line, and the expert table has "
                "none; find the experts anew with --lines, or lines=True in Python"
            )
    if kind == "gain" and isinstance(value, str):
        raise InterventionError(
            f"{operation!r} multiplies by a gain, but value is {value!r}; give a number, such "
            "as 2.0"
        )
    choices = [*(name for name in statistics if name not in LINE.values()), "zero"]
    if isinstance(value, str) and kind not in WRITTEN and value not in choices:
        raise InterventionError(
            f"{value!r} is not a value in the expert table; choose one of "
            f"{', '.join(choices)}, or a number"
        )
