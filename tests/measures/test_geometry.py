from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples

from steer_plugin.analyses.measures.geometry import (
    cka_of,
    effective_rank_of,
    geometry_figures,
    random_cosine_of,
    silhouette_of,
)
from steer_plugin.analyses.measures.unit_vectors import CENTRINGS, Centring, unit_vectors
from steer_plugin.analyses.statistics.figures import Figures
from steer_plugin.errors import AnalysisError

from support.spaces import (
    Array,
    Space,
    centred,
    cosine,
    group,
    hard_spaces,
    space,
    unordered,
)


def only(figures: Figures) -> float:
    """Give the first figure."""
    return float(figures.values[0])


def products(rows: Array) -> Array:
    """Give all inner products, a sentence's own left out."""
    found = rows.astype(np.float64) @ rows.astype(np.float64).T
    np.fill_diagonal(found, 0)
    return found


def unbiased_hsic(k: Array, l: Array) -> float:  # noqa: E741
    """Estimate HSIC as in Song et al. 2012, equation 5, from matrices without their diagonals."""
    n, one = len(k), np.ones(len(k))
    trace = np.trace(k @ l)
    everything = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    middle = 2 / (n - 2) * (one @ k @ l @ one)
    return float((trace + everything - middle) / (n * (n - 3)))


def unbiased_cka(a: Array, b: Array) -> float:
    k, l = products(a), products(b)  # noqa: E741
    return unbiased_hsic(k, l) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l, l))


def biased_cka(a: Array, b: Array) -> float:
    k, l = ((rows - rows.mean(0)) @ (rows - rows.mean(0)).T for rows in (a, b))  # noqa: E741
    return float((k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()))


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(
    st.integers(4, 9),
    st.integers(1, 6),
    st.integers(0, 10**6),
    st.sampled_from([1.0, 1e-18, 1e-90, 1e90]),
)
def test_cka_is_that_of_the_unbiased_estimator(n: int, d: int, seed: int, scale: float) -> None:
    embeddings = {
        language: scale * rows.astype(np.float64)
        for language, rows in space(n, d, seed, languages=3).items()
    }
    frame = geometry_figures(embeddings, target="eng_Latn", centrings=("raw",)).frame()
    shifted = {language: rows / scale for language, rows in centred(embeddings, "language").items()}
    wanted = {(a, b): unbiased_cka(shifted[a], shifted[b]) for a, b in unordered(embeddings)}
    ours = [figure for pair, figure in wanted.items() if "eng_Latn" in pair]
    found = group(frame, "CKA", "raw"), group(frame, "CKA", "raw", "eng_Latn")
    assert found == pytest.approx((np.mean(list(wanted.values())), np.mean(ours)), abs=1e-9)


def test_cka_of_independent_embeddings_is_near_nothing_where_the_biased_one_reads_four_fifths() -> (
    None
):
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 253, 1024))
    found = only(cka_of({"deu_Latn": one, "eng_Latn": other}, None, None))
    assert round(biased_cka(one, other), 2) == 0.80
    assert abs(found) < 0.006


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_cka_of_a_turned_scaled_and_shifted_copy_is_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(9, 5))
    turn, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    copy = 1e5 * generator.uniform(1e-3, 1) * (rows @ turn) + 10 * generator.normal(size=5)
    figures = cka_of({"deu_Latn": rows, "eng_Latn": copy}, None, None)
    assert only(figures) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(figures.influence, 0, atol=1e-6)


def u_centred(rows: Array) -> Array:
    k, n = products(rows), len(rows)
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                means = k[i].sum() / (n - 2) + k[:, j].sum() / (n - 2)
                found[i, j] = k[i, j] - means + k.sum() / ((n - 1) * (n - 2))
    return found


def gaussian_pair(n: int, seed: int, noise: float = 4.0) -> tuple[Space, float]:
    """Draw two languages that share five directions, and give the CKA of their population."""
    fixed = np.random.default_rng(99)
    one, other = fixed.normal(size=(2, 5, 40)) * np.linspace(2, 0.3, 5)[:, None]
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(n, 5))
    embeddings = {
        language: meaning @ axes + noise * generator.normal(size=(n, 40))
        for language, axes in (("deu_Latn", one), ("eng_Latn", other))
    }
    spreads = [axes.T @ axes + noise**2 * np.eye(40) for axes in (one, other)]
    truth = np.linalg.norm(one.T @ other) ** 2
    return embeddings, float(truth / np.prod([np.linalg.norm(spread) for spread in spreads]))


