"""What all hosts do alike: whole checkpoints, tokens, masks of what is steered, sampling, losses.

May import: the core; no host.
"""
