"""A plane through the embedding space, to look at it before and after."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from steer_plugin.analyses.measures.unit_vectors import unit_vectors
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings

Method = Literal["pca", "umap"]

NEIGHBOURS = 15

NOT_INSTALLED = (
    "method 'umap' needs umap-learn, which is not installed: pip install 'steer-plugin[umap]', or "
    "take 'pca'"
)

Place = Callable[
    [Float[np.ndarray, "sentence d_model"]],
    Float[np.ndarray, "sentence 2"],
]


def project(
    before: Embeddings,
    conditions: Mapping[str, Embeddings],
    ids: Sequence[str],
    *,
    method: Method = "pca",
    seed: int = 0,
) -> pd.DataFrame:
    """Project embeddings onto a plane that is fitted to those before.

    One plane for all conditions, so that what moves in the picture moved in the space.

    Args:
        before: the embeddings that the plane is fitted to.
        conditions: the embeddings to draw, `before` among them if wanted.
        ids: the sentences' ids, in the order of the rows.
        method: `pca` takes the first two principal components; `umap` (McInnes et al. 2018,
            arXiv 1802.03426) keeps the nearest by cosine near, 15 or as many as there are, and puts
            the other conditions where it would have put them. Distances in it mean nothing.
        seed: of UMAP, which runs on one thread so that the seed settles the picture; principal
            components need none.

    Returns:
        One row a sentence: `condition`, `language`, `id`, `x`, `y` (activation units with `pca`,
        none with `umap`), and with `pca` `explained`, the share of the variance before that lies in
        the plane.

    Raises:
        AnalysisError: with `umap`, umap-learn is not installed; or see `unit_vectors`.
    """
    explained = {}
    if method == "pca":
        place, explained["explained"] = _principal(before)
    else:
        place = _umap(before, conditions, seed)
    frames = []
    for condition, embeddings in conditions.items():
        plane = place(np.concatenate(list(embeddings.values())))
        frames.append(
            pd.DataFrame(
                {
                    "condition": condition,
                    "language": np.repeat(list(embeddings), len(ids)),
                    "id": [*ids] * len(embeddings),
                    "x": plane[:, 0],
                    "y": plane[:, 1],
                    **explained,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def described(method: Method, *, seed: int) -> str:
    """Say how `project` makes its plane, for the record of a run."""
    if method == "pca":
        return "first two principal components of the embeddings before"
    return (
        f"UMAP of the embeddings before, by cosine, {NEIGHBOURS} neighbours, seed {seed}, "
        f"umap-learn {version('umap-learn')}"
    )


def check_method(method: Method) -> None:
    """Refuse, before any long work, a method whose package is not installed.

    Raises:
        AnalysisError: `umap` is asked for without umap-learn.
    """
    if method == "umap" and find_spec("umap") is None:
        raise AnalysisError(NOT_INSTALLED)


def _principal(before: Embeddings) -> tuple[Place, float]:
    stacked = np.concatenate(list(before.values())).astype(np.float64)
    centre = stacked.mean(0)
    _, spread, axes = np.linalg.svd(stacked - centre, full_matrices=False)
    explained = float((spread[:2] ** 2).sum() / (spread**2).sum())
    return lambda rows: (rows - centre) @ axes[:2].T, explained


def _umap(before: Embeddings, conditions: Mapping[str, Embeddings], seed: int) -> Place:
    for embeddings in (before, *conditions.values()):
        unit_vectors(embeddings, "raw")
    stacked = np.concatenate(list(before.values()))
    layout = _umap_module().UMAP(
        n_components=2,
        n_neighbors=min(NEIGHBOURS, len(stacked) - 1),
        metric="cosine",
        random_state=seed,
        transform_seed=seed,
        n_jobs=1,
    )
    with _same_threads():
        layout.fit(stacked)

    def place(rows: Float[np.ndarray, "sentence d_model"]) -> Float[np.ndarray, "sentence 2"]:
        with _same_threads():
            return np.asarray(layout.transform(rows), dtype=np.float64)

    return place


@contextmanager
def _same_threads() -> Iterator[None]:
    """Leave torch as many threads as it had: numba's OpenMP pool sets them for the process."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _umap_module() -> Any:
    try:
        with warnings.catch_warnings():
            # It announces a part of itself that needs Tensorflow and that we do not use.
            warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
            import umap
    except ModuleNotFoundError as error:
        raise AnalysisError(NOT_INSTALLED) from error
    _keep_compiled(umap.layouts, umap.umap_, umap.utils)
    return umap


def _keep_compiled(*modules: ModuleType) -> None:
    """Let numba keep what it compiles of them: without that each process takes 20 s for it.

    What UMAP compiles twice of one function, for one thread and for several, numba keeps under one
    name, and would give either for the other.
    """
    from numba.core.dispatcher import Dispatcher

    for module in modules:
        functions = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
        compiled = Counter(function.py_func for function in functions)
        for function in functions:
            if compiled[function.py_func] == 1:
                with suppress(RuntimeError):  # there is no folder to keep it in
                    function.enable_caching()
