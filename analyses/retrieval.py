"""Cross-lingual retrieval: does a sentence find its translation among all others?"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.analyses.statistics import Figures, Replicates, Weights
from steer_plugin.analyses.vectors import Centring, check_target, unit_vectors
from steer_plugin.embeddings import Embeddings

TIE = 1e-9


def reciprocal_ranks(
    query: Float[np.ndarray, "sentence d_model"], candidates: Float[np.ndarray, "sentence d_model"]
) -> Float[np.ndarray, " sentence"]:
    """Give 1 over the rank of each query's translation among the candidates.

    Candidates as similar as the translation, to within rounding, count as ahead of it: where all
    embeddings are the same, nothing is found.

    Args:
        query: unit vectors.
        candidates: unit vectors; row i is the translation of query i.

    Returns:
        Reciprocal ranks in [1/n, 1].
    """
    similarity = query @ candidates.T
    matched = similarity.diagonal()[:, None]
    return np.asarray(1.0 / (similarity >= matched - TIE).sum(1))


def retrieval_figures(
    embeddings: Embeddings,
    *,
    target: str | None,
    centrings: Sequence[Centring] = ("raw", "language"),
) -> Figures:
    """Measure top-1 accuracy and mean reciprocal rank for every ordered pair of languages.

    By cosine, each query against all sentences of the other language (Sundar et al. 2025,
    arXiv 2502.15639, section 4). Resamples draw queries; the candidates stay.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None leaves its mean out.
        centrings: see `unit_vectors`.

    Returns:
        Figures with the keys `measure` (`top-1`, `MRR`), `centring`, `query`, `candidates`; the
        mean over all pairs is `all`, `all`, that from the target to each other `target`, `others`.

    Raises:
        AnalysisError: the target is none of the languages; or see `unit_vectors`.
    """
    check_target(embeddings, target)
    keys: list[tuple[str, str, str, str]] = []
    columns: list[np.ndarray] = []
    for centring in centrings:
        units = unit_vectors(embeddings, centring)
        pairs = list(permutations(units, 2))
        ranks = np.stack([reciprocal_ranks(units[a], units[b]) for a, b in pairs])
        groups = {("all", "all"): list(range(len(pairs)))}
        if target is not None:
            groups[target, "others"] = [row for row, pair in enumerate(pairs) if pair[0] == target]
        for measure, found in (("top-1", (ranks == 1).astype(np.float64)), ("MRR", ranks)):
            keys += [(measure, centring, a, b) for a, b in [*pairs, *groups]]
            columns += [*found, *(found[group].mean(0) for group in groups.values())]
    by_sentence = np.stack(columns, axis=1)

    def evaluate(weights: Weights) -> Replicates:
        return np.asarray(weights @ by_sentence)

    index = pd.DataFrame(keys, columns=["measure", "centring", "query", "candidates"])
    return Figures(index, len(by_sentence), evaluate)


def retrieval(embeddings: Embeddings, *, target: str | None = None) -> pd.DataFrame:
    """Tabulate `retrieval_figures`, one row a figure, the figure in `value`."""
    return retrieval_figures(embeddings, target=target).frame()
