from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.analyses.measures.mixed_retrieval import bitext_figures, mixed_figures
from steer_plugin.analyses.measures.retrieval import bitext_ranks, retrieval_figures
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.errors import AnalysisError

from support.spaces import Array, Space, value

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn")


def space(n: int = 25, d: int = 6, seed: int = 0, noise: float = 0.5) -> Space:
    generator = np.random.default_rng(seed)
    meaning = np.random.default_rng(99).normal(size=(n, d))
    return {
        language: meaning + noise * generator.normal(size=(n, d)) + generator.normal(size=d)
        for language in LANGUAGES
    }


def search(query: Array, candidates: Array) -> list[float]:
    """Find each translation one comparison at a time; a tie is ahead of it."""
    found = []
    for i, q in enumerate(query):
        cosines = [float(np.dot(q, c) / np.sqrt(np.dot(q, q) * np.dot(c, c))) for c in candidates]
        others = [cosine for j, cosine in enumerate(cosines) if j != i]
        found.append(1 / (1 + sum(cosine > cosines[i] - 1e-9 for cosine in others)))
    return found


@pytest.mark.parametrize("centring", ["raw", "language"])
def test_queries_of_one_condition_are_sought_among_candidates_of_the_other(centring: str) -> None:
    before, after = space(), space(seed=1)
    frame = mixed_figures(before, after, target="eng_Latn").frame()
    here, there = before, after
    if centring == "language":
        here, there = (
            {language: rows - rows.mean(0) for language, rows in condition.items()}
            for condition in (before, after)
        )
    wanted = {}
    for query, candidates in permutations(LANGUAGES, 2):
        found = np.array(search(here[query], there[candidates]))
        wanted[query, candidates] = {"mixed top-1": (found == 1).mean(), "mixed MRR": found.mean()}
    assert 0 < wanted["deu_Latn", "eng_Latn"]["mixed top-1"] < 1
    for measure in ("mixed top-1", "mixed MRR"):
        keys = {"measure": measure, "centring": centring}
        for (query, candidates), pair in wanted.items():
            found = value(frame, **keys, query=query, candidates=candidates)
            assert found == pytest.approx(pair[measure], abs=1e-12)
        over_all = np.mean([pair[measure] for pair in wanted.values()])
        from_target = np.mean([p[measure] for (q, _), p in wanted.items() if q == "eng_Latn"])
        assert value(frame, **keys, query="all", candidates="all") == pytest.approx(over_all)
        found = value(frame, **keys, query="eng_Latn", candidates="others")
        assert found == pytest.approx(from_target)


def test_each_figure_stands_in_one_row() -> None:
    frame = mixed_figures(space(), space(seed=1), target="eng_Latn").frame()
    keys = ["measure", "centring", "query", "candidates"]
    assert list(frame.columns) == [*keys, "value"]
    assert not frame.duplicated(keys).any()
    assert len(frame) == 2 * 2 * (6 + 2)
    without = mixed_figures(space(), space(seed=1), target=None).frame()
    kept = frame[frame["candidates"] != "others"].reset_index(drop=True)
    pd.testing.assert_frame_equal(without, kept)


def test_neither_the_order_of_languages_nor_that_of_centrings_changes_a_figure() -> None:
    before, after = space(), space(seed=1)
    turned = {language: after[language] for language in reversed(LANGUAGES)}
    first = mixed_figures(before, after, target="eng_Latn")
    for candidates, centrings in ((turned, ("raw", "language")), (after, ("language", "raw"))):
        second = mixed_figures(before, candidates, target="eng_Latn", centrings=centrings)
        pd.testing.assert_frame_equal(second.frame(), first.frame())
        np.testing.assert_array_equal(second.influence, first.influence)


