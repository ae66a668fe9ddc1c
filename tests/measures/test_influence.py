"""What each group of sentences adds to a figure, against the figure without the group."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.measures.every_measure import all_figures
from steer_plugin.analyses.measures.mixed_retrieval import mixed_figures
from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.statistics.figures import Figures, figures_of, joined

Array = np.ndarray[Any, Any]

WITHOUT = {
    ("medoid distance", "raw"),
    ("medoid distance", "global"),
    ("pair distance", "language"),
    ("silhouette", "language"),
    ("mean random cosine", "global"),
    ("mean random cosine", "language"),
    ("hubness", "raw"),
    ("hubness", "language"),
    ("antihubs", "raw"),
    ("antihubs", "language"),
}
"""The measures and centrings that have no first order, and so no interval."""

BY_RANK = ("top-1", "MRR", "top-1 CSLS", "top-1 margin", "MEXA", "mixed top-1", "mixed MRR")


def space(n: int, seed: int, d: int = 12) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(n, d)) * np.linspace(2, 0.4, d)
    return {
        language: meaning + 0.7 * rng.normal(size=d) + 0.9 * rng.normal(size=(n, d))
        for language in ("deu_Latn", "eng_Latn", "fra_Latn")
    }


def every_figure(embeddings: dict[str, Array], groups: Array | None) -> Figures:
    return joined(list(all_figures(embeddings, target="deu_Latn", groups=groups).values()))


def without(embeddings: dict[str, Array], kept: Array) -> dict[str, Array]:
    return {language: rows[kept] for language, rows in embeddings.items()}


def differences(figures: Any, embeddings: dict[str, Array], groups: Array) -> tuple[Array, Array]:
    """Give the influences, and what the same figures lose without each group, by hand."""
    whole = figures(embeddings, groups)
    rest = [
        figures(without(embeddings, groups != group), groups[groups != group]).values
        for group in range(groups.max() + 1)
    ]
    return whole.influence.mean(0), whole.values - np.stack(rest)


def test_figures_without_a_first_order_have_no_influence_and_all_others_have() -> None:
    figures = every_figure(space(16, 0), None)
    unknown = figures.index[np.isnan(figures.influence).any((0, 1))]
    assert set(zip(unknown["measure"], unknown["centring"], strict=True)) == WITHOUT
    known = ~np.isnan(figures.influence).any((0, 1))
    kinds = figures.index[known]
    assert not {(a, b) for a, b in zip(kinds["measure"], kinds["centring"], strict=True)} & WITHOUT
    np.testing.assert_allclose(figures.influence.sum(1)[:, known], 0, atol=1e-12)


def test_influences_are_what_figures_lose_without_a_sentence() -> None:
    n = 60
    embeddings = space(n, 1)
    influence, lost = differences(every_figure, embeddings, np.arange(n))
    index = every_figure(embeddings, None).index
    # The effective rank has its own test, by derivatives: it is far from linear in so few.
    apart = index["measure"].isin((*BY_RANK, "effective rank")).to_numpy()
    smooth = ~apart & ~np.isnan(influence).any(0)
    assert smooth.sum() > 30
    for place in np.flatnonzero(smooth):
        wanted = (lost[:, place] - lost[:, place].mean()) * (n - 1) / n
        scale = wanted.std()
        # What is left is of second order, 1/n of the first.
        assert np.abs(influence[:, place] - wanted).std() < 0.12 * scale, index.loc[place].tolist()
        slope = influence[:, place] @ wanted / (wanted @ wanted)
        assert slope == pytest.approx(1, abs=0.06), index.loc[place].tolist()


@pytest.mark.parametrize("clusters", [1, 4])
def test_influences_of_ranks_are_just_what_is_lost_without_a_group(clusters: int) -> None:
    """Raw cosines of the others stay when a group leaves, so that nothing is approximate."""
    n = 32
    embeddings, steered = space(n, 2), space(n, 3)
    rng = np.random.default_rng(0)
    groups = np.unique(rng.permutation(np.arange(n) // clusters), return_inverse=True)[1]

    def ranked(here: dict[str, Array], numbers: Array) -> Figures:
        alone = all_figures(here, target="deu_Latn", groups=numbers)
        there = {
            language: rows[: len(numbers)] if len(numbers) == n else steered_without[language]
            for language, rows in steered.items()
        }
        mixed = mixed_figures(here, there, target="deu_Latn", groups=numbers)
        figures = joined([alone["retrieval"], alone["neighbours"], mixed])
        exact = figures.index["measure"].isin(
            ("top-1", "MRR", "MEXA", "mixed top-1", "mixed MRR")
        ) & (figures.index["centring"] == "raw")
        return figures.of(exact)

    whole = ranked(embeddings, groups)
    sizes = np.bincount(groups)
    sums = []
    for group, size in enumerate(sizes):
        kept = groups != group
        steered_without = without(steered, kept)
        numbers = np.unique(groups[kept], return_inverse=True)[1]
        rest = ranked(without(embeddings, kept), numbers).values
        sums.append(n * whole.values - (n - size) * rest)
    by_hand = np.stack(sums)
    by_hand = (by_hand - sizes[:, None] * by_hand.sum(0) / n) / n
    np.testing.assert_allclose(whole.influence.mean(0), by_hand, atol=1e-12)


def test_influences_of_groups_are_those_of_their_sentences_together() -> None:
    n = 24
    embeddings = space(n, 4)
    groups = np.arange(n) % 6
    single, grouped = (every_figure(embeddings, numbers) for numbers in (None, groups))
    smooth = ~single.index["measure"].isin(BY_RANK).to_numpy()
    wanted = np.stack([single.influence[:, groups == g].sum(1) for g in range(6)], axis=1)
    np.testing.assert_allclose(grouped.influence[..., smooth], wanted[..., smooth], atol=1e-14)
    np.testing.assert_array_equal(grouped.values, single.values)


def test_it_does_not_matter_how_groups_are_numbered() -> None:
    embeddings = space(24, 5)
    groups = np.arange(24) // 4
    first = retrieval_figures(embeddings, target=None, groups=groups)
    other = retrieval_figures(embeddings, target=None, groups=(7 * groups + 100).tolist())
    np.testing.assert_array_equal(first.influence, other.influence)


def test_the_influence_of_a_mean_is_its_deviation() -> None:
    numbers = np.random.default_rng(0).normal(size=(9, 2))
    keys = [("a", "raw", "all", "all"), ("b", "raw", "all", "all")]
    figures = figures_of(keys, numbers.mean(0), numbers, None)
    for fold in figures.influence:
        np.testing.assert_allclose(fold, (numbers - numbers.mean(0)) / 9, atol=1e-15)
    assert isinstance(figures.frame(), pd.DataFrame)
