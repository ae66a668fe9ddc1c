"""From files, mappings and data sets to the sentences of each language, not yet aligned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from steer_plugin.corpora.hub import (
    SCHEME,
    config_names,
    is_dataset,
    is_hub,
    load,
    parse_hub,
    read_dataset,
)
from steer_plugin.corpora.language_codes import LANGUAGE
from steer_plugin.corpora.tables import (
    Table,
    choose_split,
    read_lines,
    read_table,
    refuse_split,
    unreadable,
)
from steer_plugin.errors import CorpusError

FLORES_SPLITS = ("dev", "devtest")
# The files of FLORES+ on its hub, the older ones last.
FLORES_TABLES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Lists:
    """One list of sentences a language, unchecked.

    Attributes:
        name: folder or kind of source, for messages.
        unit: what a sentence stands in, `line` or `entry`, for messages.
        parts: for each language, the name of its list and how to read it.
    """

    name: str
    unit: str
    parts: Mapping[str, tuple[str, Callable[[], Sequence[object]]]]


@dataclass(frozen=True)
class Tables:
    """One table a language, unread, with the columns `id` and `text` or `sentence`.

    Attributes:
        name: folder or data set, for messages.
        parts: for each language, how to read its table.
    """

    name: str
    parts: Mapping[str, Callable[[], Table]]


Source = Table | Lists | Tables


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
            return _read_folder(path, split)
        there = path.exists()
    except OSError as error:
        raise unreadable(path, error) from error
    if not there:
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
    parts = {
        language: (f"{name}, {language}", lambda value=value: list(value))
        for language, value in source.items()
    }
    return Lists(name, "entry", parts)


def _read_hub(source: str, split: str | None) -> Source:
    """Read a data set that has a configuration a language, as FLORES+ has, or all in one."""
    name, own = parse_hub(source)
    if own is not None and split not in (None, own):
        raise CorpusError(f"{source} and split={split!r} name two splits; give one of them")
    split = own or split
    # Not those of pairs, such as eng_Latn-deu_Latn.
    configs = [config for config in config_names(name) if "-" not in config]
    languages = list(filter(LANGUAGE.match, configs))
    if not languages:
        return read_dataset(load(name), split, SCHEME + name)
    parts = {
        language: lambda language=language: read_dataset(
            load(name, language), split, f"{SCHEME}{name} ({language})"
        )
        for language in languages
    }
    return Tables(SCHEME + name, parts)


def _read_folder(folder: Path, split: str | None) -> Source:
    homes = {
        name: home
        for name in FLORES_SPLITS
        for home in (folder, folder / name)
        if _flores_files(home, name)
    }
    if not homes:
        raise CorpusError(
            f"{folder} holds no sentences; a FLORES-200 folder holds files such as "
            "dev/eng_Latn.dev, other corpora are a .tsv, .csv, .jsonl or .parquet file"
        )
    chosen = choose_split(str(folder), homes, split)
    home = homes[chosen]
    files = _flores_files(home, chosen)
    if all(path.suffix in FLORES_TABLES for path in files.values()):
        tables = {language: lambda path=path: read_table(path) for language, path in files.items()}
        return Tables(str(home), tables)
    parts = {
        language: (str(path), lambda path=path: read_lines(path))
        for language, path in files.items()
    }
    return Lists(str(home), "line", parts)


def _flores_files(home: Path, split: str) -> dict[str, Path]:
    """Find the file of each language, in one of the layouts that FLORES-200 and FLORES+ had."""
    # FLORES-200: eng_Latn.dev. FLORES+, released as an archive: dev.eng_Latn.
    found = {path.stem: path for path in sorted(home.glob(f"*.{split}"))} or {
        path.suffix.removeprefix("."): path
        for path in sorted(home.glob(f"{split}.*"))
        if LANGUAGE.fullmatch(path.suffix.removeprefix("."))
    }
    if found or home.resolve().name != split:
        return found
    # FLORES+ on its hub: dev/eng_Latn.jsonl or, earlier, dev/eng_Latn.parquet.
    return {
        path.stem: path
        for suffix in FLORES_TABLES
        for path in sorted(home.glob(f"*{suffix}"))
        if LANGUAGE.match(path.stem)
    }