@pytest.mark.parametrize("sentences", [2, 3])
def test_cka_needs_four_sentences(sentences: int) -> None:
    with pytest.raises(AnalysisError, match=f"over {sentences} sentences is not defined"):
        cka_of(space(sentences), None, None)


@pytest.mark.parametrize("rows", [np.full((5, 3), 0.1), np.eye(5) + 0.1, 1e3 + np.eye(5)])
def test_a_language_without_structure_has_no_cka(rows: Array) -> None:
    other = np.random.default_rng(0).normal(size=rows.shape)
    with pytest.raises(AnalysisError, match="eng_Latn are all alike or all equally far apart"):
        cka_of({"deu_Latn": other, "eng_Latn": rows}, None, None)


def labelled(units: Space) -> tuple[Array, Array]:
    labels = np.repeat(np.arange(len(units)), len(next(iter(units.values()))))
    return np.concatenate(list(units.values())), labels


@pytest.mark.parametrize("centring", CENTRINGS)
@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=20)
@given(st.integers(2, 12), st.integers(2, 6), st.integers(0, 10**6), st.integers(2, 4))
def test_silhouettes_are_those_of_scikit_learn(
    centring: Centring, n: int, d: int, seed: int, languages: int
) -> None:
    embeddings = space(n, d, seed, languages)
    units = unit_vectors(embeddings, centring)
    figures = silhouette_of(units, "eng_Latn", None)
    rows, labels = labelled(dict(units))
    wanted = silhouette_samples(rows, labels, metric="cosine").reshape(languages, n)
    np.testing.assert_allclose(figures.values, [wanted.mean(), wanted[1].mean()], atol=1e-12)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces())
def test_silhouettes_equal_those_by_hand_on_any_input(embeddings: Space) -> None:
    figures = silhouette_of(unit_vectors(embeddings, "raw"), "eng_Latn", None)
    n = figures.sentences

    def by_hand(language: str, i: int) -> float:
        apart = {
            other: [
                1 - cosine(embeddings[language][i], row)
                for j, row in enumerate(rows)
                if (other, j) != (language, i)
            ]
            for other, rows in embeddings.items()
        }
        within = float(np.mean(apart.pop(language)))
        beyond = min(float(np.mean(distances)) for distances in apart.values())
        larger = max(within, beyond)
        return 0 if larger < 1e-9 else (beyond - within) / larger

    wanted = [[by_hand(language, i) for language in embeddings] for i in range(n)]
    target = [row[1] for row in wanted]
    np.testing.assert_allclose(figures.values, [np.mean(wanted), np.mean(target)], atol=1e-9)


def test_silhouettes_tell_clusters_by_language_from_a_space_that_is_mixed() -> None:
    generator = np.random.default_rng(0)
    meaning = generator.normal(size=(30, 20))
    apart = {"deu_Latn": meaning + 9, "eng_Latn": meaning - 9}
    mixed = {
        language: meaning + 0.1 * generator.normal(size=(30, 20))
        for language in ("deu_Latn", "eng_Latn")
    }
    found = [only(silhouette_of(unit_vectors(here, "raw"), None, None)) for here in (apart, mixed)]
    assert found[0] > 0.9
    assert abs(found[1]) < 0.1
    collapsed = {language: np.tile(meaning[:1], (30, 1)) for language in mixed}
    assert only(silhouette_of(unit_vectors(collapsed, "raw"), None, None)) == 0


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces())
def test_the_random_cosine_is_the_mean_over_pairs_of_different_sentences(
    embeddings: Space,
) -> None:
    figures = random_cosine_of(unit_vectors(embeddings, "raw"), None)
    cosines = [
        cosine(first[i], second[j])
        for i, j in permutations(range(figures.sentences), 2)
        for first in embeddings.values()
        for second in embeddings.values()
    ]
    assert only(figures) == pytest.approx(np.mean(cosines), abs=1e-12)


