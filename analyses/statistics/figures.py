"""Figures as functions of weights on sentences: what they are of, and how several become one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

KEYS = ["measure", "centring", "query", "candidates"]
WHOLE = ("all", "all")

Key = tuple[str, str, str, str]
Pair = tuple[str, str]
Weights = Float[np.ndarray, "resample sentence"]
Replicates = Float[np.ndarray, "resample figure"]


@dataclass(frozen=True)
class Figures:
    """Some figures of one set of embeddings.

    Attributes:
        index: what each figure is, one row a figure, strings.
        sentences: how many sentences they are over.
        evaluate: from weights on sentences, each row summing to 1, to the figures.
    """

    index: pd.DataFrame
    sentences: int
    evaluate: Callable[[Weights], Replicates]

    def frame(self) -> pd.DataFrame:
        """Give the figures themselves, in a column `value` beside what they are."""
        even = np.full((1, self.sentences), 1 / self.sentences)
        return self.index.assign(value=self.evaluate(even)[0])


def groups(pairs: Sequence[Pair], target: str | None, *, ordered: bool) -> dict[Pair, list[int]]:
    """Say which pairs of languages each mean is over, by their places among the pairs.

    Args:
        pairs: of languages.
        target: the language that is steered towards; None leaves its mean out.
        ordered: whether the first of a pair is the query; then the target's pairs are those in
            which it is, and otherwise all that it is in.

    Returns:
        All pairs for `all`, `all`; the target's for `target`, `others`.
    """
    places = {WHOLE: list(range(len(pairs)))}
    if target is not None:
        places[target, "others"] = [
            place for place, pair in enumerate(pairs) if target in (pair[:1] if ordered else pair)
        ]
    return places


def group_means(
    values: Float[np.ndarray, "row pair"], places: Mapping[Pair, list[int]]
) -> Float[np.ndarray, "row group"]:
    """Average the pairs' figures over each group."""
    return np.stack([values[:, pair_places].mean(1) for pair_places in places.values()], axis=1)


def weighted_means(keys: Sequence[Key], values: Float[np.ndarray, "sentence figure"]) -> Figures:
    """Give figures that are means over sentences of a number each.

    Args:
        keys: what each figure is, in the order of `KEYS`.
        values: each sentence's numbers.
    """

    def evaluate(weights: Weights) -> Replicates:
        return np.asarray(weights @ values)

    return Figures(pd.DataFrame(keys, columns=KEYS), len(values), evaluate)


def joined(tables: Sequence[Figures]) -> Figures:
    """Put tables of figures over the same sentences below each other; at least one."""

    def evaluate(weights: Weights) -> Replicates:
        return np.concatenate([table.evaluate(weights) for table in tables], axis=1)

    index = pd.concat([table.index for table in tables], ignore_index=True)
    return Figures(index, tables[0].sentences, evaluate)
