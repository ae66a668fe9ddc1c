"""Small embedding spaces for the tests of measures, easy and hard, and naive loops over them."""

from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]
Space = dict[str, Array]

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn", "jpn_Jpan")
TIE = 1e-9


def space(n: int = 7, d: int = 5, seed: int = 0, languages: int = 4) -> Space:
    """Make embeddings in which translations resemble each other, each language off centre."""
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(n, d))
    return {
        language: (meaning + 0.6 * generator.normal(size=(n, d)) + generator.normal(size=d)).astype(
            np.float32
        )
        for language in LANGUAGES[:languages]
    }


@st.composite
def hard_spaces(
    draw: st.DrawFn, least: int = 2, most: int = 7, lengths: tuple[float, ...] = (1, 3, 1e-20, 1e20)
) -> Space:
    """Draw embeddings with ties, duplicates, constant coordinates, huge and tiny lengths."""
    languages = draw(st.integers(2, 3))
    n = draw(st.integers(least, most))
    d = draw(st.integers(1, 4))
    row = st.lists(st.integers(-2, 2), min_size=d, max_size=d).filter(any)
    pool = draw(st.lists(row, min_size=1, max_size=n + 1))
    return {
        language: np.array(
            [
                np.array(draw(st.sampled_from(pool)), dtype=np.float64)
                * draw(st.sampled_from(lengths))
                for _ in range(n)
            ]
        )
        for language in LANGUAGES[:languages]
    }


def cosine(a: Array, b: Array) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.dot(a, b) / (np.sqrt(np.dot(a, a)) * np.sqrt(np.dot(b, b))))


def cosines(queries: Array, candidates: Array) -> Array:
    """Give the cosine of each query with each candidate, [query, candidate]."""
    q, c = queries.astype(np.float64), candidates.astype(np.float64)
    lengths = np.outer(np.sqrt((q * q).sum(1)), np.sqrt((c * c).sum(1)))
    return np.asarray((q @ c.T) / lengths)


def centred(embeddings: Space, centring: str) -> Space:
    wide = {language: rows.astype(np.float64) for language, rows in embeddings.items()}
    if centring == "raw":
        return wide
    if centring == "global":
        everything = np.concatenate(list(wide.values())).mean(0)
        return {language: rows - everything for language, rows in wide.items()}
    return {language: rows - rows.mean(0) for language, rows in wide.items()}


def ordered(embeddings: Space) -> list[tuple[str, str]]:
    return list(permutations(embeddings, 2))


def unordered(embeddings: Space) -> list[tuple[str, str]]:
    return list(combinations(embeddings, 2))


def drawn(weights: Array) -> Array:
    """Give the sentences of a resample, each as often as it was drawn."""
    n = len(weights)
    return np.repeat(np.arange(n), (n * weights).round().astype(int))


def value(frame: pd.DataFrame, **keys: str) -> float:
    """Read the one figure with these keys; plain lists, for pandas takes 20 times as long."""
    rows = zip(*(frame[name].tolist() for name in keys), frame["value"].tolist(), strict=True)
    (found,) = (number for *names, number in rows if names == list(keys.values()))
    return float(found)


def group(frame: pd.DataFrame, measure: str, centring: str, target: str | None = None) -> float:
    """Read the mean over all pairs, or over the target's."""
    query, candidates = ("all", "all") if target is None else (target, "others")
    return value(frame, measure=measure, centring=centring, query=query, candidates=candidates)
