"""From files, mappings and datasets to cells, which `steer_plugin.corpus` checks and aligns."""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from steer_plugin.errors import CorpusError

FLORES_SPLITS = ("dev", "devtest")


@dataclass(frozen=True)
class Table:
    """Cells by column, unchecked, of a wide or a long table.

    Attributes:
        name: file or kind of source, for messages.
        place: names a row, counted from 0, for messages.
        columns: the cells of each column; None where a row has none.
    """

    name: str
    place: Callable[[int], str]
    columns: Mapping[str, Sequence[object]]


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


def read_path(path: Path, split: str | None) -> Table | Lists:
    """Read a FLORES-200 folder, or one table whose suffix says which kind it is."""
    readers: dict[str, Callable[[Path], Table]] = {
        ".tsv": lambda path: _read_delimited(path, "\t", csv.QUOTE_NONE),
        ".csv": lambda path: _read_delimited(path, ",", csv.QUOTE_MINIMAL),
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    try:
        if path.is_dir():
            return _read_folder(path, split)
        there = path.exists()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not there:
        raise CorpusError(f"{path} is not there; give the path of a file or a FLORES-200 folder")
    if path.suffix.lower() not in readers:
        raise CorpusError(
            f"{path} has the unknown suffix {path.suffix!r}; give one of {', '.join(readers)}"
        )
    _refuse_split(str(path), split)
    return readers[path.suffix.lower()](path)


def read_mapping(source: Mapping[Any, Any], split: str | None) -> Table | Lists:
    """Read language -> sentences, or language -> {id: sentence}."""
    name = "the mapping"
    _refuse_split(name, split)
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


def read_dataset(source: Any, split: str | None) -> Table:
    """Read a Hugging Face `Dataset`, or one split of a `DatasetDict`."""
    name = "the dataset"
    if isinstance(source, dict):
        source = source[_choose_split(name, source, split)]
    else:
        _refuse_split(name, split)
    plain = source.with_format(None)
    columns = {column: list(plain[column]) for column in plain.column_names}
    return Table(name, lambda row: f"{name}, row {row + 1}", columns)


def _read_folder(folder: Path, split: str | None) -> Lists:
    homes = {
        name: home
        for name in FLORES_SPLITS
        for home in (folder, folder / name)
        if any(home.glob(f"*.{name}"))
    }
    if not homes:
        raise CorpusError(
            f"{folder} holds no sentences; a FLORES-200 folder holds files such as "
            "dev/eng_Latn.dev, other corpora are a .tsv, .csv, .jsonl or .parquet file"
        )
    chosen = _choose_split(str(folder), homes, split)
    paths = sorted(homes[chosen].glob(f"*.{chosen}"))
    parts = {path.stem: (str(path), lambda path=path: _read_lines(path)) for path in paths}
    return Lists(str(homes[chosen]), "line", parts)


def _read_delimited(path: Path, delimiter: str, quoting: int) -> Table:
    lines = io.StringIO(_read_text(path), newline="")
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    header: list[str] = []
    rows: list[list[str]] = []
    numbers: list[int] = []
    number = 1
    try:
        for fields in reader:
            if number == 1:
                header = fields
            elif len(fields) != len(header):
                raise CorpusError(
                    f"{path}, line {number}: {len(fields)} fields where the header has "
                    f"{len(header)}; mend or remove the line"
                )
            else:
                rows.append(fields)
                numbers.append(number)
            # A quoted field may run over several lines; a row is named by its first.
            number = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {number}: {error}; mend the quoting") from error
    _refuse_repeated_columns(path, header)
    columns = {column: [row[position] for row in rows] for position, column in enumerate(header)}
    return Table(str(path), lambda row: f"{path}, line {numbers[row]}", columns)


def _read_jsonl(path: Path) -> Table:
    records: list[dict[str, object]] = []
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            record = json.loads(line, object_pairs_hook=_unique)
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise CorpusError(
                f"{path}, line {number}: broken JSON ({reason}); write one object a line"
            ) from error
        if not isinstance(record, dict):
            raise CorpusError(
                f"{path}, line {number}: JSON of type {type(record).__name__}; write one object "
                "a line"
            )
        records.append(record)
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    return Table(str(path), lambda row: f"{path}, line {row + 1}", columns)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key stands twice")
    return record


def _read_parquet(path: Path) -> Table:
    content = io.BytesIO(_read_bytes(path))
    try:
        table = pq.ParquetFile(content).read()  # type: ignore[no-untyped-call]
        _refuse_repeated_columns(path, table.column_names)
        columns = table.to_pydict()
    except (pa.lib.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise CorpusError(f"{path} is no intact parquet file ({reason}); write it anew") from error
    return Table(str(path), lambda row: f"{path}, row {row + 1}", columns)


def _read_lines(path: Path) -> list[str]:
    # Not splitlines: U+2028 and its like are text.
    lines = _read_text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _read_text(path: Path) -> str:
    content = _read_bytes(path)
    body = content.removeprefix(codecs.BOM_UTF8)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        offset = error.start + len(content) - len(body)
        raise CorpusError(
            f"{path}, line {line}: not UTF-8 (byte {offset} of the file, from 0); save the file "
            "as UTF-8"
        ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if content in (b"", codecs.BOM_UTF8):
        raise CorpusError(f"{path} is empty; give a file that holds sentences")
    return content


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(f"{path} cannot be read ({error.strerror}); give a file that can be")


def _choose_split(name: str, available: Iterable[str], split: str | None) -> str:
    splits = list(available)
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None or split not in splits:
        given = "needs a split" if split is None else f"has no split {split!r}"
        raise CorpusError(f"{name} {given}; give split= one of: {', '.join(splits) or 'nothing'}")
    return split


def _refuse_split(name: str, split: str | None) -> None:
    if split is not None:
        raise CorpusError(f"{name} has no splits to choose {split!r} from; leave split out")


def _refuse_repeated_columns(path: Path, columns: Sequence[str]) -> None:
    for position, column in enumerate(columns):
        if column in columns[:position]:
            raise CorpusError(f"{path} has two columns {column!r}; rename or remove one")
