"""Many pairs of languages at once: how many of the differences found may be chance."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from steer_plugin.analyses.statistics.figure_rows import is_pair
from steer_plugin.errors import AnalysisError

FAMILY = ("target", "top_k", "layer", "measure", "centring")
"""Single pairs of languages that agree in these are tested together."""

TESTED = ("change", "advantage")


def control_false_discoveries(
    table: pd.DataFrame, *, family: Sequence[str] = FAMILY
) -> pd.DataFrame:
    """Add the false-discovery rate at which each single pair of languages would be called changed.

    By Benjamini and Hochberg 1995 (JRSS B 57, procedure 1), within each family: of the pairs with q
    at most 0.05, at most 5% are chance on average where tests are independent. Pairs share
    sentences and languages; in simulations in which they do 3 to 5% of the pairs called changed are
    chance (docs/statistics.md).

    A mean over pairs is one question: its p stands as it is, and its q is NaN.

    Args:
        table: figures as `comparison.compare` gives them, with the columns of `family`.
        family: the columns that a family agrees in; with several controls, theirs among them.

    Returns:
        The table, with `change_q` and `advantage_q` in [0, 1]; NaN for what is no single pair, and
        where p is.

    Raises:
        AnalysisError: the table lacks a column.
    """
    needed = [*family, "query", "candidates", *(f"{name}_p" for name in TESTED)]
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise AnalysisError(
            f"the table lacks {', '.join(missing)}; it needs the columns {', '.join(needed)}"
        )
    single = is_pair(table).to_numpy()
    families = table.groupby(list(family), sort=False, dropna=False).ngroup().to_numpy()
    columns = {}
    for name in TESTED:
        p = table[f"{name}_p"].to_numpy(dtype=np.float64)
        q = np.full(len(table), np.nan)
        tested = single & ~np.isnan(p)
        together = pd.Series(p[tested]).groupby(families[tested])
        q[tested] = together.transform(false_discovery_control)
        columns[f"{name}_q"] = q
    return table.assign(**columns)
