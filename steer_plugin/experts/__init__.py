"""Tables of scored units: how they are made within memory and disk, chosen from, and summed up.

May import: scores and what that may.
"""
