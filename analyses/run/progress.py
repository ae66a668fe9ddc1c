"""How far a run is, and how long the rest takes at the speed of what is done."""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["reading", "writing", "scoring", "comparing"]
Amounts = dict[Hashable, float]


@dataclass(eq=False)
class Progress:
    """What of a run's work is left, and how fast each kind of it went so far.

    Attributes:
        clock: gives seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _left: dict[Kind, Amounts] = field(default_factory=dict)
    _done: dict[Kind, float] = field(default_factory=dict)
    _seconds: dict[Kind, float] = field(default_factory=dict)

    def expect(self, kind: Kind, amounts: Mapping[Hashable, float]) -> None:
        """Count on work: of each piece how much it is, in a unit of its kind's own."""
        self._left.setdefault(kind, {}).update(amounts)

    def drop(self, kind: Kind, piece: Hashable) -> None:
        """Count no longer on a piece of work, as its result is there."""
        self._left.get(kind, {}).pop(piece, None)

    @contextmanager
    def doing(
        self, kind: Kind, piece: Hashable, amount: float
    ) -> Iterator[Callable[[float], None]]:
        """Time a piece of work, and give what is told how much of it is done.

        Args:
            kind: of work.
            piece: which of its kind.
            amount: how much of it is done now.
        """
        self.expect(kind, {piece: amount})
        pieces, since = self._left[kind], self.clock()

        def advance(amount: float) -> None:
            nonlocal since
            now = self.clock()
            self._seconds[kind] = self._seconds.get(kind, 0) + now - since
            self._done[kind] = self._done.get(kind, 0) + amount
            pieces[piece] = max(0, pieces.get(piece, 0) - amount)
            since = now

        yield advance
        advance(pieces.get(piece, 0))
        self.drop(kind, piece)

    def seconds_left(self) -> float | None:
        """Estimate how long the rest takes, by the kinds of which some is done.

        None where none is, and before the first batch is read, which says most of what is to come.
        """
        known = [kind for kind, amount in self._done.items() if amount]
        if not known or (self._left.get("reading") and "reading" not in known):
            return None
        return sum(
            sum(self._left[kind].values()) * self._seconds[kind] / self._done[kind]
            for kind in known
        )

    @property
    def share(self) -> float:
        """How much of the whole time has passed, in [0, 1]; 0 where nothing is known of it."""
        spent, left = sum(self._seconds.values()), self.seconds_left()
        return 0.0 if left is None or not spent else spent / (spent + left)

    @property
    def left(self) -> str:
        """How long the rest takes, such as "about 4 min left"; "" where nothing is known of it."""
        seconds = self.seconds_left()
        return "" if seconds is None else f"{duration(seconds)} left"

    def note(self, *more: str) -> str:
        """Put the time that is left into brackets, after what else is to be said there."""
        parts = [part for part in (*more, self.left) if part]
        return f" ({', '.join(parts)})" if parts else ""


def duration(seconds: float) -> str:
    """Say roughly how long something takes."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    minutes = seconds / 60
    return f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
