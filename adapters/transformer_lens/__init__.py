"""TransformerLens: a `TransformerBridge` as an adapter, and plans as its hooks.

May import: adapters.shared and the core; transformer_lens, never nnsight.
"""
