from collections import Counter

import numpy as np
import pytest

from steer_plugin.analyses.controls import random_control
from steer_plugin.errors import SelectionError
from steer_plugin.interventions import Intervention
from steer_plugin.sites import UnitSpace

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


def values_by_layer(plan: Intervention) -> dict[int, list[float]]:
    return {layer: sorted(values.tolist()) for layer, (_, values) in plan.by_layer().items()}


@pytest.mark.parametrize("seed", range(20))
def test_a_control_has_the_experts_values_on_as_many_other_units_of_each_layer(seed: int) -> None:
    control = random_control(PLAN, SPACE, seed=seed)
    assert Counter(control.layers) == Counter(PLAN.layers)
    assert values_by_layer(control) == values_by_layer(PLAN)
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


def test_every_unit_that_is_no_expert_is_equally_likely() -> None:
    counts: Counter[int] = Counter()
    for seed in range(500):
        indices, _ = random_control(PLAN, SPACE, seed=seed).by_layer()[0]
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