def test_the_mix_is_the_same_however_the_queries_are_divided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, after = space(), space(seed=1)
    same = {language: np.arange(25) // 2 for language in LANGUAGES}
    whole = mixed_figures(before, after, target="eng_Latn", same=same)
    monkeypatch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", 7 * 25)
    divided = mixed_figures(before, after, target="eng_Latn", same=same)
    np.testing.assert_array_equal(divided.values, whole.values)
    np.testing.assert_allclose(divided.influence, whole.influence, atol=1e-15)


def test_one_condition_on_both_sides_is_plain_retrieval() -> None:
    before = space()
    plain = retrieval_figures(before, target="fra_Latn").frame()
    plain = plain[plain["measure"].isin(["top-1", "MRR"])]
    mix = mixed_figures(before, before, target="fra_Latn").frame()
    mix = mix.assign(measure=mix["measure"].str.removeprefix("mixed "))
    keys = ["measure", "centring", "query", "candidates"]
    both = mix.merge(plain, on=keys, validate="one_to_one")
    assert len(both) == len(mix) == len(plain)
    np.testing.assert_allclose(both["value_x"], both["value_y"], atol=1e-12)


def test_another_basis_loses_the_mix_and_a_shift_of_a_condition_does_not_once_centred() -> None:
    before = space(n=60, d=40, noise=0.2)
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(40, 40)))
    away = 20 * np.random.default_rng(5).normal(size=40)
    shifted = {language: rows + away for language, rows in before.items()}
    turned = {language: rows @ turn for language, rows in before.items()}
    keys = {"measure": "mixed top-1", "query": "all", "candidates": "all"}

    def mix(after: Space, centring: str) -> float:
        return value(mixed_figures(before, after, target=None).frame(), **keys, centring=centring)

    assert mix(before, "language") > 0.95
    assert mix(shifted, "language") == pytest.approx(mix(before, "language"))
    # Another basis keeps all that is within a condition and nothing that is between two.
    assert mix(turned, "language") < 0.2


def test_the_mix_stands_beside_the_unsteered_model_on_both_sides() -> None:
    before, after, control = space(), space(seed=1), space(seed=2)
    pre, post, beside = (
        mixed_figures(before, condition, target="eng_Latn")
        for condition in (before, after, control)
    )
    row = compare(pre, post, [beside]).iloc[0]
    assert (row["measure"], row["query"], row["candidates"]) == (
        "mixed top-1",
        "deu_Latn",
        "eng_Latn",
    )
    for name, condition in (("pre", before), ("post", after), ("control", control)):
        found = search(before["deu_Latn"], condition["eng_Latn"])
        assert row[name] == pytest.approx(np.mean(np.array(found) == 1))


def test_a_candidate_with_the_text_of_the_translation_is_the_translation() -> None:
    before = space()
    after = {language: rows.copy() for language, rows in before.items()}
    # The same sentence twice: its embedding beats or ties with that of its twin.
    after["eng_Latn"][3] = after["eng_Latn"][2]
    same = {language: np.arange(25) for language in LANGUAGES}
    same["eng_Latn"] = np.where(np.arange(25) == 3, 2, np.arange(25))
    keys = {"measure": "mixed MRR", "centring": "raw", "query": "deu_Latn"}
    apart, joint = (
        value(
            mixed_figures(before, after, target=None, same=one).frame(),
            **keys,
            candidates="eng_Latn",
        )
        for one in (None, same)
    )
    wanted = np.array(search(before["deu_Latn"], after["eng_Latn"]))
    assert apart == pytest.approx(wanted.mean())
    once = np.delete(np.arange(25), 3)
    ranks = bitext_ranks(
        before["deu_Latn"],
        after["eng_Latn"][once],
        np.where(np.arange(25) < 3, np.arange(25), np.maximum(np.arange(25) - 1, 0)),
    )
    assert joint == pytest.approx(ranks.mean())
    assert joint > apart


COORDINATES = st.sampled_from([-2.0, -1.0, 0.5, 1.0, 3.0])


@st.composite
def two_conditions(draw: st.DrawFn) -> tuple[Space, Space]:
    shape = (2, draw(st.integers(2, 3)), draw(st.integers(2, 5)), draw(st.integers(1, 3)))
    before, after = draw(arrays.arrays(np.float64, shape, elements=COORDINATES))
    return dict(zip(LANGUAGES, before, strict=False)), dict(zip(LANGUAGES, after, strict=False))


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(two_conditions())
def test_the_mix_agrees_with_a_search_by_hand_where_there_are_ties_and_duplicates(
    case: tuple[Space, Space],
) -> None:
    before, after = case
    frame = mixed_figures(before, after, target=None, centrings=("raw",)).frame()
    for query, candidates in permutations(before, 2):
        found = np.array(search(before[query], after[candidates]))
        pair = {"query": query, "candidates": candidates}
        assert value(frame, measure="mixed top-1", **pair) == pytest.approx((found == 1).mean())
        assert value(frame, measure="mixed MRR", **pair) == pytest.approx(found.mean())


