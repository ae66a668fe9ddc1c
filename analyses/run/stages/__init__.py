"""The stages of a run, each a table or the embeddings that tables are made of.

May import: as `run`.
"""
