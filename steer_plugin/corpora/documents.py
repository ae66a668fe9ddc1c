"""Running text by language, whose perplexity is measured."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from steer_plugin.corpora.hub import is_dataset, is_hub, load, parse_hub, read_dataset
from steer_plugin.corpora.tables import (
    Table,
    check_text,
    local_path,
    need_columns,
    read_lines,
    read_table,
)
from steer_plugin.errors import CorpusError


def read_documents(source: Any, languages: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Read the documents of some languages.

    Args:
        source: a folder with a file `deu_Latn.txt` a language, a blank line between documents; or
            a table with the columns `language` and `text`, a document a row: a `.jsonl`,
            `.parquet`, `.tsv` or `.csv` file, a Hugging Face `Dataset` or `DatasetDict` of one
            split, or the name of one as "hf:name" or "hf:name:split".
        languages: FLORES-200 codes; each must be there.

    Raises:
        CorpusError: a language has no documents, or the source cannot be read; the message names
            the file, and the row where there is one.
    """
    if is_dataset(source):
        return _of_table(read_dataset(source, None), languages)
    if is_hub(source):
        name, split = parse_hub(source)
        return _of_table(read_dataset(load(name), split, source), languages)
    path = local_path(source)
    if path.is_dir():
        return {language: _of_file(path / f"{language}.txt") for language in languages}
    if not path.exists():
        raise CorpusError(
            f"{path} is not there; give a folder of texts by language, or a table", page="data"
        )
    return _of_table(read_table(path), languages)


def documents_hash(documents: Sequence[str]) -> str:
    """Name the content: a SHA-256 in hexadecimal digits; see `ParallelCorpus.hash`."""
    text = json.dumps(list(documents), separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _of_file(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise CorpusError(f"{path} is not there; write the texts of {path.stem} into it")
    blocks = groupby(read_lines(path), key=lambda line: bool(line.strip()))
    documents = tuple("\n".join(lines) for filled, lines in blocks if filled)
    if not documents:
        raise CorpusError(f"{path} holds blank lines alone; write documents into it")
    return documents


def _of_table(table: Table, languages: Sequence[str]) -> dict[str, tuple[str, ...]]:
    need_columns(table, ("language", "text"))
    documents: dict[str, list[str]] = {language: [] for language in languages}
    cells = zip(table.columns["language"], table.columns["text"], strict=True)
    for row, (language, text) in enumerate(cells):
        spoken = check_text(language, table.place(row), "language")
        if spoken in documents:
            documents[spoken].append(check_text(text, table.place(row), "document"))
    absent = [language for language, texts in documents.items() if not texts]
    if absent:
        raise CorpusError(f"{table.name} has no documents in {', '.join(absent)}; add some")
    return {language: tuple(texts) for language, texts in documents.items()}
