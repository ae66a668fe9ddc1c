"""The report as one HTML page that needs nothing else: no network, no server, no other file."""

import functools
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import altair as alt
import jinja2
import pandas as pd
import vl_convert

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.figure import Figure, Section
from steer_plugin.analyses.report.first_screen import FirstScreen
from steer_plugin.analyses.report.readable import readable
from steer_plugin.analyses.run.results import Results

_MOST_ROWS = 40


def render(results: Results, first: FirstScreen, sections: Sequence[Section]) -> str:
    """Write the whole page.

    Args:
        results: of the run.
        first: its head.
        sections: in their order.
    """
    figures = [first.figure, *(figure for section in sections for figure in section.figures)]
    model = results.provenance.get("model", "a language model")
    html: str = _template().render(
        title=f"Language experts in {model}",
        first=first,
        sections=sections,
        provenance={name.replace("_", " "): value for name, value in results.provenance.items()},
        files={name: f"{len(rows):,} rows" for name, rows in results.tables().items()},
        table=functools.partial(_rows, results),
        dark=theme.DARK,
        specs=_json({figure.name: _packed(figure) for figure in figures}),
        colours=_json({light: f"var(--c{light[1:]})" for light in theme.DARK}),
        library=_library(),
    )
    return html


def _rows(results: Results, item: Any) -> dict[str, Any]:
    """Give the cells of the table behind a figure or of a table, and how many are left out."""
    rows = pd.concat(item.tables.values()) if isinstance(item, Figure) else item.rows
    shown = readable(results, rows.reset_index(drop=True))[:_MOST_ROWS]
    return {
        "header": list(shown.columns),
        "rows": shown.to_numpy().tolist(),
        "left": len(rows) - len(shown),
    }


def _packed(figure: Figure) -> dict[str, Any]:
    """Give a chart's specification with its rows as columns, which takes a third of the room."""
    spec = figure.spec()
    rows = spec.pop("data")["values"]
    names = list(rows[0]) if rows else []
    coded = {}
    for name in names:
        column = [row[name] for row in rows]
        known = list(dict.fromkeys(column))
        text = all(isinstance(value, str) for value in known)
        if text and len(known) < len(column) / 2:
            place = {value: number for number, value in enumerate(known)}
            coded[name] = {"of": known, "at": [place[value] for value in column]}
        else:
            coded[name] = {"is": column}
    spec.pop("config")
    return {"title": figure.title, "spec": spec, "columns": coded}


def _json(content: Any) -> str:
    # Escaping every "<" keeps data from ending the script that holds it.
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


@functools.cache
def _template() -> jinja2.Template:
    data = files("steer_plugin.data")
    parts = {name: data.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js")}
    loader = jinja2.DictLoader(
        {"page": data.joinpath("report.html.j2").read_text("utf-8"), **parts}
    )
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["config"] = _json(theme.config())
    return environment.get_template("page")


@functools.cache
def _library() -> str:
    """Bundle the charts' library, which takes seconds."""
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version))
