"""Cross-lingual alignment: how far apart the languages lie in the embedding space."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.analyses.measures.unit_vectors import (
    CENTRINGS,
    Centring,
    UnitVectors,
    check_target,
    unit_vectors,
)
from steer_plugin.analyses.statistics.figures import (
    KEYS,
    Figures,
    Key,
    Replicates,
    Weights,
    group_means,
    groups,
    joined,
)
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings

NOWHERE = 1e-12
"""The mean of unit vectors has no direction where it is no longer than this."""

MEMORY = 64 * 2**20
"""Bytes of the languages' means that are made at a time."""


def alignment_figures(
    embeddings: Embeddings, *, target: str | None, centrings: Sequence[Centring] = CENTRINGS
) -> Figures:
    """Measure the three cosine distances of Sundar et al. 2025 and the matched gap.

    PAPER step 12 (arXiv 2502.15639, section 4), 1 - cos in [0, 2]:

    - `pair distance`: mean over all pairs of a sentence in one language with one in another;
    - `centroid distance`: from one language's mean unit vector to another's, the other reading of
      the distances between languages that the paper leaves open;
    - `medoid distance`: from each language's mean to the medoid of the whole space, the sentence
      with the least summed distance to all others;
    - the target's `pair distance` and `centroid distance` to the other languages.

    Beside them, `matched distance`, over translations alone, and `gap`, the mean cosine of
    translations minus that of all other pairs, which a shared component does not raise.

    Resamples draw sentences; centres and the medoid stay. Two draws of one sentence are
    translations of each other, so that among all pairs of a resample translations are twice as
    frequent as among the sentences themselves. They count for 1/n all the same, in the products of
    means too; else replicates of distances would be off by about the gap over n.

    For n sentences, L languages, d dimensions and R resamples, making takes O(n L^2 d) and
    evaluating O(R L d (n + L)) time a centring; what waits is O(n L^2) numbers.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its means out.
        centrings: see `unit_vectors`. Distances from a language's own mean need it left in, so
            `medoid distance` and `centroid distance` have no `language` centring.

    Returns:
        Figures with the keys `measure`, `centring`, `query`, `candidates`, unordered pairs once;
        the mean over all pairs is `all`, `all`, over the target's `target`, `others`. For
        `medoid distance` `query` is the language, `all`, or with a target `others` (the mean over
        the languages other than the target), `candidates` is `medoid`. Where a resample is of one
        sentence alone, all but `matched distance` is NaN; where it leaves a language no mean to
        speak of, so are its distances.

    Raises:
        AnalysisError: the target is none of the languages; or see `unit_vectors`.
    """
    check_target(embeddings, target)
    return joined([alignment_of(unit_vectors(embeddings, c), target) for c in centrings])


def alignment(embeddings: Embeddings, *, target: str | None = None) -> pd.DataFrame:
    """Tabulate `alignment_figures`, one row a figure, the figure in `value`."""
    return alignment_figures(embeddings, target=target).frame()


def alignment_of(units: UnitVectors, target: str | None) -> Figures:
    """Measure what `alignment_figures` does, with one centring."""
    pairs = list(combinations(units, 2))
    places = groups(pairs, target, ordered=False)
    rows = [*pairs, *places]
    measures = ["pair distance", "matched distance", "gap"]
    index: list[Key] = [(measure, units.centring, *row) for measure in measures for row in rows]
    first, second = np.triu_indices(len(units), k=1)
    matched = _products(units, None, None)
    centre = None
    if units.centring != "language":
        _check_means(units)
        centre = medoid(units)
        queries = [*units, "all", *([] if target is None else ["others"])]
        index += [("medoid distance", units.centring, query, "medoid") for query in queries]
        index += [("centroid distance", units.centring, *row) for row in rows]
    rest = [place for place, language in enumerate(units) if language != target]

    def evaluate(weights: Weights) -> Replicates:
        products = _products(units, weights, centre)
        size = len(units)
        translations, others = _apart(products[:, :size, :size], matched, weights)
        # The mean over all pairs of sentences is the product of the two mean unit vectors.
        means = others + (translations - others) / len(matched)
        figures = []
        for between in (1 - means, 1 - translations, translations - others):
            values = between[:, first, second]
            figures += [values, group_means(values, places)]
        if centre is not None:
            squared = means.diagonal(axis1=1, axis2=2)
            lengths = np.sqrt(np.where(squared > NOWHERE**2, squared, np.nan))
            from_medoid = 1 - products[:, -1, :size] / lengths
            centroids = 1 - means[:, first, second] / (lengths[:, first] * lengths[:, second])
            figures += [from_medoid, from_medoid.mean(1, keepdims=True)]
            if target is not None:
                figures.append(from_medoid[:, rest].mean(1, keepdims=True))
            figures += [centroids, group_means(centroids, places)]
        return np.concatenate(figures, axis=1)

    return Figures(pd.DataFrame(index, columns=KEYS), units.shape[0], evaluate)


def _apart(
    products: Float[np.ndarray, "resample language language"],
    matched: Float[np.ndarray, "sentence language language"],
    weights: Weights,
) -> tuple[
    Float[np.ndarray, "resample language language"], Float[np.ndarray, "resample language language"]
]:
    """Part the mean cosine of translations from that of all other pairs of sentences.

    Args:
        products: of the languages' mean unit vectors.
        matched: the cosines of each sentence's translations.
        weights: on sentences.
    """
    translations = np.tensordot(weights, matched, axes=1)
    # Where one sentence is all that was drawn there are no other pairs.
    same = (weights**2).sum(1)[:, None, None]
    others = products - np.tensordot(weights**2, matched, axes=1)
    return translations, others / np.where(same < 1, 1 - same, np.nan)


def _products(
    units: UnitVectors, weights: Weights | None, centre: Float[np.ndarray, " d_model"] | None
) -> Float[np.ndarray, "row point point"]:
    """Multiply languages' mean unit vectors with each other, and with a centre in the last place.

    One row a resample; without weights one row a sentence, whose unit vectors are multiplied.
    """
    sentences, dimensions = units.shape
    rows = sentences if weights is None else len(weights)
    points = len(units) + (centre is not None)
    products = np.zeros((rows, points, points))
    step = min(dimensions, max(1, MEMORY // (8 * rows * points)))
    room = np.empty((rows, points, step))
    for start in range(0, dimensions, step):
        columns = slice(start, min(start + step, dimensions))
        means = room[:, :, : columns.stop - start]
        for place, language in enumerate(units):
            block = units.columns(language, columns)
            means[:, place] = block if weights is None else weights @ block
        if centre is not None:
            means[:, -1] = centre[columns]
        products += means @ means.mT
    return products


def medoid(
    units: Mapping[str, Float[np.ndarray, "sentence d_model"]],
) -> Float[np.ndarray, " d_model"]:
    """Give the unit vector with the least summed cosine distance to all others.

    Sum over j of (1 - <u_i, u_j>) is least where <u_i, sum of u_j> is largest, so one product with
    the summed vectors finds it.
    """
    total = np.sum([rows.sum(0) for rows in units.values()], axis=0)
    nearest = []
    for rows in units.values():
        toward = rows @ total
        nearest.append((toward.max(), rows[toward.argmax()].copy()))
    return np.asarray(max(nearest, key=lambda scored: scored[0])[1])


def _check_means(units: UnitVectors) -> None:
    for language, rows in units.items():
        if np.linalg.norm(rows.mean(0)) < NOWHERE:
            raise AnalysisError(
                f"the mean embedding of {language} is zero, so it has no distance to the medoid "
                "or to another language's; give more sentences"
            )
