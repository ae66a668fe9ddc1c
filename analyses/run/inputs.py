"""The sentences of a run: those that find, those that judge, and independent sets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files

from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.corpora.bitext import Bitext
from steer_plugin.corpora.bitext_readers import Kind, read_bitexts, read_paraphrases
from steer_plugin.corpora.documents import read_documents
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import CorpusError

FEWEST = 4
"""Sentences that judge; CKA is not defined over fewer."""
EVERYDAY = "everyday"
PARAPHRASES = "paraphrases"


@dataclass(frozen=True)
class RunData:
    """What a run reads.

    Attributes:
        find: the sentences that find experts, in the languages that are positives and negatives.
        held_out: other sentences in the same languages, to score the units again.
        judge: the sentences of `held_out` in the languages that are judged.
        bitexts: pairs of sentences from elsewhere.
        documents: texts by language whose perplexity is measured; empty for the judging sentences.
    """

    find: ParallelCorpus
    held_out: ParallelCorpus
    judge: ParallelCorpus
    bitexts: tuple[Bitext, ...] = ()
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_corpus(
    source: str, languages: Iterable[str] | None = None, group: str | None = None
) -> ParallelCorpus:
    """Read a parallel corpus as run files and the command line name it.

    Args:
        source: file, folder, folder with a split of FLORES-200, or "everyday".
        languages: which of its languages, in this order; None for all.
        group: the column that says which sentences belong together; None for the source's own.

    Raises:
        CorpusError: it cannot be read, or lacks a language or the column.
    """
    chosen = None if languages is None else list(languages)
    if source == EVERYDAY:
        everyday = ParallelCorpus.everyday() if group is None else ParallelCorpus.everyday(group)
        return everyday if chosen is None else everyday.select(chosen)
    return ParallelCorpus.read(source, languages=chosen, group=group)


def read_data(settings: RunSettings) -> RunData:
    """Read all that a run file names, and refuse what does not go together.

    Raises:
        CorpusError: something cannot be read, a target is not there, fewer than `FEWEST` sentences
            judge, or sentences would both find and judge.
    """
    corpus = _corpus(settings.corpus, settings)
    if settings.judge_corpus in (None, settings.corpus):
        find, judge = corpus.split(seed=settings.split_seed)
    else:
        find, judge = corpus, _corpus(str(settings.judge_corpus), settings)
        _check_apart(find, judge)
    return _data(find, judge, settings)


def split_data(corpus: ParallelCorpus, settings: RunSettings) -> RunData:
    """Split a corpus that is at hand in two, as `read_data` does with one that it reads."""
    return _data(*corpus.split(seed=settings.split_seed), settings)


def check_targets(corpus: ParallelCorpus, targets: Iterable[str]) -> None:
    """Refuse a target that is none of a corpus's languages.

    Raises:
        CorpusError: there is such a target.
    """
    for target in targets:
        if target not in corpus.languages:
            raise CorpusError(
                f"target {target!r} is not in the corpus; it has: {', '.join(corpus.languages)}"
            )


def _corpus(source: str, settings: RunSettings) -> ParallelCorpus:
    wanted = None
    if settings.languages is not None:
        wanted = dict.fromkeys((*settings.languages, *(settings.find_languages or ())))
    corpus = read_corpus(source, wanted, settings.group)
    return corpus if settings.sentences is None else corpus.take(settings.sentences)


def _data(find: ParallelCorpus, judge: ParallelCorpus, settings: RunSettings) -> RunData:
    if len(judge) < FEWEST:
        raise CorpusError(
            f"{len(judge)} sentences are left to judge on, {FEWEST} are the fewest that can; give "
            "more sentences"
        )
    judged = judge if settings.languages is None else judge.select(settings.languages)
    concepts = settings.find_languages or judged.languages
    data = RunData(
        find=find.select(concepts),
        held_out=judge.select(concepts),
        judge=judged,
        bitexts=tuple(_bitexts(settings, judged.languages)),
        documents=_documents(settings),
    )
    for corpus in (data.find, data.judge):
        check_targets(corpus, settings.targets)
    for language in settings.seen or ():
        if language not in judged.languages:
            raise CorpusError(
                f"seen language {language!r} is not judged; the judged ones are: "
                f"{', '.join(judged.languages)}"
            )
    return data


def _check_apart(find: ParallelCorpus, judge: ParallelCorpus) -> None:
    for language in find.languages:
        shared = set(find.sentences[language]) & set(judge.sentences.get(language, ()))
        if shared:
            raise CorpusError(
                f"{len(shared)} {language} sentences would both find and judge, such as "
                f"{min(shared)!r}; give a judge_corpus of other sentences, or leave it out to "
                "split the corpus"
            )


def _bitexts(settings: RunSettings, languages: tuple[str, ...]) -> Iterable[Bitext]:
    sources: dict[Kind, str | None] = {
        "tatoeba": settings.tatoeba,
        "bucc18": settings.bucc,
        "pawsx": settings.pawsx,
    }
    for kind, source in sources.items():
        if source is None:
            continue
        if kind == "pawsx" and source == PARAPHRASES:
            with as_file(files("steer_plugin.data") / "paraphrases.tsv") as path:
                found = read_paraphrases(path, languages=languages)
        else:
            found = read_bitexts(source, kind=kind, languages=languages)
        for bitext in found:
            yield (
                bitext if settings.bitext_queries is None else bitext.take(settings.bitext_queries)
            )


def _documents(settings: RunSettings) -> Mapping[str, tuple[str, ...]]:
    if settings.generation is None or settings.generation.documents is None:
        return {}
    return read_documents(settings.generation.documents, settings.targets)
