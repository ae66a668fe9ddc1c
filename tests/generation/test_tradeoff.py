"""The curve of gain against cost, against literal resampling and known distributions."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.generation.tradeoff import (
    Outcome,
    hierarchical_means,
    loss_sums,
    mean_loss,
    seed_draws,
    tradeoff,
)
from steer_plugin.analyses.statistics.bootstrap import resamples
from steer_plugin.errors import AnalysisError

Array = np.ndarray[Any, Any]
Nested = list[list[tuple[float, int]]]

FIGURES = ["probability", "gain", "perplexity", "cost"]
COLUMNS = [
    *("target", "top_k", "condition"),
    *(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high")),
    *("sentences", "seeds", "documents", "tokens", "resampled", "resampled_units"),
]


def by_number(texts: Sequence[str], language: str) -> Array:
    """Take each text for the probability that it is in German, and for none in other languages."""
    return np.array([float(text) * (language == "deu_Latn") for text in texts])


def outcome(condition: str, top_k: int, probabilities: Array, losses: pd.DataFrame) -> Outcome:
    texts = {10 * seed: tuple(map(str, row)) for seed, row in enumerate(probabilities.tolist())}
    return Outcome(condition, top_k, texts, losses)


def scored(documents: Nested) -> pd.DataFrame:
    """Tabulate documents that are lists of stretches, `(nll, tokens)` each."""
    rows = [
        (document, stretch, nll, tokens)
        for document, stretches in enumerate(documents)
        for stretch, (nll, tokens) in enumerate(stretches)
    ]
    return pd.DataFrame(rows, columns=["document", "stretch", "nll", "tokens"])


def random_losses(seed: int, documents: int = 30) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    tokens = np.random.default_rng(7).integers(5, 60, size=documents)
    return scored([[(n * generator.uniform(2, 5), int(n))] for n in tokens])


def random_probabilities(seed: int, seeds: int = 4, sentences: int = 25) -> Array:
    return np.random.default_rng(seed).beta(0.5, 2, size=(seeds, sentences))


def curve(*outcomes: Outcome, **settings: Any) -> pd.DataFrame:
    before, *steered = outcomes
    return tradeoff("deu_Latn", before, steered, identify=by_number, **settings)


BEFORE = outcome("before", 0, random_probabilities(0), random_losses(0))
EXPERTS = outcome("experts", 100, random_probabilities(1) ** 0.5, random_losses(1))
CONTROL = outcome("random", 100, random_probabilities(2), random_losses(2))


# Perplexity

stretch = st.tuples(st.floats(0, 1e6, width=32), st.integers(1, 16))
documents = st.lists(st.lists(stretch, min_size=1, max_size=4), min_size=2, max_size=5)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=50)
@given(documents=documents, data=st.data())
def test_resampled_documents_have_the_perplexity_of_all_their_tokens(
    documents: Nested, data: st.DataObject
) -> None:
    losses = scored(documents)
    n = len(documents)
    drawn = data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    weights = np.array([[drawn.count(row) / n for row in range(n)]])

    (loss,) = mean_loss(losses, weights)

    stretches = [one for row in drawn for one in documents[row]]
    total = sum(nll for nll, _ in stretches)
    tokens = sum(count for _, count in stretches)
    assert loss == pytest.approx(total / tokens, rel=1e-9)
    assert len(loss_sums(losses)[0]) == n


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=50)
@given(stretches=st.lists(stretch, min_size=2, max_size=9))
def test_of_one_document_the_stretches_are_resampled(stretches: list[tuple[float, int]]) -> None:
    losses = scored([stretches])

    n = len(stretches)
    assert len(loss_sums(losses)[0]) == n
    last = np.eye(n)[-1]
    nll, tokens = stretches[-1]
    whole = sum(nll for nll, _ in stretches) / sum(count for _, count in stretches)
    weights = np.stack([last, np.full(n, 1 / n)])
    np.testing.assert_allclose(mean_loss(losses, weights), [nll / tokens, whole], rtol=1e-9)


def test_perplexity_and_cost_have_percentiles_of_literally_resampled_documents() -> None:
    row = curve(BEFORE, EXPERTS, count=300, seed=5).iloc[1]

    replicates = []
    for weights in resamples(30, count=300, seed=5):
        rows = np.repeat(np.arange(30), (30 * weights).round().astype(int))
        before, after = (one.losses.iloc[rows] for one in (BEFORE, EXPERTS))
        loss = after["nll"].sum() / after["tokens"].sum()
        replicates.append((loss, loss - before["nll"].sum() / before["tokens"].sum()))
    low, high = np.exp(np.percentile(replicates, [2.5, 97.5], axis=0))
    found = row[["perplexity_low", "cost_low", "perplexity_high", "cost_high"]].astype(float)
    np.testing.assert_allclose(found, [*low, *high], rtol=1e-9)
    perplexity = [
        np.exp(one.losses["nll"].sum() / one.losses["tokens"].sum()) for one in (BEFORE, EXPERTS)
    ]
    assert row["perplexity"] == pytest.approx(perplexity[1])
    assert row["cost"] == pytest.approx(perplexity[1] / perplexity[0])


def test_costs_are_paired_by_document() -> None:
    dearer = BEFORE.losses.assign(nll=1.01 * BEFORE.losses["nll"])
    row = curve(BEFORE, dataclasses.replace(EXPERTS, losses=dearer)).iloc[1]

    assert row["cost_low"] > 1.02
    assert np.log(row["cost_high"] / row["cost_low"]) < 0.01
    assert np.log(row["perplexity_high"] / row["perplexity_low"]) > 0.3


def test_a_perplexity_beyond_all_numbers_is_infinite_and_its_interval_is_no_nan() -> None:
    broken = BEFORE.losses.assign(nll=800.0 * BEFORE.losses["tokens"])
    row = curve(BEFORE, dataclasses.replace(EXPERTS, losses=broken)).iloc[1]

    assert row["perplexity"] == row["perplexity_low"] == row["perplexity_high"] == np.inf
    assert row["cost"] == np.inf


@pytest.mark.parametrize("documents", [30, 1])
def test_an_infinite_loss_makes_a_perplexity_and_both_its_ends_infinite(documents: int) -> None:
    finite = random_losses(0) if documents > 1 else scored([[(9.0, 4)] * 9])
    broken = finite.assign(nll=finite["nll"].mask(finite.index == 2, np.inf))
    frame = curve(
        dataclasses.replace(BEFORE, losses=finite),
        dataclasses.replace(EXPERTS, losses=broken),
        dataclasses.replace(CONTROL, losses=finite),
    )

    figures = [f"{name}{end}" for name in ("perplexity", "cost") for end in ("", "_low", "_high")]
    assert (frame.loc[1, figures] == np.inf).all()
    assert np.isfinite(frame.loc[[0, 2], figures].to_numpy(dtype=float)).all()
    weights = np.zeros((1, len(finite)))
    weights[0, 0] = 1
    # A resample without it is as finite as it was.
    first = finite.iloc[0]
    assert mean_loss(broken, weights) == first["nll"] / first["tokens"]


# Probability


def naive_means(values: Array, count: int) -> Array:
    """Draw seeds, then sentences of each."""
    generator = np.random.default_rng(99)
    seeds, sentences = values.shape
    rows = generator.integers(seeds, size=(count, seeds, 1))
    columns = generator.integers(sentences, size=(count, seeds, sentences))
    return np.asarray(values[rows, columns].mean((1, 2)))


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_replicates_are_distributed_like_those_of_two_nested_draws(spread: float) -> None:
    generator = np.random.default_rng(3)
    values = generator.normal(size=(5, 12)) + spread * generator.normal(size=(5, 1))

    found = hierarchical_means(values, seed_draws(5, count=20_000), np.random.default_rng(0))
    naive = naive_means(values, 20_000)

    means = values.mean(1)
    variance = means.var() / 5 + values.var(1).mean() / (5 * 12)
    assert found.mean() == pytest.approx(values.mean(), abs=0.03 * variance**0.5)
    assert found.var() == pytest.approx(variance, rel=0.04)
    quantiles = np.linspace(0.02, 0.98, 13)
    np.testing.assert_allclose(
        np.quantile(found, quantiles), np.quantile(naive, quantiles), atol=0.12 * variance**0.5
    )


@settings(deadline=None, max_examples=60)
@given(
    seeds=st.integers(1, 5),
    sentences=st.integers(1, 6),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_replicates_stay_between_the_least_and_the_largest(
    seeds: int, sentences: int, seed: int, data: st.DataObject
) -> None:
    every = st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1e-9, 1 - 1e-16])
    row = st.lists(every, min_size=sentences, max_size=sentences)
    values = np.array(data.draw(st.lists(row, min_size=seeds, max_size=seeds)))

    drawn = seed_draws(seeds, count=50, seed=seed)
    found = hierarchical_means(values, drawn, np.random.default_rng(seed))

    assert (drawn.sum(1) == seeds).all()
    assert found.shape == (50,)
    assert (found >= values.min() - 1e-12).all()
    assert (found <= values.max() + 1e-12).all()
    # A seed that is never drawn has no part in the mean.
    for row_of, drawn_here in zip(found, drawn, strict=True):
        assert row_of <= values[drawn_here > 0].max() + 1e-12


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("spread", "least", "most"), [(0.0, 0.96, 1.0), (0.1, 0.85, 0.97)])
def test_a_gains_interval_covers_the_truth_more_often_where_seeds_do_not_differ(
    spread: float, least: float, most: float
) -> None:
    losses = scored([[(9.0, 4), (9.0, 4)]])
    covered = 0
    trials = 100
    for trial in range(trials):
        generator = np.random.default_rng(trial)
        of_seed = spread * generator.uniform(-1, 1, size=(3, 8, 1))
        noise = 0.1 * generator.uniform(-1, 1, size=(2, 8, 20))
        pre, post = (
            mean + of_seed[0] + own + one
            for mean, own, one in zip((0.4, 0.6), of_seed[1:], noise, strict=True)
        )
        frame = curve(
            outcome("before", 0, pre, losses),
            outcome("experts", 10, post, losses),
            count=200,
            seed=trial,
        )
        covered += frame["gain_low"][1] <= 0.2 <= frame["gain_high"][1]
    assert least <= covered / trials <= most


def test_gains_are_paired_by_seed_and_not_by_sentence() -> None:
    easy = np.array([[0.0], [0.3], [0.6], [0.9]])
    noise = 0.05 * np.random.default_rng(0).uniform(size=(4, 30))
    pre, post = easy + noise, easy + noise + 0.05
    frame = curve(
        outcome("before", 0, pre, BEFORE.losses), outcome("experts", 10, post, BEFORE.losses)
    )
    before, after = frame.iloc[0], frame.iloc[1]

    assert after["gain"] == pytest.approx(0.05)
    gain_width = after["gain_high"] - after["gain_low"]
    assert 10 * gain_width < before["probability_high"] - before["probability_low"]
    # Paired by sentence, a gain that is the same for each would have no width.
    assert gain_width > 0.003


# The frame


def test_a_curve_has_a_row_for_each_condition_the_unsteered_model_first() -> None:
    frame = curve(BEFORE, EXPERTS, CONTROL)

    assert list(frame.columns) == COLUMNS
    assert list(frame["condition"]) == ["before", "experts", "random"]
    assert list(frame["top_k"]) == [0, 100, 100]
    unsteered = frame.iloc[0]
    assert list(unsteered[["gain", "gain_low", "gain_high"]]) == [0, 0, 0]
    assert list(unsteered[["cost", "cost_low", "cost_high"]]) == [1, 1, 1]
    for row, one in zip(frame.to_dict("records"), (BEFORE, EXPERTS, CONTROL), strict=True):
        mean = np.mean([float(text) for texts in one.texts.values() for text in texts])
        assert row["probability"] == pytest.approx(mean)
        assert row["gain"] == pytest.approx(mean - unsteered["probability"])
        for name in FIGURES:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert (row["target"], row["seeds"], row["sentences"]) == ("deu_Latn", 4, 25)
        assert (row["documents"], row["resampled"]) == (30, "documents")
        assert row["resampled_units"] == 30
        assert row["tokens"] == BEFORE.losses["tokens"].sum()


def test_one_document_is_said_to_be_resampled_by_stretches() -> None:
    losses = scored([[(30.0, 16), (20.0, 16), (4.0, 2)]])
    one = (dataclasses.replace(outcome_, losses=losses) for outcome_ in (BEFORE, EXPERTS))

    frame = curve(*one)

    assert list(frame["documents"]) == [1, 1]
    assert list(frame["resampled"]) == ["stretches", "stretches"]
    assert list(frame["resampled_units"]) == [3, 3]
    assert frame["perplexity_low"][0] < frame["perplexity_high"][0]


def test_a_condition_is_the_same_whatever_stands_beside_it() -> None:
    both, alone = curve(BEFORE, EXPERTS, CONTROL), curve(BEFORE, CONTROL)

    pd.testing.assert_frame_equal(both.iloc[[0, 2]].reset_index(drop=True), alone)


def test_a_seed_settles_the_intervals() -> None:
    first, again, other = (curve(BEFORE, EXPERTS, seed=seed) for seed in (1, 1, 2))

    pd.testing.assert_frame_equal(first, again)
    for name in FIGURES:
        assert first[name].equals(other[name])
        assert first[f"{name}_low"][1] != other[f"{name}_low"][1]


def test_a_seed_settles_which_seeds_are_drawn() -> None:
    of_seed = np.linspace(0, 1, 12)[:, None] ** 3 + np.zeros((12, 2))
    before = outcome("before", 0, of_seed, BEFORE.losses)

    first, other = (curve(before, seed=seed) for seed in (1, 2))

    assert first["probability_low"][0] != other["probability_low"][0]


def test_one_seed_is_enough() -> None:
    row = curve(
        outcome("before", 0, random_probabilities(0, seeds=1), BEFORE.losses),
        outcome("experts", 1, random_probabilities(1, seeds=1), BEFORE.losses),
    ).iloc[1]
    assert row["gain_low"] < row["gain"] < row["gain_high"]


FEWER = {0: BEFORE.texts[0], 10: BEFORE.texts[10]}
RAGGED = {**BEFORE.texts, 30: BEFORE.texts[30][:-1]}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda _, e: (e, [e]), "'experts' at k = 100 was given as the unsteered model; give"),
        (lambda b, e: (dataclasses.replace(b, texts=RAGGED), [e]), "each seed needs as many texts"),
        (lambda b, e: (dataclasses.replace(b, texts={0: ("0",)}), [e]), "at least two in all"),
        (lambda b, _: (dataclasses.replace(b, texts={}), []), "at least two in all"),
        (lambda b, e: (b, [e, e]), "'experts' at k = 100 is given twice"),
        (lambda b, _: (b, [b]), "'before' at k = 0 is given twice"),
        (
            lambda b, _: (b, [dataclasses.replace(b, top_k=5)]),
            "'before' at k = 5 is given twice",
        ),
        (lambda b, e: (b, [dataclasses.replace(e, texts=FEWER)]), "has other seeds or numbers"),
        (lambda b, e: (b, [dataclasses.replace(e, texts=RAGGED)]), "has other seeds or numbers"),
        (
            lambda b, e: (b, [dataclasses.replace(e, losses=e.losses.iloc[1:])]),
            "'experts' at k = 100 was scored on other documents",
        ),
        (
            lambda b, e: (b, [dataclasses.replace(e, losses=e.losses.assign(tokens=3))]),
            "'experts' at k = 100 was scored on other documents",
        ),
    ],
)
def test_conditions_that_do_not_go_together_are_refused(
    spoil: Callable[[Outcome, Outcome], tuple[Outcome, list[Outcome]]], message: str
) -> None:
    before, steered = spoil(BEFORE, EXPERTS)
    with pytest.raises(AnalysisError, match=message):
        tradeoff("deu_Latn", before, steered, identify=by_number)


def test_one_stretch_is_too_little_text_for_an_interval() -> None:
    one = (
        dataclasses.replace(outcome_, losses=scored([[(30.0, 16)]]))
        for outcome_ in (BEFORE, EXPERTS)
    )
    with pytest.raises(AnalysisError, match=r"one document of one stretch.*give more text"):
        curve(*one)


def test_a_curve_needs_a_resample() -> None:
    with pytest.raises(AnalysisError, match="0 resamples give no interval"):
        curve(BEFORE, EXPERTS, count=0)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.nan])
def test_an_identifier_that_gives_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(AnalysisError, match=r"gave deu_Latn a probability outside \[0, 1\]"):
        tradeoff(
            "deu_Latn", BEFORE, [EXPERTS], identify=lambda texts, _: np.full(len(texts), wrong)
        )


def test_the_target_is_handed_to_the_identifier() -> None:
    frame = tradeoff("fra_Latn", BEFORE, [EXPERTS], identify=by_number)

    assert list(frame["target"]) == ["fra_Latn", "fra_Latn"]
    assert list(frame["probability"]) == [0, 0]
