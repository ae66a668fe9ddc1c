"""A plane through the embedding space, to look at it before and after."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from steer_plugin.embeddings import Embeddings


def project(
    before: Embeddings, conditions: Mapping[str, Embeddings], ids: Sequence[str]
) -> pd.DataFrame:
    """Project embeddings onto the first two principal components of those before.

    One plane for all conditions, so that what moves in the picture moved in the space.

    Args:
        before: the embeddings that the plane is fitted to.
        conditions: the embeddings to draw, `before` among them if wanted.
        ids: the sentences' ids, in the order of the rows.

    Returns:
        One row a sentence: `condition`, `language`, `id`, `x`, `y` (activation units), and
        `explained`, the share of the variance before that lies in the plane.
    """
    stacked = np.concatenate(list(before.values())).astype(np.float64)
    centre = stacked.mean(0)
    _, spread, axes = np.linalg.svd(stacked - centre, full_matrices=False)
    explained = float((spread[:2] ** 2).sum() / (spread**2).sum())
    frames = []
    for condition, embeddings in conditions.items():
        for language, rows in embeddings.items():
            plane = (rows - centre) @ axes[:2].T
            frames.append(
                pd.DataFrame(
                    {
                        "condition": condition,
                        "language": language,
                        "id": list(ids),
                        "x": plane[:, 0],
                        "y": plane[:, 1],
                        "explained": explained,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)
