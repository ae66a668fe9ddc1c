"""Activation frequency and LAPE against counting token by token."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.activations.sites import active_site
from steer_plugin.errors import ScoreError
from steer_plugin.scores.token_scores import activation_frequency, lape

Array = np.ndarray[Any, Any]


@st.composite
def counted(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Draw how many of each text's tokens each unit is active at, token counts, and labels."""
    concepts = draw(st.integers(2, 5))
    more = draw(st.lists(st.integers(0, concepts - 1), max_size=10))
    labels = draw(st.permutations([*range(concepts), *more]))
    tokens = draw(
        st.lists(
            st.sampled_from([1, 2, 3, 7, 10, 60_000]), min_size=len(labels), max_size=len(labels)
        )
    )
    units = [
        [draw(st.just(0) | st.just(length) | st.integers(0, length)) for length in tokens]
        for _ in range(draw(st.integers(1, 4)))
    ]
    return np.array(units).T, np.array(tokens), np.array(labels)


def shares(counts: Array, tokens: Array) -> Array:
    """Give what the pooling `active` gives."""
    return (counts / tokens[:, None]).astype(np.float32)


def frequency(counts: Array, tokens: Array, labels: Array) -> Array:
    """Subtract shares of tokens as fractions."""
    rows = []
    for concept in range(max(labels) + 1):
        own = labels == concept
        sides = [
            [Fraction(int(count), int(tokens[rows].sum())) for count in counts[rows].sum(0)]
            for rows in (own, ~own)
        ]
        rows.append([float(one - other) for one, other in zip(*sides, strict=True)])
    return np.array(rows)


def entropies(counts: Array, tokens: Array, labels: Array) -> Array:
    """Score by LAPE's own words, one unit and concept after another."""
    concepts, units = max(labels) + 1, counts.shape[1]
    p = [
        [
            float(Fraction(int(counts[labels == c, u].sum()), int(tokens[labels == c].sum())))
            for u in range(units)
        ]
        for c in range(concepts)
    ]
    bar = np.percentile([share for row in p for share in row], 95)
    scores = np.zeros((concepts, units))
    for u in range(units):
        total = math.fsum(p[c][u] for c in range(concepts))
        if total == 0 or len({p[c][u] for c in range(concepts)}) == 1:
            continue
        q = [p[c][u] / total for c in range(concepts)]
        h = -math.fsum(share * math.log(share) for share in q if share > 0)
        for c in range(concepts):
            if p[c][u] > bar:
                scores[c, u] = 1 - h / math.log(concepts)
    return scores


@settings(deadline=None, max_examples=60)
@given(counted())
def test_activation_frequency_is_a_difference_of_shares_of_tokens(
    case: tuple[Array, Array, Array],
) -> None:
    counts, tokens, labels = case
    found = activation_frequency(shares(counts, tokens), tokens, labels)
    np.testing.assert_allclose(found, frequency(*case), rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=60)
@given(counted())
def test_lape_is_what_the_entropy_misses_of_its_largest_value(
    case: tuple[Array, Array, Array],
) -> None:
    counts, tokens, labels = case
    found = lape(shares(counts, tokens), tokens, labels)
    np.testing.assert_allclose(found, entropies(*case), rtol=0, atol=1e-13)
    assert ((found >= 0) & (found <= 1)).all()


@settings(deadline=None, max_examples=40)
@given(counted(), st.randoms(use_true_random=False))
def test_the_order_of_the_sentences_does_not_matter(
    case: tuple[Array, Array, Array], random: Any
) -> None:
    counts, tokens, labels = case
    order = np.array(random.sample(range(len(labels)), len(labels)))
    active = shares(counts, tokens)
    for score in (activation_frequency, lape):
        shuffled = score(active[order], tokens[order], labels[order])
        np.testing.assert_array_equal(shuffled, score(active, tokens, labels))


def test_shares_are_over_tokens_not_over_sentences() -> None:
    active = np.array([[1.0], [0.0], [0.5], [0.5]], dtype=np.float32)
    tokens, labels = np.array([1, 9, 4, 4]), np.array([0, 0, 1, 1])
    found = activation_frequency(active, tokens, labels)
    np.testing.assert_allclose(found, [[0.1 - 0.5], [0.5 - 0.1]])


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("score", [activation_frequency, lape])
def test_a_unit_that_is_always_or_never_active_is_exactly_at_chance(
    score: Any, share: float
) -> None:
    tokens = np.random.default_rng(0).integers(1, 50, 90)
    active = np.full((90, 3), share, dtype=np.float32)
    assert (score(active, tokens, np.arange(90) % 3) == 0).all()


