"""Figures as functions of weights on sentences, their bootstrap and false-discovery control.

May import: errors. Knows nothing of models, runs or reports.
"""
