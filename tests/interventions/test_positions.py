"""Positions as plans hold them: told apart, hashed, printed, saved, and carried into controls."""

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.analyses.controls.random_units import matched_control, shuffled_values
from steer_plugin.errors import ArtifactError, InterventionError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import Plan, for_texts

from support import token_choosers

STEP = Intervention("mlp.hook_post", (0, 0), (1, 3), (0.5, 2.0))
MASK = [[True, False], [False, False]]
LIMIT, TABLE = 3, torch.zeros(2)


def at(positions: Any) -> Intervention:
    return replace(STEP, positions=positions)


def below(number: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda ids, attention: (ids < number) & (attention == 1)


def below_the_limit(ids: Tensor, attention: Tensor) -> Tensor:
    return (ids < LIMIT) & (attention == 1)


def by_table(ids: Tensor, attention: Tensor) -> Tensor:
    return (TABLE[ids] == 1) & (attention == 1)


SAME = [
    ("last", [slice(-1, None), "-1:", slice(-1, None, 1), slice(-1, None, 2)]),
    ("2:5", [slice(2, 5), slice(2, 5, 1), slice(np.int64(2), 5)]),
    (":4", [slice(4), slice(0, 4), "0:4", "0:4:1"]),
    ("::-1", [slice(None, None, -1)]),
    ("0::-1", [slice(0, None, -1)]),
    (MASK, [np.array(MASK), torch.tensor(MASK), tuple(map(tuple, MASK)), ("10", "00")]),
    (token_choosers.fails, [token_choosers.fails]),
    (below(4), [below(4)]),
]


@pytest.mark.parametrize(("one", "others"), SAME)
def test_positions_that_mean_the_same_are_the_same(one: Any, others: list[Any]) -> None:
    for other in others:
        assert at(one) == at(other)
        assert hash(at(one)) == hash(at(other))
        assert at(one).hash == at(other).hash
        assert replace(at(other), strength=0.0).where == at(one).where


def test_other_positions_make_another_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [at(one) for one, _ in SAME]
    every += [at(name) for name in ("all", "prompt", "generated", ":", "1:", "-2:", "2:5:2")]
    every += [at(MASK[::-1]), at(token_choosers.every_third), at(below(5))]
    every += [at(lambda ids, _: ids == 3), at(lambda ids, _: ids == 4)]
    every += [at(one) for one in (lambda ids, _: ids > 3, lambda ids, _: ids > 4)]
    every.append(at(below_the_limit))
    monkeypatch.setitem(globals(), "LIMIT", 7)
    every.append(at(below_the_limit))

    assert len(set(every)) == len({step.hash for step in every}) == len(every)


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        ("last", "last token"),
        (slice(-3, None), "tokens -3:"),
        (slice(1, 8, 2), "tokens 1:8:2"),
        (MASK, "tokens of a mask of 2 texts"),
    ],
)
def test_positions_are_printed(positions: Any, said: str) -> None:
    assert at(positions).describe() == f"set L0N1=0.5, L0N3=2 at mlp.hook_post, {said}"


def test_a_function_is_printed_by_its_name_and_source() -> None:
    step = at(token_choosers.fails)
    source = getattr(step.where, "source", "")

    said = f"tokens by support.token_choosers:fails (source {source[:8]})"
    assert step.describe().endswith(f", {said}")
    assert len(source) == 64


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ("first", "'first' is not a choice of positions; choose one of: all, .* such as -3:"),
        ("", "'' is not a choice of positions"),
        ("1:2:3:4", "is not a choice of positions"),
        ("a:b", "is not a choice of positions"),
        ("1:2:0", "step 0"),
        (slice(0, 3, 0), "step 0"),
        (slice(0.5, None), r"slice\(0.5, None, None\) is no slice of tokens; give whole numbers"),
        (3, "positions of type int say no tokens; choose one of"),
        (None, "positions of type NoneType"),
        ([True, False], "positions of type list say no tokens"),
        ([[1, 0]], "positions of type list say no tokens"),
        ([], "positions of type list"),
        (torch.ones(2, 2), "positions of type Tensor"),
        (torch.tensor([True]), "positions of type Tensor"),
        (partial(token_choosers.fails), "positions by an object of type partial; give a plain fun"),
        (len, "positions by an object of type builtin_function_or_method"),
        (by_table, "by_table reads 'TABLE' from around it, of type Tensor, whose content a plan"),
    ],
)
def test_what_says_no_tokens_is_refused(positions: Any, message: str) -> None:
    with pytest.raises(InterventionError, match=message) as caught:
        at(positions)
    assert "\n" not in str(caught.value)


