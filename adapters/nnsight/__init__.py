"""nnsight: a traced model as an adapter, here or on an NDIF server, and plans inside traces.

May import: adapters.shared and the core; nnsight, never transformer_lens.
"""
