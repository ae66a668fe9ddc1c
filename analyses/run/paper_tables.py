"""Tables 1 and 3 of Sundar et al. 2025 (arXiv 2502.15639), from the figures of a run."""

import numpy as np
import pandas as pd

from steer_plugin.analyses.measures.mixed_retrieval import MIXED
from steer_plugin.analyses.run.results import KEYS

DISTANCES = ("all pairs", "target to medoid", "non-targets to medoid", "target to others")

_VERSIONS = {
    "pair distance": "sentence pairs",
    "centroid distance": "centroids",
    "medoid distance": "centroids",
}
_ROW = ["distance", "version", "centring", "top_k", "layer"]
_DIFFERENCE = ("change", "change_low", "change_high", "change_p")


def distance_table(alignment: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the distances in the embedding space, mean and standard error over targets.

    Table 1 (section 4; PAPER step 12), with the control beside it. The standard error is that of
    the mean over targets (sample standard deviation / sqrt(targets)), as in the paper: how targets
    differ, not how sure each target's figure is. Of `all pairs` before steering, which no target
    changes, it is 0; of one target it is NaN, for there is no spread.

    Args:
        alignment: figures with the columns `results.KEYS`, `pre`, `post` and `control`.

    Returns:
        One row a `distance` (see `DISTANCES`), `version`, `centring` (`raw` or `global`), `top_k`
        and `layer`: `pre`, `post` and `control`, 1 - cos in [0, 2], each with `_sem`, and
        `targets`, how many. Between languages there are two versions, over `sentence pairs` and
        between `centroids`; a distance to the medoid is that of a language's mean, so there is one.
    """
    query, candidates, target = (alignment[name] for name in ("query", "candidates", "target"))
    which = np.select(
        [
            (query == "all") & (candidates == "all"),
            (query == target) & (candidates == "medoid"),
            (query == "others") & (candidates == "medoid"),
            (query == target) & (candidates == "others"),
        ],
        DISTANCES,
        default="",
    )
    rows = alignment.assign(distance=which, version=alignment["measure"].map(_VERSIONS))
    rows = rows[
        (rows["distance"] != "")
        & rows["version"].notna()
        & rows["centring"].isin(["raw", "global"])
    ]
    grouped = rows.groupby(_ROW, sort=False)
    table = grouped["target"].size().to_frame("targets")
    for name in ("pre", "post", "control"):
        table[name] = grouped[name].mean()
        table[f"{name}_sem"] = grouped[name].sem()
    columns = [f"{name}{end}" for name in ("pre", "post", "control") for end in ("", "_sem")]
    table = table[[*columns, "targets"]].reset_index()
    return table.sort_values(
        "distance", key=lambda names: names.map(DISTANCES.index), kind="stable", ignore_index=True
    )


def mixed_table(retrieval: pd.DataFrame, measure: str = "top-1") -> pd.DataFrame:
    """Tabulate retrieval before, after, and between the two: Pre, Post and Mixed.

    The shape of Table 3 (PAPER step 16), for paraphrases within a language and for pairs of
    languages alike.

    Args:
        retrieval: figures of `comparison.compare` with the columns `results.KEYS`, and `dataset`
            where there are several; of each pair the measure itself and the mixed one.
        measure: `top-1` or `MRR`.

    Returns:
        One row where both are: `dataset` if it is given, `results.KEYS` (`measure` being the one
        given), `sentences` (how many queries), `pre`, `post` and `mixed`, `control` and
        `mixed_control`, and `change` (post - pre) and `mixed_change` (mixed - pre), each with
        `_low`, `_high` and `_p`.
    """
    named = [name for name in ("dataset", *KEYS) if name in retrieval.columns]
    keys = [name for name in named if name != "measure"]
    values = ["post", "control", *_DIFFERENCE]
    same = retrieval[retrieval["measure"] == measure]
    mixed = retrieval.loc[retrieval["measure"] == MIXED + measure, [*keys, *values]]
    mixed = mixed.rename(columns={name: f"mixed_{name}" for name in values})
    mixed = mixed.rename(columns={"mixed_post": "mixed"})
    table = same[[*named, "sentences", "pre", *values]].merge(mixed, on=keys, validate="one_to_one")
    changes = [f"{kind}{name}" for kind in ("", "mixed_") for name in _DIFFERENCE]
    columns = [*named, "sentences", "pre", "post", "mixed", "control", "mixed_control", *changes]
    return table[columns]
