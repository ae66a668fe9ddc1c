"""What every corpus has, be its texts parallel or not: what finds experts knows no more of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from steer_plugin.corpora.text_forms import KnownTexts
from steer_plugin.errors import CorpusError


@runtime_checkable
class Corpus(Protocol):
    """Texts of several concepts, such as languages or labels.

    Attributes:
        ids: names of its rows, each once.
        groups: for each row the number of its group, such as a document; None where nothing is
            known of groups.
    """

    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102 (said above)

    @property
    def groups(self) -> tuple[int, ...] | None: ...  # noqa: D102

    @property
    def concepts(self) -> tuple[str, ...]:
        """Name the concepts, two or more."""

    @property
    def sentences(self) -> Mapping[str, tuple[str, ...]]:
        """Give each concept's texts in the order of `ids`."""

    @property
    def hash(self) -> str:
        """Name the content: a SHA-256 in hexadecimal digits."""

    @property
    def record(self) -> dict[str, Any]:
        """Say what a result records of the corpus, as JSON values: hash, concepts and counts."""

    def __len__(self) -> int:
        """Count the ids."""

    def labelled(self) -> tuple[list[str], Int64[np.ndarray, " text"]]:
        """List all texts, each with its concept as an index into `concepts`."""

    def translation_rows(self) -> Int64[np.ndarray, " text"] | None:
        """Say which parallel sentence each text of `labelled` is; None where none is parallel."""

    def select(self, concepts: Sequence[str]) -> "Corpus":
        """Keep these concepts, in this order."""

    def take(self, n: int) -> "Corpus":
        """Keep the first `n` texts of each concept."""

    def without(self, known: KnownTexts) -> "Corpus":
        """Drop what is known."""

    def split(self, seed: int = 0, find: float = 0.5) -> tuple["Corpus", "Corpus"]:
        """Divide into two sides, one to find experts on and one to judge them on."""


def choose_concepts(
    kind: str,
    source: str,
    present: Sequence[str],
    wanted: Sequence[str] | None,
    usual: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Give the concepts that are asked for, or those that a source gives by itself.

    Args:
        kind: what they are called, such as "labels".
        source: where they are, for errors.
        present: what there is.
        wanted: which, in this order; None for the usual ones.
        usual: what is taken where nothing is asked for; None for all.

    Raises:
        CorpusError: one is not there or named twice.
    """
    if isinstance(wanted, str):
        raise CorpusError(f"{kind} is the string {wanted!r}; give a list of {kind}")
    chosen = tuple((present if usual is None else usual) if wanted is None else wanted)
    absent = [name for name in chosen if name not in present]
    if absent:
        raise CorpusError(
            f"{source} has no {', '.join(absent)}; choose from: {', '.join(present) or 'nothing'}"
        )
    if len(set(chosen)) < len(chosen):
        raise CorpusError(f"{kind} repeats itself: {', '.join(chosen)}; name each once")
    return chosen
