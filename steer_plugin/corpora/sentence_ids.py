"""From cells to the same sentences in every language, checked one by one."""

from collections.abc import Iterable, Sequence

from steer_plugin.corpora.flores import CODE_COLUMNS, text_column, with_language_column
from steer_plugin.corpora.language_codes import LANGUAGE
from steer_plugin.corpora.sources import Source
from steer_plugin.corpora.tables import (
    ListByLanguage,
    Table,
    TableByLanguage,
    check_text,
    need_columns,
)
from steer_plugin.errors import CorpusError

# Languages, ids, and the sentences of each language.
Aligned = tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, ...], ...]]


def align(source: Source, languages: Sequence[str] | None) -> Aligned:
    """Find the ids that all languages share, and each language's sentences in their order.

    Args:
        source: what has been read, unchecked.
        languages: which to keep, in this order; None for all.

    Returns:
        The languages, the ids, and for each language its sentences.

    Raises:
        CorpusError: a cell is no text, or the sentences are not aligned; the message names the
            file and the row.
    """
    if isinstance(source, ListByLanguage):
        return _align_lists(source, languages)
    if isinstance(source, TableByLanguage):
        return _align_tables(source, languages)
    if not any(source.columns.values()):
        raise CorpusError(f"{source.name} has no rows; give at least one sentence a language")
    if "id" not in source.columns:
        raise CorpusError(
            f"{source.name} has no column 'id' among {', '.join(source.columns)}; add one that is "
            "the same for all translations of a sentence"
        )
    if {"language", "text"} <= set(source.columns):
        return _align_long(source, languages)
    if {*CODE_COLUMNS, "text"} <= set(source.columns):
        return _align_long(with_language_column(source), languages)
    return _align_wide(source, languages)


def _align_tables(source: TableByLanguage, languages: Sequence[str] | None) -> Aligned:
    chosen = choose_languages(source.name, source.tables, languages)
    rows: list[tuple[object, str, object, str]] = []
    for language in chosen:
        table = source.tables[language]()
        text = text_column(table)
        need_columns(table, ("id", text))
        cells = zip(table.columns["id"], table.columns[text], strict=True)
        rows += [(key, language, cell, table.place(row)) for row, (key, cell) in enumerate(cells)]
    names = ("id", "language", "text")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return _align_long(Table(source.name, lambda row: rows[row][3], columns), chosen)


def _align_wide(table: Table, languages: Sequence[str] | None) -> Aligned:
    others = [column for column in table.columns if column != "id"]
    available = others if languages is not None else list(filter(LANGUAGE.fullmatch, others))
    if not available:
        raise CorpusError(
            f"{table.name} has no column named like eng_Latn among {', '.join(table.columns)}; "
            "rename the language columns or name them in languages="
        )
    chosen = choose_languages(table.name, available, languages)
    first: dict[str, int] = {}
    for row, cell in enumerate(table.columns["id"]):
        sentence_id = _id(cell, table.place(row))
        earlier = first.setdefault(sentence_id, row)
        if earlier != row:
            raise CorpusError(
                f"{table.place(row)}: the id {sentence_id!r} stands in {table.place(earlier)} "
                "already; give every row its own"
            )
    texts = tuple(
        tuple(
            check_text(cell, table.place(row), f"{language} sentence")
            for row, cell in enumerate(table.columns[language])
        )
        for language in chosen
    )
    return chosen, tuple(first), texts


def _align_long(table: Table, languages: Sequence[str] | None) -> Aligned:
    spoken = [
        check_text(cell, table.place(row), "language")
        for row, cell in enumerate(table.columns["language"])
    ]
    chosen = choose_languages(table.name, dict.fromkeys(spoken), languages)
    sentences: dict[str, dict[str, int]] = {language: {} for language in chosen}
    first: dict[str, int] = {}
    for row, language in enumerate(spoken):
        if language not in sentences:
            continue
        sentence_id = _id(table.columns["id"][row], table.place(row))
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
    return chosen, tuple(first), texts


def _align_lists(source: ListByLanguage, languages: Sequence[str] | None) -> Aligned:
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
    return chosen, tuple(str(number + 1) for number in range(len(short[1]))), texts


def choose_languages(
    name: str, available: Iterable[str], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """Give the languages that are asked for, or all.

    Raises:
        CorpusError: one is not there or named twice, or there are fewer than two.
    """
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
        too_few = f"one language only ({chosen[0]})" if chosen else "no language"
        raise CorpusError(f"{name}: {too_few}; a parallel corpus needs at least two")
    return chosen


def _id(cell: object, place: str) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    return check_text(cell, place, "id")
