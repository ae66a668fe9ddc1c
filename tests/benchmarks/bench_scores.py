"""Scores and typical responses of every unit for every language, against what they could cost."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from contest import Row, medians, times_as_long, times_faster
from joblib import Parallel, delayed
from sklearn.metrics import average_precision_score, roc_auc_score

from steer_plugin.scores.mean_difference import mean_difference
from steer_plugin.scores.rank_scores import RANK_SCORES, scores
from steer_plugin.scores.typical_responses import typical_responses, typical_responses_of
from steer_plugin.scores.unit_measures import SortedUnits, measure_units
from steer_plugin.settings.parts import SCORES
from steer_plugin.settings.probe import QUANTILES

SENTENCES, UNITS, FEWER_UNITS = 10_000, 4_096, 1_024
LANGUAGES, MANY_LANGUAGES = 5, 200
SAMPLE = 60
REPEATS = 3


def rows() -> list[Row]:
    """Score float32 responses, and responses of a bfloat16 model, most of which are tied."""
    generator = np.random.default_rng(0)
    responses = generator.standard_normal((SENTENCES, UNITS), dtype=np.float32)
    narrow = torch.from_numpy(responses).bfloat16()
    wide = narrow.float().numpy()
    labels = generator.permutation(np.arange(SENTENCES) % LANGUAGES)
    many = generator.permutation(np.arange(SENTENCES) % MANY_LANGUAGES)
    return [
        *_against_others("float32", responses, labels),
        *_against_others("bfloat16 values", wide, labels),
        _against_a_pool(responses, labels),
        _narrow_against_wide(narrow, wide, labels),
        *_one_sort(responses, labels),
        *_many_against_few(responses, labels, many),
    ]


def _what(name: str, languages: int, units: int) -> str:
    return f"{name}, {languages} languages, {SENTENCES:,} sentences x {units:,} units"


def _against_others(values: str, responses: np.ndarray, labels: np.ndarray) -> list[Row]:
    sample = list(product(range(SAMPLE // LANGUAGES), range(LANGUAGES)))

    def loop() -> None:
        for unit, language in sample:
            roc_auc_score(labels == language, responses[:, unit])
            average_precision_score(labels == language, responses[:, unit])

    seconds = medians(
        {
            "scores": partial(scores, responses, labels),
            "sort": partial(np.sort, responses, axis=0),
            "loop": loop,
        },
        repeats=REPEATS,
    )
    whole_loop = seconds["loop"] / len(sample) * UNITS * LANGUAGES
    what = f"{_what('AUROC + AP', LANGUAGES, UNITS)}, {values}"
    return [
        times_faster(
            what,
            f"a loop over sklearn.metrics (from {len(sample)} of {UNITS * LANGUAGES:,} calls)",
            seconds["scores"],
            whole_loop,
            ">= 100",
        ),
        times_as_long(
            what, "one numpy.sort of the matrix", seconds["scores"], seconds["sort"], "<= 4"
        ),
    ]


def _against_a_pool(responses: np.ndarray, labels: np.ndarray) -> Row:
    """Score as ml-selfcond does: by processes, one unit and one concept a call."""
    calls = [
        delayed(average_precision_score)(labels == language, responses[:, unit])
        for unit, language in product(range(SAMPLE // LANGUAGES), range(LANGUAGES))
    ]
    processes = os.cpu_count()
    with Parallel(n_jobs=processes, batch_size=1) as pool:
        seconds = medians(
            {
                "scores": partial(scores, responses, labels, ("average_precision",)),
                "pool": partial(pool, calls),
            },
            repeats=REPEATS,
        )
    return times_faster(
        f"{_what('AP', LANGUAGES, UNITS)}, float32",
        f"{processes} processes of average_precision_score "
        f"(from {len(calls)} of {UNITS * LANGUAGES:,} calls)",
        seconds["scores"],
        seconds["pool"] / len(calls) * UNITS * LANGUAGES,
        "",
    )


def _narrow_against_wide(narrow: torch.Tensor, wide: np.ndarray, labels: np.ndarray) -> Row:
    seconds = medians(
        {"narrow": partial(scores, narrow, labels), "wide": partial(scores, wide, labels)},
        repeats=REPEATS,
    )
    return times_as_long(
        f"{_what('AUROC + AP', LANGUAGES, UNITS)}, bfloat16",
        "the same values in float32",
        seconds["narrow"],
        seconds["wide"],
        "< 1",
    )


def _one_sort(responses: np.ndarray, labels: np.ndarray) -> list[Row]:
    """Score and describe from one sort of each unit, against two sorts and always the lines."""
    fewer = np.ascontiguousarray(responses[:, :FEWER_UNITS])

    def together(names: Sequence[str], *, lines: bool) -> Callable[[], object]:
        def measures(units: SortedUnits) -> dict[str, torch.Tensor]:
            own = {f"score {name}": SCORES[name].function(units) for name in names}
            return own | typical_responses_of(units, QUANTILES, lines=lines)

        return partial(measure_units, fewer, labels, measures)

    def apart() -> None:
        scores(fewer, labels, ("auroc",))
        typical_responses(fewer, labels, lines=True)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = medians(
            {
                "apart": apart,
                "AUROC + statistics": together(["auroc"], lines=False),
                "AUROC + statistics + lines": together(["auroc"], lines=True),
                "AUROC + AP + d' + statistics": together(
                    [*RANK_SCORES, "mean_difference"], lines=False
                ),
            },
            repeats=REPEATS,
        )
    finally:
        torch.set_num_threads(threads)
    targets = {"AUROC + statistics": "<= 0.6", "AUROC + statistics + lines": "< 1"}
    return [
        times_as_long(
            f"{_what(name, LANGUAGES, FEWER_UNITS)}, one sort, one thread",
            "AUROC and then statistics with lines, a sort each",
            took,
            seconds["apart"],
            targets.get(name, ""),
        )
        for name, took in seconds.items()
        if name != "apart"
    ]


def _many_against_few(responses: np.ndarray, few: np.ndarray, many: np.ndarray) -> list[Row]:
    fewer = np.ascontiguousarray(responses[:, :FEWER_UNITS])
    works: dict[str, tuple[Callable[..., object], np.ndarray]] = {
        " + ".join(RANK_SCORES): (scores, responses),
        "mean_difference": (mean_difference, fewer),
        "typical_responses": (typical_responses, fewer),
    }
    rows = []
    for name, (work, matrix) in works.items():
        seconds = medians(
            {"many": partial(work, matrix, many), "few": partial(work, matrix, few)},
            repeats=REPEATS,
        )
        rows.append(
            times_as_long(
                _what(name, MANY_LANGUAGES, matrix.shape[1]),
                f"{LANGUAGES} languages of the same sentences",
                seconds["many"],
                seconds["few"],
                "<= 3",
            )
        )
    return rows