def test_a_function_whose_source_is_gone_is_refused() -> None:
    names: dict[str, Any] = {"__name__": "typed"}
    exec("def typed(ids, attention): return ids == 1", names)  # noqa: S102 (as typed at a prompt)
    with pytest.raises(InterventionError, match="the source of typed:typed cannot be read"):
        at(names["typed"])


# Saved form


@pytest.mark.parametrize(
    "positions",
    ["last", "2:", "prompt", MASK, token_choosers.every_third],
    ids=["last", "slice", "prompt", "mask", "function"],
)
def test_saved_positions_are_read_back(positions: Any, tmp_path: Path) -> None:
    step = at(positions)
    (step + STEP).save(tmp_path / "plan")
    step.save(tmp_path / "step")

    assert Intervention.load(tmp_path / "step") == step
    back = Plan.load(tmp_path / "plan")
    assert back == step + STEP
    assert back.hash == (step + STEP).hash
    if callable(positions):
        ids = torch.tensor([[1, 2, 4]])
        chosen = back.steps[0].where.function(ids, torch.ones_like(ids))  # type: ignore[union-attr]
        assert chosen.tolist() == [[True, False, True]]


def test_a_function_that_could_not_be_found_again_is_not_saved(tmp_path: Path) -> None:
    for function in (below(3), lambda ids, _: ids == 2):
        with pytest.raises(
            InterventionError, match=r"could not be found again, so .* cannot be sav"
        ):
            at(function).save(tmp_path / "step")
        assert not (tmp_path / "step").exists()


def test_a_function_that_is_another_by_now_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "choosers_of_mine.py"
    module.write_text("def chosen(ids, attention):\n    return ids == 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    at(importlib.import_module(module.stem).chosen).save(tmp_path / "step")

    module.write_text("def chosen(ids, attention):\n    return ids == 12\n")
    monkeypatch.delitem(sys.modules, module.stem)
    importlib.invalidate_caches()
    with pytest.raises(
        ArtifactError, match=r"choosers_of_mine:chosen has source \w{8} now, and had"
    ):
        Intervention.load(tmp_path / "step")
    module.unlink()
    monkeypatch.delitem(sys.modules, module.stem)
    with pytest.raises(
        ArtifactError, match="choosers_of_mine:chosen is not there: No module named"
    ):
        Intervention.load(tmp_path / "step")


def test_named_positions_are_saved_as_before(tmp_path: Path) -> None:
    at("generated").save(tmp_path / "step")
    config = json.loads((tmp_path / "step" / "config.json").read_text())
    assert config["content"]["positions"] == "generated"


# Controls, and some of the texts


@pytest.mark.parametrize("positions", ["last", "1:3", MASK, below(3)])
def test_controls_are_at_the_same_positions(positions: Any) -> None:
    space = UnitSpace("mlp.hook_post", (0,), (9,))
    plan = at(positions) + at("generated")

    for control in (matched_control(plan, space, seed=0), shuffled_values(plan, seed=0)):
        assert [step.where for step in control.steps] == [step.where for step in plan.steps]


def test_of_a_mask_some_texts_have_their_own_rows() -> None:
    plan = at([[True], [False], [True]]) + at("last")

    assert for_texts(plan, [2, 1], 3) == at([[True], [False]]) + at("last")
    with pytest.raises(
        InterventionError, match="has 3 rows, 4 texts were given; give a row a text"
    ):
        for_texts(plan, [0], 4)
