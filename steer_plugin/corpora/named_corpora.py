"""Corpora as the command line and run files name them, parallel or labelled."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path

from steer_plugin.corpora.corpus import Corpus
from steer_plugin.corpora.hub import is_hub
from steer_plugin.corpora.labelled import LabelledCorpus
from steer_plugin.corpora.labelled_rows import (
    LABELLED_SUFFIXES,
    is_folder_of_labels,
    is_labelled,
)
from steer_plugin.corpora.language_codes import is_language
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.corpora.sources import read_source
from steer_plugin.corpora.tables import local_path
from steer_plugin.errors import CorpusError
from steer_plugin.settings.parts import READERS, Reader


def read_corpus(
    source: str,
    concepts: Iterable[str] | None = None,
    group: str | None = None,
    against: str | None = None,
) -> Corpus:
    """Read a corpus; a source with the columns `text` and `label`, and no languages, is labelled.

    Args:
        source: file, folder, folder with a split of FLORES-200, "hf:name", or the name of one of
            `steer_plugin.settings.parts.READERS` and what it takes, as in "name:detail": those that
            are bundled are "everyday", "questions" and "registers".
        concepts: which of its languages or labels, in this order; None for all.
        group: the column that says which texts belong together; None for the source's own.
        against: texts that those of `source` are told from; see `LabelledCorpus.read`.

    Raises:
        CorpusError: it cannot be read, lacks a concept or the column, or somebody's own reader
            fails.
    """
    chosen = None if concepts is None else list(concepts)
    if against is not None:
        concept, background = _texts_of(source, group), _texts_of(against, group)
        return LabelledCorpus.read(concept, labels=chosen, group=group, against=background)
    named = _by_reader(source, group)
    if named is not None:
        return named if chosen is None else named.select(chosen)
    if _is_labelled_path(source):
        return LabelledCorpus.read(source, labels=chosen, group=group)
    read = read_source(source, None, group)
    if is_labelled(read):
        return LabelledCorpus.read(read, labels=chosen, group=group)
    return ParallelCorpus.read(read, languages=chosen, group=group)


def _by_reader(source: str, group: str | None) -> Corpus | None:
    """Read what names a reader; None where it names none."""
    name, _, detail = source.partition(":")
    if name not in READERS or Path(source).exists():
        return None
    with READERS.calling(name):
        texts = READERS[name].function(detail, group)
    if isinstance(texts, ParallelCorpus | LabelledCorpus):
        return texts
    if isinstance(texts, str | PathLike):
        return read_corpus(str(texts), None, group)
    read = read_source(texts, None, group)
    by_label = isinstance(texts, Mapping) and not any(map(is_language, texts))
    if by_label or is_labelled(read):
        return LabelledCorpus.read(texts, group=group)
    return ParallelCorpus.read(texts, group=group)


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


def _texts_of(source: str, group: str | None) -> str | Mapping[str, Sequence[str]]:
    """Give the texts of what names a reader, by label or as cells, any other source as it is."""
    named = _by_reader(source, group)
    if named is None:
        return source
    if group is None or named.groups is None:
        return named.sentences
    if isinstance(named, LabelledCorpus):
        groups = {
            concept: [
                number
                for number, label in zip(named.groups, named.labels, strict=True)
                if named.concepts[label] == concept
            ]
            for concept in named.concepts
        }
    else:
        groups = {concept: [*named.groups] for concept in named.concepts}
    rows = [
        (text, concept, f"{source} {number}")
        for concept, texts in named.sentences.items()
        for text, number in zip(texts, groups[concept], strict=True)
    ]
    return dict(zip(("text", "label", group), map(list, zip(*rows, strict=True)), strict=True))


def _is_labelled_path(source: str) -> bool:
    if is_hub(source):
        return False
    path = local_path(source)
    return path.suffix.lower() in LABELLED_SUFFIXES or is_folder_of_labels(Path(path))


def _everyday(detail: str, group: str | None) -> ParallelCorpus:  # noqa: ARG001
    """Everyday sentences in several languages, bundled."""
    return ParallelCorpus.everyday() if group is None else ParallelCorpus.everyday(group)


def _questions(detail: str, group: str | None) -> LabelledCorpus:  # noqa: ARG001
    """Questions and statements in English, bundled."""
    return LabelledCorpus.bundled("questions", group or "topic")


def _registers(detail: str, group: str | None) -> LabelledCorpus:  # noqa: ARG001
    """Formal and casual English, bundled."""
    return LabelledCorpus.bundled("registers", group or "topic")


EVERYDAY, QUESTIONS, REGISTERS = map(Reader, (_everyday, _questions, _registers))
