"""A page from results: exhibits in their order, HTML, tables beside it.

May import: run and what that may; no host.
"""
