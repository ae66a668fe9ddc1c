"""Texts that each have a label, of whatever concepts."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Int64

from steer_plugin.corpora.bitext import number_alike
from steer_plugin.corpora.corpus import choose_concepts
from steer_plugin.corpora.labelled_rows import read_rows
from steer_plugin.corpora.splits import divide
from steer_plugin.corpora.text_forms import KnownTexts, normal_form
from steer_plugin.errors import CorpusError

Bundled = Literal["questions", "registers"]
BUNDLED: tuple[Bundled, ...] = get_args(Bundled)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class LabelledCorpus:
    """Texts of two concepts or more, not translations of each other. Made by `read` and `bundled`.

    Two corpora are equal when concepts, ids, texts, labels and groups are the same in the same
    order.

    Attributes:
        concepts: names of the labels, in the order in which the source has them first.
        ids: one for each text, in the order of the source.
        texts: one for each of `ids`.
        labels: the concept of each text, as an index into `concepts`; as many texts a concept as
            there are, one at least.
        groups: for each text the number of its group, such as a document or author, counted from 0
            as they come; None where nothing is known of groups.
    """

    concepts: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...] | None = None

    @classmethod
    def read(
        cls,
        source: object,
        *,
        labels: Sequence[str] | None = None,
        split: str | None = None,
        group: str | None = None,
        against: object | None = None,
    ) -> "LabelledCorpus":
        """Read texts and their labels.

        Files are UTF-8, with or without a byte order mark; texts are kept to the letter. A label is
        text or a number. A text that stands under two labels counts for both, and a line of the log
        says so.

        Args:
            source: a `.tsv`, `.csv`, `.jsonl` or `.parquet` file with the columns `text` and
                `label`, and `id` where there is one; a `.json` file, from label to texts or a
                concept of ml-selfcond (Suau et al. 2022), whose negative sentences get the label
                "background"; a folder with a folder a label, and in that a `.txt` file a text; a
                mapping from label to texts, from label to `{id: text}`, or from column to cells; a
                Hugging Face `Dataset`, `DatasetDict` or streaming one, or the name of one as
                "hf:name" or "hf:name:split", a ClassLabel by its names.
            labels: which to read, in this order; None for all, in the order of the source.
            split: which split of a `DatasetDict` or named data set; None if there is only one.
            group: the column that says which texts belong together, as those of an author do; a
                text without an entry there is a group of its own. None knows of no groups.
            against: texts that the source's are told from, as the concept "background": a list of
                texts, a `.txt` file with a text a line, or any source. The source may then be a
                `.txt` or a table without labels, and its concept is called as the file.

        Raises:
            CorpusError: the source cannot be read, there are fewer than two labels, or a text or
                label is missing; the message names the file and the row.
        """
        name, rows = read_rows(source, split, group, against)
        concepts = _chosen(name, tuple(dict.fromkeys(row.label for row in rows)), labels)
        rows = [row for row in rows if row.label in concepts]
        first: dict[str, str] = {}
        for row in rows:
            earlier = first.setdefault(row.key, row.place)
            if earlier != row.place:
                raise CorpusError(
                    f"{row.place}: the id {row.key!r} stands in {earlier} already; give every text "
                    "its own"
                )
        forms: dict[str, set[str]] = {}
        for row in rows:
            forms.setdefault(normal_form(row.text), set()).add(row.label)
        shared = [form for form, under in forms.items() if len(under) > 1]
        if shared:
            LOG.warning(
                "%s: %d texts stand under several labels, such as %.60r; each counts for all",
                name,
                len(shared),
                shared[0],
            )
        return cls(
            concepts,
            tuple(row.key for row in rows),
            tuple(row.text for row in rows),
            tuple(concepts.index(row.label) for row in rows),
            None if group is None else number_alike(row.group for row in rows),
        )

    @classmethod
    def bundled(cls, name: Bundled, group: str = "topic") -> "LabelledCorpus":
        """Give one of the corpora that ship with the package.

        English sentences over fifteen topics, 150 of each label, written for this package and
        dedicated to the public domain (CC0-1.0). The topics, which both labels share, are the
        groups; they take turns, so that the first texts are of many.

        Args:
            name: "questions" (`question` and `statement`) or "registers" (`formal` and `casual`).
            group: the column of the groups.

        Raises:
            CorpusError: there is no such corpus.
        """
        if name not in BUNDLED:
            raise CorpusError(f"{name!r} is not bundled; choose one of: {', '.join(BUNDLED)}")
        with as_file(files("steer_plugin.data") / f"{name}.tsv") as path:
            return cls.read(path, group=group)

    @property
    def sentences(self) -> Mapping[str, tuple[str, ...]]:
        """Give each concept's texts in the order of `ids`."""
        return {
            concept: tuple(
                text for text, label in zip(self.texts, self.labels, strict=True) if label == number
            )
            for number, concept in enumerate(self.concepts)
        }

    @cached_property
    def hash(self) -> str:
        """Name the content: a SHA-256 in hexadecimal digits.

        It is taken over the JSON text `["labelled", concepts, ids, texts, labels]`, followed by the
        groups where there are any, in ASCII and without spaces; see `ParallelCorpus.hash`.
        """
        groups = [] if self.groups is None else [self.groups]
        content = ["labelled", self.concepts, self.ids, self.texts, self.labels, *groups]
        text = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def counts(self) -> Mapping[str, int]:
        """Count each concept's texts."""
        return {concept: self.labels.count(number) for number, concept in enumerate(self.concepts)}

    @property
    def record(self) -> dict[str, Any]:
        """Say what a result records of the corpus."""
        return {"hash": self.hash, "labels": dict(self.counts)}

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Say how much there is of what, without the texts."""
        counts = ", ".join(f"{count} {concept}" for concept, count in self.counts.items())
        groups = "" if self.groups is None else f" of {len(set(self.groups))} groups"
        return f"LabelledCorpus({len(self)} texts{groups}: {counts}; hash {self.hash[:12]})"

    def select(self, concepts: Sequence[str]) -> "LabelledCorpus":
        """Keep these concepts, in this order.

        Raises:
            CorpusError: a concept is not there or named twice, or fewer than two are left.
        """
        chosen = _chosen("the corpus", self.concepts, concepts)
        numbers = {self.concepts.index(concept): new for new, concept in enumerate(chosen)}
        kept = self._rows([row for row, label in enumerate(self.labels) if label in numbers])
        return LabelledCorpus(
            chosen,
            kept.ids,
            kept.texts,
            tuple(numbers[label] for label in kept.labels),
            kept.groups,
        )

    def take(self, n: int) -> "LabelledCorpus":
        """Keep the first `n` texts of each concept, or all where there are fewer.

        Raises:
            CorpusError: `n` is below 1, or more than any concept has.
        """
        most = max(self.counts.values())
        if not 1 <= n <= most:
            raise CorpusError(
                f"cannot take {n} texts of each label; give a number from 1 to {most}"
            )
        seen = [0] * len(self.concepts)
        rows = []
        for row, label in enumerate(self.labels):
            seen[label] += 1
            if seen[label] <= n:
                rows.append(row)
        return self._rows(rows)

    def without(self, known: KnownTexts) -> "LabelledCorpus":
        """Drop the texts that are known.

        Raises:
            CorpusError: a concept would have none left.
        """
        kept = self._rows([row for row, text in enumerate(self.texts) if text not in known])
        for concept, count in kept.counts.items():
            if not count:
                raise CorpusError(
                    f"all {self.counts[concept]} texts of {concept} are known already; give others"
                )
        return kept

    def split(self, seed: int = 0, find: float = 0.5) -> tuple["LabelledCorpus", "LabelledCorpus"]:
        """Divide the texts into two sides, one to find experts on and one to judge them on.

        As `ParallelCorpus.split` does with ids, and each concept by the same share: texts of one
        group, and equal ones, stay together.

        Args:
            seed: another seed, another division.
            find: share of each concept's texts on the find side, above 0 and below 1.

        Returns:
            `(find, judge)`.

        Raises:
            CorpusError: `find` is out of range, or a side would have no text of a concept.
        """
        forms = [normal_form(text) for text in self.texts]
        finding, judging = divide(
            self.ids,
            [forms] if self.groups is None else [forms, self.groups],
            [f"texts of {self.concepts[label]!r}" for label in self.labels],
            seed=seed,
            find=find,
            groups=None if self.groups is None else len(set(self.groups)),
        )
        return self._rows(finding), self._rows(judging)

    def labelled(self) -> tuple[list[str], Int64[np.ndarray, " text"]]:
        """List all texts, each with its concept as a label.

        Returns:
            The texts in the order of `ids`, and for each the position of its concept in `concepts`.
        """
        return list(self.texts), np.array(self.labels, dtype=np.int64)

    def translation_rows(self) -> None:
        """Say that no text is a translation of another."""
        return

    def _rows(self, rows: Sequence[int]) -> "LabelledCorpus":
        return LabelledCorpus(
            self.concepts,
            tuple(self.ids[row] for row in rows),
            tuple(self.texts[row] for row in rows),
            tuple(self.labels[row] for row in rows),
            None if self.groups is None else number_alike(self.groups[row] for row in rows),
        )


def _chosen(name: str, present: tuple[str, ...], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Give the labels that are asked for, or all.

    Raises:
        CorpusError: one is not there or named twice, or there are fewer than two.
    """
    chosen = choose_concepts("labels", name, present, wanted)
    if len(chosen) < 2:
        too_few = f"one label only ({chosen[0]})" if chosen else "no texts"
        raise CorpusError(
            f"{name}: {too_few}; a concept is told from others, so give at least two labels, or "
            "the texts it is told from in against="
        )
    return chosen
