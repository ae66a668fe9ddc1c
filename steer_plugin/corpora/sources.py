"""From files, mappings and data sets to the sentences of each language, not yet aligned."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from steer_plugin.corpora import flores
from steer_plugin.corpora.hub import (
    SCHEME,
    config_names,
    is_dataset,
    is_hub,
    load,
    parse_hub,
    read_dataset,
)
from steer_plugin.corpora.tables import (
    ListByLanguage,
    Table,
    TableByLanguage,
    read_table,
    refuse_split,
    unreadable,
)
from steer_plugin.errors import CorpusError

Source = Table | ListByLanguage | TableByLanguage


def read_source(source: object, split: str | None) -> Source:
    """Read whatever `ParallelCorpus.read` takes.

    Raises:
        CorpusError: it cannot be read, or has another choice of splits.
    """
    if is_dataset(source):  # a DatasetDict is a mapping too
        return read_dataset(source, split)
    if isinstance(source, str) and is_hub(source):
        return _read_hub(source, split)
    if isinstance(source, str | PathLike):
        return _read_path(Path(source).expanduser(), split)
    if isinstance(source, Mapping):
        return _read_mapping(source, split)
    raise CorpusError(
        f"cannot read a corpus from an object of type {type(source).__name__}; give a path, a "
        "mapping from language to sentences, or a Hugging Face dataset"
    )


def _read_path(path: Path, split: str | None) -> Source:
    """Read a folder of FLORES-200 or FLORES+, or one table whose suffix says which kind it is."""
    try:
        if path.is_dir():
            return flores.read_folder(path, split)
        exists = path.exists()
    except OSError as error:
        raise unreadable(path, error) from error
    if not exists:
        raise CorpusError(f"{path} is not there; give the path of a file or a FLORES-200 folder")
    table = read_table(path)
    refuse_split(str(path), split)
    return table


def _read_mapping(source: Mapping[Any, Any], split: str | None) -> Source:
    """Read language -> sentences, or language -> {id: sentence}."""
    name = "the mapping"
    refuse_split(name, split)
    if source and all(isinstance(value, Mapping) for value in source.values()):
        rows = [(language, *item) for language in source for item in source[language].items()]
        names = ("language", "id", "text")
        return Table(
            name,
            lambda row: f"{name}, {rows[row][0]}, id {rows[row][1]!r}",
            {column: [row[position] for row in rows] for position, column in enumerate(names)},
        )
    for language, value in source.items():
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise CorpusError(
                f"{name} holds an object of type {type(value).__name__} for {language}; give a "
                "list of sentences for every language, or {id: sentence} for every language"
            )
    lists = {
        language: (f"{name}, {language}", lambda value=value: list(value))
        for language, value in source.items()
    }
    return ListByLanguage(name, "entry", lists)


def _read_hub(source: str, split: str | None) -> Source:
    """Read a data set that has a configuration a language, as FLORES+ has, or all in one."""
    name, named_split = parse_hub(source)
    if named_split is not None and split not in (None, named_split):
        raise CorpusError(f"{source} and split={split!r} name two splits; give one of them")
    split = named_split or split
    languages = flores.language_configs(config_names(name))
    if not languages:
        return read_dataset(load(name), split, SCHEME + name)
    tables = {
        language: lambda language=language: read_dataset(
            load(name, language), split, f"{SCHEME}{name} ({language})"
        )
        for language in languages
    }
    return TableByLanguage(SCHEME + name, tables)
