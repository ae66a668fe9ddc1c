"""Tatoeba, BUCC-18, PAWS-X and paraphrases, from folders and Hugging Face; see docs/data.md."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from steer_plugin.corpora.bitext import Bitext
from steer_plugin.corpora.bitext_files import ENGLISH, bucc_files, tatoeba_files
from steer_plugin.corpora.bitext_tables import paraphrased, pawsx_files, pawsx_table, translated
from steer_plugin.corpora.hub import config_names, is_dataset, is_hub, load, parse_hub, read_dataset
from steer_plugin.corpora.language_codes import tatoeba_code, two_letters
from steer_plugin.corpora.tables import local_path, need_columns, read_table
from steer_plugin.errors import CorpusError

Kind = Literal["tatoeba", "bucc18", "pawsx"]

LOG = logging.getLogger(__name__)

_FILES: Mapping[Kind, Callable[[Path, str], tuple[Bitext, ...]]] = {
    "tatoeba": tatoeba_files,
    "bucc18": bucc_files,
    "pawsx": pawsx_files,
}
# The configurations of google/xtreme, then of the mteb and google-research-datasets namespaces.
_CONFIGS: Mapping[Kind, tuple[str, str]] = {
    "tatoeba": ("tatoeba.{}", "{}-eng"),
    "bucc18": ("bucc18.{}", "{}-en"),
    "pawsx": ("PAWS-X.{}", "{}"),
}


def read_bitexts(source: Any, *, kind: Kind, languages: Sequence[str]) -> tuple[Bitext, ...]:
    """Read what a data set has for some languages.

    Languages that it does not have are left out, and named in one line of the log; so is the
    number of pairs that are left out because a sentence of theirs is missing.

    Args:
        source: a folder in the set's own layout; "hf:name" or "hf:name:split" for a data set on a
            hub, or in a local folder of that form; or a mapping from FLORES-200 code to a Hugging
            Face `Dataset` or `DatasetDict`. Of several splits without one named, it is `test`.
        kind: `tatoeba` and `bucc18` pair each language with English and are read both ways;
            `pawsx` pairs sentences of one language.
        languages: FLORES-200 codes.

    Returns:
        The bitexts in the order of the languages.

    Raises:
        CorpusError: the set has none of the languages, or cannot be read; the message names the
            file and the line, or the data set and the row.
    """
    wanted = [language for language in languages if kind == "pawsx" or language != ENGLISH]
    name, read = _reader(source, kind)
    by_language = {language: read(language) for language in wanted}
    absent = ", ".join(language for language, bitexts in by_language.items() if not bitexts)
    bitexts = tuple(chain.from_iterable(by_language.values()))
    if not bitexts:
        raise CorpusError(
            f"{name} has nothing of {kind} for {absent or 'no language'}; give one in its makers' "
            "layout, with its languages",
            page="data",
        )
    if absent:
        LOG.warning("%s has nothing of %s for %s", name, kind, absent)
    return bitexts


def read_paraphrases(path: Path, *, languages: Sequence[str]) -> tuple[Bitext, ...]:
    """Read pairs of paraphrases: a table with the columns `language`, `sentence1`, `sentence2`.

    Raises:
        CorpusError: it has none of the languages, or cannot be read.
    """
    table = read_table(path)
    need_columns(table, ("language",))
    spoken = table.columns["language"]
    rows = {
        language: [row for row, row_language in enumerate(spoken) if row_language == language]
        for language in languages
    }
    bitexts = tuple(
        paraphrased("paraphrases", language, table, chosen)
        for language, chosen in rows.items()
        if chosen
    )
    if not bitexts:
        raise CorpusError(f"{path} has no paraphrases in {', '.join(languages)}; name others")
    return bitexts


def _reader(source: Any, kind: Kind) -> tuple[str, Callable[[str], tuple[Bitext, ...]]]:
    """Name a source, and say how a language is read from it."""
    if is_dataset(source):
        raise CorpusError(
            "a data set does not say which language it is in; give a mapping from FLORES-200 code "
            "to data set, such as {'deu_Latn': dataset}"
        )
    if isinstance(source, Mapping):
        return "the mapping", lambda language: _of_mapping(source, kind, language)
    if is_hub(source):
        name, split = parse_hub(source)
        configs = config_names(name)
        return source, lambda language: _of_hub(name, split, configs, kind, language)
    folder = local_path(source)
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder; give one of {kind}", page="data")
    return str(folder), lambda language: _FILES[kind](folder, language)


def _of_mapping(source: Mapping[str, object], kind: Kind, language: str) -> tuple[Bitext, ...]:
    if language not in source:
        return ()
    return _of_dataset(source[language], None, f"the data set of {language}", kind, language)


def _of_hub(
    name: str, split: str | None, configs: Sequence[str], kind: Kind, language: str
) -> tuple[Bitext, ...]:
    code = tatoeba_code(language) if kind == "tatoeba" else two_letters(language)
    spellings = (form.format(code) for form in _CONFIGS[kind])
    config = next((spelling for spelling in spellings if spelling in configs), None)
    if config is None:
        return ()
    return _of_dataset(load(name, config), split, f"{name} ({config})", kind, language)


def _of_dataset(
    source: Any, split: str | None, name: str, kind: Kind, language: str
) -> tuple[Bitext, ...]:
    if split is None and isinstance(source, dict) and "test" in source:
        split = "test"
    table = read_dataset(source, split, name)
    if kind == "pawsx":
        return pawsx_table(table, language)
    return translated(kind, table, language)
