"""The command line, a command a file; what is slow is imported inside a command.

May import: everything.
"""
