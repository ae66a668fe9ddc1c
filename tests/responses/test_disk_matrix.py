"""Responses on disk stand where a tensor does, and score alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import ArtifactError
from steer_plugin.experts.table import score_units
from steer_plugin.models.adapter import Batch, ModelInfo, Reading
from steer_plugin.responses.disk_matrix import DiskMatrix
from steer_plugin.responses.pass_folder import BatchFile, PassFolder
from steer_plugin.responses.probe import Probe
from steer_plugin.responses.unit_chunks import units_at_a_time
from steer_plugin.scores.mean_difference import mean_difference
from steer_plugin.scores.rank_scores import RANK_SCORES, doubled_midranks, scores
from steer_plugin.scores.typical_responses import typical_responses
from steer_plugin.settings.parts import SCORES

Array = np.ndarray[Any, Any]

READINGS = (Reading("mlp.hook_post", "max"), Reading("mlp.hook_pre", "active"))
CONCEPTS, SENTENCES, UNITS = 3, 10, 23
TEXTS = CONCEPTS * SENTENCES
LABELS = np.repeat(np.arange(CONCEPTS), SENTENCES)
# Room for a few units at a time.
LITTLE = 8 * TEXTS * 4 * 5


def written(
    folder: Path, *, dtype: str = "float32", seed: int = 0
) -> tuple[list[BatchFile], Array]:
    """Keep responses of texts in no order, in batches of unequal size."""
    generator = np.random.default_rng(seed)
    model = ModelInfo("made up", "1", "none", 2, 8, dtype, bos=False)
    parts = PassFolder.of(folder, model, [f"text {row}" for row in range(TEXTS)], READINGS)
    wide = torch.from_numpy(generator.integers(-9, 9, (TEXTS, UNITS)).astype(np.float32) / 8)
    order = generator.permutation(TEXTS)
    cuts = np.sort(generator.choice(np.arange(1, TEXTS), 4, replace=False))
    tokens = np.full(TEXTS, 4)
    active = torch.from_numpy(generator.integers(0, 5, (TEXTS, UNITS)) / 4).float()
    found = []
    for rows in np.split(order, cuts):
        index = torch.from_numpy(rows)
        responses = {READINGS[0]: wide[index], READINGS[1]: active[index]}
        found.append(parts.add(Batch(rows, responses, tokens[rows])))
    return found, np.stack([wide.numpy(), active.numpy()])


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[BatchFile], Array]:
    """Give parts that no test changes."""
    return written(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def kept(tmp_path: Path) -> tuple[list[BatchFile], Array]:
    return written(tmp_path)


def matrix(parts: list[BatchFile], reading: int = 0) -> DiskMatrix:
    return DiskMatrix(parts, reading, (TEXTS, UNITS))


@pytest.mark.parametrize("reading", [0, 1])
@settings(deadline=None, max_examples=30)
@given(start=st.integers(-UNITS, UNITS + 3), stop=st.integers(-UNITS, UNITS + 3))
def test_a_slice_of_units_is_that_of_the_whole(
    left_alone: tuple[list[BatchFile], Array], reading: int, start: int, stop: int
) -> None:
    parts, wanted = left_alone

    found = matrix(parts, reading)[:, start:stop]

    np.testing.assert_array_equal(found.numpy(), wanted[reading][:, start:stop])


def test_rows_are_chosen_as_a_tensor_chooses_them_and_may_be_chosen_again(
    kept: tuple[list[BatchFile], Array],
) -> None:
    parts, wanted = kept
    first, second = torch.tensor([5, 5, 29, 0]), torch.tensor([2, 0, 0])

    once = matrix(parts)[first]
    again = once[second]

    np.testing.assert_array_equal(once[:, 2:9].numpy(), wanted[0][first.numpy(), 2:9])
    np.testing.assert_array_equal(again[:, :].numpy(), wanted[0][first[second].numpy()])
    assert (len(once), len(again), again.shape) == (4, 3, (3, UNITS))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("key", [3, slice(0, 3), (0, slice(None)), (slice(None), slice(0, 9, 2))])
def test_what_is_not_read_from_disk_is_refused(
    kept: tuple[list[BatchFile], Array], key: Any
) -> None:
    with pytest.raises(IndexError, match="responses on disk; take"):
        matrix(kept[0])[key]


def test_a_part_that_was_removed_meanwhile_is_told(kept: tuple[list[BatchFile], Array]) -> None:
    kept[0][1].path.unlink()
    with pytest.raises(ArtifactError, match="if it was removed meanwhile, do the same again"):
        matrix(kept[0])[:, :]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("memory", [1, LITTLE, 2**28])
def test_every_score_and_statistic_is_that_of_the_same_responses_in_memory(
    tmp_path: Path, memory: int, dtype: str
) -> None:
    parts, (wanted, _) = written(tmp_path, dtype=dtype)
    held = matrix(parts)
    assert held.dtype == getattr(torch, dtype)
    in_memory = torch.from_numpy(wanted)

    for name in RANK_SCORES:
        np.testing.assert_array_equal(
            scores(held, LABELS, (name,), memory=memory)[name],
            scores(in_memory, LABELS, (name,))[name],
        )
    np.testing.assert_array_equal(
        mean_difference(held, LABELS, memory=memory), mean_difference(in_memory, LABELS)
    )
    assert torch.equal(doubled_midranks(held, memory=memory), doubled_midranks(in_memory))
    found = typical_responses(held, LABELS, memory=memory)
    for name, values in typical_responses(in_memory, LABELS).items():
        np.testing.assert_array_equal(found[name], values)


def probe(responses: torch.Tensor | DiskMatrix, active: torch.Tensor | DiskMatrix) -> Probe:
    return Probe(
        responses=responses,
        active=active,
        tokens=np.full(TEXTS, 4),
        labels=LABELS,
        concepts=("a", "b", "c"),
        sentences=np.tile(np.arange(SENTENCES), CONCEPTS),
        space=UnitSpace("mlp.hook_post", (0,), (UNITS,)),
        provenance={},
    )


@pytest.mark.parametrize("change", [lambda one: one, lambda one: one.resampled(3)])
def test_a_probe_on_disk_scores_and_is_resampled_like_one_in_memory(
    kept: tuple[list[BatchFile], Array], change: Callable[[Probe], Probe]
) -> None:
    parts, (wanted, active) = kept
    on_disk = change(probe(matrix(parts), matrix(parts, 1)))
    in_memory = change(probe(torch.from_numpy(wanted), torch.from_numpy(active)))

    for score in SCORES:
        found = score_units(on_disk, score, memory=LITTLE)
        same = score_units(in_memory, score)
        np.testing.assert_array_equal(found.scores, same.scores)
        for name, values in same.statistics.items():
            np.testing.assert_array_equal(found.statistics[name], values)


def test_an_eighth_of_the_memory_is_read_from_disk_at_a_time(
    kept: tuple[list[BatchFile], Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    getitem = DiskMatrix.__getitem__

    def recorded(self: DiskMatrix, key: Any) -> Any:
        found = getitem(self, key)
        read.append(found.nbytes)
        return found

    monkeypatch.setattr(DiskMatrix, "__getitem__", recorded)
    scores(matrix(kept[0]), LABELS, memory=LITTLE)

    assert units_at_a_time(TEXTS, 4, LITTLE) == 5
    assert len(read) == 5
    assert max(read) == LITTLE // 8
