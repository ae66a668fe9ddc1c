"""Figures with what each group of sentences adds to them, from which all uncertainty follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, compress

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from steer_plugin.errors import AnalysisError

KEYS = ["measure", "centring", "query", "candidates"]
WHOLE = ("all", "all")

Key = tuple[str, str, str, str]
Pair = tuple[str, str]
Groups = Int[np.ndarray, " _"] | Sequence[int]
"""A number a sentence, equal where sentences hang together."""
Values = Float[np.ndarray, " figure"]
Influence = Float[np.ndarray, "fold group figure"]

FOLDS = 4
"""In how many folds sentences are judged by what others make of them; see `Figures`."""


@dataclass(frozen=True)
class Figures:
    """Some figures of one set of embeddings, and their first-order dependence on the sentences.

    Attributes:
        keys: what each figure is, in the order of `KEYS`.
        values: the figures; NaN where one is not defined.
        influence: how much each figure owes to each group of sentences: the figure less what it
            would be without the group, to first order (Efron 1982, "The Jackknife, the Bootstrap
            and Other Resampling Plans", chapters 3 and 6). Each column sums to 0. NaN where no
            first-order term describes how a figure varies. There are `FOLDS` of them, alike but
            where a group acts through others, as a candidate does through those that ask: of that,
            each has what one fold of the others makes of it. The products of two are free of the
            chance of who asks, which a square would count as variance: the delete-one jackknife
            counts interactions twice (Efron and Stein 1981, Annals of Statistics 9).
        sentences: how many they are over.
    """

    keys: tuple[Key, ...]
    values: Values
    influence: Influence
    sentences: int

    @cached_property
    def index(self) -> pd.DataFrame:
        """What each figure is, one row a figure."""
        return pd.DataFrame(self.keys, columns=KEYS)

    def frame(self) -> pd.DataFrame:
        """Give the figures themselves, in a column `value` beside what they are."""
        return self.index.assign(value=self.values)

    def of(self, chosen: Sequence[bool] | pd.Series) -> "Figures":
        """Keep the figures that are chosen, one truth value a figure."""
        keep = np.asarray(chosen, dtype=bool)
        keys = tuple(compress(self.keys, keep))
        influence = self.influence[:, :, keep]
        if self.influence.strides[0] == 0:
            influence = np.broadcast_to(self.influence[0][:, keep], influence.shape)
        return Figures(keys, self.values[keep], influence, self.sentences)

    def unsure(self) -> "Figures":
        """Give the same figures without influence, where that of these is not known."""
        return replace(self, influence=np.full_like(self.influence, np.nan))


def group_numbers(sentences: int, groups: Groups | None) -> Int[np.ndarray, " sentence"]:
    """Number the groups from 0; without any, each sentence is one of its own.

    Raises:
        AnalysisError: there is not one group a sentence, or there are fewer than two.
    """
    if groups is None:
        return np.arange(sentences)
    if len(groups) != sentences:
        raise AnalysisError(
            f"{len(groups)} groups were given for {sentences} sentences; give one a sentence"
        )
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise AnalysisError(
            f"all {sentences} sentences are of one group, so nothing tells how figures vary; give "
            "sentences of at least two groups, or no groups"
        )
    return np.asarray(numbers)


def spread(
    totals: Float[np.ndarray, "*fold group figure"], groups: Int[np.ndarray, " sentence"]
) -> Float[np.ndarray, "*fold sentence figure"]:
    """Give each sentence an even share of what is its group's; `groups` are numbers from 0."""
    return np.asarray(totals[..., groups, :] / np.bincount(groups)[groups, None])


def figures_of(
    keys: Sequence[Key],
    values: Values,
    gradient: Float[np.ndarray, "*fold sentence figure"],
    groups: Groups | None,
) -> Figures:
    """Put figures together with how each sentence's weight moves them.

    Args:
        keys: what each figure is, in the order of `KEYS`.
        values: the figures at even weights.
        gradient: their derivative by the weight of each sentence, up to a constant a figure; one
            for each fold of the others where these differ, see `Figures`.
        groups: of the sentences; None where each is one of its own.

    Raises:
        AnalysisError: there is not one key a figure, or one is not four words; or see
            `group_numbers`.
    """
    _check_keys(keys, len(values))
    sentences = gradient.shape[-2]
    numbers = group_numbers(sentences, groups)
    centred = (gradient - gradient.mean(-2, keepdims=True)) / sentences
    if groups is not None:
        order = np.argsort(numbers, kind="stable")
        starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        centred = np.add.reduceat(centred[..., order, :], starts, axis=-2)
    influence = np.broadcast_to(centred, (FOLDS, *centred.shape[-2:]))
    return Figures(tuple(keys), values, influence, sentences)


def _check_keys(keys: Sequence[Key], figures: int) -> None:
    if len(keys) != figures:
        raise AnalysisError(f"{len(keys)} keys were given for {figures} figures; give one a figure")
    for key in keys:
        if len(key) != len(KEYS) or not all(isinstance(word, str) for word in key):
            raise AnalysisError(
                f"{key!r} is no key of a figure; give its {', '.join(KEYS[:-1])} and {KEYS[-1]}, "
                "four words"
            )


def weighted_means(
    keys: Sequence[Key],
    values: Float[np.ndarray, "sentence figure"],
    groups: Groups | None = None,
) -> Figures:
    """Give figures that are means over sentences of a number each.

    Args:
        keys: what each figure is, in the order of `KEYS`.
        values: each sentence's numbers.
        groups: of the sentences; None where each is one of its own.
    """
    return figures_of(keys, values.mean(0), values, groups)


def groups_of_pairs(
    pairs: Sequence[Pair], target: str | None, *, ordered: bool
) -> dict[Pair, list[int]]:
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


def pair_means(
    values: Float[np.ndarray, "*rows pair"], places: Mapping[Pair, list[int]]
) -> Float[np.ndarray, "*rows mean"]:
    """Average the pairs' figures over each set of pairs."""
    return np.stack([values[..., chosen].mean(-1) for chosen in places.values()], axis=-1)


def joined(tables: Sequence[Figures]) -> Figures:
    """Put tables of figures over the same sentences below each other; at least one."""
    influences = [table.influence for table in tables]
    if all(influence.strides[0] == 0 for influence in influences):
        # The folds are alike, so that one stands for all.
        single = np.concatenate([influence[0] for influence in influences], axis=1)
        influence = np.broadcast_to(single, (FOLDS, *single.shape))
    else:
        influence = np.concatenate(influences, axis=2)
    return Figures(
        tuple(chain.from_iterable(table.keys for table in tables)),
        np.concatenate([table.values for table in tables]),
        influence,
        tables[0].sentences,
    )
