"""Functions of embeddings: alignment, retrieval, neighbours, geometry, maps.

May import: statistics and the core; no host.
"""
