import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.cosines import same_texts
from steer_plugin.analyses.measures.neighbours import neighbour_figures

from support.spaces import (
    TIE,
    Array,
    Space,
    cosines,
    group,
    hard_spaces,
    ordered,
    space,
    unordered,
)


def mexa(a: Array, b: Array, same_a: Array, same_b: Array) -> list[bool]:
    """Say where the translation's cosine is the largest of row and column, copies set aside."""
    table = cosines(a, b)
    found = []
    for i in range(len(table)):
        own_row, own_column = same_b == same_b[i], same_a == same_a[i]
        row = max(table[i][own_row]) - max(table[i][~own_row], default=-2)
        column = max(table[:, i][own_column]) - max(table[:, i][~own_column], default=-2)
        found.append(min(row, column) > TIE)
    return found


def occurrences(a: Array, b: Array) -> Array:
    """Count the queries that each candidate is near to, ties for the last places sharing them."""
    table = cosines(a, b)
    k = min(10, len(table))
    found = np.zeros(len(table))
    for row in table:
        last = sorted(row, reverse=True)[k - 1]
        sure = [j for j, cosine in enumerate(row) if cosine > last + TIE]
        tied = [j for j, cosine in enumerate(row) if abs(cosine - last) <= TIE]
        found[sure] += 1
        found[tied] += (k - len(sure)) / len(tied)
    return found


def skewness(numbers: Array) -> float:
    return 0.0 if np.ptp(numbers) < TIE else float(scipy.stats.skew(numbers))


def figures_by_hand(
    embeddings: Space, same: dict[str, Array] | None, chosen: Array | None = None
) -> dict[tuple[str, str | None], float]:
    """Measure everything by hand over all sentences, or over those of a resample."""
    n = len(embeddings["eng_Latn"])
    rows = np.arange(n) if chosen is None else chosen
    names = {language: np.arange(n) for language in embeddings} if same is None else same
    mutual = {
        (a, b): np.array(mexa(embeddings[a], embeddings[b], names[a], names[b]))[rows].mean()
        for a, b in unordered(embeddings)
    }
    counts = {
        pair: occurrences(*(embeddings[name] for name in pair)) for pair in ordered(embeddings)
    }
    skewed = {pair: skewness(found[rows]) for pair, found in counts.items()}
    alone = {pair: (found[rows] == 0).mean() for pair, found in counts.items()}
    wanted: dict[tuple[str, str | None], float] = {}
    for measure, found in (("MEXA", mutual), ("hubness", skewed), ("antihubs", alone)):
        ours = [
            figure
            for pair, figure in found.items()
            if "eng_Latn" in (pair if measure == "MEXA" else pair[:1])
        ]
        wanted[measure, None] = float(np.mean(list(found.values())))
        wanted[measure, "eng_Latn"] = float(np.mean(ours))
    return wanted


def assert_figures(
    frame: pd.DataFrame,
    embeddings: Space,
    same: dict[str, Array] | None = None,
    *,
    chosen: Array | None = None,
    centring: str = "raw",
) -> None:
    for (measure, target), wanted in figures_by_hand(embeddings, same, chosen).items():
        assert group(frame, measure, centring, target) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(hard_spaces(most=6), st.data())
def test_all_figures_equal_those_by_hand_on_any_input_and_with_equal_texts(
    embeddings: Space, data: st.DataObject
) -> None:
    n = len(embeddings["eng_Latn"])
    texts = st.lists(st.sampled_from("abcde"), min_size=n, max_size=n)
    for same in (None, {language: same_texts(data.draw(texts)) for language in embeddings}):
        figures = neighbour_figures(embeddings, target="eng_Latn", centrings=("raw",), same=same)
        assert_figures(figures.frame(), embeddings, same)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=15)
@given(st.integers(11, 14), st.integers(0, 10**6), st.booleans())
def test_of_more_than_ten_sentences_the_ten_nearest_count(n: int, seed: int, ties: bool) -> None:
    embeddings = space(n, 3, seed, languages=3)
    if ties:
        embeddings = {
            language: np.where(rows > 0, 1.0, -1.0) for language, rows in embeddings.items()
        }
    frame = neighbour_figures(embeddings, target="eng_Latn", centrings=("raw",)).frame()
    assert_figures(frame, embeddings)


@pytest.mark.usefixtures("unchecked")
@settings(deadline=None, max_examples=40)
@given(
    hard_spaces(most=6) | st.integers(11, 14).map(lambda n: space(n, 3, languages=3)),
    st.integers(1, 150),
)
def test_figures_are_the_same_however_the_queries_are_divided(
    embeddings: Space, entries: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_plugin.analyses.measures.blocks.ENTRIES", entries)
        frame = neighbour_figures(embeddings, target="eng_Latn", centrings=("raw",)).frame()
    assert_figures(frame, embeddings)


def test_language_centring_takes_each_languages_mean_out() -> None:
    embeddings = space(14, languages=3)
    moved = {
        language: rows.astype(np.float64) - rows.astype(np.float64).mean(0)
        for language, rows in embeddings.items()
    }
    frame = neighbour_figures(embeddings, target="eng_Latn").frame()
    assert set(frame["centring"]) == {"raw", "language"}
    assert_figures(frame, moved, centring="language")


@pytest.mark.parametrize("n", [4, 10, 30])
def test_collapsed_embeddings_have_no_mutual_neighbours_and_no_hubs(n: int) -> None:
    point = np.random.default_rng(0).normal(size=8)
    noise = 1 + np.finfo(np.float32).eps * np.random.default_rng(1).uniform(-1, 1, size=(3, n, 8))
    collapsed = {
        language: (point * noise[place]).astype(np.float32)
        for place, language in enumerate(("deu_Latn", "eng_Latn", "fra_Latn"))
    }
    figures = neighbour_figures(collapsed, target="eng_Latn", centrings=("raw",))
    assert (figures.frame()["value"] == 0).all()


def test_a_planted_hub_skews_and_what_is_near_to_none_is_counted() -> None:
    generator = np.random.default_rng(0)
    queries = generator.normal(size=(40, 20)) + 1
    plain = queries + 0.1 * generator.normal(size=(40, 20))
    hub, turned = plain.copy(), plain.copy()
    hub[0] = 1
    turned[30:] *= -1
    frames = [
        neighbour_figures(
            {"deu_Latn": queries, "eng_Latn": candidates}, target="deu_Latn", centrings=("raw",)
        ).frame()
        for candidates in (plain, hub, turned)
    ]
    hubness = [group(frame, "hubness", "raw", "deu_Latn") for frame in frames]
    antihubs = [group(frame, "antihubs", "raw", "deu_Latn") for frame in frames]
    mutual = [group(frame, "MEXA", "raw", "deu_Latn") for frame in frames]
    assert hubness[1] > hubness[0] + 0.5
    assert antihubs[0] < 0.05
    assert antihubs[2] == pytest.approx(0.25)
    assert mutual[0] == pytest.approx(1)
    assert mutual[2] == pytest.approx(0.75)


def test_each_figure_stands_in_one_row() -> None:
    frame = neighbour_figures(space(), target="eng_Latn").frame()
    keys = ["measure", "centring", "query", "candidates"]
    assert list(frame.columns) == [*keys, "value"]
    assert not frame.duplicated(keys).any()
    assert len(frame) == 2 * 3 * 2
    without = neighbour_figures(space(), target=None).frame()
    kept = frame[frame["candidates"] != "others"].reset_index(drop=True)
    # How many figures are summed at once decides the last bit.
    pd.testing.assert_frame_equal(without, kept, rtol=1e-12)
