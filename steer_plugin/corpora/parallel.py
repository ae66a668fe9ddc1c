"""Sentences by language, aligned by id."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from jaxtyping import Int64

from steer_plugin.corpora.bitext import number_alike, same_texts
from steer_plugin.corpora.sentence_ids import align, choose_languages
from steer_plugin.corpora.sources import read_source
from steer_plugin.corpora.splits import divide
from steer_plugin.corpora.text_forms import KnownTexts, normal_form
from steer_plugin.errors import CorpusError


@dataclass(frozen=True, repr=False)
class ParallelCorpus:
    """The same sentences in two languages or more. Made by `read` and `everyday`.

    Two corpora are equal when languages, ids, texts and groups are the same in the same order.

    Attributes:
        languages: names such as `eng_Latn`, in the order of the source.
        ids: one for each sentence, in the order of the source.
        texts: for each of `languages`, its sentences in the order of `ids`.
        groups: for each sentence the number of its group, such as a document or topic, counted from
            0 as they come; None where nothing is known of groups.
    """

    languages: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    groups: tuple[int, ...] | None = None

    @classmethod
    def read(
        cls,
        source: object,
        *,
        languages: Sequence[str] | None = None,
        split: str | None = None,
        group: str | None = None,
    ) -> "ParallelCorpus":
        """Read sentences that are translations of each other.

        Files are UTF-8, with or without a byte order mark; texts are kept to the letter. A table
        (TSV, CSV, JSONL, parquet, `datasets.Dataset`) is either wide, with the column `id` and one
        column a language, or long, with the columns `id`, `language` and `text`, or with
        `iso_639_3` and `iso_15924` for the language, as in FLORES+. Without `languages`, the
        language columns of a wide table, and of a mapping that has any, are those named like
        `eng_Latn` (ISO 639-3 and ISO 15924); a line of the log names the others, or what is taken
        for languages where a mapping has none so named. Quotation marks in a TSV are text, unless
        all its cells are quoted as pandas does it.

        Args:
            source: a folder of FLORES-200 or FLORES+, or of one of its splits (docs/data.md shows
                the layouts; the lines of text files are numbered from 1); a `.tsv`, `.csv`,
                `.jsonl` or `.parquet` file; a mapping from language to sentences (with ids under
                `id`, or else counted from 1) or to `{id: sentence}`; a Hugging Face `Dataset` or
                `DatasetDict`, or the name of one as "hf:name" or "hf:name:split".
            languages: which to read, in this order; None for all, in the order of the source.
            split: which split of a folder, `DatasetDict` or named data set; None if there is only
                one.
            group: the column that says which sentences belong together, as those of a document do;
                a sentence without an entry there is a group of its own. None takes the `URL` that
                FLORES-200 has in `metadata_dev.tsv` and FLORES+ in its tables, where it is there,
                and knows of no groups elsewhere.

        Raises:
            CorpusError: the source cannot be read or its sentences are not aligned, or translations
                are of different groups; the message names the file and the row.
        """
        chosen, ids, texts, labels = align(read_source(source, split, group), languages, group)
        return cls(chosen, ids, texts, None if labels is None else number_alike(labels))

    @classmethod
    def everyday(cls, group: str = "topic") -> "ParallelCorpus":
        """Give the corpus that ships with the package.

        400 sentences over twenty everyday topics, written for this package and dedicated to the
        public domain (CC0-1.0), in English, German, French, Spanish, Japanese, Russian and
        Chinese. Its topics take turns, so that the first sentences are of many.
        """
        with as_file(files("steer_plugin.data") / "everyday.tsv") as path:
            return cls.read(path, group=group)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Name the languages: each is a concept."""
        return self.languages

    @property
    def sentences(self) -> Mapping[str, tuple[str, ...]]:
        """Give each language's sentences in the order of `ids`."""
        return dict(zip(self.languages, self.texts, strict=True))

    @property
    def same(self) -> Mapping[str, Int64[np.ndarray, " sentence"]]:
        """Number each language's sentences, alike where texts are equal: each is as right."""
        return {language: same_texts(texts) for language, texts in self.sentences.items()}

    @cached_property
    def hash(self) -> str:
        """Name the content: a SHA-256 in hexadecimal digits.

        It is taken over the JSON text `[languages, ids, texts]`, followed by the groups where there
        are any, in ASCII and without spaces, so no two contents share an encoding. The order of
        languages and ids counts: the same hash means the same sentence in the same row with the
        same label.
        """
        groups = [] if self.groups is None else [self.groups]
        content = json.dumps([self.languages, self.ids, self.texts, *groups], separators=(",", ":"))
        return hashlib.sha256(content.encode("ascii")).hexdigest()

    @property
    def record(self) -> dict[str, Any]:
        """Say what a result records of the corpus."""
        return {"hash": self.hash, "languages": list(self.languages), "sentences": len(self)}

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Say how much there is of what, without the sentences."""
        languages = ", ".join(self.languages)
        groups = "" if self.groups is None else f" of {len(set(self.groups))} groups"
        return (
            f"ParallelCorpus({len(self)} sentences{groups} in {languages}; hash {self.hash[:12]})"
        )

    def select(self, languages: Sequence[str]) -> "ParallelCorpus":
        """Keep these languages, in this order.

        Raises:
            CorpusError: a language is not there or named twice, or fewer than two are left.
        """
        chosen = choose_languages("the corpus", self.languages, languages)
        sentences = self.sentences
        texts = tuple(sentences[language] for language in chosen)
        return type(self)(chosen, self.ids, texts, self.groups)

    def take(self, n: int) -> "ParallelCorpus":
        """Keep the first `n` ids.

        Raises:
            CorpusError: `n` is not in `1..len(self)`.
        """
        if not 1 <= n <= len(self):
            raise CorpusError(f"cannot take {n} sentences; give a number from 1 to {len(self)}")
        return self._rows(range(n))

    def without(self, known: KnownTexts) -> "ParallelCorpus":
        """Drop the ids of which a sentence, in whatever language, is known."""
        rows = (zip(*self.texts, strict=True)) if self.texts else ()
        new = [number for number, row in enumerate(rows) if not any(text in known for text in row)]
        return self._rows(new)

    def split(self, seed: int = 0, find: float = 0.5) -> tuple["ParallelCorpus", "ParallelCorpus"]:
        """Divide the ids into two sides, one to find experts on and one to judge them on.

        Ids are ordered by the SHA-256 of seed and id, and the first ones are the find side: the
        same ids and seed give the same sides, in the same order, on every machine and from every
        order of rows. Ids of one group, or that share a sentence, in whatever languages, directly
        or through others, stay together: such a cluster is on the find side where it still fits, so
        that side may be smaller than asked but never larger. Sentences are shared where they look
        the same; see `steer_plugin.corpora.text_forms.normal_form`.

        Args:
            seed: another seed, another division.
            find: share of the ids on the find side, above 0 and below 1.

        Returns:
            `(find, judge)`.

        Raises:
            CorpusError: `find` is out of range, or a side would be empty.
        """
        forms = [[normal_form(text) for text in sentences] for sentences in self.texts]
        sides = divide(
            self.ids,
            forms if self.groups is None else [*forms, self.groups],
            ["sentences"] * len(self),
            seed=seed,
            find=find,
            groups=None if self.groups is None else len(set(self.groups)),
        )
        finding, judging = map(self._rows, sides)
        return finding, judging

    def labelled(self) -> tuple[list[str], Int64[np.ndarray, " sentence"]]:
        """List all sentences, language after language, each with its language as a label.

        Returns:
            The sentences, and for each the position of its language in `languages`.
        """
        texts = [text for sentences in self.texts for text in sentences]
        labels = np.repeat(np.arange(len(self.languages), dtype=np.int64), len(self))
        return texts, labels

    def translation_rows(self) -> Int64[np.ndarray, " sentence"]:
        """Say which of `ids` each sentence of `labelled` is, by its place."""
        return np.tile(np.arange(len(self), dtype=np.int64), len(self.languages))

    def _rows(self, rows: Sequence[int]) -> "ParallelCorpus":
        return type(self)(
            self.languages,
            tuple(self.ids[row] for row in rows),
            tuple(tuple(sentences[row] for row in rows) for sentences in self.texts),
            None if self.groups is None else number_alike(self.groups[row] for row in rows),
        )
