"""Sentences and texts: parallel corpora, independent pairs, documents, names of languages.

May import: errors.
"""
