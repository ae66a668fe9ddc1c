"""Contenders measured side by side, and the ratio of two of them as a row of the table."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import ge, gt, le, lt

Seconds = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One ratio of two times from the same run.

    Attributes:
        what: what was measured.
        against: what it was measured against.
        seconds: how long it took, the median over the repeats.
        other_seconds: how long the other took.
        ratio: of the two.
        unit: of the ratio, such as "times faster".
        target: what the ratio should be, such as "<= 1.15"; "" where there is no goal.
    """

    what: str
    against: str
    seconds: float
    other_seconds: float
    ratio: float
    unit: str
    target: str

    @property
    def missed(self) -> bool:
        """Whether there is a goal and the ratio does not reach it; NaN does not.

        Raises:
            ValueError: the goal is none of "<", "<=", ">" and ">=" with a number.
        """
        if not self.target:
            return False
        sign, number = self.target.split()
        return not GOALS[sign](self.ratio, float(number))


GOALS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


def times_faster(what: str, against: str, ours: float, theirs: float, target: str) -> Row:
    """State how many times faster ours is."""
    return Row(what, against, ours, theirs, theirs / ours, "times faster", target)


def times_as_long(what: str, against: str, ours: float, theirs: float, target: str) -> Row:
    """State how many times as long ours takes."""
    return Row(what, against, ours, theirs, ours / theirs, "times as long", target)


def medians(contenders: Mapping[str, Callable[[], object]], *, repeats: int) -> Seconds:
    """Time each contender once a round, so that all meet the same weather; one round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured[1:]) for name, measured in seconds.items()}
