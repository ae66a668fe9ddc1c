"""From files, mappings and data sets to texts that each have a label, checked one by one."""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from steer_plugin.corpora.flores import is_long
from steer_plugin.corpora.hub import is_dataset, is_hub
from steer_plugin.corpora.language_codes import is_language
from steer_plugin.corpora.sources import MAPPING, Source, read_source
from steer_plugin.corpora.tables import (
    Table,
    check_id,
    check_label,
    check_text,
    local_path,
    need_columns,
    read_lines,
    read_table,
    read_text,
    refuse_split,
    unreadable,
)
from steer_plugin.errors import CorpusError

BACKGROUND = "background"
"""The label of the texts that one concept is told from."""

TEXT, LABEL = "text", "label"
# The suffixes that only labelled texts have.
LABELLED_SUFFIXES = (".json", ".txt")
# The keys of a concept of ml-selfcond (Suau et al. 2022), below `sentences`.
_POSITIVE, _NEGATIVE = "positive", "negative"


class Row(NamedTuple):
    """One text.

    Attributes:
        key: its id.
        label: the name of its concept.
        text: to the letter.
        group: what it belongs to, such as a document; None where nothing is known.
        place: where it stands, for messages.
    """

    key: str
    label: str
    text: str
    group: Hashable
    place: str


def read_rows(
    source: object, split: str | None, group: str | None, against: object | None
) -> tuple[str, list[Row]]:
    """Read whatever `LabelledCorpus.read` takes; arguments and errors are those of it.

    Returns:
        The name of the source, for messages, and its rows.
    """
    table = read_labelled(source, split)
    if against is None:
        if LABEL not in table.columns:
            raise CorpusError(
                f"{table.name} has no column 'label' among {', '.join(table.columns)}; add one, or "
                "say in against= which texts these are told from"
            )
        return table.name, list(_rows(table, group, None))
    concept = Path(source).stem if isinstance(source, str | PathLike) else None
    if concept is None and LABEL not in table.columns:
        raise CorpusError(
            f"{table.name} does not say what its texts are; give them as a mapping from a name to "
            "texts"
        )
    rows = list(_rows(table, group, None if LABEL in table.columns else concept))
    if any(row.label == BACKGROUND for row in rows):
        raise CorpusError(
            f"{table.name} has texts with the label {BACKGROUND!r} and others to be told from as "
            "well; leave against out, or rename the label"
        )
    rows += _rows(_background(against), group, BACKGROUND, f"{BACKGROUND}-")
    return table.name, rows


