"""Ways to steer by name, steering vectors among them.

May import: experts and what that may.
"""