def test_equal_shares_of_unequal_languages_are_exactly_at_chance() -> None:
    tokens, labels = np.array([3, 30, 300, 9]), np.array([0, 1, 2, 2])
    active = shares(np.array([[1, 0], [10, 0], [100, 300], [3, 0]]), tokens)
    assert lape(active, tokens, labels)[:, 0].tolist() == [0, 0, 0]
    assert activation_frequency(active, tokens, labels)[:, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("concepts", [3, 7, 11])
def test_equal_shares_are_at_chance_whatever_rounding_does(concepts: int) -> None:
    # Silent neurons enough to put the bar at 0.
    counts = np.tile(np.concatenate([np.arange(50), np.zeros(950)]), (concepts, 1))
    tokens = np.full(concepts, 49)
    found = lape(shares(counts, tokens), tokens, np.arange(concepts))
    assert (found == 0).all()


def test_a_neuron_of_one_language_scores_one_and_one_of_two_a_half() -> None:
    labels = np.repeat(np.arange(4), 5)
    active = np.zeros((20, 100), dtype=np.float32)
    active[labels == 2, 0] = 1
    active[np.isin(labels, [1, 3]), 1] = 1
    active[:, 2] = 0.5
    active[labels == 0, 3] = 0.25
    found = lape(active, np.full(20, 8), labels)
    assert found[:, 0].tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(found[:, 1], [0, 0.5, 0, 0.5])
    # Of all 400 shares 8 are larger than nothing, fewer than 1 in 20: the bar is 0.
    assert found[:, 2].tolist() == [0, 0, 0, 0]
    assert found[:, 3].tolist() == [1, 0, 0, 0]


def test_a_neuron_below_the_bar_belongs_to_no_language() -> None:
    generator = np.random.default_rng(1)
    labels, tokens = np.repeat(np.arange(2), 50), np.full(100, 10)
    active = shares(generator.integers(5, 10, (100, 400)), tokens)
    active[:, 0] = np.where(labels == 0, 0.1, 0.0)
    found = lape(active, tokens, labels)
    assert found[0, 0] == 0
    assert 0 < (found > 0).sum() <= 40


@pytest.mark.parametrize("memory", [1, 2**40])
@pytest.mark.parametrize("score", [activation_frequency, lape])
def test_chunks_and_tensors_give_the_same_bits(score: Any, memory: int) -> None:
    generator = np.random.default_rng(2)
    tokens, labels = generator.integers(1, 40, 60), generator.permutation(np.arange(60) % 3)
    active = shares(generator.integers(0, tokens[:, None] + 1, (60, 30)), tokens)
    found = score(*map(torch.from_numpy, (active, tokens, labels)), memory=memory)
    np.testing.assert_array_equal(found, score(active, tokens, labels))
    assert found.shape == (3, 30)
    assert found.dtype == np.float64


ACTIVE, TOKENS, LABELS = np.full((4, 2), 0.5, np.float32), np.full(4, 2), np.array([0, 1, 0, 1])


def with_(row: int, unit: int, value: float) -> Array:
    changed = ACTIVE.copy()
    changed[row, unit] = value
    return changed


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("score", [activation_frequency, lape])
@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ((with_(1, 1, 0.7), TOKENS, LABELS), r"unit 1 is active at 1\.4 of the 2 tokens of sente"),
        ((with_(2, 0, 1.5), TOKENS, LABELS), "unit 0 is active at 3 of the 2 tokens of sentence 2"),
        ((with_(2, 0, -0.5), TOKENS, LABELS), "unit 0 is active at -1 of the 2 tokens of sentence"),
        ((with_(2, 1, np.nan), TOKENS, LABELS), "unit 1 is active at nan of the 2 tokens of sent"),
        ((ACTIVE, TOKENS[:3], LABELS), r"token counts have shape \(3,\)"),
        ((ACTIVE, TOKENS * 0, LABELS), "the least is 0; give one or more for each of the 4"),
        ((ACTIVE, TOKENS, LABELS * 0), "only one concept is labelled"),
        ((ACTIVE[:, :0], TOKENS, LABELS), r"responses have shape \(4, 0\)"),
    ],
)
def test_what_is_no_count_of_tokens_is_refused(score: Any, given_: Any, message: str) -> None:
    with pytest.raises(ScoreError, match=message) as caught:
        score(*given_, memory=1)
    assert "\n" not in str(caught.value)


def test_the_sentence_that_is_named_is_the_one_that_was_given() -> None:
    with pytest.raises(ScoreError, match="of the 2 tokens of sentence 1;"):
        lape(with_(1, 1, 0.7), TOKENS, np.array([1, 1, 0, 0]))


def test_neurons_are_read_where_their_activation_function_is() -> None:
    assert active_site("mlp.hook_post") == active_site("mlp.hook_pre") == "mlp.hook_pre"


@pytest.mark.parametrize("site", ["hook_resid_post", "attn.hook_z", "mlp.hook_pre_linear"])
def test_units_that_are_never_silent_are_refused(site: str) -> None:
    with pytest.raises(ScoreError, match=f"units at {site} have none; take mlp.hook_post or mlp"):
        active_site(site)
