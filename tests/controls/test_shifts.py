from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.analyses.controls.shifts import centred, constant_shift
from steer_plugin.analyses.measures.alignment import alignment_figures
from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.statistics.comparison import compare_controls
from steer_plugin.errors import AnalysisError

Array = np.ndarray[Any, Any]
Space = dict[str, Array]

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn")


def space(n: int = 30, d: int = 16, seed: int = 0, dtype: Any = np.float64) -> Space:
    """Make embeddings in which translations resemble each other, each language off centre."""
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(n, d))
    return {
        language: (meaning + 0.6 * generator.normal(size=(n, d)) + generator.normal(size=d)).astype(
            dtype
        )
        for language in LANGUAGES
    }


def moved(embeddings: Space, shift: Array | dict[str, Array]) -> Space:
    """Add one vector to all embeddings, or to each language its own."""
    shifts = shift if isinstance(shift, dict) else dict.fromkeys(embeddings, shift)
    return {language: rows + shifts[language] for language, rows in embeddings.items()}


def own_shifts(d: int = 16, seed: int = 5) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    return {language: 3 * generator.normal(size=d) for language in LANGUAGES}


def only(frame: pd.DataFrame, measure: str, centring: str = "raw") -> pd.Series:
    kept = frame[(frame["measure"] == measure) & (frame["centring"] == centring)]
    kept = kept[(kept["query"] == "all") & (kept["candidates"] == "all")]
    assert len(kept) == 1
    return kept.iloc[0]


def test_a_fake_alignment_by_a_common_vector_is_wholly_a_constant_shift() -> None:
    before = space()
    after = moved(before, np.full(16, 3.0))
    control = constant_shift(before, fit=(before, after))
    for language, rows in after.items():
        np.testing.assert_allclose(control[language], rows, atol=1e-12)
    conditions = [
        alignment_figures(one, target="deu_Latn", centrings=("raw",))
        for one in (before, after, control)
    ]
    named = {"constant shift": conditions[2:]}
    frame = compare_controls(*conditions[:2], named, single=set(named))
    apart = frame[frame["measure"].isin(["pair distance", "matched distance"])]
    assert len(apart) > 8
    # The fake alignment: the distance falls far, in every pair.
    assert (apart["change_high"] < -0.05).all()
    np.testing.assert_allclose(apart[["share", "share_low", "share_high"]], 1, atol=1e-9)
    assert (apart["advantage_p"] == 1).all()


@pytest.mark.parametrize("centring", ["raw", "language"])
def test_a_fake_alignment_by_a_common_vector_leaves_retrieval_as_it_was(centring: str) -> None:
    before = space(d=400)
    after = moved(before, np.full(400, 0.5))
    control = constant_shift(before, fit=(before, after))
    figures = [
        retrieval_figures(one, target="deu_Latn", centrings=("raw", "language")).frame()
        for one in (before, after, control)
    ]
    top_1 = [float(only(frame, "top-1", centring)["value"]) for frame in figures]
    assert top_1[0] > 0.5
    assert top_1 == pytest.approx([top_1[0]] * 3)


def test_what_moves_each_sentence_its_own_way_is_no_constant_shift() -> None:
    before = space()
    generator = np.random.default_rng(3)
    meaning = np.mean(list(before.values()), axis=0)
    after = {
        language: 0.2 * rows + 0.8 * meaning + 0.1 * generator.normal(size=rows.shape)
        for language, rows in before.items()
    }
    control = constant_shift(before, fit=(before, after))
    conditions = [
        alignment_figures(one, target="deu_Latn", centrings=("raw",))
        for one in (before, after, control)
    ]
    named = {"constant shift": conditions[2:]}
    frame = compare_controls(*conditions[:2], named, single=set(named))
    row = only(frame, "matched distance")
    assert row["change_high"] < -0.1
    assert row["share_high"] < 0.2


def test_the_shift_is_the_mean_effect_over_languages_and_sentences() -> None:
    before, after = space(), space(seed=1)
    effects = [
        after[language][i] - before[language][i] for language in LANGUAGES for i in range(30)
    ]
    wanted = np.sum(effects, axis=0) / len(effects)
    for language, rows in constant_shift(before, fit=(before, after)).items():
        np.testing.assert_allclose(rows - before[language], np.tile(wanted, (30, 1)), atol=1e-12)


def test_languages_weigh_alike_in_the_shift_whatever_their_order() -> None:
    before, after = space(), space(seed=1)
    turned = {language: after[language] for language in reversed(LANGUAGES)}
    one = constant_shift(before, fit=(before, after))
    other = constant_shift(before, fit=(before, turned))
    for language in LANGUAGES:
        np.testing.assert_allclose(one[language], other[language], atol=1e-12)


def test_a_shift_of_each_language_its_own_way_is_wholly_undone_by_centring() -> None:
    before = space()
    after = moved(before, own_shifts())
    one, other = centred(before, fit=before), centred(after, fit=after)
    for language in LANGUAGES:
        np.testing.assert_allclose(one[language], other[language], atol=1e-12)
    raw = [retrieval_figures(e, target=None, centrings=("raw",)).frame() for e in (before, after)]
    assert not raw[0].equals(raw[1])
    undone = [retrieval_figures(e, target=None, centrings=("raw",)).frame() for e in (one, other)]
    pd.testing.assert_frame_equal(undone[0], undone[1])


