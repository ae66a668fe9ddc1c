"""Do the languages that lie nearer retrieve better? Table 2 of Sundar et al. 2025."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import pearsonr

from steer_plugin.analyses.statistics.bootstrap import RESAMPLES, ROUNDING, interval, resamples
from steer_plugin.analyses.statistics.figure_rows import is_pair
from steer_plugin.analyses.statistics.figures import Weights

DISTANCES = ("pair distance", "centroid distance")
EVERY_TARGET = "all"
FEWEST = 3

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
    count: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlate accuracy, distance and their changes over candidate languages.

    Pearson's r with the 95% percentile interval of a bootstrap over candidate languages (PAPER step
    14, Sundar et al. 2025, arXiv 2502.15639, Table 2). Rows of one target have one point a
    candidate language. Rows of the target `all` pool the points of every target, as the paper's one
    row of figures a model may do (it leaves open what it pools); there each resample draws a
    language with its points for all targets, which hang together. A pooled r also holds how the
    targets differ from each other.

    A resample in which one of the two does not vary has no r, is left out, and counted. Where one
    of the two does not vary at all, or fewer than 3 languages are there, the row says NaN.

    Args:
        retrieval: see `accuracy_and_distance`.
        alignment: see `accuracy_and_distance`.
        seen: the languages that the model saw in pre-training; None where that is not known.
        count: how many resamples.
        seed: of the resamples.

    Returns:
        One row a `target`, `top_k`, `layer`, `centring`, `distance`, `languages` (`all`; also
        `seen` where `seen` is given) and `correlation` (see `CORRELATED`): `r` in [-1, 1], `r_low`,
        `r_high`, `n` (candidate languages), `points` (as many, or more where targets are pooled)
        and `left_out` (resamples without r; all, where there is no r).
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
            rows += [(*keys, languages, *row) for row in _correlate(subset, count, seed)]
    figures = ["r", "r_low", "r_high", "n", "points", "left_out"]
    return pd.DataFrame(rows, columns=[*_GROUP, "languages", "correlation", *figures])


def _correlate(
    points: pd.DataFrame, count: int, seed: int
) -> Iterator[tuple[str, float, float, float, int, int, int]]:
    cluster, languages = pd.factorize(points["language"])
    sizes = len(languages), len(points)
    enough = len(languages) >= FEWEST
    if enough:
        weights = resamples(len(languages), count=count, seed=seed)[:, cluster]
        weights /= weights.sum(1, keepdims=True)
    everything = np.ones((1, len(points)))
    for name, (x, y) in CORRELATED.items():
        x_values, y_values = (points[column].to_numpy(dtype=np.float64) for column in (x, y))
        if not enough or not (_varies(x_values, everything) & _varies(y_values, everything))[0]:
            yield name, np.nan, np.nan, np.nan, *sizes, count
            continue
        replicates = pearson(x_values, y_values, weights)
        low, high = interval(replicates[:, None])[:, 0]
        r = float(pearsonr(x_values, y_values).statistic)
        yield name, r, float(low), float(high), *sizes, int(np.isnan(replicates).sum())


def pearson(x: Points, y: Points, weights: Weights) -> Float[np.ndarray, " resample"]:
    """Give Pearson's r of weighted points, which scipy's has no weights for.

    Args:
        x: one number a point.
        y: one number a point.
        weights: of the points, each row summing to 1.

    Returns:
        One r in [-1, 1] a row of weights; NaN where the points that have weight do not vary.
    """
    defined = _varies(x, weights) & _varies(y, weights)
    weights = weights[defined]
    dx, dy = (values - (weights @ values)[:, None] for values in (x, y))
    spread = np.sqrt((weights * dx**2).sum(1) * (weights * dy**2).sum(1))
    r = np.full(len(defined), np.nan)
    r[defined] = np.clip((weights * dx * dy).sum(1) / spread, -1, 1)
    return r


def _varies(values: Points, weights: Weights) -> Bool[np.ndarray, " resample"]:
    drawn = weights > 0
    low = np.where(drawn, values, np.inf).min(1)
    high = np.where(drawn, values, -np.inf).max(1)
    return np.asarray(high - low > ROUNDING * np.maximum(1, np.maximum(abs(low), abs(high))))
