"""One run: its settings, files, inputs, steps, stages and results.

May import: controls, generation, measures, statistics and the core; no host, no report.
"""
