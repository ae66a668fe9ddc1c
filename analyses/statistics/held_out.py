"""How sure a score is that a unit reaches on sentences it was not chosen by."""

import math

from scipy.stats import norm

from steer_plugin.analyses.statistics.comparison import TAIL


def auroc_interval(auroc: float, sentences: int) -> tuple[float, float]:
    """Give a 95% interval of an AUROC on held-out sentences, on the wide side.

    No AUROC has a larger variance than A (1 - A) / m, with m the size of the smaller class
    (Birnbaum and Klose 1957, Annals of Mathematical Statistics 28): that of a proportion of m
    trials. So the interval is that of Wilson 1927 (JASA 22) for one, which has a width at 1 too.

    Args:
        auroc: 0..1.
        sentences: of the smaller class, or groups of them.
    """
    square = float(norm.isf(TAIL)) ** 2
    middle = (auroc + square / (2 * sentences)) / (1 + square / sentences)
    spread = auroc * (1 - auroc) / sentences + square / (4 * sentences**2)
    half = math.sqrt(square * spread) / (1 + square / sentences)
    return middle - half, middle + half
