"""A figure as data: what it asks, the rows that it draws, in which form, and a table behind it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Generic, TypeVar

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.forms import Form
from steer_plugin.analyses.report.forms.drawing import PAGE


@dataclass(frozen=True)
class Figure:
    """A chart that is not drawn yet.

    Attributes:
        name: of the chart and its files.
        title: what it asks or shows, in one line.
        caption: what was found and how to read it, in two lines at most.
        form: how the rows are drawn.
        rows: tidy, one a mark.
        tables: what is stored beside the page, by file name.
    """

    name: str
    title: str
    caption: str
    form: Form
    rows: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]

    def spec(self, room: int = PAGE, chosen: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Give the Vega-Lite specification, its data inside.

        Args:
            room: pixels across.
            chosen: what each selector starts with; by default its first option.
        """
        spec = self.form.draw(self.rows, room, chosen or {})
        return {
            "$schema": alt.SCHEMA_URL,
            "description": f"{self.title}. {self.caption}",
            "config": theme.config(),
            **spec,
        }

    def chart(self) -> alt.ConcatChart:
        """Give the chart for a notebook."""
        spec = {**self.spec(), "title": self.title}
        del spec["$schema"]  # Altair sets its own
        # `from_dict` would validate each part again and again; this is validated as it is shown.
        with debug_mode(False):
            for panel in spec["concat"]:
                for layer in panel["layer"]:
                    layer["encoding"] = alt.FacetedEncoding(**layer["encoding"])
                panel["layer"] = [alt.Chart(**layer) for layer in panel["layer"]]
            spec["concat"] = [alt.LayerChart(**panel) for panel in spec["concat"]]
            spec["params"] = [
                (alt.TopLevelSelectionParameter if "select" in param else alt.VariableParameter)(
                    **param
                )
                for param in spec.get("params", [])
            ]
            return alt.ConcatChart(**spec)

    def states(self) -> Iterator[dict[str, str]]:
        """List all that its selectors can show; one empty state where it has none."""
        for values in product(*(select.options for select in self.form.selects)):
            yield dict(zip((select.column for select in self.form.selects), values, strict=True))


Source = TypeVar("Source")
Drawing = tuple[str, Form, pd.DataFrame]
"""What was found and how to read it, the form, and tidy rows, one a mark."""


@dataclass(frozen=True)
class Chart(Generic[Source]):
    """A figure before there are results.

    Attributes:
        name: of the figure, its files and its table.
        title: what it asks or shows, in one line.
        table: its figures, from a run or from two hosts; where there are none, nothing is drawn.
        draw: puts a table in a form.
    """

    name: str
    title: str
    table: Callable[[Source], pd.DataFrame]
    draw: Callable[[Source, pd.DataFrame], Drawing]

    def figures(self, source: Source) -> Iterator[Figure]:
        """Give the figure, if there is anything to draw."""
        table = self.table(source).reset_index(drop=True)
        if table.empty:
            return
        caption, form, rows = self.draw(source, table)
        if len(rows):
            yield Figure(self.name, self.title, caption, form, rows, {self.name: table})


def chart(
    name: str, title: str, table: Callable[[Source], pd.DataFrame]
) -> Callable[[Callable[[Source, pd.DataFrame], Drawing]], Chart[Source]]:
    """Declare a `Chart` by the function that draws its table."""
    return partial(Chart, name, title, table)


@dataclass(frozen=True)
class Table:
    """A table to read.

    Attributes:
        name: of its files.
        title: in one line.
        caption: what was found and what the figures are.
        rows: figures, with their ends in columns `_low` and `_high`.
        tables: what is stored beside the page, by file name.
    """

    name: str
    title: str
    caption: str
    rows: pd.DataFrame
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """What stands together behind one heading.

    Attributes:
        name: its anchor.
        title: its heading.
        figures: charts, in their order.
        tables: to read, after the charts.
        how: how it was measured.
    """

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    how: str = ""

    @classmethod
    def of(
        cls,
        source: Source,
        name: str,
        title: str,
        charts: Iterable[Chart[Source]],
        how: Callable[[Source], str],
    ) -> "Section":
        """Draw the charts that a run, or two hosts, have figures for; without any it is empty."""
        figures = tuple(figure for chart in charts for figure in chart.figures(source))
        return cls(name, title, figures, how=how(source) if figures else "")

    @property
    def items(self) -> tuple[Figure | Table, ...]:
        """Its figures, then its tables."""
        return (*self.figures, *self.tables)
