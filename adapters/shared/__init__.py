"""What all hosts do alike: tokens, masks of what is steered, sampling, losses.

May import: the core; no host.
"""
