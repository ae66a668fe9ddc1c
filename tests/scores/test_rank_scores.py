import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from steer_plugin.errors import ScoreError
from steer_plugin.responses.unit_chunks import map_units
from steer_plugin.scores.probe_scores import chance_levels
from steer_plugin.scores.rank_scores import (
    RANK_SCORES,
    auroc,
    average_precision,
    doubled_midranks,
    scores,
)
from steer_plugin.settings.parts import SCORES

Array = np.ndarray[Any, Any]

EXACT = 1e-12
TINY = float(np.finfo(np.float32).smallest_subnormal)
HUGE = float(np.finfo(np.float32).max)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def expected(responses: Array, labels: Array) -> dict[str, Array]:
    wide = responses.astype(np.float64)
    measures = {"auroc": roc_auc_score, "average_precision": average_precision_score}
    return {
        name: np.array(
            [[measure(labels == concept, unit) for unit in wide.T] for concept in np.unique(labels)]
        )
        for name, measure in measures.items()
    }


def assert_scores(found: Mapping[Any, Array], wanted: Mapping[str, Array]) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=EXACT, err_msg=name)


def adversarial(labels: Array) -> Array:
    n = len(labels)
    generator = np.random.default_rng(0)
    normal = generator.normal(size=n)
    units = [
        normal,
        normal + labels,
        np.round(normal, 1),
        generator.integers(0, 2, n),
        np.zeros(n),
        np.full(n, -3.7),
        labels,
        -labels,
        np.where(generator.random(n) < 0.5, 0.0, -0.0),
        np.maximum(normal - 1, 0),
        generator.integers(-3, 4, n) * 1e-7,
        np.where(generator.random(n) < 0.1, -6e4, 6e4),
        np.arange(n),
        -np.arange(n) // 7,
        np.where(np.arange(n) == 5, 1.0, 0.0),
    ]
    return np.stack(units, axis=1).astype(np.float32)


@pytest.fixture
def mixed() -> tuple[Array, Array]:
    """Give 300 sentences of 6 concepts of unequal size, and units that are hard to score."""
    generator = np.random.default_rng(1)
    labels = generator.permutation(np.repeat(np.arange(6), [5, 20, 45, 60, 70, 100]))
    return adversarial(labels), labels


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scores_agree_with_scikit_learn_in_every_dtype(
    mixed: tuple[Array, Array], dtype: torch.dtype, device: str
) -> None:
    matrix, labels = mixed
    responses = torch.from_numpy(matrix).to(device, dtype)
    found = scores(responses, labels)
    assert_scores(found, expected(responses.double().cpu().numpy(), labels))


NASTY = [0.0, -0.0, TINY, -TINY, 3 * TINY, 1e-39, 1.0, float(np.nextafter(np.float32(1), 2)), -1.0]
NASTY += [HUGE, -HUGE, float(np.nextafter(np.float32(HUGE), 0))]


@st.composite
def labelled_units(draw: st.DrawFn) -> tuple[Array, Array]:
    concepts = draw(st.integers(2, 5))
    more = draw(st.lists(st.integers(0, concepts - 1), max_size=20))
    labels = draw(st.permutations([*range(concepts), *more]))
    value = st.sampled_from(NASTY) | st.floats(width=32, allow_nan=False, allow_infinity=False)
    unit = st.lists(value, min_size=len(labels), max_size=len(labels))
    pool = draw(st.lists(unit, min_size=1, max_size=3))
    return np.array(pool, dtype=np.float32).T, np.array(labels)


@settings(deadline=None, max_examples=50)
@given(labelled_units())
def test_scores_agree_with_scikit_learn_on_any_finite_input(
    case: tuple[Array, Array],
) -> None:
    responses, labels = case
    assert_scores(scores(responses, labels), expected(responses, labels))


@settings(deadline=None, max_examples=50)
@given(labelled_units())
def test_auroc_is_the_share_of_pairs_in_order_and_half_the_ties(
    case: tuple[Array, Array],
) -> None:
    responses, labels = case
    unit = responses[:, 0]
    above = np.array(
        [
            float(
                Fraction(
                    sum(2 * int(a > b) + int(a == b) for a in unit[own] for b in unit[~own]),
                    2 * int(own.sum()) * int((~own).sum()),
                )
            )
            for own in (labels == concept for concept in range(labels.max() + 1))
        ]
    )
    np.testing.assert_array_equal(auroc(responses, labels)[:, 0], above)


@settings(deadline=None, max_examples=50)
@given(labelled_units())
def test_float32_and_the_same_values_in_float64_give_the_same_bits(
    case: tuple[Array, Array],
) -> None:
    responses, labels = case
    found, wide = scores(responses, labels), scores(responses.astype(np.float64), labels)
    for name in RANK_SCORES:
        np.testing.assert_array_equal(found[name], wide[name])


