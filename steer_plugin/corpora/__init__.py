"""Sentences and texts: parallel corpora, independent pairs, documents, names of languages.

May import: errors.
"""

from steer_plugin.corpora.bitext import Bitext
from steer_plugin.corpora.bitext_readers import read_bitexts, read_paraphrases
from steer_plugin.corpora.documents import read_documents
from steer_plugin.corpora.parallel import ParallelCorpus

__all__ = [
    "Bitext",
    "ParallelCorpus",
    "read_bitexts",
    "read_documents",
    "read_paraphrases",
]
