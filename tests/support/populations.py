"""A population of parallel sentences, before and after an intervention, to draw samples from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

Array = np.ndarray[Any, Any]
Embeddings = dict[str, Array]

LANGUAGES = ("eng_Latn", "deu_Latn", "fra_Latn")
DIMENSIONS = 24


@dataclass(frozen=True)
class Population:
    """Sentences with a meaning, an offset a language, and noise a translation with heavy tails.

    Sentences of a group share part of their meaning. "After" is a fixed map of the embeddings,
    alike for every sentence, as an intervention is.

    Attributes:
        cluster: how many sentences a group has; of 1 there are no groups.
        seed: of what is the same in every sample.
    """

    cluster: int
    seed: int = 99

    def sample(self, sentences: int, seed: int) -> tuple[Embeddings, Embeddings, Array | None]:
        """Draw sentences, and give them before, after, and the group of each."""
        fixed, rng = np.random.default_rng(self.seed), np.random.default_rng(seed)
        d = DIMENSIONS
        offsets = {language: 0.9 * fixed.normal(size=d) for language in LANGUAGES}
        common, scales = fixed.normal(size=d), np.linspace(2.0, 0.3, d)
        mixing, shift = fixed.normal(size=(d, d)) / np.sqrt(d), 1.2 * fixed.normal(size=d)
        groups = np.arange(sentences) // self.cluster
        own = rng.normal(size=(sentences, d))
        if self.cluster > 1:
            own = 0.8 * own + 0.6 * rng.normal(size=(groups.max() + 1, d))[groups]
        meaning = own * scales
        meaning[:, 0] += rng.exponential(1.5, size=sentences)
        before = {
            language: meaning
            + offsets[language]
            + common
            + 0.8 * rng.standard_t(5, size=(sentences, d)) / np.sqrt(5 / 3)
            for language in LANGUAGES
        }
        after = {
            language: (rows - 0.5 * offsets[language]) * np.linspace(0.7, 1.2, d)
            + 0.2 * np.tanh(rows @ mixing)
            + shift
            for language, rows in before.items()
        }
        return before, after, groups if self.cluster > 1 else None


def repeated(
    figures: Callable[[Embeddings, Array | None], Any],
    population: Population,
    sentences: int,
    samples: int,
) -> tuple[Array, Array, Array]:
    """Measure the change of figures in many samples.

    Args:
        figures: from embeddings and groups to `Figures`.
        population: that is drawn from.
        sentences: of a sample.
        samples: how many.

    Returns:
        The changes, their standard errors, and the half-widths of their 95% intervals, each
        [sample, figure].
    """
    from steer_plugin.analyses.statistics.comparison import compare

    rows = []
    for seed in range(samples):
        before, after, groups = population.sample(sentences, seed)
        pre, post = figures(before, groups), figures(after, groups)
        frame = compare(pre, post, [pre])
        half = frame["change_high"] - frame["change"]
        # Of so many groups Student's t is so many standard errors.
        t = student.isf(0.025, frame["groups"] - 1)
        rows.append(np.stack([frame["change"], half / t, half]))
    change, error, half = np.moveaxis(np.stack(rows), 1, 0)
    return change, error, half


DESIGNS = {
    "200 sentences": (Population(1), 200),
    "40 groups of 5": (Population(5), 200),
    "10 groups of 20": (Population(20), 200),
}


def shown_spans(design: str, frame: pd.DataFrame) -> dict[str, "pd.Series[str]"]:
    """Give the columns of one design, a row a measure and centring.

    Args:
        design: its name.
        frame: one row a figure: what names it, `coverage` and `ratio`.
    """
    # Means over pairs, of the target, and one single pair.
    shown = frame["query"].isin(["all", "deu_Latn"])
    shown &= frame["candidates"].isin(["all", "others", "medoid", "eng_Latn"])
    by_measure = frame[shown].groupby(["measure", "centring"], sort=False)
    return {f"{design}: {name}": by_measure[name].agg(_span) for name in ("coverage", "ratio")}


def _span(values: pd.Series) -> str:
    if values.isna().all() or (values == 0).all():
        return "no interval"
    return " to ".join(dict.fromkeys(f"{end:.2f}" for end in (values.min(), values.max())))
