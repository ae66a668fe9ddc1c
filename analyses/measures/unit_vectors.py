"""Embeddings as unit vectors, raw or with a shared component taken out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from steer_plugin.analyses.measures import blocks
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings

Centring = Literal["raw", "global", "language"]
CENTRINGS: tuple[Centring, ...] = get_args(Centring)

ROUNDING = 1e-12
"""What is left of a vector at most, as a share of its length, where all of it was subtracted."""

LONGEST = 1e140


@dataclass(frozen=True, eq=False)
class UnitVectors(Mapping[str, Float[np.ndarray, "sentence d_model"]]):
    """The unit vectors of each language, in float64, made each time they are asked for.

    What is kept beside the embeddings is one number a sentence and one vector a language, and with
    one centre for all as much as one language's unit vectors, so that embeddings may fill the
    memory. Only where all unit vectors fit into a block are they kept.

    Attributes:
        embeddings: language -> one row a sentence, the same sentences in each.
        centring: what was subtracted; see `unit_vectors`.
        centres: that, by language.
        norms: the lengths of what was left, by language.
    """

    embeddings: Embeddings
    centring: Centring
    centres: Mapping[str, Float[np.ndarray, " d_model"]]
    norms: Mapping[str, Float[np.ndarray, " sentence"]]

    def __getitem__(self, language: str) -> Float[np.ndarray, "sentence d_model"]:
        """Give the unit vectors of a language."""
        rows = self._kept.get(language)
        if rows is None:
            rows = self.columns(language, slice(None))
            if len(self) * rows.size <= blocks.ENTRIES:
                rows.flags.writeable = False
                self._kept[language] = rows
        return rows

    def __iter__(self) -> Iterator[str]:
        """Go through the languages."""
        return iter(self.embeddings)

    def __len__(self) -> int:
        """Count the languages."""
        return len(self.embeddings)

    @property
    def shape(self) -> tuple[int, int]:
        """How many sentences there are, and how many dimensions."""
        sentences, dimensions = next(iter(self.embeddings.values())).shape
        return sentences, dimensions

    def columns(self, language: str, chosen: slice) -> Float[np.ndarray, "sentence column"]:
        """Give some dimensions of the unit vectors of a language."""
        centred = self.embeddings[language][:, chosen] - self.centres[language][chosen]
        centred /= self.norms[language][:, None]
        return np.asarray(centred)

    def means(self) -> Float[np.ndarray, "language d_model"]:
        """Give each language's mean unit vector."""
        return np.stack([rows.mean(0) for rows in self.values()])

    def centre_shift(
        self, language: str, directions: Float[np.ndarray, "direction d_model"]
    ) -> Float[np.ndarray, "sentence direction"]:
        """Say how far each sentence draws the centre of a language along some directions.

        The derivative of the centre, a mean, by the weight of each sentence: 0 where nothing is
        subtracted. O(n d) time a direction.
        """
        if self.centring == "raw":
            return np.zeros((self.shape[0], len(directions)))
        if self.centring == "global":
            return np.asarray(self._shared_part @ directions.T)
        return np.asarray((self.embeddings[language] - self.centres[language]) @ directions.T)

    @cached_property
    def _kept(self) -> dict[str, Float[np.ndarray, "sentence d_model"]]:
        return {}

    @cached_property
    def _shared_part(self) -> Float[np.ndarray, "sentence d_model"]:
        """How far each sentence, over its translations, lies from the centre that all share."""
        part = np.zeros(self.shape)
        for name, rows in self.embeddings.items():
            part += rows - self.centres[name]
        return part / len(self)

    def mean_shift(
        self, language: str, directions: Float[np.ndarray, "direction d_model"]
    ) -> Float[np.ndarray, "sentence direction"]:
        """Say how far each sentence draws a language's mean unit vector along some directions.

        The derivative of the mean by the weight of each sentence, the centre moving too: a unit
        vector u = (x - c) / r changes with its centre by -(I - u u') / r (quotient rule). O(n d)
        time a direction.
        """
        rows, norms = self[language], self.norms[language][:, None]
        along = rows @ directions.T
        if self.centring == "raw":
            return np.asarray(along)
        turned = ((1 / norms).mean() * directions) - (along / norms).T @ rows / len(rows)
        return np.asarray(along - self.centre_shift(language, turned))


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


def check_alike(
    first: Mapping[str, Float[np.ndarray, "_ _"]],
    second: Mapping[str, Float[np.ndarray, "_ _"]],
    kinds: str,
) -> None:
    """Refuse two sets of embeddings that are not of the same languages and shapes.

    Args:
        first: language -> one row a sentence.
        second: the same.
        kinds: the two, as the message calls them.

    Raises:
        AnalysisError: they differ.
    """
    shapes = [
        {name: rows.shape for name, rows in embeddings.items()} for embeddings in (first, second)
    ]
    if shapes[0] != shapes[1]:
        raise AnalysisError(
            f"{kinds} differ: {shapes[0]} and {shapes[1]}; embed the same sentences in both "
            "conditions"
        )


def unit_vectors(embeddings: Embeddings, centring: Centring) -> UnitVectors:
    """Centre embeddings, then scale each to length 1, in float64.

    Setting the same units everywhere adds a component that all embeddings share, which brings raw
    cosines up though nothing aligned. `global` subtracts the mean over all languages, `language`
    each language's own mean.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each.
        centring: `raw` subtracts nothing.

    Raises:
        AnalysisError: fewer than two languages or sentences, languages that are not aligned, or an
            embedding that is zero, not finite or beyond 1e140, named by language and row.
    """
    _check(embeddings)
    means = {language: rows.mean(0, dtype=np.float64) for language, rows in embeddings.items()}
    shared = np.mean(list(means.values()), axis=0)
    centres, norms = {}, {}
    for language, rows in embeddings.items():
        centre = {"raw": np.zeros_like(shared), "global": shared, "language": means[language]}
        centres[language] = centre[centring]
        wide = rows.astype(np.float64)
        norms[language] = np.linalg.norm(wide - centres[language], axis=1)
        # A vector that centring leaves with nothing but rounding has no direction.
        lost = ~(norms[language] > ROUNDING * np.linalg.norm(wide, axis=1))
        if lost.any():
            raise AnalysisError(
                f"the embedding of {language} sentence {int(lost.argmax())} has no direction "
                f"({centring} centring): it is zero"
            )
    return UnitVectors(embeddings, centring, centres, norms)


def by_centring(
    embeddings: Embeddings, centrings: Sequence[Centring]
) -> dict[Centring, UnitVectors]:
    """Give `unit_vectors` once by each of some centrings, the last of which subtracts most."""
    ordered = sorted(set(centrings), key=CENTRINGS.index)
    return {centring: unit_vectors(embeddings, centring) for centring in ordered}


def _check(embeddings: Embeddings) -> None:
    if len(embeddings) < 2:
        raise AnalysisError(f"embeddings of {len(embeddings)} language; give at least two")
    shapes = {language: rows.shape for language, rows in embeddings.items()}
    if len(set(shapes.values())) != 1:
        raise AnalysisError(f"languages have embeddings of different shapes: {shapes}; align them")
    if next(iter(shapes.values()))[0] < 2:
        raise AnalysisError("every language has fewer than two sentences; give at least two")
    for language, rows in embeddings.items():
        fine = np.abs(rows).max(1, initial=0).astype(np.float64) < LONGEST
        if not fine.all():
            raise AnalysisError(
                f"the embedding of {language} sentence {int(fine.argmin())} is not finite, or too "
                "long to be squared; check the model's weights and dtype"
            )
