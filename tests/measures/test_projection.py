import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.measures.projection import described, project
from steer_plugin.errors import AnalysisError

from support.spaces import Array, Space

D_MODEL = 6
LANGUAGES = ("deu_Latn", "eng_Latn")
IDS = [f"s{number}" for number in range(15)]


def space(seed: int = 0) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    scale = np.array([9.0, 4.0, 1.0, 0.5, 0.2, 0.1])
    return {
        language: (generator.normal(size=(15, D_MODEL)) * scale + 3).astype(np.float32)
        for language in LANGUAGES
    }


def principal_axes(embeddings: dict[str, Array]) -> tuple[Array, Array, Array]:
    """Find centre, axes (rows, largest first) and variances from the covariance matrix."""
    stacked = np.concatenate(list(embeddings.values())).astype(np.float64)
    variances, axes = np.linalg.eigh(np.cov(stacked.T))
    return stacked.mean(0), axes.T[::-1], variances[::-1]


def test_the_plane_is_that_of_the_first_two_principal_components_before() -> None:
    before = space()
    frame = project(before, {"before": before, "experts": space(1)}, IDS)
    centre, axes, variances = principal_axes(before)
    for condition, embeddings in (("before", before), ("experts", space(1))):
        for language, rows in embeddings.items():
            drawn = frame[(frame["condition"] == condition) & (frame["language"] == language)]
            assert list(drawn["id"]) == IDS
            wanted = (rows - centre) @ axes[:2].T
            for axis, name in enumerate(("x", "y")):
                # A principal component's sign is free.
                sign = np.sign(wanted[0, axis] * drawn[name].iloc[0])
                np.testing.assert_allclose(drawn[name], sign * wanted[:, axis], atol=1e-5)
    assert frame["explained"].to_numpy() == pytest.approx(variances[:2].sum() / variances.sum())


def test_both_conditions_are_turned_the_same_way() -> None:
    before = space()
    moved = {language: rows + rows[0] for language, rows in before.items()}
    frame = project(before, {"before": before, "experts": moved}, IDS)
    _, axes, _ = principal_axes(before)
    for language, rows in before.items():
        here = frame[frame["language"] == language].set_index("condition")[["x", "y"]]
        shift = here.loc["experts"].to_numpy() - here.loc["before"].to_numpy()
        np.testing.assert_allclose(shift, np.tile(shift[0], (15, 1)), atol=1e-5)
        np.testing.assert_allclose(np.abs(shift[0]), np.abs(axes[:2] @ rows[0]), atol=1e-5)


def test_what_moves_across_the_plane_alone_stays_in_the_picture() -> None:
    before = space()
    across = principal_axes(before)[1][4]
    moved = {language: rows + 50 * across for language, rows in before.items()}
    frame = project(before, {"before": before, "experts": moved}, IDS)
    here = frame.set_index("condition")[["x", "y"]]
    np.testing.assert_allclose(here.loc["experts"], here.loc["before"], atol=1e-4)


def test_each_sentence_of_each_language_and_condition_is_one_row() -> None:
    frame = project(space(), {"before": space(), "experts": space(1), "control": space(2)}, IDS)
    assert list(frame.columns) == ["condition", "language", "id", "x", "y", "explained"]
    assert len(frame) == 3 * 2 * 15
    assert not frame.duplicated(["condition", "language", "id"]).any()
    assert frame["explained"].nunique() == 1


def moved(before: Space) -> Space:
    return {language: rows + rows[0] for language, rows in before.items()}


