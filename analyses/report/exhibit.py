"""A chart of a report with the words beside it and the table behind it."""

from dataclasses import dataclass

import pandas as pd
from altair.typing import ChartType


@dataclass(frozen=True)
class Exhibit:
    """A chart with what a reader needs beside it.

    Attributes:
        name: of the chart and of its table's file.
        heading: what it is about.
        aid: one sentence on how to read it.
        caption: what was measured on what, and what the intervals are.
        chart: to draw in the package's theme.
        table: the rows that the chart draws.
    """

    name: str
    heading: str
    aid: str
    caption: str
    chart: ChartType
    table: pd.DataFrame
