"""From cells to the same sentences in every language, checked one by one."""

import logging
from collections.abc import Hashable, Iterable, Sequence

from steer_plugin.corpora.corpus import choose_concepts
from steer_plugin.corpora.flores import (
    document_column,
    is_long,
    text_column,
    with_language_column,
)
from steer_plugin.corpora.language_codes import is_language
from steer_plugin.corpora.sources import Source
from steer_plugin.corpora.tables import (
    ListByLanguage,
    Table,
    TableByLanguage,
    check_id,
    check_label,
    check_text,
    need_columns,
)
from steer_plugin.errors import CorpusError

LOG = logging.getLogger(__name__)

Labels = list[Hashable] | None
# Languages, ids, the sentences of each language, and what group each sentence is of.
Aligned = tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, ...], ...], Labels]


def align(source: Source, languages: Sequence[str] | None, group: str | None) -> Aligned:
    """Find the ids that all languages share, and each language's sentences in their order.

    Args:
        source: what has been read, unchecked.
        languages: which to keep, in this order; None for all.
        group: the column of the groups; None takes the documents of FLORES, where they are named.

    Returns:
        The languages, the ids, for each language its sentences, and the groups' labels.

    Raises:
        CorpusError: a cell is no text, or the sentences are not aligned; the message names the
            file and the row.
    """
    if isinstance(source, ListByLanguage):
        return _align_lists(source, languages, group)
    if isinstance(source, TableByLanguage):
        return _align_tables(source, languages, group)
    if not any(source.columns.values()):
        raise _no_rows(source)
    if "id" not in source.columns:
        raise CorpusError(
            f"{source.name} has no column 'id' among {', '.join(source.columns)}; add one that is "
            "the same for all translations of a sentence"
        )
    if group is not None:
        need_columns(source, (group,))
    if is_long(source.columns):
        documents = group or document_column(source)
        return _align_long(with_language_column(source), languages, documents)
    return _align_wide(source, languages, group)


def _no_rows(source: Table | TableByLanguage) -> CorpusError:
    return CorpusError(f"{source.name} has no rows; give at least one sentence a language")


def _align_tables(
    source: TableByLanguage, languages: Sequence[str] | None, group: str | None
) -> Aligned:
    chosen = choose_languages(source.name, source.tables, languages)
    rows: list[tuple[object, str, object, object, str]] = []
    for language in chosen:
        table = source.tables[language]()
        text = text_column(table)
        need_columns(table, ("id", text) if group is None else ("id", text, group))
        documents = group or document_column(table)
        labels = [None] * len(table.columns["id"]) if not documents else table.columns[documents]
        cells = zip(table.columns["id"], table.columns[text], labels, strict=True)
        rows += [
            (key, language, cell, label, table.place(row))
            for row, (key, cell, label) in enumerate(cells)
        ]
    if not rows:
        raise _no_rows(source)
    names = ("id", "language", "text", "group")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return _align_long(Table(source.name, lambda row: rows[row][4], columns), chosen, "group")


def _align_wide(table: Table, languages: Sequence[str] | None, group: str | None) -> Aligned:
    others = [column for column in table.columns if column not in ("id", group)]
    if languages is None and not any(map(is_language, others)):
        raise CorpusError(
            f"{table.name} has no column named like eng_Latn among {', '.join(table.columns)}; "
            "rename the language columns or name them in languages="
        )
    chosen = choose_languages(table.name, others, languages)
    ids = _ids(table)
    texts = tuple(
        tuple(
            check_text(cell, table.place(row), f"{language} sentence")
            for row, cell in enumerate(table.columns[language])
        )
        for language in chosen
    )
    return chosen, ids, texts, _labels(table, group or document_column(table))


def _align_long(table: Table, languages: Sequence[str] | None, group: str | None) -> Aligned:
    spoken = [
        check_text(cell, table.place(row), "language")
        for row, cell in enumerate(table.columns["language"])
    ]
    present = tuple(dict.fromkeys(spoken))
    chosen = choose_languages(table.name, present, present if languages is None else languages)
    sentences: dict[str, dict[str, int]] = {language: {} for language in chosen}
    first: dict[str, int] = {}
    for row, language in enumerate(spoken):
        if language not in sentences:
            continue
        sentence_id = check_id(table.columns["id"][row], table.place(row))
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
            check_text(table.columns["text"][row], table.place(row), f"{language} sentence")
            for row in (sentences[language][sentence_id] for sentence_id in first)
        )
        for language in chosen
    )
    rows = [[sentences[language][sentence_id] for language in chosen] for sentence_id in first]
    return chosen, tuple(first), texts, _shared_labels(table, group, rows)


