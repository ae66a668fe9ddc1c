from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.alignment import alignment_figures
from steer_plugin.analyses.measures.cosines import same_texts
from steer_plugin.analyses.measures.every_measure import all_figures
from steer_plugin.analyses.measures.geometry import geometry_figures
from steer_plugin.analyses.measures.neighbours import neighbour_figures
from steer_plugin.analyses.measures.retrieval import CENTRINGS, retrieval_figures
from steer_plugin.analyses.statistics.figures import Figures, joined
from steer_plugin.errors import AnalysisError

from support.spaces import Space, group, space

TARGET = "eng_Latn"
KEYS = ["measure", "centring", "query", "candidates"]


def tabulated(embeddings: Space) -> pd.DataFrame:
    """Measure everything; an unordered pair's languages stand in order of the alphabet."""
    tables = all_figures(embeddings, target=TARGET)
    frame = pd.concat([figures.frame() for figures in tables.values()], ignore_index=True)
    flip = frame["measure"].str.contains("distance|gap") & (frame["query"] > frame["candidates"])
    flip &= frame["candidates"].isin(list(embeddings))
    frame.loc[flip, ["query", "candidates"]] = frame.loc[flip, ["candidates", "query"]].to_numpy()
    return frame.set_index(KEYS).sort_index()


def test_one_pass_gives_what_each_measure_gives_by_itself() -> None:
    embeddings = space(13)
    embeddings["fra_Latn"][4] = embeddings["fra_Latn"][7]
    texts = [*"abcd", "h", *"fghijklm"]
    same = {language: same_texts(texts) for language in embeddings}
    tables = all_figures(embeddings, target=TARGET, same=same)

    def by_each_centring(measure: Callable[..., Figures]) -> Figures:
        """Measure one centring after another, so that none is made of another."""
        return joined(
            [
                measure(embeddings, target=TARGET, same=same, centrings=(centring,))
                for centring in CENTRINGS
            ]
        )

    alone = {
        "alignment": alignment_figures(embeddings, target=TARGET),
        "retrieval": by_each_centring(retrieval_figures),
        "neighbours": by_each_centring(neighbour_figures),
        "geometry": geometry_figures(embeddings, target=TARGET),
    }
    assert list(tables) == list(alone)
    for name, figures in alone.items():
        assert tables[name].keys == figures.keys
        np.testing.assert_array_equal(tables[name].values, figures.values)
        np.testing.assert_array_equal(tables[name].influence, figures.influence)
    unaware = all_figures(embeddings, target=TARGET)
    for name in ("retrieval", "neighbours"):
        assert not unaware[name].frame().equals(tables[name].frame())


@pytest.mark.parametrize("entries", [1, 40, 168])
def test_one_pass_by_blocks_gives_what_one_at_once_gives(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tabulated(space(13))
    monkeypatch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
    pd.testing.assert_frame_equal(tabulated(space(13)), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("measure", [retrieval_figures, neighbour_figures])
def test_the_order_of_centrings_is_that_of_the_rows_and_changes_none(
    measure: Callable[..., Figures],
) -> None:
    here, there = (
        measure(space(13), target=TARGET, centrings=centrings)
        for centrings in (("raw", "language"), ("language", "raw"))
    )
    assert list(dict.fromkeys(centring for _, centring, _, _ in there.keys)) == ["language", "raw"]
    half = len(here.keys) // 2
    assert there.keys == here.keys[half:] + here.keys[:half]
    np.testing.assert_array_equal(there.values, np.roll(here.values, half))
    np.testing.assert_array_equal(there.influence, np.roll(here.influence, half, axis=2))


def test_no_figure_of_a_space_is_undefined_and_none_stands_twice() -> None:
    frame = tabulated(space(12))
    assert frame["value"].notna().all()
    assert frame.index.is_unique


def test_a_target_that_is_none_of_the_languages_is_refused() -> None:
    with pytest.raises(AnalysisError, match="no embeddings of the target spa_Latn"):
        all_figures(space(), target="spa_Latn")


def turned(embeddings: Space, generator: np.random.Generator) -> Space:
    d = next(iter(embeddings.values())).shape[1]
    turn, _ = np.linalg.qr(generator.normal(size=(d, d)))
    return {language: rows @ turn for language, rows in embeddings.items()}


def scaled(embeddings: Space, generator: np.random.Generator) -> Space:
    scale = 10.0 ** generator.integers(-15, 15)
    return {language: scale * rows for language, rows in embeddings.items()}


def shuffled(embeddings: Space, generator: np.random.Generator) -> Space:
    order = generator.permutation(len(next(iter(embeddings.values()))))
    return {language: rows[order] for language, rows in embeddings.items()}


def reordered(embeddings: Space, generator: np.random.Generator) -> Space:
    return {
        str(language): embeddings[language] for language in generator.permutation([*embeddings])
    }


@pytest.mark.parametrize("change", [turned, scaled, shuffled, reordered])
@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10**6), st.integers(4, 14), st.integers(2, 6))
def test_no_figure_depends_on_rotation_scale_or_the_order_of_sentences_or_languages(
    change: Callable[[Space, np.random.Generator], Space], seed: int, n: int, d: int
) -> None:
    plain = {
        language: rows.astype(np.float64)
        for language, rows in space(n, d, seed, languages=3).items()
    }
    one = tabulated(plain)
    other = tabulated(change(plain, np.random.default_rng(seed)))
    pd.testing.assert_frame_equal(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10**6))
