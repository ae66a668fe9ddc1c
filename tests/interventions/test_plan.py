"""Interventions as plans, and their arithmetic."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.errors import ArtifactError, InterventionError, SiteError
from steer_plugin.interventions.arithmetic import steer_units
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.operations import steer
from steer_plugin.interventions.plan import Plan, acting_steps
from steer_plugin.settings.names import Operation
from steer_plugin.settings.parts import OPERATIONS

PLAN = Intervention(
    "mlp.hook_post",
    layers=(2, 0, 0),
    indices=(1, 7, 3),
    values=(0.1, -2.0, 1 / 3),
    operation="blend",
    strength=0.3,
    positions="generated",
    bos=False,
    provenance={"model": "tiny", "corpus": {"languages": ["eng_Latn", "jpn_Jpan"]}},
)

LINES = Intervention(
    "mlp.hook_post",
    layers=(2, 0, 0),
    indices=(1, 7, 3),
    values=(0.1, -2.0, 1 / 3),
    operation="affine",
    gains=(1.5, 0.0, 0.1),
    lows=(-1.0, -0.5, 0.2),
    highs=(2.0, -0.5, 0.7),
)

units = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 5000), st.floats(-100, 100)),
    unique_by=lambda unit: unit[:2],
    max_size=8,
)


finite = st.floats(allow_nan=False, allow_infinity=False)


def _plan(chosen: list[tuple[int, int, float]], **fields: Any) -> Intervention:
    layers, indices, values = zip(*chosen, strict=True) if chosen else ((), (), ())
    return Intervention("hook_mlp_out", layers, indices, values, **fields)


# Identity


@given(chosen=units, seed=st.integers(0, 100))
def test_the_order_of_units_is_no_part_of_a_plan(
    chosen: list[tuple[int, int, float]], seed: int
) -> None:
    shuffled = random.Random(seed).sample(chosen, len(chosen))  # noqa: S311

    one, other = _plan(chosen), _plan(shuffled)

    assert one == other
    assert hash(one) == hash(other)
    assert list(zip(one.layers, one.indices, one.values, strict=True)) == sorted(chosen)
    assert len(one) == len(chosen)


@pytest.mark.parametrize("name", ["values", "gains", "lows", "highs", "strength"])
def test_the_two_zeros_are_one(name: str) -> None:
    fields: dict[str, object] = {
        "site": "mlp.hook_post",
        "layers": (0,),
        "indices": (0,),
        "operation": "affine",
        "strength": 0.0,
        **dict.fromkeys(("values", "gains", "lows", "highs"), (0.0,)),
    }
    one = Intervention(**fields)  # type: ignore[arg-type]
    other = Intervention(**{**fields, name: -0.0 if name == "strength" else (-0.0,)})  # type: ignore[arg-type]
    assert one == other
    assert hash(one) == hash(other)
    assert one.hash == other.hash


@settings(max_examples=50)
@given(
    chosen=st.dictionaries(
        st.tuples(st.integers(0, 4), st.integers(0, 9)),
        st.tuples(finite, finite, st.tuples(finite, finite).map(sorted)),
        max_size=8,
    ),
    seed=st.integers(0, 100),
)
def test_the_line_and_range_of_a_unit_stay_with_it(
    chosen: dict[tuple[int, int], tuple[float, float, list[float]]], seed: int
) -> None:
    shuffled = random.Random(seed).sample(list(chosen.items()), len(chosen))  # noqa: S311

    plan = Intervention(
        "mlp.hook_post",
        layers=tuple(layer for (layer, _), _ in shuffled),
        indices=tuple(index for (_, index), _ in shuffled),
        values=tuple(offset for _, (offset, _, _) in shuffled),
        operation="affine",
        gains=tuple(gain for _, (_, gain, _) in shuffled),
        lows=tuple(low for _, (_, _, (low, _)) in shuffled),
        highs=tuple(high for _, (_, _, (_, high)) in shuffled),
    )

    found = {
        (layer, index): (value, gain, [low, high])
        for layer, index, value, gain, low, high in zip(
            *(plan.layers, plan.indices, plan.values, plan.gains, plan.lows, plan.highs),
            strict=True,
        )
    }
    assert found == chosen
    assert list(found) == sorted(chosen)
    by_layer = {
        (layer, index): (column[0], column[1], column[2:])
        for layer, (indices, parameters) in plan.units.items()
        for index, column in zip(indices.tolist(), parameters.T.tolist(), strict=True)
    }
    assert by_layer == chosen


def test_provenance_is_no_part_of_a_plans_identity() -> None:
    assert replace(PLAN, provenance={}) == PLAN
    assert hash(replace(PLAN, provenance={})) == hash(PLAN)


@pytest.mark.parametrize(
    "difference",
    [
        {"site": "mlp.hook_pre"},
        {"layers": (2, 0, 1)},
        {"indices": (1, 7, 4)},
        {"values": (0.1, -2.0, 0.3333)},
        {"operation": "add"},
        {"strength": 0.4},
        {"positions": "all"},
        {"bos": True},
    ],
)
def test_every_other_field_is(difference: dict[str, Any]) -> None:
    assert replace(PLAN, **difference) != PLAN
    assert replace(PLAN, **difference).hash != PLAN.hash


@pytest.mark.parametrize(
    "difference",
    [{"gains": (1.5, 0.0, 0.2)}, {"lows": (-1.0, -0.6, 0.2)}, {"highs": (2.0, -0.5, 0.8)}],
)
def test_so_are_gains_and_ranges(difference: dict[str, Any]) -> None:
    assert replace(LINES, **difference) != LINES
    assert hash(replace(LINES, **difference)) != hash(LINES)
    assert replace(LINES, **difference).hash != LINES.hash


@pytest.mark.parametrize(
    ("plan", "nothing"),
    [
        (_plan([]), True),
        (_plan([(0, 1, 2.0)], strength=0), True),
        (_plan([(0, 1, 2.0)], operation="add", strength=0.0), True),
        (_plan([(0, 1, 0.0)], operation="add"), False),
        (_plan([(0, 1, 1.0)], operation="scale", strength=-1.0), False),
        (_plan([], operation="affine"), True),
        (replace(LINES, strength=0.0), True),
        (LINES, False),
    ],
)
def test_a_plan_without_units_or_strength_changes_nothing(
    plan: Intervention, nothing: bool
) -> None:
    assert plan.changes_nothing == nothing


def test_units_are_given_layer_by_layer() -> None:
    by_layer = PLAN.units

    assert list(by_layer) == [0, 2]
    assert by_layer[0][0].tolist() == [3, 7]
    assert by_layer[0][1].tolist() == [[1 / 3, -2.0]]
    assert by_layer[2][0].tolist() == [1]
    assert LINES.units[0][1].tolist() == [[1 / 3, -2.0], [0.1, 0.0], [0.2, -0.5], [0.7, -0.5]]


# Units by hand


def test_units_by_hand_are_named_as_they_are_printed() -> None:
    plan = Intervention.of(
        {"L12N345": 3.1, "L2N0": -1.0},
        site="mlp.hook_pre",
        operation="blend",
        strength=0.5,
        positions="prompt",
        bos=False,
    )

    assert plan == Intervention(
        "mlp.hook_pre", (2, 12), (0, 345), (-1.0, 3.1), "blend", 0.5, "prompt", False
    )
    assert Intervention.of({}, site="mlp.hook_post").changes_nothing


def test_a_unit_that_is_written_otherwise_is_refused() -> None:
    for label in ("L12", "l1n2", "L-1N2", "L1N2 ", "L1N2.5", "12:345", ""):
        with pytest.raises(SiteError, match="is no unit; write its layer and index, such as L12N3"):
            Intervention.of({label: 1.0}, site="mlp.hook_post")
    with pytest.raises(InterventionError, match="unit L1N2 is given twice"):
        Intervention.of({"L1N2": 1.0, "L01N2": 2.0}, site="mlp.hook_post")
    with pytest.raises(InterventionError, match="0 gains, 0 lows and 0 highs were given"):
        Intervention.of({"L1N2": 1.0}, site="mlp.hook_post", operation="affine")


# Plans of several steps

OFF = Intervention("mlp.hook_post", (0, 2), (7, 1), (0.0, 0.0), "scale")


@pytest.mark.usefixtures("unchecked")
def test_plans_are_added_in_order() -> None:
    both = OFF + PLAN

    assert isinstance(both, Plan)
    assert both.steps == (OFF, PLAN)
    assert both + LINES == OFF + (PLAN + LINES) == Plan((OFF, PLAN, LINES))
    assert PLAN.steps == (PLAN,)
    for wrong in (None, 3, [PLAN]):
        with pytest.raises(TypeError, match="unsupported operand"):
            PLAN + wrong


def test_equal_steps_in_the_same_order_are_the_same_plan() -> None:
    again = replace(OFF, provenance={"other": 1}) + replace(PLAN, provenance={})

    assert again == OFF + PLAN
    assert hash(again) == hash(OFF + PLAN)
    assert again.hash == (OFF + PLAN).hash
    others = [PLAN + OFF, OFF + OFF, OFF + PLAN + PLAN, Plan((OFF,)), Plan(()), OFF + LINES]
    assert len({plan.hash for plan in (again, *others)}) == 7
    assert again not in others


def test_the_hash_of_one_step_is_what_it_was_before_there_were_plans() -> None:
    assert PLAN.hash == "c4c1c29435f9c5422a557dd1b16d43658f5719424cf307a4f34c9caf976c707e"
    assert Plan((PLAN,)).hash == PLAN.hash


@pytest.mark.parametrize(
    ("steps", "nothing"),
    [
        ((), True),
        ((_plan([]), replace(LINES, strength=0.0)), True),
        ((_plan([]), LINES), False),
    ],
)
def test_a_plan_changes_nothing_if_no_step_does(
    steps: tuple[Intervention, ...], nothing: bool
) -> None:
    assert Plan(steps).changes_nothing == nothing
    assert acting_steps(Plan(steps)) == (() if nothing else (LINES,))


@pytest.mark.usefixtures("unchecked")
def test_a_step_is_an_intervention() -> None:
    with pytest.raises(InterventionError, match=r"of type str; give Interventions, or add plans"):
        Plan((PLAN, "then"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            PLAN,
            (
                "blend L0N3=0.3333, L0N7=-2, L2N1=0.1 at mlp.hook_post, strength 0.3, generated "
                "tokens, BOS left alone"
            ),
        ),
        (_plan([]), "set 0 units at hook_mlp_out"),
        (
            replace(
                _plan([(4, index, 1.0) for index in range(1200)], operation="add"),
                provenance={"concept": "deu_Latn", "control": "random direction, seed 3"},
            ),
            "add to 1,200 units at hook_mlp_out in layer 4 (deu_Latn, random direction, seed 3)",
        ),
    ],
)
def test_a_plan_is_printed_with_what_it_does(plan: Intervention, said: str) -> None:
    assert plan.describe() == said
    assert repr(plan) == f"<Intervention: {said}>"
    off = "scale L0N7=0, L2N1=0 at mlp.hook_post"
    assert repr(OFF + plan) == f"<Plan: {off}; then {said}>"
    assert (OFF + plan).describe() == f"1. {off}\n2. {said}"


@pytest.mark.parametrize("plan", [OFF + LINES, LINES + OFF + PLAN, Plan(()), Plan((PLAN,))])
def test_a_saved_plan_of_several_steps_is_read_back_to_the_last_bit(
    plan: Plan, tmp_path: Path
) -> None:
    plan.save(tmp_path / "plan")
    back = Plan.load(tmp_path / "plan")

    assert back == plan
    assert back.hash == plan.hash
    assert [step.provenance for step in back.steps] == [step.provenance for step in plan.steps]


def test_a_saved_intervention_is_a_plan_of_one_step_and_the_other_way_round_is_refused(
    tmp_path: Path,
) -> None:
    PLAN.save(tmp_path / "step")
    (OFF + PLAN).save(tmp_path / "plan")

    assert Plan.load(tmp_path / "step") == Plan((PLAN,))
    with pytest.raises(ArtifactError, match="holds 'plan', not a whole 'intervention'"):
        Intervention.load(tmp_path / "plan")
    (tmp_path / "plan" / "units-1.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"cannot read .*units-1\.parquet"):
        Plan.load(tmp_path / "plan")
    with pytest.raises(ArtifactError, match="holds no saved plan"):
        Plan.load(tmp_path)


# Plans that contradict themselves


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("difference", "message"),
    [
        (
            {"operation": "replace"},
            "'replace' is not an operation; choose one of: set, add, scale, blend, aura, affine",
        ),
        (
            {"positions": "first"},
            (
                "'first' is not a choice of positions; choose one of: all, prompt, text, "
                "generated, last, or a slice of each text's tokens, such as -3:; "
                "see docs/how-to/plans.md"
            ),
        ),
        (
            {"values": (1.0,)},
            "3 layers, 3 indices and 1 values were given; each unit needs one of each",
        ),
        ({"layers": (0, -1, 1)}, "layers and indices count from 0; one of them is negative"),
        ({"indices": (0, -1, 1)}, "layers and indices count from 0; one of them is negative"),
        (
            {"values": (1.0, float("nan"), 1.0)},
            "values and strength must be finite; one is NaN or infinite",
        ),
        ({"strength": float("inf")}, "values and strength must be finite; one is NaN or infinite"),
        (
            {"operation": "set", "strength": 0.5},
            (
                "'set' writes the value itself and takes strength 1 (or 0 for nothing), not 0.5; "
                "use operation='blend' to go part of the way"
            ),
        ),
        (
            {"layers": (0, 2, 0), "indices": (7, 1, 7)},
            "unit L0N7 is given twice; give it once",
        ),
        (
            {"gains": (1.0, 1.0, 1.0)},
            (
                "3 gains, 0 lows and 0 highs were given; 'blend' takes 0 of each (one a unit for "
                "'affine', else none)"
            ),
        ),
        (
            {"operation": "affine", "gains": (1.0, 1.0, 1.0), "lows": (0.0,)},
            (
                "3 gains, 1 lows and 0 highs were given; 'affine' takes 3 of each (one a unit for "
                "'affine', else none)"
            ),
        ),
        (
            {"operation": "affine", "gains": (1.0,) * 3, "lows": (0.0,) * 3, "highs": (0, -1, 0)},
            (
                "unit L0N7 is moved from 0.0 up to -1.0, which is nowhere; give the lower end as "
                "its low"
            ),
        ),
        ({"values": ("1",) * 3}, "values are of <U1; give numbers"),
        *(
            (
                {
                    "operation": "affine",
                    **dict.fromkeys(("gains", "lows", "highs"), (0.0,) * 3),
                    name: (0.0, endless, 0.0),
                },
                "gains, lows and highs must be finite; one is NaN or infinite",
            )
            for name in ("gains", "lows", "highs")
            for endless in (float("nan"), float("inf"), -float("inf"))
        ),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(
    difference: dict[str, Any], message: str
) -> None:
    with pytest.raises(InterventionError) as caught:
        replace(PLAN, **difference)

    assert str(caught.value) == message


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["gains", "lows", "highs"])
def test_heads_with_one_number_each_beside_several_each_are_refused(name: str) -> None:
    numbers: dict[str, Any] = dict.fromkeys(("values", "gains", "lows", "highs"), np.ones((4, 4)))
    numbers[name] = np.ones(4)

    with pytest.raises(InterventionError, match=r"shapes \[\(4,\), \(4, 4\)\]; give as many"):
        Intervention("attn.hook_z.heads", (0,) * 4, range(4), operation="affine", **numbers)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["values", "gains"])
def test_numbers_that_cannot_be_read_are_refused_by_the_name_of_their_column(name: str) -> None:
    wrong: list[Any] = [torch.ones(3, requires_grad=True), torch.ones(3).bfloat16(), ["x"] * 3]
    for numbers in wrong:
        with pytest.raises(InterventionError, match=f"(the )?{name} are "):
            replace(LINES, **{name: numbers})


def test_a_plan_for_an_unknown_site_is_refused() -> None:
    with pytest.raises(SiteError, match=r"'hook_resid_past' is not a site; .*hook_resid_post"):
        replace(PLAN, site="hook_resid_past")


# Saved form


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        LINES,
        _plan([]),
        _plan([], operation="affine"),
        _plan([(3, 2, 0.1)], operation="aura"),
    ],
)
def test_a_saved_plan_is_read_back_to_the_last_bit(plan: Intervention, tmp_path: Path) -> None:
    plan.save(tmp_path / "plan")
    back = Intervention.load(tmp_path / "plan")

    assert back == plan
    assert hash(back) == hash(plan)
    assert back.provenance == plan.provenance
    assert {type(number) for number in (*back.layers, *back.indices)} <= {int}


OLD_CONFIG = {
    "kind": "intervention",
    "format_version": 1,
    "steer_plugin": "0.1.0",
    "content": {
        "site": "mlp.hook_post",
        "operation": "blend",
        "strength": 0.3,
        "positions": "generated",
        "bos": False,
        "provenance": {"model": "tiny"},
    },
}


def test_a_plan_saved_before_there_were_gains_and_ranges_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(OLD_CONFIG))
    pd.DataFrame({"layer": [0, 0, 2], "index": [3, 7, 1], "value": [1 / 3, -2.0, 0.1]}).to_parquet(
        tmp_path / "units.parquet", index=False
    )

    assert Intervention.load(tmp_path) == PLAN


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, operation="add")])
def test_a_plan_without_gains_and_ranges_is_saved_without_them(
    plan: Intervention, tmp_path: Path
) -> None:
    plan.save(tmp_path / "plan")
    LINES.save(tmp_path / "lines")

    columns = ["layer", "index", "value"]
    assert list(pd.read_parquet(tmp_path / "plan" / "units.parquet")) == columns
    lines = pd.read_parquet(tmp_path / "lines" / "units.parquet")
    assert list(lines) == [*columns, "gain", "low", "high"]


def test_an_affine_plan_that_lost_a_column_is_damaged(tmp_path: Path) -> None:
    LINES.save(tmp_path / "plan")
    path = tmp_path / "plan" / "units.parquet"
    pd.read_parquet(path).drop(columns="low").to_parquet(path, index=False)

    with pytest.raises(InterventionError, match="3 gains, 0 lows and 3 highs were given"):
        Intervention.load(tmp_path / "plan")


def test_a_folder_without_a_plan_or_with_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no saved intervention"):
        Intervention.load(tmp_path)
    PLAN.save(tmp_path / "plan")
    (tmp_path / "plan" / "units.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"cannot read .*units\.parquet"):
        Intervention.load(tmp_path / "plan")


def test_a_saved_plan_says_what_it_is_and_in_which_format(tmp_path: Path) -> None:
    PLAN.save(tmp_path / "plan")

    header = json.loads((tmp_path / "plan" / "config.json").read_text(encoding="utf-8"))

    assert (header["kind"], header["format_version"]) == ("intervention", 1)


# Arithmetic


def _written_out(h: np.ndarray, given: np.ndarray, operation: str, a: float) -> np.ndarray:
    v = given[0]
    if operation == "affine":
        _, factor, low, high = given
        return np.where((h < low) | (h > high), h, (1 - a) * h + a * (factor * h + v))
    gain = {
        "scale": 1 - a + a * v,
        "blend": np.full_like(v, 1 - a),
        "aura": 1 - a * (2 * np.maximum(v, 0.5) - 1),
    }.get(operation, np.ones_like(v))
    shift = {"add": a * v, "blend": a * v}.get(operation, np.zeros_like(v))
    return np.broadcast_to(v, h.shape) if operation == "set" else gain * h + shift


def _parameters(data: st.DataObject, operation: str, elements: Any) -> np.ndarray:
    if operation == "aura":
        elements = st.floats(0, 1, width=32)
    rows = 4 if operation == "affine" else 1
    given = data.draw(arrays.arrays(np.float64, (rows, 4), elements=elements))
    given[2:].sort(0)
    return given


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=40)
@given(data=st.data())
def test_operations_do_what_is_written(operation: Operation, data: st.DataObject) -> None:
    # Small whole numbers, now and then, so that ends of ranges are met.
    numbers = st.one_of(st.floats(-50, 50, width=32), st.integers(-2, 2).map(float))
    h = data.draw(arrays.arrays(np.float64, (2, 3, 4), elements=numbers))
    given = _parameters(data, operation, numbers)
    strength = 1.0 if operation == "set" else data.draw(st.floats(-2, 2))

    found = steer(torch.from_numpy(h), torch.from_numpy(given), operation, strength)

    np.testing.assert_allclose(found, _written_out(h, given, operation, strength), atol=1e-9)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_activations_keep_their_dtype_and_the_arithmetic_is_wider(
    dtype: torch.dtype, operation: Operation
) -> None:
    h = torch.tensor([[1.0, -3.0, 5.0]], dtype=dtype)
    given = torch.tensor(
        [[0.7, 0.9, 0.6], [0.3, 1.7, 2.0], [1.0, -3.1, 1.0], [1.0, 4.0, 4.9]], dtype=torch.float64
    )

    found = steer(h, given[: 4 if operation == "affine" else 1], operation, 1.0)

    assert found.dtype == dtype
    exact = _written_out(h.double().numpy(), given.numpy(), operation, 1.0)
    wanted = torch.from_numpy(np.array(exact)).to(dtype)
    tolerance = 1e-15 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=0)


@given(
    h=arrays.arrays(np.float32, 9, elements=st.floats(-8, 8, width=32)),
    ends=st.tuples(st.floats(-8, 8, width=32), st.floats(-8, 8, width=32)).map(sorted),
    strength=st.floats(-2, 2),
)
def test_outside_of_the_range_of_its_source_nothing_is_moved_and_at_its_ends_it_is(
    h: np.ndarray, ends: list[float], strength: float
) -> None:
    low, high = ends
    h = np.append(h, np.array([low, high], np.float32))
    given = torch.tensor([[1e3], [0.0], [low], [high]]).expand(4, len(h))

    found = steer(torch.from_numpy(h), given, "affine", strength).numpy()

    outside = (h < np.float32(low)) | (h > np.float32(high))
    np.testing.assert_array_equal(found[outside], h[outside])
    moved = (1 - strength) * h.astype(np.float64) + strength * 1e3
    np.testing.assert_allclose(found[~outside], moved[~outside], rtol=1e-5, atol=1e-3)


def test_only_the_units_and_tokens_meant_are_written_and_into_a_copy() -> None:
    plan = _plan([(0, 1, 9.0), (0, 3, -9.0)])
    h = torch.arange(0.5, 24).reshape(2, 3, 4)
    before = h.clone()
    where = torch.tensor([[True, False, True], [False, False, True]])
    indices, parameters = plan.units[0]

    some = steer_units(h, indices, parameters, plan, where)
    every = steer_units(h, indices, parameters, plan, True)

    assert torch.equal(h, before)
    changed = torch.zeros_like(h, dtype=torch.bool)
    changed[..., [1, 3]] = where[..., None]
    assert torch.equal(some != h, changed)
    assert torch.equal(some[where][:, [1, 3]], torch.tensor([[9.0, -9.0]] * 3))
    assert torch.equal(every[..., [1, 3]], torch.tensor([9.0, -9.0]).expand(2, 3, 2))
    assert torch.equal(every[..., [0, 2]], h[..., [0, 2]])


@pytest.mark.usefixtures("unchecked")
def test_equal_plans_have_the_same_hash_however_their_numbers_are_typed() -> None:
    typed = replace(
        PLAN,
        layers=tuple(np.array(PLAN.layers)),
        indices=tuple(np.array(PLAN.indices)),
        values=tuple(np.array(PLAN.values)),
    )
    assert typed == PLAN
    assert typed.hash == PLAN.hash
    whole = replace(PLAN, strength=1.0)
    assert replace(PLAN, strength=1).hash == whole.hash
    assert whole.hash != PLAN.hash
    assert replace(PLAN, provenance={}).hash == PLAN.hash


@pytest.mark.parametrize("change", [{"site": None}, {"colour": "red"}])
def test_a_saved_plan_with_other_fields_is_damaged(change: dict[str, Any], tmp_path: Path) -> None:
    PLAN.save(tmp_path / "plan")
    path = tmp_path / "plan" / "config.json"
    config = json.loads(path.read_text())
    for name, value in change.items():
        if value is None:
            del config["content"][name]
        else:
            config["content"][name] = value
    path.write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="plan"):
        Intervention.load(tmp_path / "plan")
