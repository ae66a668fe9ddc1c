"""How sure a score is that a unit reaches on sentences it was not chosen by."""

from scipy.stats import beta

from steer_plugin.analyses.statistics.comparison import TAIL


def auroc_interval(auroc: float, units: int) -> tuple[float, float]:
    """Give a 95% interval of an AUROC on held-out sentences, on the wide side.

    No AUROC has a larger variance than A (1 - A) / m, with m the size of the smaller class
    (Birnbaum and Klose 1957, Annals of Mathematical Statistics 28): that of a proportion of m
    trials. So the interval is the exact one of Clopper and Pearson 1934 (Biometrika 26) for m A
    hits. It holds for independent sentences, and for parallel ones whose responses do not fall
    where their translations' rise.

    Args:
        auroc: 0..1.
        units: sentences of the smaller class, or groups of them, that are independent; 1 or more.

    Returns:
        The ends, in 0..1.
    """
    hits, misses = units * auroc, units * (1 - auroc)
    low = float(beta.ppf(TAIL, hits, misses + 1)) if hits > 0 else 0.0
    high = float(beta.isf(TAIL, hits + 1, misses)) if misses > 0 else 1.0
    return low, high
