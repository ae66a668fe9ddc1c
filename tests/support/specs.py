"""What the tests of charts read from a chart's specification."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import vl_convert
from altair.typing import ChartType

from steer_plugin.analyses.report import theme


def spec_of(chart: ChartType) -> dict[str, Any]:
    """The specification, in the package's theme."""
    with theme.themed():
        spec: dict[str, Any] = chart.to_dict()
    return spec


def width_of(spec: dict[str, Any]) -> float:
    """Its width in pixels on the report's page, which sets the title itself; warns as it draws."""
    untitled = {name: value for name, value in spec.items() if name != "title"}
    svg = vl_convert.vegalite_to_svg(untitled, show_warnings=True)
    return float(svg.partition(' width="')[2].partition('"')[0])


def said_on(spec: dict[str, Any], axis: str) -> set[str]:
    """The titles of an axis, x or y."""
    titles = {encoding.get(axis, {}).get("title") for encoding in encodings(spec)}
    return {title for title in titles if title}


def tooltips_of(spec: dict[str, Any]) -> set[str]:
    """The titles, or columns, of all tooltips."""
    return {
        tip.get("title", tip["field"])
        for encoding in encodings(spec)
        for tip in encoding.get("tooltip", [])
    }


def title_of(spec: dict[str, Any]) -> str:
    """The title in one line."""
    return " ".join(spec["title"]["text"])


def rows_of(spec: dict[str, Any]) -> pd.DataFrame:
    """All rows of the largest dataset's columns."""
    sets = [pd.DataFrame(rows) for rows in spec["datasets"].values()]
    columns = max(sets, key=len).columns
    return pd.concat([rows for rows in sets if list(rows.columns) == list(columns)])


def encodings(part: Any) -> Iterator[dict[str, Any]]:
    """Every mark's encoding anywhere in a specification."""
    if isinstance(part, dict):
        if "encoding" in part:
            yield part["encoding"]
        for key, value in part.items():
            if key != "datasets":
                yield from encodings(value)
    elif isinstance(part, list):
        for value in part:
            yield from encodings(value)
