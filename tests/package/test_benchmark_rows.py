"""The rows of `make bench`: each can fail, and some can be chosen by name."""

import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import contest  # type: ignore[import-not-found]

    return contest


@pytest.mark.parametrize(
    ("ratio", "target", "missed"),
    [
        (1.15, "<= 1.15", False),
        (1.16, "<= 1.15", True),
        (1.0, "< 1", True),
        (99.0, ">= 100", True),
        (100.0, ">= 100", False),
        (4.0, "> 4", True),
        (math.nan, "<= 1.15", True),
        (math.nan, ">= 2", True),
        (9e9, "", False),
    ],
)
def test_a_row_that_does_not_reach_its_goal_is_missed(
    ratio: float, target: str, missed: bool, contest: Any
) -> None:
    assert contest.Row("a", "b", 1.0, 1.0, ratio, "times", target).missed == missed


def test_every_goal_that_is_written_down_is_understood(contest: Any) -> None:
    goals = {
        goal
        for path in BENCHMARKS.glob("bench_*.py")
        for goal in re.findall(r'"([<>]=? [^"]*)"', path.read_text(encoding="utf-8"))
    }

    assert len(goals) > 8
    for goal in goals:
        worst = math.inf if goal.startswith("<") else -math.inf
        assert contest.Row("a", "b", 1.0, 1.0, worst, "times", goal).missed, goal


@pytest.mark.parametrize(("goal", "code"), [(">= 4", 0), (">= 1e9", 1)])
def test_a_run_ends_with_1_where_a_goal_is_missed(
    goal: str,
    code: int,
    contest: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import run

    row = contest.Row("a plan", "tuples", 1.0, 5.0, 5.0, "times faster", goal)
    monkeypatch.setitem(sys.modules, "bench_plans", SimpleNamespace(rows=lambda: [row]))

    assert run.main(["plans"]) == code
    assert ("missed" in capsys.readouterr().out.splitlines()[1]) == (code == 1)


def test_rows_that_do_not_exist_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import run  # type: ignore[import-not-found]

    assert run.main(["scorse"]) == 2
    assert "there are no rows 'scorse'; choose of: scores, plans" in capsys.readouterr().err
    assert {f"bench_{name}" for name in run.PARTS} == {
        path.stem for path in BENCHMARKS.glob("bench_*.py")
    }
