"""What a report shows, a section a file: results in, figures and tables as data out.

May import: the forms, frames, verdicts, and what `report` may.
"""