def paraphrases(seed: int, n: int = 30, d: int = 8) -> tuple[Array, Array]:
    meaning = np.random.default_rng(99).normal(size=(n, d))
    generator = np.random.default_rng(seed)
    away = 2 * generator.normal(size=d)
    first, second = (meaning + 0.4 * generator.normal(size=(n, d)) + away for _ in range(2))
    return first, second


def test_paraphrases_are_compared_before_after_and_between_the_two() -> None:
    gold = np.arange(30)
    before, after, control = (paraphrases(seed) for seed in range(3))

    def figures(condition: tuple[Array, Array]) -> Any:
        return bitext_figures(
            bitext_ranks(*condition, gold),
            query="spa_Latn",
            candidates="spa_Latn",
            mixed=bitext_ranks(before[0], condition[1], gold),
        )

    frame = compare(figures(before), figures(after), [figures(control)])
    assert list(frame["measure"]) == ["top-1", "MRR", "mixed top-1", "mixed MRR"]
    assert set(frame["query"]) == set(frame["candidates"]) == {"spa_Latn"}
    assert (frame["sentences"] == 30).all()
    sides = {"": (after[0], after[1], control[0], control[1])}
    sides["mixed "] = (before[0], after[1], before[0], control[1])
    frame = frame.set_index("measure")
    for prefix, (query, candidates, beside, others) in sides.items():
        for measure in ("top-1", "MRR"):
            row = frame.loc[prefix + measure]
            for name, found in (
                ("pre", search(*before)),
                ("post", search(query, candidates)),
                ("control", search(beside, others)),
            ):
                scored = np.array(found) == 1 if measure == "top-1" else np.array(found)
                assert row[name] == pytest.approx(scored.mean(), abs=1e-12)
    assert frame.loc["mixed top-1", "post"] < frame.loc["top-1", "post"]


def test_a_bitext_without_a_mix_has_two_figures_over_its_queries() -> None:
    ranks = np.array([1.0, 0.5, 1.0, 0.25, 1.0])
    frame = bitext_figures(ranks, query="deu_Latn", candidates="eng_Latn", centring="language")
    assert frame.frame().to_numpy().tolist() == [
        ["top-1", "language", "deu_Latn", "eng_Latn", pytest.approx(0.6)],
        ["MRR", "language", "deu_Latn", "eng_Latn", pytest.approx(0.75)],
    ]
    assert frame.sentences == 5


RANKS = st.lists(st.integers(1, 50).map(lambda rank: 1 / rank), min_size=2, max_size=12)


@pytest.mark.usefixtures("unchecked")
def test_conditions_and_ranks_that_do_not_fit_each_other_are_refused() -> None:
    before = space()
    fewer = {language: rows[:-1] for language, rows in before.items()}
    two = {language: rows for language, rows in before.items() if language != "fra_Latn"}
    for other in (fewer, two):
        with pytest.raises(AnalysisError, match=r"candidates differ: .*in both conditions"):
            mixed_figures(before, other, target="eng_Latn")
    with pytest.raises(AnalysisError, match="no embeddings of the target spa_Latn"):
        mixed_figures(before, before, target="spa_Latn")
    numbers = {language: np.arange(25) for language in two}
    with pytest.raises(AnalysisError, match="fra_Latn has 25 sentences, and 0 numbers"):
        mixed_figures(before, before, target=None, same=numbers)
    with pytest.raises(AnalysisError, match="fra_Latn has 25 sentences, and 24 numbers"):
        mixed_figures(before, before, target=None, same=numbers | {"fra_Latn": np.arange(24)})
    names = {"query": "deu_Latn", "candidates": "eng_Latn"}
    ranks = np.array([1.0, 0.5])
    with pytest.raises(AnalysisError, match="1 queries are mixed and 2 are not"):
        bitext_figures(ranks, **names, mixed=ranks[:1])
    for bad in (0.0, 2.0, np.nan):
        with pytest.raises(AnalysisError, match="reciprocal ranks lie above 0 and up to 1"):
            bitext_figures(np.array([1.0, bad]), **names)
