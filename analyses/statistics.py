"""Figures with their uncertainty: paired bootstrap over sentences.

Every figure is a function of weights on sentences. Even weights give the figure itself, resampling
weights give its bootstrap replicates, and the same resamples on two conditions pair them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.errors import AnalysisError

RESAMPLES = 1000

Weights = Float[np.ndarray, "resample sentence"]
Replicates = Float[np.ndarray, "resample figure"]


@dataclass(frozen=True)
class Figures:
    """Some figures of one set of embeddings.

    Attributes:
        index: what each figure is, one row a figure, strings.
        sentences: how many sentences they are over.
        evaluate: from weights on sentences, each row summing to 1, to the figures.
    """

    index: pd.DataFrame
    sentences: int
    evaluate: Callable[[Weights], Replicates]

    def frame(self) -> pd.DataFrame:
        """Give the figures themselves, in a column `value` beside what they are."""
        even = np.full((1, self.sentences), 1 / self.sentences)
        return self.index.assign(value=self.evaluate(even)[0])


def resamples(sentences: int, *, count: int = RESAMPLES, seed: int = 0) -> Weights:
    """Draw bootstrap weights: sentences with replacement, so many as there are.

    Args:
        sentences: how many to draw from; at least 2.
        count: how many resamples; at least 1.
        seed: of the generator.

    Raises:
        AnalysisError: fewer than two sentences, or no resamples.
    """
    if sentences < 2:
        raise AnalysisError(f"a bootstrap over {sentences} sentence is empty; give at least two")
    if count < 1:
        raise AnalysisError(f"{count} resamples give no interval; draw at least one")
    generator = np.random.default_rng(seed)
    even = np.full(sentences, 1 / sentences)
    return generator.multinomial(sentences, even, size=count) / sentences


def compare(
    before: Figures,
    after: Figures,
    controls: Sequence[Figures],
    *,
    count: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Put each figure before and after an intervention beside its controls.

    The intervals are 95% percentile intervals of a paired bootstrap over sentences (Efron and
    Tibshirani 1993, chapter 13): each resample draws the same sentences in all conditions and all
    languages. The controls are averaged within each resample; which neurons they are is not
    resampled, and `control_min` and `control_max` show how far the draws differ. A resample in
    which a figure is not defined (NaN) says nothing about it.

    Args:
        before: the figures without an intervention.
        after: the same figures with it.
        controls: the same figures with each control, at least one.
        count: how many resamples.
        seed: of the resamples.

    Returns:
        One row a figure: the index, then `pre`, `post`, `control` (mean over controls),
        `control_min`, `control_max`, `n_controls`, and `change` (post - pre), `control_change`
        (control - pre) and `advantage` (post - control), each with `_low` and `_high`.

    Raises:
        AnalysisError: no controls, or figures that are not the same.
    """
    if not controls:
        raise AnalysisError("no control was given; a change means nothing beside none")
    for other in (after, *controls):
        if other.sentences != before.sentences or not other.index.equals(before.index):
            raise AnalysisError("the conditions have different figures; measure them alike")
    even = np.full((1, before.sentences), 1 / before.sentences)
    weights = np.concatenate([even, resamples(before.sentences, count=count, seed=seed)])
    pre, post = before.evaluate(weights), after.evaluate(weights)
    each = np.stack([control.evaluate(weights) for control in controls])
    control = each.mean(0)
    columns: dict[str, Float[np.ndarray, " figure"] | int] = {
        "pre": pre[0],
        "post": post[0],
        "control": control[0],
        "control_min": each[:, 0].min(0),
        "control_max": each[:, 0].max(0),
        "n_controls": len(controls),
    }
    differences = {
        "change": post - pre,
        "control_change": control - pre,
        "advantage": post - control,
    }
    for name, difference in differences.items():
        low, high = np.nanquantile(difference[1:], [0.025, 0.975], axis=0)
        columns |= {name: difference[0], f"{name}_low": low, f"{name}_high": high}
    return before.index.assign(**columns)
