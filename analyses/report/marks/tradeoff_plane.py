"""A picture of gain against cost, a panel a target."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.marks.label_places import Pixels, along, free_places
from steer_plugin.analyses.report.marks.panels import ends, in_rows, panel_width, ratio_axis

COST = "Perplexity / before (log)"
GAIN = "Gain in probability (after − before)"

_HEIGHT = 230


@dataclass(frozen=True)
class TradeoffPlane:
    """Where gains and costs are drawn, the same in every panel.

    Attributes:
        data: columns name (of the target), gain and cost, both with _low and _high, and what the
            marks and tooltips read.
        costs: of the horizontal axis, 1 on it.
        gains: of the vertical axis, 0 on it.
        x: the cost.
        y: the gain.
        width: of a panel, in pixels.
    """

    data: pd.DataFrame
    costs: alt.Scale
    gains: alt.Scale
    x: alt.X
    y: alt.Y
    width: int

    def draw(
        self, colour: alt.Color, tooltip: Sequence[alt.Tooltip], over: Sequence[alt.Chart]
    ) -> alt.VConcatChart:
        """Draw the panels, with the intervals of every row.

        Args:
            colour: of the intervals.
            tooltip: of the intervals.
            over: marks over them.
        """
        none = alt.Chart(pd.DataFrame({"cost": [1.0], "gain": [0.0]}))
        none = none.mark_rule(strokeDash=[3, 3], color=theme.MUTED)
        bars = alt.Chart().mark_rule(strokeWidth=1.2, opacity=0.45, clip=True)
        bars = bars.encode(color=colour, tooltip=list(tooltip))
        layers = [
            none.encode(x=self.x),
            none.encode(y=self.y),
            bars.encode(x="cost_low:Q", x2="cost_high:Q", y=self.y),
            bars.encode(y="gain_low:Q", y2="gain_high:Q", x=self.x),
            *over,
        ]
        rows = in_rows(list(dict.fromkeys(self.data["name"])))
        return alt.vconcat(
            *(
                alt.layer(*layers, data=self.data[self.data["name"].isin(names)])
                .properties(width=self.width, height=_HEIGHT)
                .facet(column=alt.Column("name:N", title=None, sort=names), spacing=18)
                for names in rows
            ),
            spacing=14,
        )

    def labels(self, texts: pd.Series, rank: pd.Series, line: pd.Series) -> pd.DataFrame:
        """Find a free place beside the points for their texts.

        Args:
            texts: by the rows of `data`; "" for a point without one.
            rank: the lowest has its place first.
            line: which rows a line joins, by cost.

        Returns:
            Columns text, text_cost and text_gain (where its left end stands, NaN where there is
            no room), by the rows of `data`.
        """
        labels = pd.DataFrame({"text": texts, "text_cost": np.nan, "text_gain": np.nan})
        none = pd.DataFrame({"cost": self.costs.domain, "gain": 0.0})
        for _, rows in self.data.groupby("name", sort=False):
            ranked = rank[rows.index].sort_values(kind="stable").index
            points = self._pixels(rows.loc[ranked])
            joined = rows[line[rows.index]].sort_values("cost", kind="stable")
            taken = [points, along(self._pixels(joined)), along(self._pixels(none))]
            places = free_places(
                points, list(texts[ranked]), np.concatenate(taken), (self.width, _HEIGHT)
            )
            for row, place in zip(ranked, places, strict=True):
                if place is not None:
                    labels.loc[row, ["text_cost", "text_gain"]] = self._figures(*place)
        return labels

    def _pixels(self, rows: pd.DataFrame) -> Pixels:
        (cheapest, dearest), (least, most) = self.costs.domain, self.gains.domain
        across = np.log(rows["cost"] / cheapest) / np.log(dearest / cheapest)
        down = (most - rows["gain"]) / (most - least)
        return np.stack([self.width * across, _HEIGHT * down], axis=1)

    def _figures(self, x: float, y: float) -> tuple[float, float]:
        (cheapest, dearest), (least, most) = self.costs.domain, self.gains.domain
        return (
            cheapest * (dearest / cheapest) ** (x / self.width),
            most - y / _HEIGHT * (most - least),
        )


def tradeoff_plane(data: pd.DataFrame) -> TradeoffPlane:
    """Fit the axes to gains and costs.

    Args:
        data: see `TradeoffPlane`.
    """
    low, high = ends(data[["gain", "gain_low", "gain_high"]], 0)
    room = 0.06 * (high - low) or 0.1
    gains = alt.Scale(domain=[low - room, high + room], nice=False)
    costs, axis = ratio_axis(*ends(data[["cost", "cost_low", "cost_high"]], 1))
    return TradeoffPlane(
        data=data,
        costs=costs,
        gains=gains,
        x=alt.X("cost:Q", title=COST, scale=costs, axis=axis),
        y=alt.Y("gain:Q", title=GAIN, scale=gains, axis=alt.Axis(tickCount=5)),
        width=panel_width(max(map(len, in_rows(list(dict.fromkeys(data["name"])))))),
    )
