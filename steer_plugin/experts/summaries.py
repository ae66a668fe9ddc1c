"""Where the experts sit, how good they are, and which ones languages share."""

import numpy as np
import pandas as pd

from steer_plugin.errors import AnalysisError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.experts.table import ExpertTable


def experts_by_layer(experts: ExpertTable, k: int, choice: Choice = TOP) -> pd.DataFrame:
    """Count each concept's k experts in each layer; a concept that has fewer has those it has.

    Returns:
        One row a concept and layer: `concept`, `layer`, `top_k`, `experts`, `share` of all that are
        chosen.

    Raises:
        SelectionError: see `ExpertTable.top`.
    """
    whole = max(choice.count(experts.space, k), 1)
    frames = []
    for concept in experts.concepts:
        layers, _ = experts.space.addresses(experts.top(concept, k, choice, at_most=True))
        counts = [int((layers == layer).sum()) for layer in experts.space.layers]
        frames.append(
            pd.DataFrame(
                {
                    "concept": concept,
                    "layer": experts.space.layers,
                    "top_k": k,
                    "experts": counts,
                    "share": np.array(counts) / whole,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def score_curve(find: ExpertTable, judge: ExpertTable, *, points: int = 60) -> pd.DataFrame:
    """Give each concept's scores by rank, on the split that chose them and on the other.

    The gap between the two is what selection alone gives.

    Args:
        find: the table that ranks the units.
        judge: the same units scored on sentences that `find` never saw.
        points: how many ranks, spread evenly on a logarithmic axis.

    Returns:
        One row a concept and rank: `concept`, `rank` from 1, `layer`, `index`, `find_score`,
        `judge_score`, and where they are known `mean` and `off_mean`, the unit's mean response to
        the concept's sentences that chose it and to all others.

    Raises:
        AnalysisError: the tables have different units, concepts or scores.
    """
    alike = (find.space, find.score) == (judge.space, judge.score)
    if not alike or not set(judge.concepts) <= set(find.concepts):
        raise AnalysisError("the two tables have different units, concepts or scores")
    ranks = np.unique(np.geomspace(1, len(find.space), points).round().astype(int))
    frames = []
    for judge_row, concept in enumerate(judge.concepts):
        row = find.row(concept)
        units = np.argsort(-find.scores[row], kind="stable")[ranks - 1]
        layers, indices = find.space.addresses(units)
        frames.append(
            pd.DataFrame(
                {
                    "concept": concept,
                    "rank": ranks,
                    "layer": layers,
                    "index": indices,
                    "find_score": find.scores[row, units],
                    "judge_score": judge.scores[judge_row, units],
                    **{
                        name: find.statistics[name][row, units]
                        for name in ("mean", "off_mean")
                        if name in find.statistics
                    },
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def overlap(experts: ExpertTable, k: int, choice: Choice = TOP) -> pd.DataFrame:
    """Count the experts that concepts share among their k (PAPER step 18).

    A concept that has fewer is counted with those it has.

    Returns:
        One row an ordered pair, a concept with itself included: `concept`, `other`, `top_k`,
        `shared`, `share` of all that are chosen.

    Raises:
        SelectionError: see `ExpertTable.top`.
    """
    whole = max(choice.count(experts.space, k), 1)
    sets = {
        concept: set(experts.top(concept, k, choice, at_most=True).tolist())
        for concept in experts.concepts
    }
    return pd.DataFrame(
        [
            (concept, other, k, len(mine & theirs), len(mine & theirs) / whole)
            for concept, mine in sets.items()
            for other, theirs in sets.items()
        ],
        columns=["concept", "other", "top_k", "shared", "share"],
    )
