"""Controls: what each shares with the experts' plan, and in what it differs."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.analyses.controls.expert_controls import (
    ControlContext,
    check_controls,
    plan_control,
)
from steer_plugin.analyses.controls.random_units import (
    adds_to_whole_blocks,
    matched_control,
    random_anywhere,
    random_control,
    random_direction,
    shuffled_values,
)
from steer_plugin.errors import SelectionError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.experts.table import ExpertTable
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import Plan
from steer_plugin.settings.names import SELECTIONS, Selection
from steer_plugin.settings.parts import CONTROLS

SPACE = UnitSpace("mlp.hook_post", (0, 2, 3, 7), (40, 30, 20, 10))
EXPERTS = {0: range(5, 17), 2: (29,), 3: range(0, 20, 2)}
PLAN = Intervention(
    site="mlp.hook_post",
    layers=tuple(layer for layer, units in EXPERTS.items() for _ in units),
    indices=tuple(unit for units in EXPERTS.values() for unit in units),
    values=tuple(10.0 * layer + 0.5 * unit for layer, units in EXPERTS.items() for unit in units),
    operation="blend",
    strength=0.75,
    positions="generated",
    bos=False,
    provenance={"concept": "deu_Latn"},
)


LINES = replace(
    PLAN,
    operation="affine",
    gains=tuple(0.25 * value for value in PLAN.values),
    lows=tuple(value - 1 for value in PLAN.values),
    highs=tuple(value + 1 for value in PLAN.values),
)

Unit = tuple[int, int]


def rows_by_layer(plan: Intervention) -> dict[int, list[list[float]]]:
    """Give the parameters in each layer, in an order that does not depend on the units."""
    return {layer: sorted(rows.T.tolist()) for layer, (_, rows) in plan.units.items()}


def rows_by_unit(plan: Intervention) -> dict[Unit, tuple[float, ...]]:
    return {
        (layer, index): tuple(row)
        for layer, (indices, rows) in plan.units.items()
        for index, row in zip(indices.tolist(), rows.T.tolist(), strict=True)
    }


# Random units of the same layers


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("plan", [PLAN, LINES])
def test_a_control_has_the_experts_values_on_as_many_other_units_of_each_layer(
    plan: Intervention, seed: int
) -> None:
    control = random_control(plan, SPACE, seed=seed)
    assert Counter(control.layers) == Counter(PLAN.layers)
    assert rows_by_layer(control) == rows_by_layer(plan)
    units = set(zip(control.layers, control.indices, strict=True))
    assert len(units) == len(PLAN)
    assert not units & set(zip(PLAN.layers, PLAN.indices, strict=True))
    for layer, index in units:
        width = SPACE.widths[SPACE.layers.index(layer)]
        assert 0 <= index < width


def test_nothing_but_the_units_differs_and_the_provenance_says_so() -> None:
    control = random_control(PLAN, SPACE, seed=3)
    assert (control.site, control.operation, control.strength, control.positions, control.bos) == (
        *("mlp.hook_post", "blend", 0.75, "generated"),
        False,
    )
    assert control.provenance == {"concept": "deu_Latn", "control": "random units, seed 3"}
    assert "control" not in PLAN.provenance


def test_a_seed_settles_the_control_and_another_gives_another() -> None:
    assert random_control(PLAN, SPACE, seed=1) == random_control(PLAN, SPACE, seed=1)
    controls = [random_control(PLAN, SPACE, seed=seed) for seed in range(10)]
    assert len({control.indices for control in controls}) == 10


@pytest.mark.usefixtures("unchecked")
def test_every_unit_that_is_no_expert_is_equally_likely() -> None:
    counts: Counter[int] = Counter()
    for seed in range(500):
        indices, _ = random_control(PLAN, SPACE, seed=seed).units[0]
        counts.update(indices.tolist())
    others = sorted(set(range(40)) - set(EXPERTS[0]))
    assert sorted(counts) == others
    share = np.array([counts[unit] for unit in others]) / 500
    # Each is drawn with probability 12/28; the bounds are five standard errors.
    np.testing.assert_allclose(share, 12 / 28, atol=0.11)


def test_values_do_not_stay_in_the_order_of_the_experts() -> None:
    orders = {random_control(PLAN, SPACE, seed=seed).values for seed in range(10)}
    assert len(orders) == 10


def test_a_layer_with_just_enough_other_units_gives_them_all() -> None:
    plan = Intervention("mlp.hook_post", (7,) * 5, tuple(range(5)), (1.0,) * 5)
    assert random_control(plan, SPACE, seed=0).indices == (5, 6, 7, 8, 9)


def test_a_layer_with_too_few_other_units_is_named() -> None:
    plan = Intervention("mlp.hook_post", (7,) * 6, tuple(range(6)), (1.0,) * 6)
    message = "layer 7 has 4 units that are no experts, 6 are needed for a random control"
    with pytest.raises(SelectionError, match=message):
        random_control(plan, SPACE, seed=0)


def test_a_plan_for_another_site_is_refused() -> None:
    space = UnitSpace("hook_resid_post", (0, 2, 3, 7), (40, 30, 20, 10))
    with pytest.raises(SelectionError, match=r"the plan is for mlp.hook_post, the units are at ho"):
        random_control(PLAN, space, seed=0)


def test_a_plan_without_units_has_a_control_without_units() -> None:
    control = random_control(Intervention("mlp.hook_post", (), (), ()), SPACE, seed=0)
    assert control.changes_nothing


# Random units anywhere


@pytest.mark.parametrize("plan", [PLAN, LINES])
def test_a_control_anywhere_has_the_experts_values_on_as_many_units_that_are_none(
    plan: Intervention,
) -> None:
    controls = [random_anywhere(plan, SPACE, seed=seed) for seed in range(20)]

    for control in controls:
        rows = rows_by_unit(control)
        assert sorted(rows.values()) == sorted(rows_by_unit(plan).values())
        assert not rows.keys() & rows_by_unit(plan).keys()
        for layer, index in rows:
            assert 0 <= index < SPACE.widths[SPACE.layers.index(layer)]
        same = ("site", "operation", "strength", "positions", "bos")
        assert all(getattr(control, name) == getattr(plan, name) for name in same)
    assert controls[3] == random_anywhere(plan, SPACE, seed=3)
    assert len({control.hash for control in controls}) == len(controls)
    assert controls[3].provenance["control"] == "random units anywhere, seed 3"
    assert any(Counter(control.layers) != Counter(plan.layers) for control in controls)


@pytest.mark.usefixtures("unchecked")
def test_anywhere_every_unit_that_is_no_expert_is_equally_likely_whatever_its_layer() -> None:
    counts: Counter[Unit] = Counter()
    for seed in range(600):
        counts.update(rows_by_unit(random_anywhere(PLAN, SPACE, seed=seed)).keys())
    share = np.array(list(counts.values())) / 600
    # 23 of the 77 units that are no experts; the bounds are five standard errors.
    assert len(counts) == 100 - 23
    np.testing.assert_allclose(share, 23 / 77, atol=0.094)


def test_a_model_with_too_few_other_units_is_told() -> None:
    plan = Intervention("mlp.hook_post", (0,) * 5, tuple(range(5)), (1.0,) * 5)
    space = UnitSpace("mlp.hook_post", (0, 1), (6, 3))
    with pytest.raises(SelectionError, match=r"the model has 4 units at mlp.hook_post that are no"):
        random_anywhere(plan, space, seed=0)
    enough = replace(space, widths=(6, 4))
    chosen = rows_by_unit(random_anywhere(plan, enough, seed=0))
    assert list(chosen) == [(0, 5), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_a_plan_without_units_has_a_control_anywhere_without_units() -> None:
    assert random_anywhere(Intervention("mlp.hook_post", (), (), ()), SPACE, seed=0).layers == ()


# Shuffled values


@settings(max_examples=50)
@given(
    values=st.lists(st.integers(0, 3).map(float), min_size=2, max_size=7).filter(
        lambda values: len(set(values)) > 1
    ),
    seed=st.integers(0, 50),
)
def test_shuffled_values_are_the_experts_values_on_the_experts_units_in_another_order(
    values: list[float], seed: int
) -> None:
    where, indices = (2,) * len(values), tuple(range(len(values)))
    plan = Intervention("mlp.hook_post", where, indices, tuple(values))

    control = shuffled_values(plan, seed=seed)

    assert (control.layers, control.indices) == (plan.layers, plan.indices)
    assert sorted(control.values) == sorted(values)
    assert control != plan
    assert control == shuffled_values(plan, seed=seed)


@pytest.mark.parametrize("seed", range(20))
def test_no_unit_keeps_its_value_and_a_line_moves_with_its_range(seed: int) -> None:
    control = shuffled_values(LINES, seed=seed)

    before, after = rows_by_unit(LINES), rows_by_unit(control)
    assert before.keys() == after.keys()
    assert sorted(before.values()) == sorted(after.values())
    assert all(before[unit] != after[unit] for unit in before)
    assert control.provenance["control"] == f"values shuffled, seed {seed}"


@pytest.mark.usefixtures("unchecked")
def test_every_order_that_leaves_no_unit_in_place_is_equally_likely() -> None:
    plan = Intervention("mlp.hook_post", (0,) * 4, tuple(range(4)), (0.0, 1.0, 2.0, 3.0))
    counts = Counter(shuffled_values(plan, seed=seed).values for seed in range(900))

    wanted = {
        order
        for order in permutations(plan.values)
        if all(value != own for value, own in zip(order, plan.values, strict=True))
    }
    assert counts.keys() == wanted
    # A hundred each; the bounds are five standard errors.
    np.testing.assert_allclose(list(counts.values()), 100, atol=47)


@pytest.mark.parametrize("units", [0, 1, 3])
def test_values_that_are_all_equal_cannot_be_shuffled(units: int) -> None:
    plan = Intervention("mlp.hook_post", (0,) * units, tuple(range(units)), (2.0,) * units)
    with pytest.raises(SelectionError, match=f"all {units} units have the same value"):
        shuffled_values(plan, seed=0)


def test_equal_offsets_with_different_gains_can_be_shuffled() -> None:
    plan = Intervention(
        "mlp.hook_post",
        *((0, 0), (0, 1), (1.0, 1.0), "affine"),
        gains=(1.0, 2.0),
        lows=(0.0, 0.0),
        highs=(1.0, 1.0),
    )
    assert shuffled_values(plan, seed=0).gains == (2.0, 1.0)


# Random directions

STREAM = UnitSpace("hook_resid_post", (1, 4), (32, 32))
VECTOR = Intervention(
    "hook_resid_post",
    layers=(4,) * 32,
    indices=tuple(range(32)),
    values=tuple(0.5 * unit - 3 for unit in range(32)),
    operation="add",
    strength=-2.0,
    bos=False,
)


def test_a_random_direction_is_as_long_and_is_added_in_the_same_place() -> None:
    controls = [random_direction(VECTOR, STREAM, seed=seed) for seed in range(20)]

    for control in controls:
        assert replace(control, values=VECTOR.values) == VECTOR
        assert np.linalg.norm(control.values) == pytest.approx(np.linalg.norm(VECTOR.values))
    assert controls[3] == random_direction(VECTOR, STREAM, seed=3)
    assert len({control.values for control in controls}) == len(controls)
    assert controls[3].provenance["control"] == "random direction, seed 3"


def test_directions_are_uniform_on_the_sphere() -> None:
    blocks = range(40)
    stream = UnitSpace("hook_resid_post", tuple(blocks), (32,) * len(blocks))
    plan = replace(
        VECTOR,
        layers=tuple(np.repeat(blocks, 32).tolist()),
        indices=VECTOR.indices * len(blocks),
        values=VECTOR.values * len(blocks),
    )
    drawn = [random_direction(plan, stream, seed=seed).values for seed in range(50)]
    units = np.reshape(drawn, (2000, 32)) / np.linalg.norm(VECTOR.values)
    # For a unit vector u drawn so, E u = 0 and E u u^T = I / 32, with these standard errors.
    assert np.abs(units.mean(0)).max() < 5 / np.sqrt(32 * 2000)
    moments = units.T @ units / 2000
    assert np.abs(moments - np.eye(32) / 32).max() < 5 * np.sqrt(2 / 2000) / 32


def test_of_several_blocks_each_keeps_its_own_length() -> None:
    plan = replace(
        VECTOR,
        layers=(1,) * 32 + (4,) * 32,
        indices=VECTOR.indices * 2,
        values=(3.0, *[0.0] * 31, 0.0, 4.0, *[0.0] * 30),
    )
    values = np.array(random_direction(plan, STREAM, seed=0).values).reshape(2, 32)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), [3.0, 4.0])


@pytest.mark.parametrize(
    ("plan", "space", "message"),
    [
        (replace(VECTOR, operation="scale"), STREAM, "this one does 'scale' to 32 units"),
        (VECTOR, replace(STREAM, widths=(32, 33)), "this one does 'add' to 32 units"),
        (VECTOR, SPACE, "the plan is for hook_resid_post, the units are at mlp.hook_post"),
    ],
)
def test_only_what_is_added_to_a_whole_block_has_a_direction(
    plan: Intervention, space: UnitSpace, message: str
) -> None:
    with pytest.raises(SelectionError, match=message):
        random_direction(plan, space, seed=0)


def test_the_matched_control_is_a_direction_for_a_whole_block_and_units_for_some() -> None:
    assert adds_to_whole_blocks(VECTOR, STREAM)
    assert matched_control(VECTOR, STREAM, seed=1) == random_direction(VECTOR, STREAM, seed=1)
    for plan in (PLAN, LINES, replace(PLAN, operation="add")):
        assert not adds_to_whole_blocks(plan, SPACE)
        assert matched_control(plan, SPACE, seed=1) == random_control(plan, SPACE, seed=1)


# Plans of several steps

OFF = Intervention("mlp.hook_post", (0, 0, 2), (3, 5, 29), (0.0,) * 3, "scale")
WRITTEN = Intervention("hook_resid_post", (1,), (4,), (2.0,))


def units_of(step: Intervention) -> list[Unit]:
    return list(zip(step.layers, step.indices, strict=True))


@pytest.mark.parametrize("draw", [random_control, matched_control, random_anywhere])
def test_each_step_is_drawn_for_and_a_unit_of_two_steps_moves_to_one_place(draw: Any) -> None:
    plan = OFF + PLAN + WRITTEN

    controls = [draw(plan, STREAM, SPACE, seed=seed) for seed in range(5)]

    experts = {*units_of(OFF), *units_of(PLAN)}
    for control in controls:
        off, on, written = control.steps
        assert not {*units_of(off), *units_of(on)} & experts
        # L0N5 and L2N29 are in both steps, L0N3 in one.
        assert len({*units_of(off)} & {*units_of(on)}) == 2
        assert len({*units_of(off), *units_of(on)}) == len(experts)
        assert written.indices != WRITTEN.indices
        assert sorted(rows_by_unit(on).values()) == sorted(rows_by_unit(PLAN).values())
        assert [step.operation for step in control.steps] == ["scale", "blend", "set"]
        assert all("seed" in step.provenance["control"] for step in control.steps)
    assert controls[2] == draw(plan, STREAM, SPACE, seed=2)
    assert len({control.hash for control in controls}) == 5
    assert draw(Plan((PLAN,)), SPACE, seed=1).steps == (draw(PLAN, SPACE, seed=1),)


def test_vectors_beside_units_are_turned_each_on_its_own() -> None:
    first, units, second = matched_control(VECTOR + PLAN + VECTOR, STREAM, SPACE, seed=4).steps

    for turned in (first, second):
        assert replace(turned, values=VECTOR.values) == VECTOR
        assert np.linalg.norm(turned.values) == pytest.approx(np.linalg.norm(VECTOR.values))
    assert first.values != second.values
    assert units == random_control(PLAN, SPACE, seed=4)
    assert random_direction(VECTOR + VECTOR, STREAM, seed=4).steps[0] == random_direction(
        VECTOR, STREAM, seed=4
    )
    with pytest.raises(SelectionError, match="this one does 'blend' to 23 units"):
        random_direction(VECTOR + PLAN, STREAM, SPACE, seed=0)


def test_values_are_shuffled_within_each_step() -> None:
    off, on = shuffled_values(OFF + PLAN, seed=1).steps

    assert off == OFF
    assert on != PLAN
    assert sorted(on.values) == sorted(PLAN.values)
    assert on.indices == PLAN.indices
    with pytest.raises(SelectionError, match="all 6 units have the same value"):
        shuffled_values(OFF + OFF, seed=1)


def test_a_plan_needs_the_units_of_each_of_its_sites() -> None:
    with pytest.raises(SelectionError, match=r"plan is for hook_resid_post, the units are at mlp"):
        matched_control(PLAN + WRITTEN, SPACE, seed=0)


# By the word of a run file

CONCEPTS = ("deu_Latn", "eng_Latn", "jpn_Jpan")


def table(seed: int = 0, space: UnitSpace = SPACE) -> ExpertTable:
    shape = (len(CONCEPTS), len(space))
    generator = np.random.default_rng(seed)
    return ExpertTable(
        concepts=CONCEPTS,
        space=space,
        score="auroc",
        scores=generator.uniform(0, 1, shape),
        chance=(0.5,) * len(CONCEPTS),
        statistics={"mean": generator.normal(size=shape).astype(np.float32)},
        provenance={"table": seed},
    )


LOWEST = Choice("bottom")


def plan_from(experts: ExpertTable, concept: str, choice: Choice) -> Intervention:
    return experts.intervention(
        concept, top_k=3, operation="blend", strength=0.75, bos=False, choice=choice
    )


def context(choice: Choice = TOP, **fields: Any) -> ControlContext:
    return ControlContext(
        plan=plan_from(table(), "eng_Latn", choice),
        plan_from=plan_from,
        experts=table(),
        concept="eng_Latn",
        choice=choice,
        **fields,
    )


PLANNED = [name for name in CONTROLS if CONTROLS[name].of == "plan"]


@pytest.mark.parametrize(
    ("word", "draw"),
    [
        ("random-in-layers", lambda plan: random_control(plan, SPACE, seed=5)),
        ("random-anywhere", lambda plan: random_anywhere(plan, SPACE, seed=5)),
        ("shuffled-values", lambda plan: shuffled_values(plan, seed=5)),
        ("other-experts", lambda _: plan_from(table(), "deu_Latn", TOP)),
        ("bottom", lambda _: plan_from(table(), "eng_Latn", LOWEST)),
        ("shuffled-labels", lambda _: plan_from(table(5), "eng_Latn", TOP)),
    ],
)
def test_each_word_plans_its_control_and_its_provenance_says_so(
    word: str, draw: Callable[[Intervention], Intervention]
) -> None:
    given = context(shuffled={5: table(5), 6: table(6)})

    control = plan_control(word, given, 5)

    assert control == draw(given.plan) != given.plan
    assert control.provenance["control"]
    assert "control" not in given.plan.provenance
    other = plan_control(word, given, 6)
    assert (other != control) == (CONTROLS[word].drawn)
    assert (other.provenance["control"] != control.provenance["control"]) == (CONTROLS[word].drawn)


def test_all_controls_but_one_are_another_plan_with_another_seed() -> None:
    assert len(PLANNED) == 6
    assert {name for name in PLANNED if not CONTROLS[name].drawn} == {"bottom"}


def test_the_other_concepts_take_turns_from_the_next_one_on() -> None:
    notes = [
        plan_control("other-experts", context(), seed).provenance["control"] for seed in range(4)
    ]
    languages = ["jpn_Jpan", "deu_Latn", "jpn_Jpan", "deu_Latn"]
    assert notes == [f"experts of {language}" for language in languages]


@pytest.mark.parametrize(
    "choice",
    [LOWEST, Choice("top+bottom"), Choice(per_layer=True), Choice(layers=(2, 3))],
    ids=str,
)
def test_what_is_drawn_from_a_table_is_drawn_as_the_plan_was(choice: Choice) -> None:
    given = context(choice, shuffled={0: table(1)})
    other = plan_control("other-experts", given, 0)
    assert other == plan_from(table(), "jpn_Jpan", choice)
    shuffled = plan_control("shuffled-labels", given, 0)
    assert shuffled == plan_from(table(1), "eng_Latn", choice)
    if choice != LOWEST:
        lowest = plan_control("bottom", given, 0)
        assert lowest == plan_from(table(), "eng_Latn", replace(choice, selection="bottom"))


def test_a_control_that_would_be_the_plan_itself_is_refused() -> None:
    with pytest.raises(SelectionError, match="are the plan itself; leave the control 'bottom' out"):
        plan_control("bottom", context(LOWEST), 0)
    alone = replace(table(), concepts=CONCEPTS[1:2])
    with pytest.raises(SelectionError, match="the expert table has no concept but eng_Latn"):
        plan_control("other-experts", replace(context(), experts=alone), 0)


def test_a_table_by_shuffled_labels_of_another_seed_or_other_units_is_refused() -> None:
    draw = partial(plan_control, "shuffled-labels")
    with pytest.raises(SelectionError, match=r"labels shuffled with seed 2, only with \[0, 1\]"):
        draw(context(shuffled={0: table(), 1: table()}), 2)
    other = UnitSpace("hook_mlp_out", (0,), (60,))
    message = "of 60 units at hook_mlp_out, the experts are of 100 at mlp.hook_post; give the same"
    with pytest.raises(SelectionError, match=message):
        draw(context(shuffled={0: table(space=other)}), 0)


EVERY = dict.fromkeys(CONTROLS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"choice": LOWEST}, "are the plan itself; leave the control 'bottom' out"),
        ({"score": "lape"}, "no unit scores below chance by lape; leave the control 'bottom' out"),
        ({"operation": "aura"}, "as they are; leave the control 'bottom' out"),
        ({"value": 2.5}, "all 9 units have the same value, .* the control 'shuffled-values' out"),
        ({"value": "zero"}, "all 9 units have the same value"),
        ({"count": 1}, "all 1 units have the same value"),
    ],
)
def test_what_no_table_has_a_control_for_is_refused_without_one(
    changed: dict[str, Any], message: str
) -> None:
    given = {
        "operation": "set",
        "score": "auroc",
        "choice": TOP,
        "count": 9,
        "value": "mean",
    } | changed

    with pytest.raises(SelectionError, match=message):
        check_controls(EVERY, **given)
    left = re.search("the control '(.*)' out", message)
    refused = left[1] if left else "shuffled-values"
    check_controls(EVERY.keys() - {refused}, **given)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_what_the_check_lets_through_can_be_drawn(selection: Selection) -> None:
    choice = Choice(selection)
    asked = [name for name in PLANNED if (name, selection) != ("bottom", "bottom")]
    check_controls(asked, operation="set", score="auroc", choice=choice, count=3, value="mean")
    for name in asked:
        plan_control(name, context(choice, shuffled={0: table(1)}), 0)
