"""How long a run still takes: by what of each kind of work is done and left."""

from dataclasses import dataclass

import pytest

from steer_plugin.analyses.run.progress import Progress, duration


@dataclass
class Clock:
    """Tells the time that a test sets."""

    now: float = 0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_told_before_anything_is_done() -> None:
    progress = Progress(Clock())
    progress.expect("reading", {"a": 10})

    assert progress.seconds_left() is None
    assert (progress.left, progress.note(), progress.share) == ("", "", 0)


def test_each_kind_goes_on_at_its_own_speed() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.expect("reading", dict.fromkeys(range(4), 100))
    progress.expect("writing", {"before": 1, "after": 1})
    with progress.doing("reading", 0, 100) as advance:
        clock.now += 5
        advance(50)
        # 350 are left, of which 50 took 5 s; nothing is known of writing.
        assert progress.seconds_left() == pytest.approx(35)
        clock.now += 15
        advance(50)
    assert progress.seconds_left() == pytest.approx(3 * 20)

    with progress.doing("writing", "before", 1):
        clock.now += 40

    assert progress.seconds_left() == pytest.approx(3 * 20 + 40)
    assert progress.share == pytest.approx(60 / (60 + 100))
    assert progress.left == "about 2 min left"
    assert progress.note("pass 2 of 4") == " (pass 2 of 4, about 2 min left)"


def test_what_was_written_before_the_first_batch_says_nothing_of_the_whole() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.expect("reading", {"a": 10})
    with progress.doing("writing", "before", 1):
        clock.now += 40

    assert progress.seconds_left() is None


def test_what_is_kept_is_not_waited_for() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.expect("reading", {"a": 1, "b": 1, "c": 2})
    with progress.doing("reading", "a", 1):
        clock.now += 10

    progress.drop("reading", "b")

    assert progress.seconds_left() == pytest.approx(20)


def test_after_two_passes_the_estimate_of_a_run_is_right_within_a_third() -> None:
    """Passes differ by a tenth in speed, and what follows them is a tenth of the time."""
    clock = Clock()
    progress = Progress(clock)
    progress.expect("reading", dict.fromkeys(range(12), 700))
    estimate = 0.0
    for place in range(12):
        with progress.doing("reading", place, 700):
            clock.now += 20 * (1.1 if place % 2 else 1)
        if place == 1:
            since, estimate = clock.now, progress.seconds_left() or 0
    clock.now += 24

    assert estimate == pytest.approx(clock.now - since, rel=1 / 3)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "about 5 s"), (42, "about 40 s"), (240, "about 4 min"), (9_000, "about 2.5 h")],
)
def test_times_are_told_roughly(seconds: float, told: str) -> None:
    assert duration(seconds) == told
