"""AUROC and average precision of every unit for every language, against what they could cost."""

from functools import partial
from itertools import product

import numpy as np
import torch
from contest import Row, medians, times_as_long, times_faster
from sklearn.metrics import average_precision_score, roc_auc_score

from steer_plugin.scores import scores

LANGUAGES, SENTENCES, UNITS = 5, 2_000, 4_096
SAMPLE = 60
REPEATS = 3


def score_rows() -> list[Row]:
    """Score float32 responses, and responses of a bfloat16 model, most of which are tied."""
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat(np.arange(LANGUAGES), SENTENCES))
    responses = generator.standard_normal((len(labels), UNITS), dtype=np.float32)
    rounded = torch.from_numpy(responses).bfloat16().float().numpy()
    return [*_rows("float32", responses, labels), *_rows("bfloat16 values", rounded, labels)]


def _rows(name: str, responses: np.ndarray, labels: np.ndarray) -> list[Row]:
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
    what = f"AUROC + AP, {LANGUAGES} x {SENTENCES:,} sentences x {UNITS:,} units, {name}"
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
