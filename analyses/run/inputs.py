"""The sentences of a run: those that find, those that judge, and independent sets."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from itertools import chain

from steer_plugin.analyses.run.base_experts import read_experts
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.corpora.bitext import Bitext
from steer_plugin.corpora.bitext_readers import Kind, read_bitexts, read_paraphrases
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.corpora.documents import read_documents
from steer_plugin.corpora.named_corpora import read_corpus
from steer_plugin.corpora.text_forms import KnownTexts
from steer_plugin.errors import CorpusError
from steer_plugin.experts.table import ExpertTable

LOG = logging.getLogger(__name__)

FEWEST = 4
"""Sentences that judge; CKA is not defined over fewer."""
PARAPHRASES = "paraphrases"


@dataclass(frozen=True)
class RunData:
    """What a run reads.

    Attributes:
        find: the texts that find experts, of the concepts that are positives and negatives.
        held_out: other texts of the same concepts, but for those that `judge_corpus` lacks, to
            score the units again.
        judge: the texts of `held_out` of the concepts that are judged.
        bitexts: pairs of sentences from elsewhere.
        documents: texts by language whose perplexity is measured; empty for the judging sentences.
        experts: that the run file names; None where the run finds its own.
    """

    find: Corpus
    held_out: Corpus
    judge: Corpus
    bitexts: tuple[Bitext, ...] = ()
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    experts: ExpertTable | None = None


def read_data(settings: RunSettings) -> RunData:
    """Read all that a run file names, and refuse what does not go together.

    Raises:
        CorpusError: something cannot be read, a target is not there, or too little is left to judge
            on when the texts that find are dropped from it: fewer than `FEWEST` sentences, no query
            of a set, no document of a target; or `against` and `judge_against` do not go together.
        ArtifactError: the experts that it names cannot be read.
        SettingsError: they were found otherwise than the run would find them.
    """
    judging, judge_against = settings.judge_corpus, settings.judge_against
    split = judging in (None, settings.corpus)
    if (judge_against is not None) != (settings.against is not None and not split):
        raise CorpusError(
            "against is what the texts of corpus are told from, judge_against those of "
            "judge_corpus; give both with judge_corpus, and without it against alone, which is "
            "split in two as corpus is"
        )
    corpus = _corpus(settings.corpus, settings, settings.against)
    if split:
        find, judge = corpus.split(seed=settings.split_seed)
    else:
        find, judge = corpus, _corpus(str(judging), settings, judge_against)
    return _data(find, judge, settings)


def split_data(corpus: Corpus, settings: RunSettings) -> RunData:
    """Split a corpus that is at hand in two, as `read_data` does with one that it reads."""
    return _data(*corpus.split(seed=settings.split_seed), settings)


def finding_concepts(data: RunData, settings: RunSettings) -> list[str]:
    """List the concepts whose experts are found: all but the one that they are told from."""
    return [concept for concept in data.find.concepts if concept != settings.source]


def check_targets(corpus: Corpus, targets: Iterable[str], what: str = "target") -> None:
    """Refuse a target that is none of a corpus's concepts.

    Args:
        corpus: the texts.
        targets: the concepts.
        what: they are, for messages.

    Raises:
        CorpusError: there is such a target.
    """
    for target in targets:
        if target not in corpus.concepts:
            raise CorpusError(
                f"{what} {target!r} is not in the corpus; it has: {', '.join(corpus.concepts)}"
            )


def check_groups(judging: Corpus) -> None:
    """Refuse sentences that judge and are all of one group.

    Raises:
        CorpusError: they are, so that nothing tells how figures vary.
    """
    if judging.groups is not None and len(set(judging.groups)) < 2:
        raise CorpusError(
            f"all {len(judging)} sentences that judge are of one group, so nothing tells how "
            "figures vary; give sentences of at least two groups, such as documents",
            page="statistics",
        )


def _corpus(source: str, settings: RunSettings, against: str | None = None) -> Corpus:
    wanted = None
    if settings.languages is not None:
        wanted = dict.fromkeys((*settings.languages, *(settings.find_languages or ())))
    corpus = read_corpus(source, wanted, settings.group, against)
    return corpus if settings.sentences is None else corpus.take(settings.sentences)


def _data(find: Corpus, judge: Corpus, settings: RunSettings) -> RunData:
    judged = settings.languages or judge.concepts
    concepts = settings.find_languages or settings.languages or find.concepts
    held_out = tuple(language for language in concepts if language in judge.concepts)
    _tell_one_sided(concepts, held_out, "finds experts and does not judge")
    if settings.find_languages is None:
        _tell_one_sided(judged, concepts, "judges and finds no experts")
    for corpus in (find, judge):
        check_targets(corpus, settings.targets)
        check_targets(corpus, filter(None, [settings.source]), "source")
    if settings.source is not None and settings.source not in concepts:
        raise CorpusError(
            f"source {settings.source!r} is not read; add it to find_languages, which has: "
            f"{', '.join(concepts)}"
        )
    find = find.select(concepts)
    known = KnownTexts.of(chain.from_iterable(find.sentences.values()))
    judging = judge.select(tuple(dict.fromkeys((*held_out, *judged))))
    new = judging.without(known)
    if len(new) < FEWEST:
        repeated = len(judging) - len(new)
        dropped = f", without the {repeated} whose texts find experts" if repeated else ""
        raise CorpusError(
            f"{len(new)} sentences are left to judge on{dropped}, {FEWEST} are the fewest that "
            "can; give more that find none"
        )
    check_groups(new)
    _tell_dropped(len(judging) - len(new), len(judging), "sentences")
    data = RunData(
        find=find,
        held_out=new.select(held_out),
        judge=new.select(judged),
        bitexts=tuple(_bitexts(settings, judged, known)),
        documents=_documents(settings, known),
        experts=read_experts(settings, find),
    )
    for language in settings.seen or ():
        if language not in judged:
            raise CorpusError(
                f"seen language {language!r} is not judged; the judged ones are: "
                f"{', '.join(judged)}"
            )
    return data


def _tell_one_sided(languages: Iterable[str], others: Collection[str], what: str) -> None:
    for language in languages:
        if language not in others:
            LOG.warning("%s %s: the other corpus lacks it", language, what)


def _tell_dropped(dropped: int, of: int, what: str) -> None:
    if dropped:
        LOG.warning(
            "%s of %s %s dropped: their texts also found the experts",
            f"{dropped:,}",
            f"{of:,}",
            what,
        )


def _bitexts(
    settings: RunSettings, languages: tuple[str, ...], known: KnownTexts
) -> Iterable[Bitext]:
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
                bitexts = read_paraphrases(path, languages=languages)
        else:
            bitexts = read_bitexts(source, kind=kind, languages=languages)
        new = [kept for kept in (bitext.without(known) for bitext in bitexts) if kept is not None]
        queries, kept_queries = (sum(len(b.queries) for b in some) for some in (bitexts, new))
        if not new:
            raise CorpusError(
                f"all {queries:,} queries of {kind} have texts that find experts; give other "
                f"sentences, or leave {kind} out"
            )
        _tell_dropped(queries - kept_queries, queries, f"queries of {kind}")
        for bitext in new:
            yield (
                bitext if settings.bitext_queries is None else bitext.take(settings.bitext_queries)
            )


def _documents(settings: RunSettings, known: KnownTexts) -> Mapping[str, tuple[str, ...]]:
    if settings.generation is None or settings.generation.documents is None:
        return {}
    documents = read_documents(settings.generation.documents, settings.targets)
    new = {
        language: tuple(text for text in texts if not known.quoted_in(text))
        for language, texts in documents.items()
    }
    for language, texts in new.items():
        if not texts:
            raise CorpusError(
                f"all {len(documents[language]):,} documents in {language} hold texts that find "
                "experts; give others"
            )
    of, kept = (sum(map(len, texts.values())) for texts in (documents, new))
    _tell_dropped(of - kept, of, "documents")
    return new
