"""What a report says, computed from the figures and no wider than their intervals.

May import: theme and what `report` may.
"""
