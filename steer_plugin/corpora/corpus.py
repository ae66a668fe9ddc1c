"""What every corpus has, be its texts parallel or not: what finds experts knows no more of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from steer_plugin.corpora.text_forms import KnownTexts


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