@settings(deadline=None, max_examples=50)
@given(labelled_units())
def test_midranks_are_those_of_scipy_in_the_order_of_the_sentences(
    case: tuple[Array, Array],
) -> None:
    responses, _ = case
    for given_ in (responses, responses.astype(np.float64)):
        found = doubled_midranks(given_).numpy()
        np.testing.assert_array_equal(found, 2 * (rankdata(responses, axis=0).T - 1))


@pytest.mark.parametrize("memory", [1, 2**40])
def test_midranks_do_not_depend_on_chunks_and_name_a_bad_response(
    mixed: tuple[Array, Array], memory: int
) -> None:
    matrix, _ = mixed
    found = doubled_midranks(matrix, memory=memory).numpy()
    np.testing.assert_array_equal(found, 2 * (rankdata(matrix, axis=0).T - 1))
    matrix[7, 14] = np.nan
    with pytest.raises(ScoreError, match="unit 14 to sentence 7 is nan"):
        doubled_midranks(matrix, memory=memory)


@settings(deadline=None, max_examples=80)
@given(
    labelled_units(),
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64]),
    st.randoms(use_true_random=False),
)
def test_scores_do_not_depend_on_the_order_of_the_sentences(
    case: tuple[Array, Array], dtype: torch.dtype, random: Any
) -> None:
    responses, labels = torch.from_numpy(case[0].clip(-6e4, 6e4)).to(dtype), case[1]
    order = np.array(random.sample(range(len(labels)), len(labels)))
    plain, shuffled = scores(responses, labels), scores(responses[order], labels[order])
    for name in RANK_SCORES:
        np.testing.assert_array_equal(shuffled[name], plain[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_an_accelerator_would_give_the_same_scores(
    mixed: tuple[Array, Array], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    responses, labels = torch.from_numpy(mixed[0]).to(dtype), mixed[1]
    here, ranks = scores(responses, labels), doubled_midranks(responses)
    for module in ("unit_sort", "concept_sums"):
        monkeypatch.setattr(f"steer_plugin.scores.{module}.uses_numpy", lambda _tensor: False)
    there = scores(responses, labels)
    np.testing.assert_array_equal(there["auroc"], here["auroc"])
    np.testing.assert_allclose(there["average_precision"], here["average_precision"], atol=EXACT)
    assert torch.equal(doubled_midranks(responses), ranks)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_more_sentences_than_16_bits_can_number_are_ranked(dtype: torch.dtype) -> None:
    responses = torch.from_numpy(np.random.default_rng(5).normal(size=(70_000, 1))).to(dtype)
    found = doubled_midranks(responses).numpy()
    np.testing.assert_array_equal(found, 2 * (rankdata(responses.double(), axis=0).T - 1))


def test_each_score_has_a_level_of_chance() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2, 2, 2])
    levels = {name: chance_levels(name, labels).tolist() for name in SCORES}
    assert levels == {
        "auroc": [0.5] * 3,
        "average_precision": [1 / 8, 2 / 8, 5 / 8],
        "mean_difference": [0] * 3,
        "activation_frequency": [0] * 3,
        "lape": [0] * 3,
    }


def test_a_name_that_is_no_score_is_refused() -> None:
    message = r"'f1' is not a score; choose one of: auroc, .*, mean_difference, .*, lape$"
    with pytest.raises(ScoreError, match=message):
        SCORES.check("f1")


@pytest.mark.parametrize("positives", [1, 3, 7, 10, 49, 333])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_unit_is_exactly_at_chance(positives: int, dtype: Any) -> None:
    labels = (np.arange(1000) < positives).astype(np.int64)
    responses = np.full((1000, 2), 0.1, dtype=dtype)
    found = scores(responses, labels)
    rates = np.array([1000 - positives, positives]) / 1000
    assert (found["auroc"] == 0.5).all()
    assert (found["average_precision"] == rates[:, None]).all()


def test_zeros_of_either_sign_are_tied() -> None:
    labels = np.arange(40) % 2
    responses = np.where(labels == 0, 0.0, -0.0)[:, None].astype(np.float32)
    assert (auroc(responses, labels) == 0.5).all()


def test_subnormal_responses_are_told_apart() -> None:
    labels = np.arange(40) % 2
    responses = (labels * TINY)[:, None].astype(np.float32)
    np.testing.assert_array_equal(auroc(responses, labels)[:, 0], [0.0, 1.0])


@pytest.mark.parametrize("place", [0, 3, 9])
def test_one_positive_scores_by_its_place(place: int) -> None:
    labels = (np.arange(10) == place).astype(np.int64)
    responses = np.arange(10, dtype=np.float32)[:, None]
    found = scores(responses, labels)
    assert found["auroc"][1, 0] == pytest.approx(place / 9, abs=EXACT)
    assert found["average_precision"][1, 0] == pytest.approx(1 / (10 - place), abs=EXACT)


@pytest.mark.parametrize("concepts", [2, 128, 129])
def test_any_number_of_concepts_is_scored(concepts: int) -> None:
    generator = np.random.default_rng(2)
    labels = generator.permutation(np.arange(2 * concepts + 1) % concepts)
    responses = generator.integers(0, concepts, (len(labels), 1)).astype(np.float32)
    assert_scores(scores(responses, labels), expected(responses, labels))


def test_float64_responses_are_not_rounded_to_float32() -> None:
    labels = np.arange(60) % 3
    responses = (1 + 1e-12 * np.random.default_rng(3).permutation(60))[:, None]
    assert len(np.unique(responses.astype(np.float32))) == 1
    assert_scores(scores(responses, labels), expected(responses, labels))
    assert (auroc(responses, labels) != 0.5).any()


def test_rank_sums_above_32_bits_are_exact() -> None:
    labels = (np.arange(200_000) % 2).astype(np.int64)
    responses = np.random.default_rng(4).normal(size=(200_000, 1)).astype(np.float32)
    assert_scores(scores(responses, labels), expected(responses, labels))


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "torch": torch.from_numpy,
    "column-major": np.asfortranarray,
    "transposed tensor": lambda x: torch.from_numpy(x.T.copy()).T,
    "every other column of a wider matrix": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every other row of a longer tensor": lambda x: torch.from_numpy(np.repeat(x, 2, axis=0))[::2],
    "backwards in memory": lambda x: x[::-1].copy()[::-1],
    "foreign byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "gradient": lambda x: torch.from_numpy(x).requires_grad_(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_do_not_depend_on_where_the_responses_lie(
    mixed: tuple[Array, Array], layout: str, dtype: Any
) -> None:
    matrix, labels = mixed[0].astype(dtype), mixed[1]
    plain = scores(matrix, labels)
    laid_out = scores(LAYOUTS[layout](matrix), labels)
    for name in RANK_SCORES:
        np.testing.assert_array_equal(laid_out[name], plain[name])


