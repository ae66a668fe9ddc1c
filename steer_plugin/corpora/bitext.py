"""Sentences and what should be found for them: translations, or paraphrases in one language."""

import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int

from steer_plugin.corpora.text_forms import KnownTexts
from steer_plugin.errors import CorpusError


def number_alike(items: Iterable[Hashable]) -> tuple[int, ...]:
    """Number items from 0 as they first come, equal ones alike."""
    numbers: dict[Hashable, int] = {}
    return tuple(numbers.setdefault(item, len(numbers)) for item in items)


def same_texts(texts: Sequence[str]) -> Int[np.ndarray, " text"]:
    """Number texts, so that two have the same number where they are equal to the letter."""
    return np.array(number_alike(texts), dtype=np.int64)


@dataclass(frozen=True, repr=False)
class Bitext:
    """Queries in one language, candidates in another or the same.

    Attributes:
        name: of the data set, such as `tatoeba`.
        query_language: FLORES-200 code.
        candidates_language: FLORES-200 code.
        queries: one or more sentences.
        candidates: sentences, those that nothing asks for among them.
        gold: for each query, the index of what it should find in `candidates`.

    Raises:
        CorpusError: there are no queries, or `gold` does not fit.
    """

    name: str
    query_language: str
    candidates_language: str
    queries: tuple[str, ...]
    candidates: tuple[str, ...]
    gold: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that each query has its candidate."""
        if not self.queries or len(self.gold) != len(self.queries):
            raise CorpusError(
                f"{self} has {len(self.queries)} queries and {len(self.gold)} answers; give one "
                "answer for each of at least one query"
            )
        wrong = [place for place in self.gold if not 0 <= place < len(self.candidates)]
        if wrong:
            raise CorpusError(
                f"{self} has {len(self.candidates)} candidates, and an answer at {wrong[0]}; give "
                f"places from 0 to {len(self.candidates) - 1}"
            )

    def __repr__(self) -> str:
        """Say which sentences these are, without them."""
        return f"{self.name} {self.query_language}-{self.candidates_language}"

    @cached_property
    def hash(self) -> str:
        """Name the content: a SHA-256 in hexadecimal digits; see `ParallelCorpus.hash`."""
        content = [
            self.query_language,
            self.candidates_language,
            self.queries,
            self.candidates,
            self.gold,
        ]
        text = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def same(self) -> Int[np.ndarray, " candidate"]:
        """Number the candidates, alike where texts are equal: any of these is what is sought."""
        return same_texts(self.candidates)

    def take(self, n: int) -> "Bitext":
        """Keep the first `n` queries, or all of fewer.

        Where queries and candidates are pairs, the candidates are cut alike; else all candidates
        stay, so that the search is as hard as it was.

        Raises:
            CorpusError: `n` is below 1.
        """
        if n < 1:
            raise CorpusError(f"cannot take {n} queries of {self}; give at least 1")
        pairs = self.gold == tuple(range(len(self.candidates)))
        candidates = self.candidates[:n] if pairs else self.candidates
        return replace(self, queries=self.queries[:n], candidates=candidates, gold=self.gold[:n])

    def without(self, known: KnownTexts) -> "Bitext | None":
        """Drop the queries and candidates whose texts are known; None where no query is left.

        A query goes with its answer, and an answer with the last query that asks for it.
        """
        new = [candidate not in known for candidate in self.candidates]
        asking = [
            place
            for place, (query, answer) in enumerate(zip(self.queries, self.gold, strict=True))
            if new[answer] and query not in known
        ]
        if not asking:
            return None
        unasked = set(self.gold) - {self.gold[place] for place in asking}
        kept = [place for place, is_new in enumerate(new) if is_new and place not in unasked]
        numbers = {place: number for number, place in enumerate(kept)}
        return replace(
            self,
            queries=tuple(self.queries[place] for place in asking),
            candidates=tuple(self.candidates[place] for place in kept),
            gold=tuple(numbers[self.gold[place]] for place in asking),
        )


def both_ways(
    name: str, languages: tuple[str, str], first: Sequence[str], second: Sequence[str]
) -> tuple[Bitext, Bitext]:
    """Make two bitexts of pairs of sentences, each side asking once."""
    gold = tuple(range(len(first)))
    language, other_language = languages
    return (
        Bitext(name, language, other_language, tuple(first), tuple(second), gold),
        Bitext(name, other_language, language, tuple(second), tuple(first), gold),
    )
