"""What a model answers to many texts, in memory or kept on disk: probes, embeddings.

May import: models and what that may.
"""