def test_the_length_of_a_sentences_embedding_matters_to_no_raw_figure_of_directions(
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    plain = space(9, 5, seed, languages=3)
    stretched = {
        language: rows.astype(np.float64) * generator.uniform(0.1, 9, size=(9, 1))
        for language, rows in plain.items()
    }
    one, other = (tabulated(embeddings) for embeddings in (plain, stretched))
    of_directions = (one.index.get_level_values("centring") == "raw") & ~one.index.get_level_values(
        "measure"
    ).isin(["CKA", "effective rank"])
    pd.testing.assert_frame_equal(one[of_directions], other[of_directions], rtol=1e-6, atol=1e-8)
    assert not np.allclose(one, other)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10**6))
def test_a_shift_of_each_language_changes_no_figure_without_the_languages_means(seed: int) -> None:
    generator = np.random.default_rng(seed)
    plain = {
        language: rows.astype(np.float64)
        for language, rows in space(9, 5, seed, languages=3).items()
    }
    shifted = {language: rows + generator.normal(size=5) for language, rows in plain.items()}
    one, other = (tabulated(embeddings) for embeddings in (plain, shifted))
    kept = (one.index.get_level_values("centring") == "language") | (
        one.index.get_level_values("measure") == "CKA"
    )
    pd.testing.assert_frame_equal(one[kept], other[kept], rtol=1e-6, atol=1e-8)
    assert not np.allclose(one, other)


def test_a_common_vector_moves_raw_distances_and_no_centred_figure_and_no_retrieval() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=(200, 256))
    two = one + 0.5 * generator.normal(size=(200, 256))
    found = []
    for shift in (0, 1, 3, 10):
        tables = all_figures({"deu_Latn": one + shift, TARGET: two + shift}, target=TARGET)
        frame = pd.concat([figures.frame() for figures in tables.values()], ignore_index=True)
        found.append(frame.set_index(KEYS)["value"])
    distances = [group(one.reset_index(), "pair distance", "raw") for one in found]
    assert [round(distance, 2) for distance in distances] == [1.00, 0.53, 0.11, 0.01]
    fixed = (found[0].index.get_level_values("centring") != "raw") | found[
        0
    ].index.get_level_values("measure").isin(
        ["top-1", "MRR", "top-1 CSLS", "top-1 margin", "MEXA", "CKA", "effective rank"]
    )
    for moved in found[1:]:
        pd.testing.assert_series_equal(moved[fixed], found[0][fixed], atol=1e-8)
    for measure in ("top-1", "top-1 CSLS", "top-1 margin", "MEXA"):
        assert group(found[3].reset_index(), measure, "raw") == pytest.approx(1)


def test_a_collapse_of_all_embeddings_scores_nothing() -> None:
    point = np.random.default_rng(0).normal(size=8)
    collapsed = {language: np.tile(point, (20, 1)) for language in ("deu_Latn", TARGET)}
    parts = [
        retrieval_figures(collapsed, target=TARGET, centrings=("raw",)),
        neighbour_figures(collapsed, target=TARGET, centrings=("raw",)),
    ]
    frame = pd.concat([figures.frame() for figures in parts], ignore_index=True)
    assert (frame["value"][frame["measure"] != "MRR"] == 0).all()
    np.testing.assert_allclose(frame["value"][frame["measure"] == "MRR"], 1 / 20)
    with pytest.raises(AnalysisError, match="are all alike"):
        all_figures(collapsed, target=TARGET)