def _align_lists(
    source: ListByLanguage, languages: Sequence[str] | None, group: str | None
) -> Aligned:
    chosen = choose_languages(source.name, source.lists, languages)
    lists = [(name, read()) for name, read in (source.lists[language] for language in chosen)]
    short, long = (pick(lists, key=lambda named: len(named[1])) for pick in (min, max))
    if len(short[1]) != len(long[1]):
        raise CorpusError(
            f"{short[0]} ends at {source.unit} {len(short[1])} but {long[0]} at {source.unit} "
            f"{len(long[1])}; give every language the same number of sentences"
        )
    if not short[1]:
        raise CorpusError(f"{source.name} has no sentences; give at least one a language")
    texts = tuple(
        tuple(
            check_text(cell, f"{name}, {source.unit} {number}", f"{language} sentence")
            for number, cell in enumerate(cells, start=1)
        )
        for language, (name, cells) in zip(chosen, lists, strict=True)
    )
    ids = tuple(str(number + 1) for number in range(len(short[1])))
    if source.about is None:
        if group is not None:
            raise CorpusError(
                f"{source.name} has sentences alone and no column {group!r}; leave group out, or "
                "give a table that has it"
            )
        return chosen, ids, texts, None
    about = source.about()
    if group is not None:
        need_columns(about, (group,))
    documents = group or document_column(about)
    for column in about.columns.keys() & {"id", documents}:
        if len(about.columns[column]) != len(ids):
            raise CorpusError(
                f"{about.name} has {len(about.columns[column])} entries in {column!r} for the "
                f"{len(ids)} sentences of {source.name}; give one a sentence"
            )
    return (
        chosen,
        _ids(about) if "id" in about.columns else ids,
        texts,
        _labels(about, documents),
    )


def _ids(table: Table) -> tuple[str, ...]:
    first: dict[str, int] = {}
    for row, cell in enumerate(table.columns["id"]):
        sentence_id = check_id(cell, table.place(row))
        earlier = first.setdefault(sentence_id, row)
        if earlier != row:
            raise CorpusError(
                f"{table.place(row)}: the id {sentence_id!r} stands in {table.place(earlier)} "
                "already; give every row its own"
            )
    return tuple(first)


def _labels(table: Table, group: str | None) -> Labels:
    """Give each row's group, or the row's own number where it says none; None without groups."""
    if group is None:
        return None
    labels = [
        check_label(cell, table.place(row), f"entry in {group!r}")
        for row, cell in enumerate(table.columns[group])
    ]
    if not any(labels):
        return None
    return [row if label is None else label for row, label in enumerate(labels)]


def _shared_labels(table: Table, group: str | None, rows: Sequence[Sequence[int]]) -> Labels:
    """Give the group that the rows of each sentence, one a language, say."""
    labels = _labels(table, group)
    if labels is None:
        return None
    shared: list[Hashable] = []
    for translations in rows:
        stated = [row for row in translations if isinstance(labels[row], str)]
        for row in stated[1:]:
            if labels[row] != labels[stated[0]]:
                raise CorpusError(
                    f"{table.place(row)}: the {group} is {labels[row]!r}, that of its translation "
                    f"in {table.place(stated[0])} {labels[stated[0]]!r}; give all translations of "
                    "a sentence the same, or group by another column"
                )
        shared.append(labels[(stated or translations)[0]])
    return shared


def choose_languages(
    name: str, available: Iterable[str], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """Give the languages that are asked for, or all.

    Where some are named like `eng_Latn` and none is asked for, all are these: a line of the log
    names the others. Where none is so named, all are languages, and a line names them.

    Raises:
        CorpusError: one is not there or named twice, or there are fewer than two.
    """
    present = tuple(available)
    coded = tuple(filter(is_language, present))
    chosen = choose_concepts("languages", name, present, wanted, coded or present)
    if len(chosen) < 2:
        too_few = f"one language only ({chosen[0]})" if chosen else "no language"
        raise CorpusError(f"{name}: {too_few}; a parallel corpus needs at least two")
    if wanted is None and not coded:
        LOG.warning(
            "%s: none of %s is named like eng_Latn, so all are taken for languages; name the "
            "languages to leave others out",
            name,
            ", ".join(map(str, present)),
        )
    elif wanted is None and len(coded) < len(present):
        others = ", ".join(str(column) for column in present if column not in coded)
        LOG.warning(
            "%s: %s left out, not named like eng_Latn; name all languages to read others",
            name,
            others,
        )
    return chosen
