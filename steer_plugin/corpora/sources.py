"""From files, mappings and data sets to the sentences of each language, not yet aligned."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from steer_plugin.corpora import flores
from steer_plugin.corpora.flores import is_long
from steer_plugin.corpora.hub import (
    SCHEME,
    config_names,
    is_dataset,
    is_hub,
    load,
    parse_hub,
    read_dataset,
)
from steer_plugin.corpora.language_codes import is_language
from steer_plugin.corpora.tables import (
    ListByLanguage,
    Table,
    TableByLanguage,
    local_path,
    read_table,
    refuse_split,
    unreadable,
)
from steer_plugin.errors import CorpusError

Source = Table | ListByLanguage | TableByLanguage

MAPPING = "the mapping"


def read_source(source: object, split: str | None, group: str | None) -> Source:
    """Read whatever `ParallelCorpus.read` takes; what is read already stays as it is.

    Raises:
        CorpusError: it cannot be read, or has another choice of splits.
    """
    if isinstance(source, Source):
        return source
    if is_dataset(source):  # a DatasetDict is a mapping too
        return read_dataset(source, split)
    if isinstance(source, str) and is_hub(source):
        return _read_hub(source, split)
    if isinstance(source, str | PathLike):
        return _read_path(local_path(source), split)
    if isinstance(source, Mapping):
        refuse_split(MAPPING, split)
        return _read_mapping(source, group)
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


def _read_mapping(source: Mapping[Any, Any], group: str | None) -> Source:
    """Read language -> sentences, language -> {id: sentence}, or column -> cells of a table."""
    if source and all(isinstance(value, Mapping) for value in source.values()):
        return _read_mapping_by_id(source, group)
    for column, value in source.items():
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise CorpusError(
                f"{MAPPING} holds an object of type {type(value).__name__} for {column}; give a "
                "list of sentences for every language, or {id: sentence} for every language"
            )

    def table() -> Table:
        cells = {column: list(source[column]) for column in source}
        return Table(MAPPING, lambda row: f"{MAPPING}, entry {row + 1}", cells)

    if is_long(source):
        return table()
    no_sentences = _no_sentences(source, group)
    lists = {
        language: (f"{MAPPING}, {language}", lambda value=value: list(value))
        for language, value in source.items()
        if language not in no_sentences
    }
    about = table if no_sentences & set(source) else None
    return ListByLanguage(MAPPING, "entry", lists, about)


def _no_sentences(source: Mapping[Any, Any], group: str | None) -> set[str | None]:
    """Name columns that are no language: beside `eng_Latn`, `id` is not Indonesian but ids."""
    return {group, "id"} if any(map(is_language, source)) else {group}


def _read_mapping_by_id(source: Mapping[Any, Mapping[Any, Any]], group: str | None) -> Source:
    no_sentences = _no_sentences(source, group)
    if group is not None and group not in source:
        raise CorpusError(f"{MAPPING} has no {group!r} among {', '.join(map(str, source))}")

    def table(language: Any) -> Table:
        keys = list(source[language])
        columns = {"id": keys, "text": list(source[language].values())}
        for column in no_sentences & set(source):
            columns[str(column)] = [source[column].get(key) for key in keys]
        return Table(MAPPING, lambda row: f"{MAPPING}, {language}, id {keys[row]!r}", columns)

    tables = {
        language: lambda language=language: table(language)
        for language in source
        if language not in no_sentences
    }
    return TableByLanguage(MAPPING, tables)


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