def test_centring_gives_all_that_an_intervention_gives_which_only_brings_languages_together() -> (
    None
):
    apart = own_shifts()
    before = moved(space(n=60), apart)
    after = moved(before, {language: -shift for language, shift in apart.items()})
    control = centred(before, fit=before)
    conditions = [
        retrieval_figures(one, target="deu_Latn", centrings=("raw",))
        for one in (before, after, control)
    ]
    named = {"centring": conditions[2:]}
    row = only(compare_controls(*conditions[:2], named, single=set(named)), "top-1")
    assert row["change_low"] > 0.1
    assert row["share_low"] > 0.9


def test_centred_languages_have_no_mean_and_keep_how_their_sentences_lie() -> None:
    before = space()
    for language, rows in centred(before, fit=before).items():
        np.testing.assert_allclose(rows.mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(rows[1:] - rows[0], before[language][1:] - before[language][0])


def test_means_from_other_sentences_are_what_is_added_and_subtracted() -> None:
    judged, find = space(n=20), space(n=50, seed=8)
    found = moved(find, own_shifts())
    shift = np.mean(list(own_shifts().values()), axis=0)
    shifted, off_centre = constant_shift(judged, fit=(find, found)), centred(judged, fit=find)
    for language, rows in judged.items():
        np.testing.assert_allclose(shifted[language], rows + shift, atol=1e-12)
        np.testing.assert_allclose(off_centre[language], rows - find[language].mean(0), atol=1e-12)
        # So no sentence that is judged has told where its language's centre is.
        assert np.linalg.norm(off_centre[language].mean(0)) > 0.1


def test_one_shift_goes_to_languages_that_it_was_not_fitted_on() -> None:
    judged, find = space(n=20), space(n=50, seed=8)
    del find["fra_Latn"]
    shifted = constant_shift(judged, fit=(find, moved(find, np.full(16, 2.0))))
    np.testing.assert_allclose(shifted["fra_Latn"], judged["fra_Latn"] + 2, atol=1e-12)


def test_what_is_given_stays_as_it_is() -> None:
    before, after = space(), space(seed=1)
    kept = {language: rows.copy() for language, rows in before.items()}
    constant_shift(before, fit=(before, after))
    centred(before, fit=before)
    for language, rows in before.items():
        np.testing.assert_array_equal(rows, kept[language])


def test_single_precision_is_widened_before_its_mean_is_taken() -> None:
    before, after = (np.full((3000, 2), one, dtype=np.float32) for one in (1e4 + 0.1, 3e4 + 0.7))
    unsteered, steered = (dict.fromkeys(LANGUAGES, rows) for rows in (before, after))
    shifted, off_centre = (
        constant_shift(unsteered, fit=(unsteered, steered)),
        centred(steered, fit=steered),
    )
    for language in LANGUAGES:
        assert shifted[language].dtype == off_centre[language].dtype == np.float64
        np.testing.assert_allclose(shifted[language], after.astype(np.float64), atol=1e-7)
        np.testing.assert_allclose(off_centre[language], 0, atol=1e-7)


VALUES = st.one_of(st.just(0.0), st.floats(-1e6, 1e6), st.floats(-1e-6, 1e-6))


@st.composite
def two_spaces(draw: st.DrawFn) -> tuple[Space, Space]:
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 3)))
    one, other = (draw(arrays.arrays(np.float64, shape, elements=VALUES)) for _ in range(2))
    return dict(zip(LANGUAGES, one, strict=False)), dict(zip(LANGUAGES, other, strict=False))


@settings(deadline=None, max_examples=60)
@given(two_spaces())
def test_shift_and_centres_agree_with_sums_by_hand_on_any_embeddings(
    case: tuple[Space, Space],
) -> None:
    before, after = case
    n, d = next(iter(before.values())).shape
    scale = 1e-10 * max(1, *(abs(rows).max() for rows in (*before.values(), *after.values())))
    shifted, off_centre = constant_shift(before, fit=(before, after)), centred(after, fit=before)
    for j in range(d):
        summed = sum(
            after[language][i, j] - before[language][i, j] for language in before for i in range(n)
        )
        for language, rows in before.items():
            mean = sum(rows[i, j] for i in range(n)) / n
            for i in range(n):
                wanted = rows[i, j] + summed / (n * len(before))
                assert shifted[language][i, j] == pytest.approx(wanted, abs=scale)
                wanted = after[language][i, j] - mean
                assert off_centre[language][i, j] == pytest.approx(wanted, abs=scale)


@pytest.mark.usefixtures("unchecked")
def test_embeddings_that_do_not_fit_each_other_are_refused() -> None:
    before = space()
    fewer = {language: rows[:-1] for language, rows in before.items()}
    with pytest.raises(AnalysisError, match=r"with the intervention differ: .*embed the same"):
        constant_shift(before, fit=(before, fewer))
    without = {language: rows for language, rows in before.items() if language != "eng_Latn"}
    with pytest.raises(AnalysisError, match="without and with the intervention differ"):
        constant_shift(before, fit=(before, without))
    with pytest.raises(AnalysisError, match="there are no means for eng_Latn; give embeddings"):
        centred(before, fit=without)
    narrow = space(d=8)
    empty = {language: rows[:0] for language, rows in before.items()}
    for fit, said in ((narrow, r"\[8, 16\] numbers"), (empty, r"\[0\] sentences")):
        with pytest.raises(AnalysisError, match=said):
            centred(before, fit=fit)
        with pytest.raises(AnalysisError, match=said):
            constant_shift(before, fit=(fit, fit))
