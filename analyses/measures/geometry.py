"""The shape of the embedding space: shared structure, clusters by language, isotropy."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import entr

from steer_plugin.analyses.measures.cosines import TIE
from steer_plugin.analyses.measures.unit_vectors import (
    CENTRINGS,
    ROUNDING,
    Centring,
    UnitVectors,
    check_target,
    unit_vectors,
)
from steer_plugin.analyses.statistics.figures import (
    KEYS,
    WHOLE,
    Figures,
    Key,
    Replicates,
    Weights,
    group_means,
    groups,
    joined,
    weighted_means,
)
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings


def geometry_figures(
    embeddings: Embeddings, *, target: str | None, centrings: Sequence[Centring] = CENTRINGS
) -> Figures:
    """Measure shared structure, clusters by language, and isotropy.

    See `cka_of`, `silhouette_of`, `random_cosine_of` and `effective_rank_of`. CKA and the effective
    rank subtract means themselves: the effective rank is the same `raw` and `global` and stands
    once, as `raw`; CKA is the same with every centring and stands once, as `raw`.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its means out.
        centrings: see `unit_vectors`.

    Returns:
        Figures with the keys `measure`, `centring`, `query`, `candidates`. `CKA`: the mean over
        pairs of languages as `all`, `all`, over the target's as `target`, `others`; `silhouette`:
        the mean over all sentences, and over the target's, under the same keys; `mean random
        cosine` and `effective rank`: `all`, `all`.

    Raises:
        AnalysisError: the target is none of the languages; fewer than four sentences; sentences
            that are all alike, or in one language all equally far apart; or see `unit_vectors`.
    """
    check_target(embeddings, target)
    return joined([geometry_of(unit_vectors(embeddings, c), target) for c in centrings])


def geometry_of(units: UnitVectors, target: str | None) -> Figures:
    """Measure what `geometry_figures` does, with one centring."""
    tables = [silhouette_of(units, target), random_cosine_of(units)]
    if units.centring == "raw":
        tables.append(cka_of(units.embeddings, target))
    if units.centring != "global":
        tables.append(effective_rank_of(units.embeddings, units.centring))
    return joined(tables)


def cka_of(embeddings: Embeddings, target: str | None) -> Figures:
    """Measure linear CKA between languages, with unbiased HSIC.

    Kornblith et al. 2019 (arXiv 1905.00414, section 3) with the unbiased estimator of Song et al.
    2012 (JMLR 13), which is the mean product, over pairs of different sentences, of the two
    matrices of inner products, each U-centred (Szekely and Rizzo 2014, Annals of Statistics 42).
    In [-1, 1]: about 0 for independent embeddings, 1 for those that differ by a rotation, a scale
    and a shift.

    Resamples draw sentences. Two draws of one sentence are no pair, and the centres stay, which is
    right to first order. In simulations with 80 to 300 sentences the 95% interval held the true CKA
    93 to 96 times in 100 where the languages shared structure; of independent ones, where the
    estimator is degenerate, it was 1.7 to 1.9 times too wide and held 0 more than 99 times. A
    resample of one sentence alone has NaN.

    O(L n^2 d) time to make, O(R L^2 n^2) to evaluate; what waits is n^2 numbers a language.

    Raises:
        AnalysisError: fewer than four sentences; or a language whose sentences are all alike or all
            equally far apart.
    """
    sentences = len(next(iter(embeddings.values())))
    if sentences < 4:
        raise AnalysisError(f"CKA over {sentences} sentences is not defined; give at least four")
    kernels = {language: _kernel(rows, language) for language, rows in embeddings.items()}
    pairs = list(combinations(kernels, 2))
    places = groups(pairs, target, ordered=False)

    def evaluate(weights: Weights) -> Replicates:
        def shared(first: str, second: str) -> Float[np.ndarray, " resample"]:
            product = weights @ (kernels[first] * kernels[second])
            return np.asarray((product * weights).sum(1))

        norms = {language: shared(language, language) for language in kernels}
        columns = []
        for first, second in pairs:
            scale = np.sqrt(norms[first] * norms[second])
            # A resample of sentences that are all equally far apart has no structure to share.
            defined = sentences**2 * scale > ROUNDING**2
            columns.append(shared(first, second) / np.where(defined, scale, np.nan))
        return group_means(np.stack(columns, axis=1), places)

    keys = [("CKA", "raw", *group) for group in places]
    return Figures(pd.DataFrame(keys, columns=KEYS), sentences, evaluate)


def _kernel(
    rows: Float[np.ndarray, "sentence d_model"], language: str
) -> Float[np.ndarray, "sentence sentence"]:
    """Give the U-centred inner products of a language's sentences, scaled to length 1."""
    wide = rows.astype(np.float64)
    centred = wide - wide.mean(0)
    size = np.linalg.norm(centred)
    kernel = np.zeros((len(rows), len(rows)))
    if size > ROUNDING * np.linalg.norm(wide):
        centred /= size
        kernel = _without_diagonal(centred @ centred.T)
    before = np.linalg.norm(kernel)
    free = len(rows) - 2
    means = kernel.sum(1) / free
    kernel = kernel - means[:, None] - means + kernel.sum() / (free * (free + 1))
    kernel = _without_diagonal(kernel)
    length = np.linalg.norm(kernel)
    if not length > ROUNDING * before:
        raise AnalysisError(
            f"the sentences of {language} are all alike or all equally far apart, so there is no "
            "CKA with another language; check the texts and the intervention"
        )
    return kernel / length


def _without_diagonal(
    matrix: Float[np.ndarray, "sentence sentence"],
) -> Float[np.ndarray, "sentence sentence"]:
    np.fill_diagonal(matrix, 0)
    return matrix


def silhouette_of(units: UnitVectors, target: str | None) -> Figures:
    """Measure how far the languages are clusters of their own, by cosine distance.

    Rousseeuw 1987 (J. Comput. Appl. Math. 20): (b - a) / max(a, b) with a sentence's mean distance
    a to the others of its language and b to those of the nearest other language, as
    `sklearn.metrics.silhouette_samples` has it; in [-1, 1], lower is better mixed. Where a and b
    are 0 to within rounding, so is the silhouette. A mean cosine is the product with the mean
    vector, so O(n L^2 d) time does what O(n^2 L^2 d) would. Resamples draw sentences, whose
    neighbours stay.
    """
    sentences, _ = units.shape
    languages = list(units)
    totals = np.stack([units[language].sum(0) for language in languages], axis=1)
    values = []
    for place, language in enumerate(languages):
        apart = sentences - units[language] @ totals
        within = apart[:, place] / (sentences - 1)
        beyond = np.delete(apart, place, axis=1).min(1) / sentences
        larger = np.maximum(within, beyond)
        values.append(
            np.where(larger > TIE, beyond - within, 0) / np.where(larger > TIE, larger, 1)
        )
    keys: list[Key] = [("silhouette", units.centring, *WHOLE)]
    columns = [np.mean(values, axis=0)]
    if target is not None:
        keys.append(("silhouette", units.centring, target, "others"))
        columns.append(values[languages.index(target)])
    return weighted_means(keys, np.stack(columns, axis=1))


def random_cosine_of(units: UnitVectors) -> Figures:
    """Measure the mean cosine of two different random sentences of the whole space.

    Ethayarajh 2019 (arXiv 1909.00512): 0 in an isotropic space, 1 where all vectors point one way.
    Each of the two sentences is in any language, the same or another; translations of one sentence
    are no pair, so that alignment does not pass for anisotropy and two draws of one sentence in a
    resample count for nothing. A resample of one sentence alone has NaN.

    O(n d (L + n)) time to make, O(R n^2) to evaluate; what waits is n^2 numbers.
    """
    sentences, _ = units.shape
    mean = np.zeros(units.shape)
    for rows in units.values():
        mean += rows / len(units)
    cosines = _without_diagonal(mean @ mean.T)

    def evaluate(weights: Weights) -> Replicates:
        summed = ((weights @ cosines) * weights).sum(1, keepdims=True)
        same = (weights**2).sum(1, keepdims=True)
        return np.asarray(summed / np.where(same < 1, 1 - same, np.nan))

    keys = [("mean random cosine", units.centring, *WHOLE)]
    return Figures(pd.DataFrame(keys, columns=KEYS), sentences, evaluate)


def effective_rank_of(embeddings: Embeddings, centring: Centring) -> Figures:
    """Measure how many directions the embeddings of all languages spread over.

    Roy and Vetterli 2007 (EUSIPCO): exp of the entropy of the singular values, scaled to sum to 1,
    of all embeddings, less their mean (`raw`) or each language's own (`language`). From 1 to
    min(n L, d).

    The replicates are those of the infinitesimal jackknife (Efron 1982, chapter 6): the value plus
    what its gradient says of the weights, for a resample drawn in earnest has fewer distinct
    sentences, and so a lower rank, by itself. One eigendecomposition, of O(n L d min(n L, d) +
    min(n L, d)^3) time, gives both; evaluating takes O(R n).

    Raises:
        AnalysisError: all embeddings are the same, so there is no spread.
    """
    sentences, dimensions = next(iter(embeddings.values())).shape
    means = {language: rows.mean(0, dtype=np.float64) for language, rows in embeddings.items()}
    shared = np.mean(list(means.values()), axis=0)

    def centred() -> Iterator[Float[np.ndarray, "sentence d_model"]]:
        for language, rows in embeddings.items():
            yield rows - (means[language] if centring == "language" else shared)

    # Either matrix of products has the squares of the singular values; the smaller one is used.
    few = len(embeddings) * sentences <= dimensions
    if few:
        pooled = np.concatenate(list(centred()))
        variances, axes = np.linalg.eigh(pooled @ pooled.T)
    else:
        variances, axes = np.linalg.eigh(sum(rows.T @ rows for rows in centred()))
    rounding = max(len(embeddings) * sentences, dimensions) * np.finfo(np.float64).eps
    positive = variances > rounding * variances[-1]
    size = max(float(np.abs(rows).max()) for rows in embeddings.values())
    if not np.sqrt(variances[-1]) > ROUNDING * size:
        raise AnalysisError(
            f"all embeddings are the same ({centring} centring), so they have no effective rank; "
            "check the texts and the intervention"
        )
    spread, axes = np.sqrt(variances[positive]), axes[:, positive]
    total = spread.sum()
    entropy = entr(spread / total).sum()
    value = np.exp(entropy)
    # The change of the value with that of a singular value's square.
    slope = -value * (np.log(spread / total) + entropy) / (2 * total * spread)
    if few:
        squares = (axes * spread) ** 2 @ slope
    else:
        squares = np.concatenate([(rows @ axes) ** 2 @ slope for rows in centred()])
    gradient = sentences * squares.reshape(len(embeddings), sentences).sum(0)

    def evaluate(weights: Weights) -> Replicates:
        return np.asarray(value + (weights - 1 / sentences) @ gradient[:, None])

    keys = [("effective rank", centring, *WHOLE)]
    return Figures(pd.DataFrame(keys, columns=KEYS), sentences, evaluate)
