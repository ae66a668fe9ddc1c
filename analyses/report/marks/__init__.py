"""What charts are put together from: lanes, panels, labels, signs.

May import: words, theme and what `report` may.
"""
