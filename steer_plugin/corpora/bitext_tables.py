"""Pairs of sentences from the rows of tables: PAWS-X, and Tatoeba and BUCC-18 on Hugging Face."""

import logging
from collections.abc import Sequence
from pathlib import Path

from steer_plugin.corpora.bitext import Bitext, both_ways
from steer_plugin.corpora.bitext_files import ENGLISH
from steer_plugin.corpora.language_codes import two_letters
from steer_plugin.corpora.tables import Table, check_text, need_columns, read_table
from steer_plugin.corpora.text_forms import is_blank
from steer_plugin.errors import CorpusError

LOG = logging.getLogger(__name__)

PAWS_FILE = "test_2k.tsv"
# Also what `datasets` writes for a label that is missing.
PARAPHRASE, NO_PARAPHRASE, UNLABELLED = "1", "0", "-1"
# What stands in PAWS-X where a sentence was not translated.
UNTRANSLATED = "NS"

# The columns of google/xtreme, and those of the mteb namespace.
_SIDES = (("source_sentence", "target_sentence"), ("sentence1", "sentence2"))


def translated(name: str, table: Table, language: str) -> tuple[Bitext, ...]:
    """Read pairs of a sentence and its English translation, both ways.

    BUCC-18 on its hub was cut at quotation marks (docs/data.md), so that some of its sentences are
    empty and some hold their neighbours' lines; a pair with one of these is left out.

    Raises:
        CorpusError: the columns are not there, a cell is no text, or no pair is left.
    """
    sides = next((pair for pair in _SIDES if set(pair) <= set(table.columns)), _SIDES[0])
    need_columns(table, sides)
    # Tatoeba keeps its line ends there.
    columns = [
        [cell.rstrip("\r\n") if isinstance(cell, str) else cell for cell in table.columns[side]]
        for side in sides
    ]
    rows = list(range(len(columns[0])))
    if name == "bucc18":
        rows = [row for row in rows if all(_is_whole(column[row]) for column in columns)]
        _say_left_out(table, len(columns[0]) - len(rows))
    if not rows:
        raise CorpusError(f"{table.name} has no pair of whole sentences; give at least one")
    texts = [
        [check_text(column[row], table.place(row), side) for row in rows]
        for side, column in zip(sides, columns, strict=True)
    ]
    return both_ways(name, (language, ENGLISH), *texts)


def pawsx_table(table: Table, language: str) -> tuple[Bitext, ...]:
    """Read the pairs with label 1: `sentence1` asks for `sentence2`.

    A pair is left out where a sentence is missing or was not translated, as its makers advise.

    Raises:
        CorpusError: the columns are not there, a label is another, or no pair is left.
    """
    sides = ("sentence1", "sentence2")
    need_columns(table, (*sides, "label"))
    positive = []
    for row, label in enumerate(map(str, table.columns["label"])):
        if label not in (PARAPHRASE, NO_PARAPHRASE, UNLABELLED):
            raise CorpusError(
                f"{table.place(row)}: the label is {label!r}; write 1 for a paraphrase, 0 for none"
            )
        if label == PARAPHRASE:
            positive.append(row)
    rows = [row for row in positive if all(_is_translated(table.columns[s][row]) for s in sides)]
    _say_left_out(table, len(positive) - len(rows))
    if not rows:
        raise CorpusError(f"{table.name} has no whole pair with label 1; give at least one")
    return (paraphrased("pawsx", language, table, rows),)


def paraphrased(name: str, language: str, table: Table, rows: Sequence[int]) -> Bitext:
    """Make a bitext of some rows of `sentence1` and `sentence2`, within one language.

    Raises:
        CorpusError: the columns are not there, or a cell is no text.
    """
    sides = ("sentence1", "sentence2")
    need_columns(table, sides)
    first, second = (
        tuple(check_text(table.columns[side][row], table.place(row), side) for row in rows)
        for side in sides
    )
    return Bitext(name, language, language, first, second, tuple(range(len(rows))))


def pawsx_files(folder: Path, language: str) -> tuple[Bitext, ...]:
    """Read `de/test_2k.tsv`; nothing if it is not there.

    Raises:
        CorpusError: it cannot be read, or the labels were removed.
    """
    code = two_letters(language)
    if code is None:
        return ()
    path = folder / code / PAWS_FILE
    if path.is_file():
        return pawsx_table(read_table(path), language)
    bare = folder / f"test-{code}.tsv"
    if bare.is_file():
        raise CorpusError(
            f"{bare} was written by XTREME's script, which removes the labels of the test set; "
            "give the folder x-final of PAWS-X itself"
        )
    return ()


def _is_whole(cell: object) -> bool:
    return cell is not None and not (isinstance(cell, str) and (is_blank(cell) or "\n" in cell))


def _is_translated(cell: object) -> bool:
    return _is_whole(cell) and not (isinstance(cell, str) and cell.strip() == UNTRANSLATED)


def _say_left_out(table: Table, pairs: int) -> None:
    if pairs:
        LOG.warning("%s: %d pairs left out, for want of a whole sentence", table.name, pairs)
