"""Candidates by the lists of FAISS's inverted file, a few of which hold most of the nearest."""

from importlib.util import find_spec
from typing import Any

import numpy as np
from jaxtyping import Float, Int

LISTS = 1024
TRAINED_ON = 64
"""How many candidates the centre of a list is trained on."""


def is_installed() -> bool:
    """Say whether FAISS is there (extra `faiss`)."""
    return find_spec("faiss") is not None


def empty_lists(sample: Float[np.ndarray, "candidate d_model"]) -> Any:
    """Train an inverted file by inner product on unit vectors in float32, one or more a list."""
    import faiss

    dimensions = sample.shape[1]
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(dimensions), dimensions, LISTS, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, TRAINED_ON
    index.train(sample)
    return index


def probe(
    index: Any, asked: Float[np.ndarray, "query d_model"], k: int, lists: int
) -> Int[np.ndarray, "query k"]:
    """Give the places of the k nearest in each query's so many lists; -1 where they hold fewer."""
    index.nprobe = lists
    _, places = index.search(asked, k)
    return np.asarray(places)
