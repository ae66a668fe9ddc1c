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

NOWHERE = 1e-12
"""The mean of unit vectors has no direction where it is no longer than this."""

MEMORY = 64 * 2**20
"""Bytes of the languages' unit vectors that are multiplied at a time."""

Cosines = Float[np.ndarray, "sentence language language"]
PairValues = Float[np.ndarray, " pair"]
PairGradient = Float[np.ndarray, "sentence pair"]


def alignment_figures(
    embeddings: Embeddings,
    *,
    target: str | None,
    centrings: Sequence[Centring] = CENTRINGS,
    groups: Groups | None = None,
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

    Influences let the centres move with the sentences, and count a pair of different sentences as
    a U-statistic does (Hoeffding 1948, Annals of Mathematical Statistics 19). Which sentence is the
    medoid changes abruptly from sample to sample, so no first-order term describes how distances to
    it vary; once each language's mean is gone, the distance over all pairs is 1 by construction.
    Both have no influence, and so no interval.

    For n sentences, L languages and d dimensions: O(n L^2 d) time a centring; what is kept is a
    number a group and figure.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its means out.
        centrings: see `unit_vectors`. Distances from a language's own mean need it left in, so
            `medoid distance` and `centroid distance` have no `language` centring.
        groups: a number a sentence, equal where sentences hang together; None where each is one of
            its own.

    Returns:
        Figures with the keys `measure`, `centring`, `query`, `candidates`, unordered pairs once;
        the mean over all pairs is `all`, `all`, over the target's `target`, `others`. For
        `medoid distance` `query` is the language, `all`, or with a target `others` (the mean over
        the languages other than the target), `candidates` is `medoid`.

    Raises:
        AnalysisError: the target is none of the languages; or see `unit_vectors`.
    """
    check_target(embeddings, target)
    return joined([alignment_of(unit_vectors(embeddings, c), target, groups) for c in centrings])


def alignment(embeddings: Embeddings, *, target: str | None = None) -> pd.DataFrame:
    """Tabulate `alignment_figures`, one row a figure, the figure in `value`."""
    return alignment_figures(embeddings, target=target).frame()


def alignment_of(units: UnitVectors, target: str | None, groups: Groups | None) -> Figures:
    """Measure what `alignment_figures` does, with one centring."""
    languages, pairs = list(units), list(combinations(units, 2))
    places = groups_of_pairs(pairs, target, ordered=False)
    first, second = np.triu_indices(len(units), k=1)
    n, _ = units.shape
    means = units.means()
    cosines = _matched_cosines(units)
    matched = cosines[:, first, second]
    # along[i, a, b]: how far sentence i draws the mean of language a along that of language b.
    along = np.stack([units.mean_shift(language, means) for language in languages], axis=1)
    both_ways = along[:, first, second] + along[:, second, first]
    products = means @ means.T
    translations = matched.mean(0)
    turned = matched - _centre_moves(units, cosines)[:, first, second]
    others = (n * products[first, second] - translations) / (n - 1)
    others_drawn = (n * both_ways - matched - turned) / (n - 1)
    rows = [*pairs, *places]
    keys: list[Key] = []
    values, gradients = [], []

    def add(measure: str, pair_values: PairValues, gradient: PairGradient) -> None:
        keys.extend((measure, units.centring, *row) for row in rows)
        values.append(pair_values)
        values.append(pair_means(pair_values[None], places)[0])
        gradients.append(gradient)
        gradients.append(pair_means(gradient, places))

    # Over all pairs, translations are 1/n of them.
    add(
        "pair distance",
        1 - (others + (translations - others) / n),
        # Without the languages' means it is 1, but for what is of second order.
        np.full_like(both_ways, np.nan)
        if units.centring == "language"
        else -(others_drawn + (turned - others_drawn) / n),
    )
    add("matched distance", 1 - translations, -turned)
    add("gap", translations - others, turned - others_drawn)
    if units.centring != "language":
        lengths = _lengths(units, means)
        cosine = products[first, second] / (lengths[first] * lengths[second])
        stretched = along.diagonal(axis1=1, axis2=2) / lengths**2
        add(
            "centroid distance",
            1 - cosine,
            -(
                both_ways / (lengths[first] * lengths[second])
                - cosine * (stretched[:, first] + stretched[:, second])
            ),
        )
        from_medoid = 1 - means @ medoid(units) / lengths
        rest = from_medoid[[language != target for language in languages]]
        summed = {"all": from_medoid} if target is None else {"all": from_medoid, "others": rest}
        keys += [("medoid distance", units.centring, name, "medoid") for name in (*units, *summed)]
        values += [from_medoid, np.array([distances.mean() for distances in summed.values()])]
        gradients.append(np.full((n, len(languages) + len(summed)), np.nan))
    return figures_of(keys, np.concatenate(values), np.concatenate(gradients, axis=1), groups)


def _matched_cosines(units: UnitVectors) -> Cosines:
    """Multiply each sentence's unit vectors with each other, some dimensions at a time."""
    sentences, dimensions = units.shape
    products = np.zeros((sentences, len(units), len(units)))
    step = max(1, MEMORY // (8 * sentences * len(units)))
    for start in range(0, dimensions, step):
        columns = slice(start, start + step)
        block = np.stack([units.columns(language, columns) for language in units], axis=1)
        products += block @ block.mT
    return products


def _centre_moves(units: UnitVectors, cosines: Cosines) -> Cosines:
    """Say how each sentence's weight lowers the mean cosine of translations through the centres.

    With its centre, a unit vector u = (x - c) / r turns by -(I - u u') / r (quotient rule), and its
    cosine with v by -(v - <u, v> u) / r.
    """
    moves = np.zeros_like(cosines)
    if units.centring == "raw":
        return moves
    nearness = np.stack([1 / units.norms[language] for language in units])
    # Each language's unit vectors are made once here, not once for every other language.
    toward = np.stack([nearness @ rows for rows in units.values()], axis=1)
    for place, (language, near) in enumerate(zip(units, nearness, strict=True)):
        slopes = toward[place] - (cosines[:, place] * near[:, None]).T @ units[language]
        shift = units.centre_shift(language, slopes / len(near))
        moves[:, place] += shift
        moves[:, :, place] += shift
    return moves


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


def _lengths(
    units: UnitVectors, means: Float[np.ndarray, "language d_model"]
) -> Float[np.ndarray, " language"]:
    lengths = np.linalg.norm(means, axis=1)
    for language, length in zip(units, lengths, strict=True):
        if length < NOWHERE:
            raise AnalysisError(
                f"the mean embedding of {language} is zero, so it has no distance to the medoid "
                "or to another language's; give more sentences"
            )
    return np.asarray(lengths)


ALIGNMENT = Measure(alignment_figures, usual=True)