def test_read_only_arrays_are_scored_and_stay_as_they_are(
    mixed: tuple[Array, Array],
) -> None:
    matrix, labels = mixed
    plain, copy = scores(matrix, labels), matrix.copy()
    matrix.setflags(write=False)
    labels.setflags(write=False)
    found = scores(matrix, labels)
    for name in RANK_SCORES:
        np.testing.assert_array_equal(found[name], plain[name])
    np.testing.assert_array_equal(matrix, copy)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("labels_as", [np.int32, np.uint8, np.bool_, torch.int64, torch.int16])
def test_labels_may_be_of_any_whole_dtype(labels_as: Any) -> None:
    labels = np.arange(30) % 2
    responses = np.random.default_rng(5).normal(size=(30, 4)).astype(np.float32)
    given = (
        torch.from_numpy(labels).to(labels_as)
        if isinstance(labels_as, torch.dtype)
        else labels.astype(labels_as)
    )
    np.testing.assert_array_equal(auroc(responses, given), auroc(responses, labels))


@pytest.mark.parametrize("memory", [1, 300 * 64, 5 * 300 * 64, 2**40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_of_any_size_give_the_same_bits(
    mixed: tuple[Array, Array], memory: int, dtype: Any
) -> None:
    matrix, labels = mixed[0].astype(dtype), mixed[1]
    whole = scores(matrix, labels)
    chunked = scores(matrix, labels, memory=memory)
    for name in RANK_SCORES:
        np.testing.assert_array_equal(chunked[name], whole[name])


def test_two_threads_give_the_same_bits_as_one(mixed: tuple[Array, Array]) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(scores(*mixed, memory=1))
    finally:
        torch.set_num_threads(before)
    for name in RANK_SCORES:
        np.testing.assert_array_equal(found[0][name], found[1][name])


def threads_of_a_new_thread() -> int:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


@pytest.mark.usefixtures("two_threads")
def test_torch_keeps_its_number_of_threads(mixed: tuple[Array, Array]) -> None:
    scores(*mixed)
    assert torch.get_num_threads() == 2
    assert threads_of_a_new_thread() == 2


@pytest.mark.usefixtures("two_threads")
def test_torch_keeps_its_number_of_threads_after_an_error(
    mixed: tuple[Array, Array],
) -> None:
    mixed[0][3, 4] = np.nan
    with pytest.raises(ScoreError):
        scores(*mixed)
    assert torch.get_num_threads() == 2
    assert threads_of_a_new_thread() == 2


@pytest.mark.usefixtures("two_threads")
def test_torch_keeps_its_number_of_threads_when_two_threads_score_at_once() -> None:
    responses = np.random.default_rng(7).normal(size=(6, 8)).astype(np.float32)
    labels = np.arange(6) % 2
    with ThreadPoolExecutor(2) as pool:
        for _ in range(100):
            both = threading.Barrier(2)

            def score(barrier: threading.Barrier = both) -> int:
                barrier.wait()
                auroc(responses, labels, memory=1)
                return torch.get_num_threads()

            assert [one.result() for one in [pool.submit(score) for _ in range(2)]] == [2, 2]
            assert torch.get_num_threads() == threads_of_a_new_thread() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("memory", [1, 2**40])
def test_torch_runs_on_one_thread_within_a_chunk(memory: int) -> None:
    threads: list[int] = []

    def work(chunk: torch.Tensor, first_unit: int) -> dict[str, torch.Tensor]:
        threads.append(torch.get_num_threads())
        return {"first": torch.full((chunk.shape[1], 1), first_unit)}

    map_units(work, torch.zeros(4, 6), memory)
    assert threads == [1] * (6 if memory == 1 else 1)


def test_only_the_scores_that_are_asked_for_come_back(
    mixed: tuple[Array, Array],
) -> None:
    both = scores(*mixed)
    assert list(both) == ["auroc", "average_precision"]
    alone = scores(*mixed, ("average_precision",))
    assert list(alone) == ["average_precision"]
    np.testing.assert_array_equal(alone["average_precision"], both["average_precision"])
    np.testing.assert_array_equal(auroc(*mixed), both["auroc"])
    np.testing.assert_array_equal(average_precision(*mixed), both["average_precision"])
    assert both["auroc"].shape == (6, mixed[0].shape[1])
    assert both["auroc"].dtype == both["average_precision"].dtype == np.float64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory", [1, 2**30])
def test_a_response_that_is_not_finite_is_named(
    bad: float, dtype: torch.dtype, memory: int
) -> None:
    responses = torch.from_numpy(np.random.default_rng(6).normal(size=(50, 20))).to(dtype)
    responses[31, 17] = bad
    with pytest.raises(ScoreError, match=rf"unit 17 to sentence 31 is {bad}; "):
        scores(responses, np.arange(50) % 2, memory=memory)


def test_a_negative_nan_is_named() -> None:
    responses = np.zeros((10, 2), dtype=np.float32)
    responses[4, 1] = -np.float32(np.nan)
    with pytest.raises(ScoreError, match="unit 1 to sentence 4 is nan"):
        auroc(responses, np.arange(10) % 2)


MATRIX = np.ones((6, 2), dtype=np.float32)
SIX = np.array([0, 1, 2, 0, 1, 2])
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "one class": (MATRIX, np.zeros(6, dtype=int), "only one concept is labelled"),
    "a label that no sentence has": (MATRIX, np.array([0, 1, 3] * 2), r"no sentence has label 2"),
    "labels from 1": (MATRIX, SIX + 1, r"no sentence has label 0; labels must cover 0\.\.3"),
    "a label far out": (MATRIX, SIX * 10**12, "no sentence has label 1"),
    "a negative label": (MATRIX, SIX - 1, r"a label is -1; labels must be in 0\.\.C-1"),
    "too few labels": (MATRIX, SIX[:5], r"labels have shape \(5,\).* each of the 6 sentences"),
    "labels in a column": (MATRIX, SIX[:, None], r"labels have shape \(6, 1\)"),
    "labels with fractions": (MATRIX, SIX + 0.5, r"dtype torch.float64; give one whole number"),
    "one unit without its axis": (MATRIX[:, 0], SIX, r"responses have shape \(6,\)"),
    "three axes": (MATRIX[None], SIX, r"responses have shape \(1, 6, 2\)"),
    "no units": (MATRIX[:, :0], SIX, r"responses have shape \(6, 0\)"),
    "no sentences": (MATRIX[:0], SIX[:0], r"responses have shape \(0, 2\)"),
    "whole responses": (MATRIX.astype(int), SIX, r"dtype torch.int64; give a floating matrix"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("case", REFUSED)
def test_input_that_no_score_is_defined_for_is_refused_in_one_line(case: str) -> None:
    responses, labels, message = REFUSED[case]
    with pytest.raises(ScoreError, match=message) as caught:
        scores(responses, labels)
    assert "\n" not in str(caught.value)
