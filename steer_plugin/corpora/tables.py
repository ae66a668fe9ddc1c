"""From one file or data set to cells by column, each of which knows its place."""

import codecs
import csv
import io
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from os import PathLike
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from steer_plugin.corpora.text_forms import is_blank
from steer_plugin.errors import CorpusError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """Cells by column, unchecked, of a wide or a long table.

    Attributes:
        name: file or kind of source, for messages.
        place: names a row, counted from 0, for messages.
        columns: the cells of each column; None where a row has none.
        names: for a column of numbers that stand for names, such as a ClassLabel's, the names.
    """

    name: str
    place: Callable[[int], str]
    columns: Mapping[str, Sequence[object]]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class TableByLanguage:
    """One table a language, unread, with the columns `id` and `text` or `sentence`.

    Attributes:
        name: folder or data set, for messages.
        tables: for each language, how to read its table.
    """

    name: str
    tables: Mapping[str, Callable[[], Table]]


@dataclass(frozen=True)
class ListByLanguage:
    """One list of sentences a language, unread and unchecked.

    Attributes:
        name: folder or kind of source, for messages.
        unit: what a sentence stands in, `line` or `entry`, for messages.
        lists: for each language, the name of its list and how to read it.
        about: reads what is told of each sentence, a row each; None where nothing is.
    """

    name: str
    unit: str
    lists: Mapping[str, tuple[str, Callable[[], Sequence[object]]]]
    about: Callable[[], Table] | None = None


def local_path(source: str | PathLike[str]) -> Path:
    """Give a path, with the home folder for ~.

    Raises:
        CorpusError: there is no such home folder.
    """
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise CorpusError(f"{source} is in no home folder that is known; write it whole") from error


def read_table(path: Path) -> Table:
    """Read one table whose suffix says which kind it is.

    Raises:
        CorpusError: it cannot be read; the message names the line.
    """
    readers: dict[str, Callable[[Path], Table]] = {
        ".tsv": _read_tsv,
        ".csv": lambda path: _read_delimited(path, read_text(path), ",", csv.QUOTE_MINIMAL),
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    if path.suffix.lower() not in readers:
        raise CorpusError(
            f"{path} has the unknown suffix {path.suffix!r}; give one of {', '.join(readers)}"
        )
    return readers[path.suffix.lower()](path)


def need_columns(table: Table, columns: Sequence[str]) -> None:
    """Refuse a table that lacks one of some columns.

    Raises:
        CorpusError: it does.
    """
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise CorpusError(
            f"{table.name} has no column {', '.join(map(repr, absent))} among "
            f"{', '.join(table.columns)}; give a table with the columns of its data set",
            page="data",
        )


def check_text(cell: object, place: str, what: str) -> str:
    """Give a cell's text, or say what is wrong with it.

    Raises:
        CorpusError: it is no text, blank, or half a character.
    """
    if cell is None or (isinstance(cell, str) and is_blank(cell)):
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


def check_label(cell: object, place: str, what: str) -> str | None:
    """Give a cell's text or number as text, None where there is none, or say what is wrong with it.

    Raises:
        CorpusError: it is neither.
    """
    if cell is None or (isinstance(cell, str) and is_blank(cell)):
        return None
    if isinstance(cell, Real):
        return None if cell != cell else str(cell)  # NaN, as pandas has for what is missing
    return check_text(cell, place, what)


def check_id(cell: object, place: str) -> str:
    """Give a cell's id, which may be a whole number, or say what is wrong with it.

    Raises:
        CorpusError: it is no text.
    """
    if isinstance(cell, Integral) and not isinstance(cell, bool):
        return str(cell)
    return check_text(cell, place, "id")


def _read_tsv(path: Path) -> Table:
    """Read cells to the letter, or without the quotation marks that a writer put round them."""
    text = read_text(path)
    if _is_quoted(text):
        return _read_delimited(path, text, "\t", csv.QUOTE_MINIMAL)
    table = _read_delimited(path, text, "\t", csv.QUOTE_NONE)
    cells = (str(cell) for column in table.columns.values() for cell in column)
    quoted = next((cell for cell in cells if len(cell) > 1 and cell[0] == cell[-1] == '"'), None)
    if quoted is not None:
        LOG.warning(
            "%s: cells keep the quotation marks that they stand in, such as %.60s; if these are no "
            "part of the sentences, write a .csv",
            path,
            quoted,
        )
    return table


def _is_quoted(text: str) -> bool:
    """Tell whether a writer of quoted cells, such as pandas, would write just this."""
    if '"' not in text:
        return False
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
    except csv.Error:
        return False
    end = "\r\n" if "\r\n" in text else "\n"
    numbers = [[int(cell) if cell.isdecimal() else cell for cell in row] for row in rows]
    for quoting, cells in (
        (csv.QUOTE_MINIMAL, rows),
        (csv.QUOTE_ALL, rows),
        (csv.QUOTE_NONNUMERIC, numbers),
    ):
        written = io.StringIO(newline="")
        writer = csv.writer(written, "excel-tab", lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
        writer.writerows(cells)
        if written.getvalue().removesuffix(end) == text.removesuffix(end):
            return True
    return False


def _read_delimited(path: Path, text: str, delimiter: str, quoting: int) -> Table:
    lines = io.StringIO(text, newline="")
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
    for number, line in enumerate(read_lines(path), start=1):
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


def read_lines(path: Path) -> list[str]:
    """Read a text file's lines, each without its end."""
    # Not splitlines: U+2028 and its like are text.
    lines = read_text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_text(path: Path) -> str:
    """Read a text file, without its byte order mark.

    Raises:
        CorpusError: it cannot be read, is empty, or is not UTF-8.
    """
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
        raise unreadable(path, error) from error
    if content in (b"", codecs.BOM_UTF8):
        raise CorpusError(f"{path} is empty; give a file that holds sentences")
    return content


def unreadable(path: Path, error: OSError) -> CorpusError:
    """Say that a file cannot be opened."""
    return CorpusError(f"{path} cannot be read ({error.strerror}); give a file that can be")


def choose_split(name: str, available: Iterable[str], split: str | None) -> str:
    """Give the split that is asked for, or the only one.

    Raises:
        CorpusError: there is no such split, or a choice without one asked for.
    """
    splits = list(available)
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None or split not in splits:
        fault = "needs a split" if split is None else f"has no split {split!r}"
        raise CorpusError(f"{name} {fault}; give split= one of: {', '.join(splits) or 'nothing'}")
    return split


def refuse_split(name: str, split: str | None) -> None:
    """Refuse a split of what has none."""
    if split is not None:
        raise CorpusError(f"{name} has no splits to choose {split!r} from; leave split out")


def _refuse_repeated_columns(path: Path, columns: Sequence[str]) -> None:
    for position, column in enumerate(columns):
        if column in columns[:position]:
            raise CorpusError(f"{path} has two columns {column!r}; rename or remove one")
