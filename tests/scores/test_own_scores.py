"""A score of somebody's own is one in every place that takes a score."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import ScoreError, SelectionError
from steer_plugin.experts.selection import Choice
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.responses.probe import Probe
from steer_plugin.scores.unit_measures import SortedUnits
from steer_plugin.settings.parts import SCORES
from steer_plugin.settings.probe import ProbeSettings

from support.own_parts import as_before


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with as_before(SCORES):
        SCORES.register("contrast", below_chance=False, title="contrast", column="gap")(contrast)
        yield


def contrast(units: SortedUnits) -> torch.Tensor:
    """Give the difference of medians."""
    pairs = units.against_others()
    return torch.stack([own.median(1).values - rest.median(1).values for own, rest in pairs], 1)


def probe() -> Probe:
    labels = np.arange(12) % 3
    responses = np.random.default_rng(0).normal(size=(12, 4)) + (labels == 1)[:, None]
    return Probe(
        responses=torch.from_numpy(responses),
        active=None,
        tokens=np.ones(12, dtype=np.int64),
        labels=labels,
        concepts=("a", "b", "c"),
        sentences=None,
        space=UnitSpace("mlp.hook_post", (0,), (4,)),
        provenance={"site": "mlp.hook_post"},
    )


def test_it_scores_units_and_its_table_says_whose_it_is(tmp_path: Path) -> None:
    read = probe()
    assert ProbeSettings(score="contrast").score == "contrast"

    table = score_units(read, "contrast")

    rows = [read.responses[read.labels == 1], read.responses[read.labels != 1]]
    medians = [each.median(0).values for each in rows]
    np.testing.assert_allclose(table.scores[1], medians[0] - medians[1], atol=1e-12)
    assert table.chance == (0, 0, 0)
    assert "gap" in table.frame("b", 1)
    assert table.provenance["parts"]["score"]["module"] == __name__
    with pytest.raises(SelectionError, match="no unit scores below chance by contrast"):
        table.top("b", 1, Choice("bottom"))
    table.save(tmp_path / "table")
    np.testing.assert_array_equal(ExpertTable.load(tmp_path / "table").scores, table.scores)


def test_a_saved_table_of_a_score_that_is_gone_says_what_to_import(tmp_path: Path) -> None:
    score_units(probe(), "contrast").save(tmp_path / "table")
    del SCORES._parts["contrast"]

    message = (
        f"^this was made with the score 'contrast' of {__name__}, which is not registered here; "
        f"import {__name__}$"
    )
    with pytest.raises(ScoreError, match=message):
        ExpertTable.load(tmp_path / "table")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda _: 3, "the score 'own' gave int, where a tensor of shape [(]4, 3[)] was expected"),
        (lambda units: contrast(units).T, "the score 'own' gave [(]3, 4[)], where a tensor of sh"),
        (lambda units: contrast(units) / 0, "the score 'own' is .* at .*; give finite numbers, 0"),
        (lambda units: units.missing, "the score 'own' of .* failed: AttributeError: .*missing"),
    ],
)
def test_one_that_gives_no_scores_is_refused_by_its_name(given: Any, message: str) -> None:
    SCORES.register("own")(given)
    with pytest.raises(ScoreError, match=message):
        score_units(probe(), "own")