def neighbours_kept(plane: Array, rows: Array) -> float:
    """Give the share of each sentence's ten nearest by cosine that are so in the plane."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    ahead = np.argsort(-units @ units.T, axis=1)[:, 1:11]
    apart = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    drawn = np.argsort(apart, axis=1)[:, 1:11]
    return float(np.mean([np.isin(*pair).mean() for pair in zip(ahead, drawn, strict=True)]))


def many(sentences: int, languages: int) -> Space:
    generator = np.random.default_rng(0)
    return {
        f"l{number}": generator.normal(size=(sentences, 640)).astype(np.float32) + number
        for number in range(languages)
    }


@pytest.mark.parametrize(("sentences", "languages"), [(2, 2), (100, 7)])
def test_umap_draws_each_sentence_of_each_language_and_condition_once(
    sentences: int, languages: int
) -> None:
    before = many(sentences, languages)
    ids = [f"s{number}" for number in range(sentences)]
    frame = project(before, {"before": before, "experts": moved(before)}, ids, method="umap")
    assert list(frame.columns) == ["condition", "language", "id", "x", "y"]
    assert len(frame) == 2 * languages * sentences
    assert not frame.duplicated(["condition", "language", "id"]).any()
    assert np.isfinite(frame[["x", "y"]]).all(axis=None)


def test_what_is_compiled_for_umap_is_kept_for_other_processes() -> None:
    project(many(15, 2), {"before": many(15, 2)}, IDS, method="umap")
    import umap

    for function in (umap.utils.fast_knn_indices, umap.umap_.smooth_knn_dist):
        kept = Path(function.stats.cache_path).glob(f"*.{function.__name__}-*.nbi")
        assert list(kept), function
    # Kept under one name, code for several threads would run in place of that for one.
    single = umap.layouts._nb_optimize_layout_euclidean_single_epoch
    parallel = umap.layouts._nb_optimize_layout_euclidean_single_epoch_parallel
    assert single.py_func is parallel.py_func
    assert not single.stats.cache_path
    assert not parallel.stats.cache_path


def test_the_seed_settles_what_umap_draws() -> None:
    before = many(15, 2)
    conditions = {"before": before, "experts": moved(before)}
    one, again, other = (
        project(before, conditions, IDS, method="umap", seed=seed) for seed in (3, 3, 4)
    )
    pd.testing.assert_frame_equal(one, again)
    for condition in conditions:
        drawn = [frame[frame["condition"] == condition][["x", "y"]] for frame in (one, other)]
        assert not np.allclose(*drawn)


def test_umap_keeps_neighbours_by_cosine_and_lays_other_conditions_on_the_same_plane() -> None:
    generator = np.random.default_rng(0)
    before = {
        language: centre + 0.3 * generator.normal(size=(60, 20))
        for language, centre in zip(LANGUAGES, 3 * np.eye(20)[:2], strict=True)
    }
    swapped = dict(zip(before, reversed(before.values()), strict=True))
    ids = [f"s{number}" for number in range(60)]
    conditions = {"before": before, "swapped": swapped}
    frame = project(before, conditions, ids, method="umap").set_index(["condition", "language"])
    plane = frame.loc["before", ["x", "y"]].to_numpy()
    assert neighbours_kept(plane, np.concatenate(list(before.values()))) > 0.3
    centres = frame.groupby(level=[0, 1])[["x", "y"]].mean()
    here, there = (centres.loc["before", language].to_numpy() for language in LANGUAGES)
    off = centres.loc["swapped", LANGUAGES[0]].to_numpy() - there
    assert np.linalg.norm(off) < 0.2 * np.linalg.norm(here - there)


def test_the_length_of_an_embedding_is_nothing_to_umap() -> None:
    generator = np.random.default_rng(0)
    before = many(15, 2)
    # Powers of two change no digit of a cosine.
    longer = {
        language: rows * 2.0 ** generator.integers(-2, 4, size=(15, 1))
        for language, rows in before.items()
    }
    one, other = (project(here, {"before": here}, IDS, method="umap") for here in (before, longer))
    np.testing.assert_allclose(one[["x", "y"]], other[["x", "y"]], atol=1e-3)


def test_umap_names_an_embedding_without_direction() -> None:
    broken = space(1)
    broken["eng_Latn"][4] = 0
    with pytest.raises(AnalysisError, match="eng_Latn sentence 4 has no direction"):
        project(space(), {"experts": broken}, IDS, method="umap")


def test_without_umap_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(AnalysisError, match=r"pip install 'steer-plugin\[umap\]'"):
        project(space(), {"before": space()}, IDS, method="umap")


def test_the_record_of_a_run_names_the_method_and_what_settles_it() -> None:
    assert described("pca", seed=5) == "first two principal components of the embeddings before"
    assert "seed 5, umap-learn 0." in described("umap", seed=5)
