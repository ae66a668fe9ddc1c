"""Corpora as the command line and run files name them, parallel or labelled."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from steer_plugin.corpora.corpus import Corpus
from steer_plugin.corpora.hub import is_hub
from steer_plugin.corpora.labelled import BUNDLED, LabelledCorpus
from steer_plugin.corpora.labelled_rows import (
    LABELLED_SUFFIXES,
    is_folder_of_labels,
    is_labelled,
)
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.corpora.sources import read_source
from steer_plugin.corpora.tables import local_path
from steer_plugin.errors import CorpusError

EVERYDAY = "everyday"


def read_corpus(
    source: str,
    concepts: Iterable[str] | None = None,
    group: str | None = None,
    against: str | None = None,
) -> Corpus:
    """Read a corpus; a source with the columns `text` and `label`, and no languages, is labelled.

    Args:
        source: file, folder, folder with a split of FLORES-200, "hf:name", or one that is bundled:
            "everyday", "questions", "registers".
        concepts: which of its languages or labels, in this order; None for all.
        group: the column that says which texts belong together; None for the source's own.
        against: texts that those of `source` are told from; see `LabelledCorpus.read`.

    Raises:
        CorpusError: it cannot be read, or lacks a concept or the column.
    """
    chosen = None if concepts is None else list(concepts)
    for name in BUNDLED:
        if source == name and against is None:
            bundled = LabelledCorpus.bundled(name, group or "topic")
            return bundled if chosen is None else bundled.select(chosen)
    if source == EVERYDAY and against is None:
        everyday = ParallelCorpus.everyday() if group is None else ParallelCorpus.everyday(group)
        return everyday if chosen is None else everyday.select(chosen)
    if against is not None:
        concept, others = _bundled_texts(source), _bundled_texts(against)
        return LabelledCorpus.read(concept, labels=chosen, group=group, against=others)
    if _is_labelled_path(source):
        return LabelledCorpus.read(source, labels=chosen, group=group)
    read = read_source(source, None, group)
    if is_labelled(read):
        return LabelledCorpus.read(read, labels=chosen, group=group)
    return ParallelCorpus.read(read, languages=chosen, group=group)


def need_parallel(corpus: Corpus, what: str) -> ParallelCorpus:
    """Refuse texts that are no translations of each other for what compares translations.

    Args:
        corpus: any.
        what: is over translations, such as "retrieval".

    Raises:
        CorpusError: the corpus has labels, not languages.
    """
    if not isinstance(corpus, ParallelCorpus):
        raise CorpusError(
            f"{what} is over translations of the same sentences, and {', '.join(corpus.concepts)} "
            "are labels of texts of their own; give a parallel corpus, such as a table with a "
            "column a language"
        )
    return corpus


def _bundled_texts(source: str) -> str | Mapping[str, tuple[str, ...]]:
    """Give the texts of what is bundled, by label, and any other source as it is."""
    for name in BUNDLED:
        if source == name:
            return LabelledCorpus.bundled(name).sentences
    return source


def _is_labelled_path(source: str) -> bool:
    if is_hub(source):
        return False
    path = local_path(source)
    return path.suffix.lower() in LABELLED_SUFFIXES or is_folder_of_labels(Path(path))
