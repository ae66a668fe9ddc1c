"""Sentences and texts: parallel and labelled corpora, independent pairs, documents, languages.

May import: errors.
"""

from steer_plugin.corpora.bitext import Bitext
from steer_plugin.corpora.bitext_readers import read_bitexts, read_paraphrases
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.corpora.documents import read_documents
from steer_plugin.corpora.labelled import LabelledCorpus
from steer_plugin.corpora.parallel import ParallelCorpus

__all__ = [
    "Bitext",
    "Corpus",
    "LabelledCorpus",
    "ParallelCorpus",
    "read_bitexts",
    "read_documents",
    "read_paraphrases",
]
