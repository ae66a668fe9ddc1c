"""The shape of the embedding space: shared structure, clusters by language, isotropy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
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
    WHOLE,
    Figures,
    Groups,
    Key,
    figures_of,
    groups_of_pairs,
    joined,
    pair_means,
)
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings
from steer_plugin.settings.parts import Measure


@dataclass(frozen=True, eq=False)
class Scatter:
    """How embeddings scatter about their languages' means: the same whatever the centring.

    Attributes:
        embeddings: language -> one row a sentence.
    """

    embeddings: Embeddings

    @cached_property
    def within(self) -> Float[np.ndarray, "d_model d_model"]:
        """The sum over languages of the products of their dimensions, less their means."""
        total = np.zeros(())
        for rows in self.embeddings.values():
            centred = rows - rows.mean(0, dtype=np.float64)
            total = total + centred.T @ centred
        return total


def geometry_figures(
    embeddings: Embeddings,
    *,
    target: str | None,
    centrings: Sequence[Centring] = CENTRINGS,
    groups: Groups | None = None,
) -> Figures:
    """Measure shared structure, clusters by language, and isotropy.

    See `cka_of`, `silhouette_of`, `random_cosine_of` and `effective_rank_of`. CKA and the effective
    rank subtract means themselves: the effective rank is the same `raw` and `global` and stands
    once, as `raw`; CKA is the same with every centring and stands once, as `raw`.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its means out.
        centrings: see `unit_vectors`.
        groups: a number a sentence, equal where sentences hang together; None where each is one of
            its own.

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
    scatter = Scatter(embeddings)
    return joined(
        [geometry_of(unit_vectors(embeddings, c), target, groups, scatter) for c in centrings]
    )


def geometry_of(
    units: UnitVectors, target: str | None, groups: Groups | None, scatter: Scatter | None = None
) -> Figures:
    """Measure what `geometry_figures` does, with one centring.

    Args:
        units: by that centring.
        target: see `geometry_figures`.
        groups: the same.
        scatter: of the embeddings, where other centrings share it; None makes it anew.
    """
    tables = [silhouette_of(units, target, groups), random_cosine_of(units, groups)]
    if units.centring == "raw":
        tables.append(cka_of(units.embeddings, target, groups))
    if units.centring != "global":
        tables.append(effective_rank_of(units.embeddings, units.centring, groups, scatter))
    return joined(tables)


def cka_of(embeddings: Embeddings, target: str | None, groups: Groups | None) -> Figures:
    """Measure linear CKA between languages, with unbiased HSIC.

    Kornblith et al. 2019 (arXiv 1905.00414, section 3) with the unbiased estimator of Song et al.
    2012 (JMLR 13), which is the mean product, over pairs of different sentences, of the two
    matrices of inner products, each U-centred (Szekely and Rizzo 2014, Annals of Statistics 42).
    In [-1, 1]: about 0 for independent embeddings, 1 for those that differ by a rotation, a scale
    and a shift.

    Influences are those of a mean over pairs of sentences; that the centres move is of second
    order. Of independent languages, where the first order vanishes, intervals are too wide.

    O(L^2 n^2) time beside the O(L n^2 d) of the products; n^2 numbers a language at a time.

    Raises:
        AnalysisError: fewer than four sentences; or a language whose sentences are all alike or all
            equally far apart.
    """
    sentences = len(next(iter(embeddings.values())))
    if sentences < 4:
        raise AnalysisError(f"CKA over {sentences} sentences is not defined; give at least four")
    kernels = {language: _kernel(rows, language) for language, rows in embeddings.items()}
    pairs = list(combinations(kernels, 2))
    places = groups_of_pairs(pairs, target, ordered=False)

    def shared(first: str, second: str) -> Float[np.ndarray, " sentence"]:
        return np.asarray(np.einsum("ij,ij->i", kernels[first], kernels[second]))

    norms = {language: shared(language, language) for language in kernels}
    values, gradients = [], []
    for first, second in pairs:
        rows = shared(first, second)
        # Kernels have length 1, so the value is their product, and its scale moves with theirs.
        value = rows.sum()
        values.append(value)
        gradients.append(2 * sentences * (rows - value * (norms[first] + norms[second]) / 2))
    keys: list[Key] = [("CKA", "raw", *group) for group in places]
    means = pair_means(np.array([values]), places)[0]
    return figures_of(keys, means, pair_means(np.stack(gradients, axis=1), places), groups)


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


