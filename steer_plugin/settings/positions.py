"""Which tokens are steered, as text: a name, or a slice as Python writes it."""

import re

from steer_plugin.errors import InterventionError
from steer_plugin.settings.names import POSITIONS

CHOICES = f"choose one of: {', '.join(POSITIONS)}, or a slice of each text's tokens, such as -3:"
_SLICE = re.compile(r"(-?[0-9]+)?:(-?[0-9]+)?(?::(-?[0-9]+)?)?")


def positions_text(given: str) -> str:
    """Give the one way in which a choice of positions is written.

    Args:
        given: one of `POSITIONS`, or a slice such as `2:5`, `-3:` or `::2`.

    Raises:
        InterventionError: it is neither.
    """
    if given in POSITIONS:
        return given
    written = _SLICE.fullmatch(given)
    if written is None:
        raise InterventionError(
            f"{given!r} is not a choice of positions; {CHOICES}", page="how-to/plans"
        )
    return slice_text(slice(*(None if end is None else int(end) for end in written.groups())))


def slice_text(cut: slice) -> str:
    """Write a slice; one of the last token alone is `last`.

    Raises:
        InterventionError: its step is 0.
    """
    start, stop, step = cut.start, cut.stop, 1 if cut.step is None else cut.step
    if step == 0:
        raise InterventionError("a slice of positions has step 0; give another, such as ::2")
    if step > 0 and start == -1 and stop is None:
        return "last"
    if step > 0 and start == 0:
        start = None
    ends = ["" if end is None else str(int(end)) for end in (start, stop)]
    return ":".join([*ends, *([str(int(step))] if step != 1 else [])])
