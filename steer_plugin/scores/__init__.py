"""What makes a unit an expert, and what it typically responds with, from one sort of each unit.

May import: responses and what that may.
"""
