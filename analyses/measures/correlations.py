"""Do the languages that lie nearer retrieve better? Table 2 of Sundar et al. 2025."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import norm, pearsonr

from steer_plugin.analyses.statistics.comparison import ROUNDING, TAIL
from steer_plugin.analyses.statistics.figure_rows import is_pair

DISTANCES = ("pair distance", "centroid distance")
EVERY_TARGET = "all"
DEFINED = 3
"""Of fewer languages there is no r."""

FEWEST = 8
"""Of fewer languages there is no interval."""

CORRELATED = {
    "accuracy and distance, after": ("acc_post", "d_post"),
    "accuracy and distance, before": ("acc_pre", "d_pre"),
    "distance after and before": ("d_post", "d_pre"),
    "accuracy gained and distance lost": ("acc_gained", "d_lost"),
}
_GROUP = ["target", "top_k", "layer", "centring", "distance"]

Points = Float[np.ndarray, " point"]


def accuracy_and_distance(retrieval: pd.DataFrame, alignment: pd.DataFrame) -> pd.DataFrame:
    """Put each candidate language's accuracy beside its distance to the target.

    Args:
        retrieval: figures with the columns `results.KEYS`, `pre` and `post`; used is `top-1` from
            the target to each single language.
        alignment: the same; used are `pair distance` and `centroid distance` between the target and
            each single language, whichever of the two is named first.

    Returns:
        One row a `target`, `top_k`, `layer`, `centring` (those that both tables have), `distance`
        (the measure) and candidate `language`: `acc_pre`, `acc_post`, `d_pre`, `d_post`,
        `acc_gained` (post - pre) and `d_lost` (pre - post).
    """
    keys = ["target", "top_k", "layer", "centring", "language"]
    accuracies = retrieval[
        (retrieval["measure"] == "top-1") & (retrieval["query"] == retrieval["target"])
    ].rename(columns={"candidates": "language", "pre": "acc_pre", "post": "acc_post"})
    apart = alignment[is_pair(alignment) & alignment["measure"].isin(DISTANCES)]
    first = apart["query"] == apart["target"]
    apart = apart.assign(language=apart["candidates"].where(first, apart["query"]))
    apart = apart[first | (apart["candidates"] == apart["target"])].rename(
        columns={"measure": "distance", "pre": "d_pre", "post": "d_post"}
    )
    # A distance has no direction, so a pair that is given both ways counts once.
    apart = apart[[*keys, "distance", "d_pre", "d_post"]].drop_duplicates([*keys, "distance"])
    points = accuracies[[*keys, "acc_pre", "acc_post"]].merge(
        apart, on=keys, validate="one_to_many"
    )
    return points.assign(
        acc_gained=points["acc_post"] - points["acc_pre"],
        d_lost=points["d_pre"] - points["d_post"],
    )


def correlations(
    retrieval: pd.DataFrame,
    alignment: pd.DataFrame,
    *,
    seen: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Correlate accuracy, distance and their changes over candidate languages.

    Pearson's r over candidate languages (PAPER step 14, Sundar et al. 2025, arXiv 2502.15639, Table
    2), with the 95% interval of Fisher 1921 (Metron 1): tanh(arctanh r +- 1.96 / sqrt(n - 3)). The
    paper resamples languages; of few, such intervals hold the true r far too rarely (0.47 of the
    time with three, 0.88 with six). Fisher's holds it from `FEWEST` languages on where points are
    about normal; of fewer, the ends are NaN.

    Rows of one target have one point a candidate language. Rows of the target `all` pool the points
    of every target, as the paper's one row of figures a model may do (it leaves open what it
    pools). A pooled r also holds how the targets differ from each other, of which there are few, so
    it has no interval.

    Where one of the two does not vary, or fewer than 3 languages are there, the row says NaN.

    Args:
        retrieval: see `accuracy_and_distance`.
        alignment: see `accuracy_and_distance`.
        seen: the languages that the model saw in pre-training; None where that is not known.

    Returns:
        One row a `target`, `top_k`, `layer`, `centring`, `distance`, `languages` (`all`; also
        `seen` where `seen` is given) and `correlation` (see `CORRELATED`): `r` in [-1, 1], `r_low`,
        `r_high`, `n` (candidate languages) and `points` (as many, or more where targets are
        pooled).
    """
    points = accuracy_and_distance(retrieval, alignment)
    points = pd.concat([points, points.assign(target=EVERY_TARGET)], ignore_index=True)
    kept = {"all": np.full(len(points), fill_value=True)}
    if seen is not None:
        kept["seen"] = points["language"].isin(seen).to_numpy()
    rows = []
    for keys, group in points.groupby(_GROUP, sort=False):
        for languages, keep in kept.items():
            subset = group[keep[group.index]]
            rows += [
                (*keys, languages, *row)
                for row in _correlate(subset, pooled=keys[0] == EVERY_TARGET)
            ]
    figures = ["r", "r_low", "r_high", "n", "points"]
    return pd.DataFrame(rows, columns=[*_GROUP, "languages", "correlation", *figures])


def _correlate(
    points: pd.DataFrame, *, pooled: bool
) -> Iterator[tuple[str, float, float, float, int, int]]:
    languages = points["language"].nunique()
    for name, (x, y) in CORRELATED.items():
        x_values, y_values = (points[column].to_numpy(dtype=np.float64) for column in (x, y))
        r = low = high = float("nan")
        if languages >= DEFINED and _varies(x_values) and _varies(y_values):
            result = pearsonr(x_values, y_values)
            r = float(result.statistic)
            if not pooled:
                low, high = fisher_interval(r, languages)
        yield name, r, low, high, languages, len(points)


def fisher_interval(r: float, n: int) -> tuple[float, float]:
    """Give the ends of the 95% interval of Pearson's r; NaN of fewer than `FEWEST` points.

    Fisher 1921 (Metron 1): arctanh r is about normal, with variance 1 / (n - 3).

    Args:
        r: in [-1, 1].
        n: of how many independent points.
    """
    if n < FEWEST:
        return float("nan"), float("nan")
    with np.errstate(divide="ignore"):
        centre = np.arctanh(r)
    half = norm.isf(TAIL) / np.sqrt(n - 3)
    return float(np.tanh(centre - half)), float(np.tanh(centre + half))


def _varies(values: Points) -> bool:
    low, high = values.min(), values.max()
    return bool(high - low > ROUNDING * max(1, abs(low), abs(high)))
