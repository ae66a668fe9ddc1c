"""Steering vectors against numpy, scikit-learn, and directions that were planted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.decomposition import PCA

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import (
    ArtifactError,
    InterventionError,
    ScoreError,
    SelectionError,
    SiteError,
)
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.methods.steering_vectors import VECTORS, SteeringVectors, find_vectors
from steer_plugin.responses.probe import Probe

Array = np.ndarray[Any, Any]

LAYERS, WIDTH = (1, 4), 6
SPACE = UnitSpace("hook_resid_post", LAYERS, (WIDTH,) * len(LAYERS))
CONCEPTS = ("deu_Latn", "eng_Latn", "jpn_Jpan")


def _probe(
    cube: Array, space: UnitSpace = SPACE, concepts: tuple[str, ...] = CONCEPTS, seed: int = 0
) -> Probe:
    """Put responses [concept, sentence, unit] into any order."""
    labels, sentences = np.indices(cube.shape[:2]).reshape(2, -1)
    order = np.random.default_rng(seed).permutation(len(labels))
    return Probe(
        responses=torch.from_numpy(cube.reshape(-1, cube.shape[2])[order]),
        active=None,
        tokens=np.ones(len(labels), dtype=np.int64),
        labels=labels[order],
        concepts=concepts,
        sentences=sentences[order],
        space=space,
        provenance={"model": "planted"},
    )


def _find(cube: Array, concepts: tuple[str, ...] = CONCEPTS, seed: int = 0) -> SteeringVectors:
    return find_vectors(_probe(cube, concepts=concepts, seed=seed))


def _noise(sentences: int, seed: int = 0) -> Array:
    shape = (len(CONCEPTS), sentences, len(SPACE))
    # What a sentence says, in all of its translations, is louder than all else.
    said = 30 * np.random.default_rng(seed + 1).normal(size=shape[1:])
    return said + np.random.default_rng(seed).normal(size=shape)


def _matched(cube: Array, concept: int) -> Array:
    """Subtract from each sentence of a concept the mean of its translations, one by one."""
    others = [other for other in range(len(cube)) if other != concept]
    return np.stack(
        [
            own - sum(cube[other, sentence] for other in others) / len(others)
            for sentence, own in enumerate(cube[concept])
        ]
    )


# Definitions


@pytest.mark.parametrize("sentences", [2, 5, 40])
def test_the_mean_difference_is_that_of_the_concepts_sentences_and_all_others(
    sentences: int,
) -> None:
    cube = _noise(sentences)

    found = _find(cube).vectors["mean_difference"]

    assert found.dtype == np.float32
    for row in range(len(CONCEPTS)):
        others = np.delete(cube, row, 0).reshape(-1, len(SPACE))
        wanted = cube[row].mean(0) - others.mean(0)
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("counts", [(6, 6), (1, 5), (9, 2, 4), (30, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_without_pairs_both_are_those_of_every_text_minus_every_other_text(
    seed: int, counts: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    shifts = generator.normal(size=(len(counts), len(SPACE)))
    responses = generator.normal(size=(len(labels), len(SPACE))) + shifts[labels]

    found = find_vectors(
        Probe(
            responses=torch.from_numpy(responses),
            active=None,
            tokens=np.ones(len(labels), dtype=np.int64),
            labels=labels,
            concepts=CONCEPTS[: len(counts)],
            sentences=None,
            space=SPACE,
            provenance={"model": "planted"},
        )
    ).vectors

    for row in range(len(counts)):
        for layer in LAYERS:
            block = responses[:, SPACE.layer_slice(layer)]
            differences = np.array(
                [own - other for own in block[labels == row] for other in block[labels != row]]
            )
            mean = block[labels == row].mean(0) - block[labels != row].mean(0)
            component = np.linalg.svd(differences)[2][0]
            for name, wanted in (
                ("mean_difference", mean),
                ("pca", (mean @ component) * component),
            ):
                vector = found[name][row, SPACE.layer_slice(layer)]  # type: ignore[index]
                np.testing.assert_allclose(vector, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sentences", [2, 5, 40])
@pytest.mark.parametrize("seed", range(3))
def test_the_component_is_that_of_numpys_svd_and_scikit_learns_pca_of_pairs_both_ways_round(
    seed: int, sentences: int
) -> None:
    cube = _noise(sentences, seed)

    found = _find(cube).vectors["pca"]

    for row in range(len(CONCEPTS)):
        differences = _matched(cube, row)
        for layer in LAYERS:
            block = differences[:, SPACE.layer_slice(layer)]
            _, _, right = np.linalg.svd(block, full_matrices=False)
            # As many pairs in one order as in the other: the mean is zero.
            pca = PCA(n_components=1).fit(np.concatenate([block, -block]))
            mean = block.mean(0)
            for component in (right[0], pca.components_[0]):
                wanted = (component @ mean) * component
                np.testing.assert_allclose(
                    found[row, SPACE.layer_slice(layer)], wanted, rtol=1e-4, atol=1e-5
                )


@given(
    cube=arrays.arrays(
        np.float64,
        (3, 4, len(SPACE)),
        elements=st.one_of(st.floats(-1e3, 1e3, width=32), st.integers(-1, 1).map(float)),
    ),
    seed=st.integers(0, 9),
)
def test_on_any_responses_the_two_vectors_agree_in_sign_and_pca_is_the_shorter(
    cube: Array, seed: int
) -> None:
    try:
        found = _find(cube, seed=seed)
    except ScoreError:
        matched = [_matched(cube, row) for row in range(3)]
        blocks = [each[:, SPACE.layer_slice(layer)] for each in matched for layer in LAYERS]
        nowhere = False
        for block in blocks:
            _, values, right = np.linalg.svd(block)
            alike = values[0] - values[1] <= 1e-6 * values[0]
            nowhere |= alike or abs(block.mean(0) @ right[0]) <= 1e-9 * values[0]
        assert nowhere
        return

    for row in range(3):
        for layer in LAYERS:
            mean = found.vectors["mean_difference"][row, SPACE.layer_slice(layer)].astype(float)
            main = found.vectors["pca"][row, SPACE.layer_slice(layer)].astype(float)
            assert mean @ main == pytest.approx(main @ main, rel=1e-3)
            assert 0 < main @ main <= (mean @ mean) * (1 + 1e-5)


# Closed forms


def test_a_planted_direction_is_found_in_its_layer_and_to_its_length() -> None:
    direction = np.array([3.0, 0.0, 4.0, 0.0, 0.0, 0.0])
    noise = 0.3 * np.random.default_rng(0).normal(size=(len(CONCEPTS), 2000, len(SPACE)))
    noise[..., SPACE.layer_slice(4)][..., [0, 2]] = 0.0
    cube = noise + np.random.default_rng(1).normal(size=noise.shape[1:])
    cube[1, :, SPACE.layer_slice(4)] += direction

    found = _find(cube)

    for name in VECTORS:
        planted = found.vectors[name][1, SPACE.layer_slice(4)]
        np.testing.assert_allclose(planted, direction, atol=0.03)
        # Seen from the others, this concept is half of what they are told from.
        other = found.vectors[name][0, SPACE.layer_slice(4)]
        np.testing.assert_allclose(other, -direction / 2, atol=0.03)
        elsewhere = found.vectors[name][1, SPACE.layer_slice(1)]
        assert np.linalg.norm(elsewhere) < 0.05


def test_the_component_leaves_out_what_the_mean_owes_to_a_few_sentences() -> None:
    """With x along one axis in every sentence and y along another in one of four."""
    x, y, sentences = 2.0, 3.0, 400
    cube = np.zeros((2, sentences, 4))
    cube[1, :, 0] = x
    cube[1, ::4, 1] = y

    space = UnitSpace("hook_resid_post", (0,), (4,))
    found = find_vectors(_probe(cube, space, ("eng_Latn", "deu_Latn")))

    moments = np.array([[x * x, x * y / 4], [x * y / 4, y * y / 4]])
    component = np.linalg.eigh(moments)[1][:, -1]
    mean = np.array([x, y / 4])
    np.testing.assert_allclose(found.vectors["mean_difference"][1, :2], mean, rtol=1e-6)
    np.testing.assert_allclose(
        found.vectors["pca"][1, :2], (component @ mean) * component, rtol=1e-6
    )
    np.testing.assert_allclose(found.vectors["pca"][1], -found.vectors["pca"][0], rtol=1e-6)


def test_a_large_mean_of_all_languages_costs_no_precision() -> None:
    cube = _noise(20)

    near, far = _find(cube), _find(cube + 1e6)

    for name in VECTORS:
        np.testing.assert_allclose(far.vectors[name], near.vectors[name], rtol=1e-4, atol=1e-6)


def test_float32_responses_are_worked_with_in_float64() -> None:
    cube = (_noise(50) + 1e3).astype(np.float32)

    found, wanted = _find(cube), _find(cube.astype(np.float64))

    for name in VECTORS:
        np.testing.assert_array_equal(found.vectors[name], wanted.vectors[name])


def test_sentences_drawn_twice_weigh_twice() -> None:
    cube = _noise(4)
    probe = _probe(cube)
    drawn = np.random.default_rng(3).integers(4, size=4)
    assert len(set(drawn)) < 4

    found = find_vectors(probe.resampled(3))

    wanted = _find(cube[:, drawn])
    for name in VECTORS:
        np.testing.assert_allclose(found.vectors[name], wanted.vectors[name], rtol=1e-5)


# Responses that lead nowhere


def test_equal_responses_are_refused_by_concept_and_layer() -> None:
    cube = _noise(5)
    cube[..., SPACE.layer_slice(4)] = 1 / 3 + np.arange(5)[:, None]

    with pytest.raises(ScoreError, match="the differences of deu_Latn in layer 4 are zero on av"):
        _find(cube)


@pytest.mark.parametrize("rounding", [0.0, 1e-15])
def test_differences_that_are_zero_on_average_are_refused(rounding: float) -> None:
    cube = np.zeros((2, 2, len(SPACE)))
    cube[1] = 1.0
    cube[1, :, SPACE.layer_slice(4)] = 0.0
    cube[1, :, 8] = [1.0, -1.0 + rounding]

    with pytest.raises(ScoreError, match="of eng_Latn in layer 4 are zero on average along their"):
        _find(cube, concepts=("eng_Latn", "deu_Latn"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_response_that_is_not_finite_is_refused_by_layer(bad: float) -> None:
    cube = _noise(5)
    cube[1, 2, 9] = bad

    with pytest.raises(ScoreError, match="hook_resid_post in layer 4 is NaN or infinite"):
        _find(cube)


def test_one_concept_alone_is_refused() -> None:
    with pytest.raises(ScoreError, match="only one concept was given"):
        _find(_noise(3)[:1], concepts=CONCEPTS[:1])


def test_a_probe_of_another_site_is_refused() -> None:
    probe = _probe(_noise(3), UnitSpace("hook_mlp_out", LAYERS, SPACE.widths))

    with pytest.raises(ScoreError, match="are for hook_resid_post, the probe is at hook_mlp_out"):
        find_vectors(probe)


# Plans


@pytest.mark.parametrize("method", VECTORS)
def test_a_plan_adds_the_vector_to_every_unit_of_the_block(method: str) -> None:
    vectors = _find(_noise(5))

    plan = vectors.intervention(
        "eng_Latn",
        layer=4,
        method=method,  # type: ignore[arg-type]
        strength=-0.5,
        positions="generated",
        bos=False,
    )

    vector = vectors.vectors[method][1, 6:]  # type: ignore[index]
    assert plan == Intervention(
        "hook_resid_post",
        layers=(4,) * WIDTH,
        indices=tuple(range(WIDTH)),
        values=tuple(vector.tolist()),
        operation="add",
        strength=-0.5,
        positions="generated",
        bos=False,
    )
    assert plan.provenance == {
        "model": "planted",
        "concept": "eng_Latn",
        "layer": 4,
        "value": method,
    }


def test_the_vectors_of_several_blocks_are_added_each_to_its_own() -> None:
    vectors = _find(_noise(5))

    plan = vectors.intervention("eng_Latn", layer=[4, 1])

    alone = [vectors.intervention("eng_Latn", layer=layer) for layer in (1, 4)]
    assert plan.values == (*alone[0].values, *alone[1].values)
    assert plan.layers == (*alone[0].layers, *alone[1].layers)
    assert plan.indices == (*alone[0].indices, *alone[1].indices)
    assert plan.provenance["layer"] == [4, 1]
    with pytest.raises(InterventionError, match="no blocks were given"):
        vectors.intervention("eng_Latn", layer=[])
    with pytest.raises(InterventionError, match="unit L4N0 is given twice"):
        vectors.intervention("eng_Latn", layer=[4, 4])


@pytest.mark.usefixtures("unchecked")
def test_a_block_is_any_whole_number(tmp_path: Path) -> None:
    vectors = _find(_noise(5))
    number: Any = np.int64(1)
    plan = vectors.intervention("eng_Latn", layer=number)

    assert plan == vectors.intervention("eng_Latn", layer=1)
    plan.save(tmp_path / "plan")
    for layer in (1.0, [1.0], "1"):
        with pytest.raises(InterventionError, match="is no block; give its number"):
            vectors.intervention("eng_Latn", layer=layer)  # type: ignore[arg-type]


def test_what_there_is_no_vector_for_is_refused_with_what_there_is() -> None:
    vectors = _find(_noise(5))

    with pytest.raises(SelectionError, match="'fra_Latn' has no steering vector; these have: deu"):
        vectors.intervention("fra_Latn", layer=1)
    with pytest.raises(SiteError, match=r"layer 2 has no units .*; the layers are \[1, 4\]"):
        vectors.intervention("eng_Latn", layer=2)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_kind_of_vector_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(InterventionError, match=r"'svd' is no kind .*: mean_difference, pca"):
        _find(_noise(5)).intervention("eng_Latn", layer=1, method="svd")  # type: ignore[arg-type]


# Saved form


def test_saved_vectors_are_read_back_to_the_last_bit(tmp_path: Path) -> None:
    vectors = _find(_noise(5))

    vectors.save(tmp_path / "vectors")
    back = SteeringVectors.load(tmp_path / "vectors")

    assert (back.concepts, back.space) == (vectors.concepts, vectors.space)
    assert back.provenance == vectors.provenance
    assert list(back.vectors) == list(vectors.vectors)
    for name in VECTORS:
        np.testing.assert_array_equal(back.vectors[name], vectors.vectors[name])


def test_a_folder_without_vectors_or_with_damaged_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no saved vectors"):
        SteeringVectors.load(tmp_path)
    _find(_noise(5)).save(tmp_path / "vectors")
    (tmp_path / "vectors" / "tensors.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"cannot read .*tensors\.safetensors"):
        SteeringVectors.load(tmp_path / "vectors")
