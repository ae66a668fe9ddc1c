"""What was saved before there were labelled texts and plans of several steps is still read.

`format_1/` was saved by the package at commit 465992b, of a tiny random Llama; `format_2/` at
22c7bdd, of random responses: experts against one source with lines, vectors, a plan of three steps;
`format_3/` at 9d913ba, of random numbers: attention heads with their values, and plans of them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from steer_plugin import ExpertTable, Intervention, Plan
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.methods.steering_vectors import SteeringVectors

SAVED = Path(__file__).parent / "format_1"
LANGUAGES = ("eng_Latn", "deu_Latn", "fra_Latn")


def content(name: str) -> Any:
    return json.loads((SAVED / name / "config.json").read_text("utf-8"))["content"]


def test_a_table_of_experts_has_its_scores_values_and_provenance(tmp_path: Path) -> None:
    wanted = load_file(SAVED / "experts" / "tensors.safetensors")

    table = ExpertTable.load(SAVED / "experts")

    assert (table.concepts, table.score, table.chance) == (LANGUAGES, "auroc", (0.5, 0.5, 0.5))
    assert (table.space.site, table.space.layers) == ("mlp.hook_post", (0, 2))
    assert table.space.widths == (24, 24)
    np.testing.assert_array_equal(table.scores, wanted.pop("scores"))
    assert {f"statistic.{name}" for name in table.statistics} == set(wanted)
    for name, values in table.statistics.items():
        np.testing.assert_array_equal(values, wanted[f"statistic.{name}"])
    assert table.provenance == content("experts")["provenance"]
    table.save(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text("utf-8"))["content"]
    assert again == content("experts")


def test_the_experts_of_a_table_are_the_plan_that_was_saved_of_them() -> None:
    plan = Intervention.load(SAVED / "plan")

    units = pd.read_parquet(SAVED / "plan" / "units.parquet")
    assert plan == ExpertTable.load(SAVED / "experts").intervention("deu_Latn", top_k=5)
    assert Plan.load(SAVED / "plan") == Plan((plan,))
    assert list(plan.layers) == units["layer"].tolist()
    assert list(plan.indices) == units["index"].tolist()
    assert list(plan.values) == units["value"].tolist()
    assert plan.provenance == content("plan")["provenance"]


def test_steering_vectors_have_their_numbers() -> None:
    wanted = load_file(SAVED / "vectors" / "tensors.safetensors")

    vectors = SteeringVectors.load(SAVED / "vectors")

    assert (vectors.concepts, vectors.space.layers) == (LANGUAGES, (1,))
    assert set(vectors.vectors) == set(wanted)
    for name, values in vectors.vectors.items():
        np.testing.assert_array_equal(values, wanted[name])


def test_what_was_saved_before_plans_were_arrays_is_the_same_plan() -> None:
    saved = SAVED.with_name("format_2")
    experts, vectors = ExpertTable.load(saved / "experts"), SteeringVectors.load(saved / "vectors")

    plan = Plan.load(saved / "plan")

    first = experts.intervention("deu_Latn", top_k=3, operation="affine", positions=slice(-3, None))
    second = vectors.intervention("fra_Latn", layer=2, bos=False)
    by_hand = Intervention.of(
        {"L1N2": 2.5, "L0N3": 0.0},
        site="attn.hook_z",
        operation="scale",
        positions=[[True, False], [False, True]],
    )
    assert plan == first + second + by_hand
    assert plan.hash == (saved / "hash.txt").read_text().strip()


def test_heads_with_their_values_and_plans_of_them_are_read_as_they_were_saved(
    tmp_path: Path,
) -> None:
    saved = SAVED.with_name("format_3")
    wanted = load_file(saved / "experts" / "tensors.safetensors")

    experts = ExpertTable.load(saved / "experts")

    assert experts.space == UnitSpace("attn.hook_z.heads", (0, 2), (3, 3))
    tensors = {
        "scores": experts.scores,
        **{f"statistic.{name}": numbers for name, numbers in experts.statistics.items()},
        **{f"values.{name}": numbers for name, numbers in experts.values.items()},
    }
    assert tensors.keys() == wanted.keys()
    for name, numbers in tensors.items():
        np.testing.assert_array_equal(numbers, wanted[name])
    heads = experts.intervention(
        "statement", top_k=2, operation="blend", strength=0.5, positions="last"
    )
    scaled = Intervention.of({"L0H1": 0.0, "L2H2": -1.5}, site="attn.hook_z", operation="scale")
    assert Intervention.load(saved / "heads") == heads
    units = pd.read_parquet(saved / "heads" / "units.parquet")
    assert np.stack(list(units["value"])).tolist() == np.asarray(heads.values).tolist()
    assert np.asarray(heads.values).shape == (2, 4)
    plan = Plan.load(saved / "plan")
    assert plan == heads + scaled
    assert plan.hash == (saved / "hash.txt").read_text().strip()
    plan.save(tmp_path / "again")
    again, before = (
        json.loads((folder / "config.json").read_text("utf-8"))
        for folder in (tmp_path / "again", saved / "plan")
    )
    assert again["content"] == before["content"]
    assert before["format_version"] == 1
