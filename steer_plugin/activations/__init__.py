"""Where activations are read and written, and how the tokens of a text become one number.

May import: errors, settings.
"""