def read_labelled(source: object, split: str | None) -> Table:
    """Read texts, labels and what else there is of them, unchecked.

    Raises:
        CorpusError: it cannot be read, or has another choice of splits.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str | PathLike) and not is_hub(source):
        path = local_path(source)
        try:
            folder, exists = path.is_dir(), path.exists()
        except OSError as error:
            raise unreadable(path, error) from error
        if not exists:
            raise CorpusError(f"{path} is not there; give the path of a file, or of a folder")
        refuse_split(str(path), split)
        return _read_folder(path) if folder else _read_file(path)
    if isinstance(source, Mapping) and not is_dataset(source):
        refuse_split(MAPPING, split)
        return _read_mapping(source, MAPPING)
    read = read_source(source, split, None)
    if not isinstance(read, Table):
        raise CorpusError(f"{read.name} has texts by language and no labels; give a ParallelCorpus")
    return read


def is_labelled(source: Source) -> bool:
    """Tell whether what has been read has texts and labels, and no languages."""
    if not isinstance(source, Table):
        return False
    columns = source.columns
    return (
        {TEXT, LABEL} <= set(columns)
        and not is_long(columns)
        and not any(map(is_language, columns))
    )


def is_folder_of_labels(folder: Path) -> bool:
    """Tell whether a folder has a folder a label, with a `.txt` file a text."""
    return folder.is_dir() and any(_label_folders(folder))


def _background(against: object) -> Table:
    """Read texts whose labels, where they have any, do not count."""
    if isinstance(against, Sequence) and not isinstance(against, str):
        return Table(BACKGROUND, lambda row: f"{BACKGROUND}, entry {row + 1}", {TEXT: against})
    return read_labelled(against, None)


def _rows(table: Table, group: str | None, label: str | None, prefix: str = "") -> Iterator[Row]:
    """Check the rows of a table, all of one label where that is given, ids after a prefix."""
    text = TEXT if TEXT in table.columns or "sentence" not in table.columns else "sentence"
    need_columns(table, (text,) if group is None else (text, group))
    for row, cell in enumerate(table.columns[text]):
        place = table.place(row)
        stated_id = "id" in table.columns
        key = prefix + (check_id(table.columns["id"][row], place) if stated_id else str(row + 1))
        stated = (
            None
            if group is None
            else check_label(table.columns[group][row], place, f"entry in {group!r}")
        )
        yield Row(
            key=key,
            label=_label(table, row) if label is None else label,
            text=check_text(cell, place, "text"),
            # Without an entry, a text is a group of its own.
            group=None if group is None else (stated or (key,)),
            place=place,
        )


def _label(table: Table, row: int) -> str:
    cell, names, place = table.columns[LABEL][row], table.names.get(LABEL), table.place(row)
    if names is not None and isinstance(cell, int):
        if not 0 <= cell < len(names):
            raise CorpusError(
                f"{place}: the label is {cell}, none of {', '.join(names)}; remove the rows that "
                "have no label"
            )
        return names[cell]
    label = check_label(cell, place, LABEL)
    return check_text(label, place, LABEL)


def _read_file(path: Path) -> Table:
    if path.suffix.lower() == ".txt":
        return Table(str(path), lambda row: f"{path}, line {row + 1}", {TEXT: read_lines(path)})
    if path.suffix.lower() == ".json":
        return _read_json(path)
    return read_table(path)


def _read_json(path: Path) -> Table:
    """Read a concept of ml-selfcond, or label -> texts."""
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise CorpusError(f"{path}: broken JSON ({error}); write it anew") from error
    if not isinstance(content, dict):
        raise CorpusError(
            f"{path} holds JSON of type {type(content).__name__}; give an object from label to "
            "texts, a concept of ml-selfcond, or a .jsonl with an object a line"
        )
    sentences = content.get("sentences")
    if not isinstance(sentences, dict):
        return _read_mapping(content, str(path))
    if not {_POSITIVE} <= set(sentences) <= {_POSITIVE, _NEGATIVE}:
        raise CorpusError(
            f"{path} has {', '.join(sentences) or 'nothing'} in 'sentences'; a concept of "
            f"ml-selfcond has {_POSITIVE!r} and {_NEGATIVE!r} there"
        )
    concept = check_text(content.get("concept", path.stem), str(path), "concept")
    labels = {_POSITIVE: concept, _NEGATIVE: BACKGROUND}
    if concept == BACKGROUND:
        raise CorpusError(f"{path}: the concept is called {BACKGROUND!r}; give another name")
    return _read_mapping({labels[side]: texts for side, texts in sentences.items()}, str(path))


def _read_mapping(source: Mapping[Any, Any], name: str) -> Table:
    """Read column -> cells of a table, label -> texts, or label -> {id: text}."""
    for key, texts in source.items():
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise CorpusError(
                f"{name} holds an object of type {type(texts).__name__} for {key}; give a list of "
                "texts for every label"
            )
    if {TEXT, LABEL} <= set(source):
        cells = {column: list(values) for column, values in source.items()}
        lengths = {column: len(values) for column, values in cells.items()}
        if len(set(lengths.values())) > 1:
            raise CorpusError(
                f"{name} has columns of {lengths} cells; give every column the same number"
            )
        return Table(name, lambda row: f"{name}, entry {row + 1}", cells)
    rows = []
    for key, texts in source.items():
        label = check_text(check_label(key, name, LABEL), name, LABEL)
        if isinstance(texts, Mapping):
            rows += [(f"{label}, id {i!r}", i, label, text) for i, text in texts.items()]
        else:
            rows += [
                (f"{label}, entry {n}", f"{label}-{n}", label, text)
                for n, text in enumerate(texts, start=1)
            ]
    return _tabulated(name, rows)


def _label_folders(folder: Path) -> Iterator[Path]:
    for place in sorted(folder.glob("[!.]*")):
        if place.is_dir() and next(place.glob("[!.]*.txt"), None) is not None:
            yield place


def _read_folder(folder: Path) -> Table:
    """Read a folder a label, with a `.txt` file a text."""
    rows = [
        (f"{place.name}/{path.name}", f"{place.name}/{path.stem}", place.name, read_text(path))
        for place in _label_folders(folder)
        for path in sorted(place.glob("[!.]*.txt"))
    ]
    if not rows:
        raise CorpusError(
            f"{folder} holds no texts; give a folder with a folder for each label, and in that a "
            ".txt file for each text"
        )
    return _tabulated(str(folder), rows)


def _tabulated(name: str, rows: Sequence[tuple[str, object, str, object]]) -> Table:
    columns = {
        column: [row[number] for row in rows]
        for number, column in enumerate(("id", LABEL, TEXT), 1)
    }
    return Table(name, lambda row: f"{name}, {rows[row][0]}", columns)
