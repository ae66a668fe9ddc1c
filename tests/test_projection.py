from typing import Any

import numpy as np
import pytest

from steer_plugin.analyses.projection import project

Array = np.ndarray[Any, Any]

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