def silhouette_of(units: UnitVectors, target: str | None, groups: Groups | None) -> Figures:
    """Measure how far the languages are clusters of their own, by cosine distance.

    Rousseeuw 1987 (J. Comput. Appl. Math. 20): (b - a) / max(a, b) with a sentence's mean distance
    a to the others of its language and b to those of the nearest other language, as
    `sklearn.metrics.silhouette_samples` has it; in [-1, 1], lower is better mixed. Where a and b
    are 0 to within rounding, so is the silhouette. A mean cosine is the product with the mean
    vector, so O(n L^2 d) time does what O(n^2 L^2 d) would. Influences let the means of the
    languages, and the centres, move with the sentences. Once each language's mean is gone no
    language is nearer than another but by chance, so there is no first order, and no interval.
    """
    sentences, _ = units.shape
    languages = list(units)
    means = units.means()
    scores, by_mean, by_centre = [], [], []
    for place, language in enumerate(languages):
        rows = units[language]
        along = rows @ means.T
        apart = sentences - sentences * along
        within = apart[:, place] / (sentences - 1)
        elsewhere = np.delete(np.arange(len(languages)), place)
        nearest = elsewhere[apart[:, elsewhere].argmin(1)]
        beyond = apart[np.arange(sentences), nearest] / sentences
        larger = np.maximum(within, beyond)
        defined = larger > TIE
        safe = np.where(defined, larger, 1)
        scores.append(np.where(defined, beyond - within, 0) / safe)
        tight = within < beyond
        by_within = -np.where(defined, np.where(tight, 1 / safe, beyond / safe**2), 0)
        by_beyond = np.where(defined, np.where(tight, within / safe**2, 1 / safe), 0)
        # The derivative of each silhouette by the products of its vector with the means.
        slopes = np.zeros((sentences, len(languages)))
        slopes[:, place] = -by_within * sentences / (sentences - 1)
        slopes[np.arange(sentences), nearest] -= by_beyond
        by_mean.append(slopes.T @ rows / sentences)
        near = 1 / units.norms[language]
        moved = (near @ slopes) @ means - (near * (slopes * along).sum(1)) @ rows
        by_centre.append(moved / sentences)
    chosen = {WHOLE: list(range(len(languages)))}
    if target is not None:
        chosen[target, "others"] = [languages.index(target)]
    values = pair_means(np.stack(scores, axis=1), chosen)
    # How the figures move with each language's mean.
    directions = pair_means(np.moveaxis(np.stack(by_mean), 0, -1), chosen)
    gradient = values.copy()
    for place, language in enumerate(languages):
        gradient += units.mean_shift(language, directions[place].T)
        shift = units.centre_shift(language, by_centre[place][None])
        for column, places in enumerate(chosen.values()):
            if place in places:
                gradient[:, column] -= shift[:, 0] / len(places)
    if units.centring == "language":
        gradient[:] = np.nan
    keys: list[Key] = [("silhouette", units.centring, *group) for group in chosen]
    return figures_of(keys, values.mean(0), gradient, groups)


def random_cosine_of(units: UnitVectors, groups: Groups | None) -> Figures:
    """Measure the mean cosine of two different random sentences of the whole space.

    Ethayarajh 2019 (arXiv 1909.00512): 0 in an isotropic space, 1 where all vectors point one way.
    Each of the two sentences is in any language, the same or another; translations of one sentence
    are no pair, so that alignment does not pass for anisotropy. Once means are gone it is 0 by
    construction, but for what is of second order: it has no influence then, and so no interval.
    O(n L d) time.
    """
    n, _ = units.shape
    vectors = np.zeros(units.shape)
    for rows in units.values():
        vectors += rows / len(units)
    squares = (vectors**2).sum(1)
    mean = vectors.mean(0, keepdims=True)
    value = (n * (mean @ mean.T)[0, 0] - squares.mean()) / (n - 1)
    gradient = 2 * (n * vectors @ mean[0] - squares) / (n - 1)
    if units.centring != "raw":
        gradient[:] = np.nan
    keys: list[Key] = [("mean random cosine", units.centring, *WHOLE)]
    return figures_of(keys, np.array([value]), gradient[:, None], groups)


def effective_rank_of(
    embeddings: Embeddings,
    centring: Centring,
    groups: Groups | None,
    scatter: Scatter | None = None,
) -> Figures:
    """Measure how many directions the embeddings of all languages spread over.

    Roy and Vetterli 2007 (EUSIPCO): exp of the entropy of the singular values, scaled to sum to 1,
    of all embeddings, less their mean (`raw`) or each language's own (`language`). From 1 to
    min(n L, d).

    One eigendecomposition, of O(n L d min(n L, d) + min(n L, d)^3) time, gives the value and its
    influence; that the means move is of second order.

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
        within = (Scatter(embeddings) if scatter is None else scatter).within
        off = np.sqrt(sentences) * (np.stack(list(means.values())) - shared)
        variances, axes = np.linalg.eigh(within if centring == "language" else within + off.T @ off)
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
    keys: list[Key] = [("effective rank", centring, *WHOLE)]
    return figures_of(keys, np.array([value]), gradient[:, None], groups)


GEOMETRY = Measure(geometry_figures, usual=True)
