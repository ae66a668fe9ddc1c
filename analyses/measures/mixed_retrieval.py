"""Retrieval between conditions: queries of the model as it is, candidates of the steered model."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from steer_plugin.analyses.measures.cosines import Same
from steer_plugin.analyses.measures.retrieval import CENTRINGS
from steer_plugin.analyses.measures.translation_search import rankings_between
from steer_plugin.analyses.measures.unit_vectors import (
    Centring,
    by_centring,
    check_alike,
    check_target,
)
from steer_plugin.analyses.statistics.figures import (
    FOLDS,
    Figures,
    Groups,
    Key,
    figures_of,
    group_numbers,
    groups_of_pairs,
    pair_means,
    spread,
    weighted_means,
)
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings

MIXED = "mixed "
"""Before the name of a measure whose queries and candidates are of different conditions."""

CORPUS = "corpus"
"""What `Results.mixed` calls retrieval across the languages of the run's own corpus."""

Ranks = Float[np.ndarray, " query"]


def mixed_figures(
    queries: Embeddings,
    candidates: Embeddings,
    *,
    target: str | None,
    centrings: Sequence[Centring] = CENTRINGS,
    same: Same | None = None,
    groups: Groups | None = None,
) -> Figures:
    """Measure retrieval for every ordered pair of languages, each side in a condition of its own.

    Sundar et al. 2025 (arXiv 2502.15639) do so within a language (PAPER step 16); across languages
    it tells whether steered embeddings still lie where the model's own are sought. With the same
    condition on both sides these are the figures of `retrieval_figures`: Pre/Pre and Post/Post. So
    to put the mix beside Pre/Pre, compare the mix with the unsteered model on both sides.
    Influences are those of a sentence as a query and as a candidate.

    Args:
        queries: the condition that asks, the unsteered model in the paper: language -> one row a
            sentence, the same sentences in each.
        candidates: the condition that is searched: the same sentences and languages.
        target: the language that is steered towards; None leaves its mean out.
        centrings: see `unit_vectors`; each condition has its own centres, so `language` shows what
            is left of the mix where neither language nor condition lies apart as a whole.
        same: for each language a number a sentence, equal where texts are equal (`same_texts`): a
            candidate whose text equals the translation's counts as the translation. None where all
            texts differ.
        groups: a number a sentence, equal where sentences hang together; None where each is one of
            its own.

    Returns:
        Figures with the keys `measure` (`mixed top-1`, `mixed MRR`), `centring`, `query`,
        `candidates`; the mean over all pairs is `all`, `all`, that from the target to each other
        `target`, `others`.

    Raises:
        AnalysisError: the conditions have different languages or shapes, the target is none of the
            languages; `same` lacks a language or sentences; or see `unit_vectors`.
    """
    check_target(queries, target)
    check_alike(queries, candidates, "queries and candidates")
    numbers = group_numbers(len(next(iter(queries.values()))), groups)
    asked, searched = (by_centring(embeddings, centrings) for embeddings in (queries, candidates))
    pairs, rankings = zip(
        *rankings_between([*asked.values()], [*searched.values()], same, groups), strict=True
    )
    places = groups_of_pairs(pairs, target, ordered=True)
    rows = [*pairs, *places]
    keys: list[Key] = []
    columns, gradients = [], []
    for place, centring in enumerate(asked):
        ranks = np.stack([ranking.ranks[place] for ranking in rankings], axis=1)
        gains = {
            "top-1": [ranking.gains[place] for ranking in rankings],
            "MRR": [ranking.lifts[place] for ranking in rankings],
        }
        for measure, scores in _measures(1 / ranks).items():
            gradient = scores - FOLDS * spread(np.stack(gains[measure], axis=2), numbers)
            keys += [(f"{MIXED}{measure}", centring, *row) for row in rows]
            columns += [scores.mean(0), pair_means(scores, places).mean(0)]
            gradients += [gradient, pair_means(gradient, places)]
    return figures_of(keys, np.concatenate(columns), np.concatenate(gradients, axis=2), groups)


def bitext_figures(
    ranks: Ranks,
    *,
    query: str,
    candidates: str,
    centring: Centring = "raw",
    mixed: Ranks | None = None,
) -> Figures:
    """Measure retrieval in one bitext: Tatoeba, BUCC-18, or paraphrases in one language.

    Top-1 and mean reciprocal rank (PAPER steps 15 and 16). Of the unsteered model on both sides
    these are the paper's Pre, of the steered one Post; with the unsteered model's queries and the
    steered one's candidates they are its Mixed. What is sure of them is sure of these candidates:
    influences are those of queries alone.

    Args:
        ranks: 1 over the rank of what each query should find, in (0, 1], queries and candidates in
            one condition; see `retrieval.bitext_ranks`.
        query: language of the queries.
        candidates: language of the candidates; of paraphrases, the same.
        centring: of the embeddings that gave the ranks.
        mixed: the same where the queries are the unsteered model's; of the unsteered model itself
            its `ranks`. None leaves the mix out.

    Returns:
        Figures over queries with the keys `measure` (`top-1`, `MRR`, with `mixed` also
        `mixed top-1`, `mixed MRR`), `centring`, `query`, `candidates`.

    Raises:
        AnalysisError: ranks that are none, or of another number of queries.
    """
    sides = {"": ranks} if mixed is None else {"": ranks, MIXED: mixed}
    keys: list[Key] = []
    columns = []
    for prefix, side in sides.items():
        if len(side) != len(ranks):
            raise AnalysisError(
                f"{len(side)} queries are mixed and {len(ranks)} are not; give the same queries"
            )
        if not ((side > 0) & (side <= 1)).all():
            raise AnalysisError(
                "reciprocal ranks lie above 0 and up to 1; give 1 over the rank of each query"
            )
        for measure, scores in _measures(side[:, None]).items():
            keys.append((f"{prefix}{measure}", centring, query, candidates))
            columns.append(scores)
    return weighted_means(keys, np.concatenate(columns, axis=1))


def _measures(
    reciprocal_ranks: Float[np.ndarray, "query pair"],
) -> dict[str, Float[np.ndarray, "query pair"]]:
    return {"top-1": (reciprocal_ranks == 1).astype(np.float64), "MRR": reciprocal_ranks}
