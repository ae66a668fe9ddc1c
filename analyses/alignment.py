"""Cross-lingual alignment: how far apart the languages lie in the embedding space."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.analyses.statistics import Figures, Replicates, Weights
from steer_plugin.analyses.vectors import (
    CENTRINGS,
    Centring,
    UnitVectors,
    check_target,
    unit_vectors,
)
from steer_plugin.embeddings import Embeddings
from steer_plugin.errors import AnalysisError

KEYS = ["measure", "centring", "query", "candidates"]
Evaluate = Callable[[Weights], Replicates]
NOWHERE = 1e-12


def alignment_figures(
    embeddings: Embeddings, *, target: str | None, centrings: Sequence[Centring] = CENTRINGS
) -> Figures:
    """Measure the three cosine distances of Sundar et al. 2025 and the matched gap.

    PAPER step 12 (arXiv 2502.15639, section 4), 1 - cos in [0, 2]:

    - `pair distance`: mean over all pairs of a sentence in one language with one in another;
    - `medoid distance`: from each language's mean to the medoid of the whole space, the sentence
      with the least summed distance to all others;
    - the target's `pair distance` to the other languages.

    Beside them, `matched distance`, over translations alone, and `gap`, the mean cosine of
    translations minus that of all other pairs, which a shared component does not raise. Resamples
    draw sentences; centres and the medoid stay.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its means out.
        centrings: see `unit_vectors`. Distances from a language's own mean to the medoid need it
            left in, so `medoid distance` has no `language` centring.

    Returns:
        Figures with the keys `measure`, `centring`, `query`, `candidates`, unordered pairs once;
        the mean over all pairs is `all`, `all`, over the target's `target`, `others`. For
        `medoid distance` `query` is the language or `all`, `candidates` is `medoid`.

    Raises:
        AnalysisError: the target is none of the languages; or see `unit_vectors`.
    """
    check_target(embeddings, target)
    index: list[tuple[str, str, str, str]] = []
    parts: list[Evaluate] = []
    for centring in centrings:
        units = unit_vectors(embeddings, centring)
        pairs = list(combinations(units, 2))
        groups = {("all", "all"): list(range(len(pairs)))}
        if target is not None:
            groups[target, "others"] = [row for row, pair in enumerate(pairs) if target in pair]
        for measure in ("pair distance", "matched distance", "gap"):
            index += [(measure, centring, a, b) for a, b in [*pairs, *groups]]
        parts.append(_pairs(units, pairs, list(groups.values())))
        if centring != "language":
            index += [("medoid distance", centring, language, "medoid") for language in units]
            index.append(("medoid distance", centring, "all", "medoid"))
            parts.append(_medoid(units))

    def evaluate(weights: Weights) -> Replicates:
        return np.concatenate([part(weights) for part in parts], axis=1)

    sentences = len(next(iter(embeddings.values())))
    return Figures(pd.DataFrame(index, columns=KEYS), sentences, evaluate)


def alignment(embeddings: Embeddings, *, target: str | None = None) -> pd.DataFrame:
    """Tabulate `alignment_figures`, one row a figure, the figure in `value`."""
    return alignment_figures(embeddings, target=target).frame()


def _pairs(units: UnitVectors, pairs: list[tuple[str, str]], groups: list[list[int]]) -> Evaluate:
    matched = np.stack([(units[a] * units[b]).sum(1) for a, b in pairs], axis=1)

    def evaluate(weights: Weights) -> Replicates:
        # The mean over all pairs of sentences is the product of the two mean unit vectors.
        means = {language: weights @ rows for language, rows in units.items()}
        cosine = np.stack([(means[a] * means[b]).sum(1) for a, b in pairs], axis=1)
        translations = weights @ matched
        # Draws of the same sentence are translations of each other; the rest are not. Where one
        # sentence is all that was drawn there is no rest, and no gap.
        same = (weights**2).sum(1, keepdims=True)
        others = (cosine - weights**2 @ matched) / np.where(same < 1, 1 - same, np.nan)
        figures = []
        for values in (1 - cosine, 1 - translations, translations - others):
            figures += [values, *(values[:, group].mean(1, keepdims=True) for group in groups)]
        return np.concatenate(figures, axis=1)

    return evaluate


def medoid(units: UnitVectors) -> Float[np.ndarray, " d_model"]:
    """Give the unit vector with the least summed cosine distance to all others.

    Sum over j of (1 - <u_i, u_j>) is least where <u_i, sum of u_j> is largest, so one product with
    the summed vectors finds it.
    """
    stacked = np.concatenate(list(units.values()))
    return np.asarray(stacked[np.argmax(stacked @ stacked.sum(0))])


def _medoid(units: UnitVectors) -> Evaluate:
    centre = medoid(units)
    for language, rows in units.items():
        if np.linalg.norm(rows.mean(0)) < NOWHERE:
            raise AnalysisError(
                f"the mean embedding of {language} is zero, so it has no distance to the medoid; "
                "give more sentences"
            )

    def evaluate(weights: Weights) -> Replicates:
        figures = []
        for rows in units.values():
            means = weights @ rows
            figures.append(1 - means @ centre / np.linalg.norm(means, axis=1))
        figures.append(np.mean(figures, axis=0))
        return np.stack(figures, axis=1)

    return evaluate
