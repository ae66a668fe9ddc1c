"""The charts of a report, a form a file: results in, an Altair chart out.

May import: marks, words and what `report` may.
"""
