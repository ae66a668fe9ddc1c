"""Interventions as plans, and their arithmetic."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.errors import ArtifactError, InterventionError, SiteError
from steer_plugin.interventions import (
    OPERATIONS,
    Intervention,
    Operation,
    steer,
    steer_units,
)

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

units = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 5000), st.floats(-100, 100)),
    unique_by=lambda unit: unit[:2],
    max_size=8,
)


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


@pytest.mark.parametrize(
    ("plan", "nothing"),
    [
        (_plan([]), True),
        (_plan([(0, 1, 2.0)], strength=0), True),
        (_plan([(0, 1, 2.0)], operation="add", strength=0.0), True),
        (_plan([(0, 1, 0.0)], operation="add"), False),
        (_plan([(0, 1, 1.0)], operation="scale", strength=-1.0), False),
    ],
)
def test_a_plan_without_units_or_strength_changes_nothing(
    plan: Intervention, nothing: bool
) -> None:
    assert plan.changes_nothing == nothing


def test_units_are_given_layer_by_layer() -> None:
    by_layer = PLAN.by_layer()

    assert list(by_layer) == [0, 2]
    assert by_layer[0][0].tolist() == [3, 7]
    assert by_layer[0][1].tolist() == pytest.approx([1 / 3, -2.0])
    assert by_layer[2][0].tolist() == [1]


# Plans that contradict themselves


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("difference", "message"),
    [
        (
            {"operation": "replace"},
            "'replace' is not an operation; choose one of: set, add, scale, blend, aura",
        ),
        (
            {"positions": "last"},
            "'last' is not a choice of positions; choose one of: all, prompt, generated",
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
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(
    difference: dict[str, Any], message: str
) -> None:
    with pytest.raises(InterventionError) as caught:
        replace(PLAN, **difference)

    assert str(caught.value) == message


def test_a_plan_for_an_unknown_site_is_refused() -> None:
    with pytest.raises(SiteError, match=r"'hook_resid_past' is not a site; .*hook_resid_post"):
        replace(PLAN, site="hook_resid_past")


# Saved form


@pytest.mark.parametrize("plan", [PLAN, _plan([]), _plan([(3, 2, 0.1)], operation="aura")])
def test_a_saved_plan_is_read_back_to_the_last_bit(plan: Intervention, tmp_path: Path) -> None:
    plan.save(tmp_path / "plan")
    back = Intervention.load(tmp_path / "plan")

    assert back == plan
    assert hash(back) == hash(plan)
    assert back.provenance == plan.provenance
    assert {type(number) for number in (*back.layers, *back.indices)} <= {int}


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


def _written_out(h: np.ndarray, v: np.ndarray, operation: str, a: float) -> np.ndarray:
    gain = {
        "scale": 1 - a + a * v,
        "blend": np.full_like(v, 1 - a),
        "aura": 1 - a * (2 * np.maximum(v, 0.5) - 1),
    }.get(operation, np.ones_like(v))
    shift = {"add": a * v, "blend": a * v}.get(operation, np.zeros_like(v))
    return np.broadcast_to(v, h.shape) if operation == "set" else gain * h + shift


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
def test_operations_do_what_is_written(operation: Operation, data: st.DataObject) -> None:
    numbers = st.floats(-50, 50, width=32)
    h = data.draw(arrays.arrays(np.float64, (2, 3, 4), elements=numbers))
    between = st.floats(0, 1, width=32) if operation == "aura" else numbers
    v = data.draw(arrays.arrays(np.float64, 4, elements=between))
    strength = 1.0 if operation == "set" else data.draw(st.floats(-2, 2))

    found = steer(torch.from_numpy(h), torch.from_numpy(v), operation, strength)

    np.testing.assert_allclose(found, _written_out(h, v, operation, strength), atol=1e-9)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_activations_keep_their_dtype_and_the_arithmetic_is_wider(
    dtype: torch.dtype, operation: Operation
) -> None:
    h = torch.tensor([[1.0, -3.0]], dtype=dtype)
    v = torch.tensor([0.7, 0.9])

    found = steer(h, v, operation, 1.0)

    assert found.dtype == dtype
    exact = _written_out(h.double().numpy(), v.double().numpy(), operation, 1.0)
    wanted = torch.from_numpy(np.array(exact)).to(dtype)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


def test_only_the_units_and_tokens_meant_are_written_and_into_a_copy() -> None:
    plan = _plan([(0, 1, 9.0), (0, 3, -9.0)])
    h = torch.arange(0.5, 24).reshape(2, 3, 4)
    before = h.clone()
    where = torch.tensor([[True, False, True], [False, False, True]])
    indices, values = plan.by_layer()[0]

    some = steer_units(h, indices, values, plan, where)
    every = steer_units(h, indices, values, plan, None)

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
