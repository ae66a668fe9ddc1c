"""What a model writes: texts, their language, and what steering costs in perplexity.

May import: statistics and the core; no host.
"""

from steer_plugin.analyses.generation.pareto import recommend
from steer_plugin.analyses.generation.tradeoff import Outcome, tradeoff

__all__ = [
    "Outcome",
    "recommend",
    "tradeoff",
]
