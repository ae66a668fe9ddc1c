"""Embeddings as unit vectors, raw or with a shared component taken out."""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from steer_plugin.embeddings import Embeddings
from steer_plugin.errors import AnalysisError

Centring = Literal["raw", "global", "language"]
CENTRINGS: tuple[Centring, ...] = get_args(Centring)

UnitVectors = Mapping[str, Float[np.ndarray, "sentence d_model"]]


def check_target(embeddings: Embeddings, target: str | None) -> None:
    """Refuse a target that is none of the languages.

    Raises:
        AnalysisError: there are no embeddings of `target`.
    """
    if target is not None and target not in embeddings:
        raise AnalysisError(
            f"there are no embeddings of the target {target}; choose one of: "
            f"{', '.join(embeddings)}"
        )


def unit_vectors(
    embeddings: Embeddings, centring: Centring
) -> dict[str, Float[np.ndarray, "sentence d_model"]]:
    """Centre embeddings, then scale each to length 1, in float64.

    Setting the same units everywhere adds a component that all embeddings share, which brings raw
    cosines up though nothing aligned. `global` subtracts the mean over all languages, `language`
    each language's own mean.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        centring: `raw` subtracts nothing.

    Raises:
        AnalysisError: fewer than two languages or sentences, languages that are not aligned, or an
            embedding that is zero or not finite, named by language and row.
    """
    if len(embeddings) < 2:
        raise AnalysisError(f"embeddings of {len(embeddings)} language; give at least two")
    shapes = {language: rows.shape for language, rows in embeddings.items()}
    if len(set(shapes.values())) != 1:
        raise AnalysisError(f"languages have embeddings of different shapes: {shapes}; align them")
    if next(iter(shapes.values()))[0] < 2:
        raise AnalysisError("every language has fewer than two sentences; give at least two")
    for language, rows in embeddings.items():
        finite = np.isfinite(rows).all(1)
        if not finite.all():
            raise AnalysisError(
                f"the embedding of {language} sentence {int(finite.argmin())} is not finite; check "
                "the model's weights and dtype"
            )
    wide = {language: rows.astype(np.float64) for language, rows in embeddings.items()}
    shared = np.mean([rows.mean(0) for rows in wide.values()], axis=0)
    result = {}
    for language, rows in wide.items():
        centre = {"raw": 0.0, "global": shared, "language": rows.mean(0)}[centring]
        centred = rows - centre
        norms = np.linalg.norm(centred, axis=1)
        scale = np.linalg.norm(rows, axis=1)
        # A vector that centring leaves with nothing but rounding has no direction.
        lost = ~(norms > 1e-12 * scale)
        if lost.any():
            raise AnalysisError(
                f"the embedding of {language} sentence {int(lost.argmax())} has no direction "
                f"({centring} centring): it is zero"
            )
        result[language] = centred / norms[:, None]
    return result