@pytest.mark.parametrize(
    ("shift", "wanted"), [(0.0, 0.0), (1.0, 0.5), (3.0, 0.9), (10.0, 100 / 101)]
)
def test_a_common_vector_makes_random_cosines_large(shift: float, wanted: float) -> None:
    generator = np.random.default_rng(0)
    embeddings = {
        language: generator.normal(size=(200, 1024)) + shift
        for language in ("deu_Latn", "eng_Latn")
    }
    found = {
        centring: only(random_cosine_of(unit_vectors(embeddings, centring), None))
        for centring in CENTRINGS
    }
    assert found["raw"] == pytest.approx(wanted, abs=0.01)
    assert abs(found["global"]) < 0.01
    assert abs(found["language"]) < 0.01


def effective_rank(embeddings: Space, centring: str, weights: Array) -> float:
    """Take the effective rank of weighted embeddings from their singular values, centres moving."""
    wide = {language: rows.astype(np.float64) for language, rows in embeddings.items()}
    means = {language: weights @ rows / weights.sum() for language, rows in wide.items()}
    shared = np.mean(list(means.values()), axis=0)
    rows = np.concatenate(
        [
            np.sqrt(weights)[:, None] * (rows - (means[name] if centring == "language" else shared))
            for name, rows in wide.items()
        ]
    )
    spread = np.linalg.svd(rows, compute_uv=False)
    shares = spread[spread > 1e-9 * spread[0]] / spread.sum()
    return float(np.exp(scipy.stats.entropy(shares)))


SHAPES = [(9, 4, 3), (3, 40, 2), (12, 12, 2), (5, 1, 2)]


@pytest.mark.parametrize("centring", ["raw", "language"])
@pytest.mark.parametrize(("n", "d", "languages"), SHAPES)
def test_the_effective_rank_and_its_gradient_are_those_of_the_singular_values(
    n: int, d: int, languages: int, centring: Centring
) -> None:
    embeddings = space(n, d, seed=n, languages=languages)
    figures = effective_rank_of(embeddings, centring, None)
    even = np.full(n, 1 / n)
    assert only(figures) == pytest.approx(effective_rank(embeddings, centring, even), abs=1e-9)
    for sentence in range(n):
        step = 1e-5 * (np.arange(n) == sentence)
        up, down = (effective_rank(embeddings, centring, even + sign * step) for sign in (1, -1))
        for influence in figures.influence[:, sentence, 0]:
            assert 2e-5 * n * influence == pytest.approx(up - down, abs=1e-8)


def test_the_effective_rank_of_equal_spreads_is_how_many_there_are() -> None:
    rows = np.concatenate([np.eye(4), -np.eye(4)])
    embeddings = {"deu_Latn": rows, "eng_Latn": rows}
    assert only(effective_rank_of(embeddings, "raw", None)) == pytest.approx(4)
    line = {language: np.outer(np.arange(8.0), [1, 2, 3]) for language in embeddings}
    assert only(effective_rank_of(line, "raw", None)) == pytest.approx(1)


def test_embeddings_that_are_all_the_same_have_no_effective_rank() -> None:
    point = np.random.default_rng(0).normal(size=6)
    same = {language: np.tile(point, (5, 1)) for language in ("deu_Latn", "eng_Latn")}
    for centring in ("raw", "language"):
        with pytest.raises(AnalysisError, match=f"all embeddings are the same \\({centring}"):
            effective_rank_of(same, centring, None)
    apart = {"deu_Latn": same["deu_Latn"], "eng_Latn": 2 * same["eng_Latn"]}
    assert only(effective_rank_of(apart, "raw", None)) == pytest.approx(1)
    with pytest.raises(AnalysisError, match="all embeddings are the same"):
        effective_rank_of(apart, "language", None)


def test_each_figure_stands_in_one_row() -> None:
    frame = geometry_figures(space(), target="fra_Latn").frame()
    keys = ["measure", "centring", "query", "candidates"]
    assert list(frame.columns) == [*keys, "value"]
    assert not frame.duplicated(keys).any()
    assert frame["value"].notna().all()
    found = {(row["measure"], row["centring"]) for _, row in frame.iterrows()}
    assert found == {
        *(("silhouette", centring) for centring in CENTRINGS),
        *(("mean random cosine", centring) for centring in CENTRINGS),
        ("CKA", "raw"),
        ("effective rank", "raw"),
        ("effective rank", "language"),
    }
    without = geometry_figures(space(), target=None).frame()
    kept = frame[frame["candidates"] != "others"].reset_index(drop=True)
    # How many figures are summed at once decides the last bit.
    pd.testing.assert_frame_equal(without, kept, rtol=1e-12)
    assert len(frame) - len(kept) == 3 + 1
