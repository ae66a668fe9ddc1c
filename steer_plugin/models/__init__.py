"""A model behind a few verbs, whatever host runs it, and what a result records of it.

May import: interventions, activations, corpora.
"""
