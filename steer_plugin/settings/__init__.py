"""Choices and their defaults, said once for the library, the command line and run files.

May import: errors. Nothing slow: the command line reads it before it answers.
"""
