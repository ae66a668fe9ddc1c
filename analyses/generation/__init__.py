"""What a model writes: texts, their language, and what steering costs in perplexity.

May import: statistics and the core; no host.
"""
