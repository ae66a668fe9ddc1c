"""Sentences by language, aligned by id."""

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from steer_plugin.corpus_readers import Lists, Table, read_dataset, read_mapping, read_path
from steer_plugin.errors import CorpusError

# ISO 639-3 and ISO 15924, as FLORES-200 joins them.
LANGUAGE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")

# Languages, ids, and the sentences of each language.
_Aligned = tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, ...], ...]]


@dataclass(frozen=True, repr=False)
class ParallelCorpus:
    """The same sentences in two languages or more. Made by `read` and `everyday`.

    Two corpora are equal when their languages, ids and texts are the same in the same order.

    Attributes:
        languages: names such as `eng_Latn`, in the order of the source.
        ids: one for each sentence, in the order of the source.
        texts: for each of `languages`, its sentences in the order of `ids`.
    """

    languages: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    @classmethod
    def read(
        cls,
        source: object,
        *,
        languages: Sequence[str] | None = None,
        split: str | None = None,
    ) -> "ParallelCorpus":
        """Read sentences that are translations of each other.

        Files are UTF-8, with or without a byte order mark; texts are kept to the letter. A table
        (TSV without quoting, CSV, JSONL, parquet, `datasets.Dataset`) is either wide, with the
        column `id` and one column a language, or long, with the columns `id`, `language` and
        `text`; further columns are ignored. Without `languages`, the language columns of a wide
        table are those named like `eng_Latn` (ISO 639-3 and ISO 15924).

        Args:
            source: a FLORES-200 folder (`dev/eng_Latn.dev`, or `eng_Latn.dev` itself; ids are
                line numbers from 1); a `.tsv`, `.csv`, `.jsonl` or `.parquet` file; a mapping
                from language to sentences (ids count from 1) or to `{id: sentence}`; a Hugging
                Face `Dataset` or `DatasetDict`.
            languages: which to read, in this order; None for all, in the order of the source.
            split: which split of a FLORES-200 folder or `DatasetDict`; None if there is only one.

        Raises:
            CorpusError: the source cannot be read or its sentences are not aligned; the message
                names the file and the row.
        """
        return cls(*_align(_read(source, split), languages))

    @classmethod
    def everyday(cls) -> "ParallelCorpus":
        """Give the corpus that ships with the package.

        400 sentences over twenty everyday topics, written for this package and dedicated to the
        public domain (CC0-1.0), in English, German, French, Spanish, Japanese, Russian and
        Chinese.
        """
        with as_file(files("steer_plugin.data") / "everyday.tsv") as path:
            return cls.read(path)

    @property
    def sentences(self) -> Mapping[str, tuple[str, ...]]:
        """Give each language's sentences in the order of `ids`."""
        return dict(zip(self.languages, self.texts, strict=True))

    @cached_property
    def hash(self) -> str:
        """Name the content: a SHA-256 in hexadecimal digits.

        It is taken over the JSON text `[languages, ids, texts]`, in ASCII and without spaces, so
        no two contents share an encoding. The order of languages and ids counts: the same hash
        means the same sentence in the same row with the same label.
        """
        content = json.dumps([self.languages, self.ids, self.texts], separators=(",", ":"))
        return hashlib.sha256(content.encode("ascii")).hexdigest()

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Say how much there is of what, without the sentences."""
        languages = ", ".join(self.languages)
        return f"ParallelCorpus({len(self)} sentences in {languages}; hash {self.hash[:12]})"

    def select(self, languages: Sequence[str]) -> "ParallelCorpus":
        """Keep these languages, in this order.

        Raises:
            CorpusError: a language is not there or named twice, or fewer than two are left.
        """
        chosen = _choose_languages("the corpus", self.languages, languages)
        sentences = self.sentences
        return type(self)(chosen, self.ids, tuple(sentences[language] for language in chosen))

    def take(self, n: int) -> "ParallelCorpus":
        """Keep the first `n` ids.

        Raises:
            CorpusError: `n` is not in `1..len(self)`.
        """
        if not 1 <= n <= len(self):
            raise CorpusError(f"cannot take {n} sentences; give a number from 1 to {len(self)}")
        return self._rows(range(n))

    def split(self, seed: int = 0, find: float = 0.5) -> tuple["ParallelCorpus", "ParallelCorpus"]:
        """Divide the ids into two sides, one to find experts on and one to judge them on.

        Ids are ordered by the SHA-256 of seed and id, and the first ones are the find side: the
        same ids and seed give the same sides, in the same order, on every machine and from every
        order of rows. Ids that share a sentence in some language, word for word, directly or
        through others, stay together: such a group is on the find side where it still fits, so
        that side may be smaller than asked but never larger.

        Args:
            seed: another seed, another division.
            find: share of the ids on the find side, above 0 and below 1.

        Returns:
            `(find, judge)`.

        Raises:
            CorpusError: `find` is out of range, or a side would be empty.
        """
        if not 0 < find < 1:
            raise CorpusError(
                f"find is {find}; give the share of sentences to find experts on, above 0 and "
                "below 1"
            )
        room = round(find * len(self))
        order = sorted(range(len(self)), key=lambda row: _digest(seed, self.ids[row]))
        groups: dict[int, list[int]] = {}
        group = _groups(self.texts)
        for row in order:
            groups.setdefault(group[row], []).append(row)
        found: set[int] = set()
        for members in groups.values():
            if len(found) + len(members) <= room:
                found.update(members)
        if not 0 < len(found) < len(self):
            raise CorpusError(
                f"find={find} leaves one side of {len(self)} sentences empty; give more sentences "
                "without repetitions, or another share"
            )
        return (
            self._rows([row for row in order if row in found]),
            self._rows([row for row in order if row not in found]),
        )

    def labelled(self) -> tuple[list[str], Int64[np.ndarray, " sentence"]]:
        """List all sentences, language after language, each with its language as a label.

        Returns:
            The sentences, and for each the position of its language in `languages`.
        """
        texts = [text for sentences in self.texts for text in sentences]
        labels = np.repeat(np.arange(len(self.languages), dtype=np.int64), len(self))
        return texts, labels

    def _rows(self, rows: Sequence[int]) -> "ParallelCorpus":
        return type(self)(
            self.languages,
            tuple(self.ids[row] for row in rows),
            tuple(tuple(sentences[row] for row in rows) for sentences in self.texts),
        )


def _digest(seed: int, sentence_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{sentence_id}".encode()).digest()


def _groups(texts: Sequence[Sequence[str]]) -> list[int]:
    """Number the rows so that those which share a sentence, directly or not, share a number."""
    parent = list(range(len(texts[0])))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for sentences in texts:
        first: dict[str, int] = {}
        for row, text in enumerate(sentences):
            parent[root(row)] = root(first.setdefault(text, row))
    return [root(row) for row in range(len(parent))]


def _read(source: object, split: str | None) -> Table | Lists:
    # Whoever holds a dataset has imported the library. A DatasetDict is a mapping too.
    library = sys.modules.get("datasets")
    kinds = (getattr(library, kind, None) for kind in ("Dataset", "DatasetDict"))
    if isinstance(source, tuple(kind for kind in kinds if isinstance(kind, type))):
        return read_dataset(source, split)
    if isinstance(source, str | PathLike):
        return read_path(Path(source).expanduser(), split)
    if isinstance(source, Mapping):
        return read_mapping(source, split)
    raise CorpusError(
        f"cannot read a corpus from an object of type {type(source).__name__}; give a path, a "
        "mapping from language to sentences, or a Hugging Face dataset"
    )


def _align(source: Table | Lists, languages: Sequence[str] | None) -> _Aligned:
    if isinstance(source, Lists):
        return _align_lists(source, languages)
    if not any(source.columns.values()):
        raise CorpusError(f"{source.name} has no rows; give at least one sentence a language")
    if "id" not in source.columns:
        raise CorpusError(
            f"{source.name} has no column 'id' among {', '.join(source.columns)}; add one that is "
            "the same for all translations of a sentence"
        )
    if {"language", "text"} <= set(source.columns):
        return _align_long(source, languages)
    return _align_wide(source, languages)


def _align_wide(table: Table, languages: Sequence[str] | None) -> _Aligned:
    others = [column for column in table.columns if column != "id"]
    available = others if languages is not None else list(filter(LANGUAGE.fullmatch, others))
    if not available:
        raise CorpusError(
            f"{table.name} has no column named like eng_Latn among {', '.join(table.columns)}; "
            "rename the language columns or name them in languages="
        )
    chosen = _choose_languages(table.name, available, languages)
    first: dict[str, int] = {}
    for row, cell in enumerate(table.columns["id"]):
        sentence_id = _check_id(cell, table.place(row))
        earlier = first.setdefault(sentence_id, row)
        if earlier != row:
            raise CorpusError(
                f"{table.place(row)}: the id {sentence_id!r} stands in {table.place(earlier)} "
                "already; give every row its own"
            )
    texts = tuple(
        tuple(
            _check_text(cell, table.place(row), f"{language} sentence")
            for row, cell in enumerate(table.columns[language])
        )
        for language in chosen
    )
    return chosen, tuple(first), texts


def _align_long(table: Table, languages: Sequence[str] | None) -> _Aligned:
    spoken = [
        _check_text(cell, table.place(row), "language")
        for row, cell in enumerate(table.columns["language"])
    ]
    chosen = _choose_languages(table.name, dict.fromkeys(spoken), languages)
    sentences: dict[str, dict[str, int]] = {language: {} for language in chosen}
    first: dict[str, int] = {}
    for row, language in enumerate(spoken):
        if language not in sentences:
            continue
        sentence_id = _check_id(table.columns["id"][row], table.place(row))
        first.setdefault(sentence_id, row)
        earlier = sentences[language].setdefault(sentence_id, row)
        if earlier != row:
            raise CorpusError(
                f"{table.place(row)}: the id {sentence_id!r} has a {language} sentence in "
                f"{table.place(earlier)} already; remove one"
            )
    for sentence_id, row in first.items():
        for language in chosen:
            if sentence_id not in sentences[language]:
                raise CorpusError(
                    f"{table.place(row)}: the id {sentence_id!r} has no {language} sentence; add "
                    "it, or remove the id from every language"
                )
    texts = tuple(
        tuple(
            _check_text(table.columns["text"][row], table.place(row), f"{language} sentence")
            for row in (sentences[language][sentence_id] for sentence_id in first)
        )
        for language in chosen
    )
    return chosen, tuple(first), texts


def _align_lists(source: Lists, languages: Sequence[str] | None) -> _Aligned:
    chosen = _choose_languages(source.name, source.parts, languages)
    parts = [(source.parts[language][0], source.parts[language][1]()) for language in chosen]
    short, long = (pick(parts, key=lambda part: len(part[1])) for pick in (min, max))
    if len(short[1]) != len(long[1]):
        raise CorpusError(
            f"{short[0]} ends at {source.unit} {len(short[1])} but {long[0]} at {source.unit} "
            f"{len(long[1])}; give every language the same number of sentences"
        )
    if not short[1]:
        raise CorpusError(f"{source.name} has no sentences; give at least one a language")
    texts = tuple(
        tuple(
            _check_text(cell, f"{name}, {source.unit} {number}", f"{language} sentence")
            for number, cell in enumerate(cells, start=1)
        )
        for language, (name, cells) in zip(chosen, parts, strict=True)
    )
    return chosen, tuple(str(number + 1) for number in range(len(short[1]))), texts


def _choose_languages(
    name: str, available: Iterable[str], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    present = tuple(available)
    if isinstance(wanted, str):
        raise CorpusError(f"languages is the string {wanted!r}; give a list of languages")
    chosen = present if wanted is None else tuple(wanted)
    absent = [language for language in chosen if language not in present]
    if absent:
        raise CorpusError(
            f"{name} has no {', '.join(absent)}; choose from: {', '.join(present) or 'nothing'}"
        )
    if len(set(chosen)) < len(chosen):
        raise CorpusError(f"languages repeats itself: {', '.join(chosen)}; name each once")
    if len(chosen) < 2:
        found = f"one language only ({chosen[0]})" if chosen else "no language"
        raise CorpusError(f"{name}: {found}; a parallel corpus needs at least two")
    return chosen


def _check_id(cell: object, place: str) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    return _check_text(cell, place, "id")


def _check_text(cell: object, place: str, what: str) -> str:
    if cell is None or (isinstance(cell, str) and _is_blank(cell)):
        raise CorpusError(f"{place}: the {what} is missing or empty; fill it in or remove the row")
    if not isinstance(cell, str):
        raise CorpusError(
            f"{place}: the {what} is of type {type(cell).__name__}, not text; write it as a string"
        )
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{place}: the {what} holds half a surrogate pair at character {error.start + 1}; "
            "write the whole character"
        ) from error
    return str(cell)


def _is_blank(text: str) -> bool:
    # Separators, control and format characters: a zero-width space is nothing to read either.
    return all(unicodedata.category(character)[0] in "ZC" for character in text)
