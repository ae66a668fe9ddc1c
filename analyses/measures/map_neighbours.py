"""Whom a point lies nearest to, which a picture that keeps no distances still shows."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial import KDTree

_TIES = 16


def own_language_share(projection: pd.DataFrame) -> pd.DataFrame:
    """Compute how often the point nearest to a sentence is of the same language.

    Points that are equally near, up to 16, count in equal parts.

    Args:
        projection: as in `Results`, of one method.

    Returns:
        Columns target, top_k, condition and share (0..1; NaN of a single point).
    """
    rows = []
    for keys, points in projection.groupby(["target", "top_k", "condition"], sort=False):
        target, k, condition = keys
        share = _share(points[["x", "y"]].to_numpy(dtype=float), points["language"].to_numpy())
        rows.append({"target": target, "top_k": k, "condition": condition, "share": share})
    return pd.DataFrame(rows)


def _share(points: Float[np.ndarray, "point 2"], languages: np.ndarray) -> float:
    if len(points) < 2:
        return float("nan")
    near = min(_TIES + 1, len(points))
    distances, places = KDTree(points).query(points, k=near)
    others = places != np.arange(len(points))[:, None]
    nearest = np.where(others, distances, np.inf).min(1, keepdims=True)
    tied = others & (distances <= nearest)
    same = languages[places] == languages[:, None]
    return float(((same & tied).sum(1) / tied.sum(1)).mean())
