"""All measures from one sort of each unit are to the last bit those that are asked for alone."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import ScoreError
from steer_plugin.responses.probe import Probe
from steer_plugin.scores import unit_measures
from steer_plugin.scores.mean_difference import mean_difference
from steer_plugin.scores.probe_scores import probe_scores, scores_and_typical_responses
from steer_plugin.scores.rank_scores import auroc, average_precision
from steer_plugin.scores.typical_responses import typical_responses, typical_responses_of
from steer_plugin.scores.unit_measures import SortedUnits, measure_units
from steer_plugin.settings.parts import SCORES

Array = np.ndarray[Any, Any]

ALONE = {"auroc": auroc, "average_precision": average_precision, "mean_difference": mean_difference}
LEVELS = (0.1, 0.5)


@st.composite
def labelled_units(draw: st.DrawFn) -> tuple[torch.Tensor, Array]:
    """Draw responses of any dtype with ties, and labels."""
    concepts, sentences, units = (draw(st.integers(*ends)) for ends in ((2, 5), (5, 40), (1, 9)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = generator.permutation(np.arange(sentences) % concepts)
    responses = generator.normal(size=(sentences, units)) + 3 * (labels == 0)[:, None]
    digits = draw(st.integers(0, 3))
    dtype = draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
    return torch.from_numpy(responses.round(digits)).to(dtype), labels


@settings(deadline=None, max_examples=60)
@given(labelled_units(), st.booleans(), st.sampled_from([1, 2**30]))
def test_one_sort_gives_the_bits_of_separate_calls(
    case: tuple[torch.Tensor, Array], lines: bool, memory: int
) -> None:
    def everything(units: SortedUnits) -> dict[str, torch.Tensor]:
        scores = {f"score {name}": SCORES[name].function(units) for name in ALONE}
        return scores | typical_responses_of(units, LEVELS, lines=lines)

    together = measure_units(*case, everything, memory=memory)

    wanted = {f"score {name}": score(*case) for name, score in ALONE.items()}
    wanted |= typical_responses(*case, LEVELS, lines=lines)
    assert together.keys() == wanted.keys()
    for name, values in wanted.items():
        assert together[name].dtype == values.dtype
        np.testing.assert_array_equal(together[name], values, err_msg=name)


def probe(active: bool) -> Probe:
    generator = np.random.default_rng(1)
    tokens = generator.integers(1, 9, 12)
    shares = generator.integers(0, tokens[:, None] + 1, (12, 7)) / tokens[:, None]
    return Probe(
        responses=torch.from_numpy(generator.normal(size=(12, 7))),
        active=torch.from_numpy(shares).float() if active else None,
        tokens=tokens,
        labels=np.repeat(np.arange(3), 4),
        concepts=("a", "b", "c"),
        sentences=np.tile(np.arange(4), 3),
        space=UnitSpace("mlp.hook_post", (0,), (7,)),
        provenance={},
    )


@pytest.mark.parametrize("name", SCORES)
def test_each_chunk_is_sorted_once_for_a_score_and_all_statistics(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = probe(active=True)
    scores = probe_scores(read, name)
    statistics = typical_responses(read.responses, read.labels, LEVELS)
    sorts: list[int] = []

    def counted(*given_: Any) -> Any:
        sorts.append(given_[2])
        return unit_sort(*given_)

    unit_sort = unit_measures.sort_units
    monkeypatch.setattr(unit_measures, "sort_units", counted)
    both = scores_and_typical_responses(read, name, LEVELS, memory=1)

    assert sorted(sorts) == list(range(7))
    np.testing.assert_array_equal(both[0], scores)
    assert both[1].keys() == statistics.keys()
    for statistic, values in statistics.items():
        np.testing.assert_array_equal(both[1][statistic], values, err_msg=statistic)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_scored_is_refused_before_anything_is_sorted() -> None:
    with pytest.raises(ScoreError, match="'f1' is not a score; choose one of: auroc, "):
        scores_and_typical_responses(probe(active=True), "f1")
    with pytest.raises(ScoreError, match=r"quantiles are \(2,\); give numbers from 0 to 1"):
        scores_and_typical_responses(probe(active=True), "auroc", (2,))
    with pytest.raises(ScoreError, match="lape counts active tokens, which this probe has not"):
        scores_and_typical_responses(probe(active=False), "lape")
