"""The report as one HTML page that needs nothing else: no network, no server, no other file."""

import functools
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.theme import themed

# The charts' library compiles functions (unsafe-eval); nothing may be loaded from anywhere.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)

_STYLE = """
:root { color-scheme: light; --ink: #1f2328; --muted: #57606a; --rule: #d0d7de; --link: #0550ae; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 56px 0 4px; padding-top: 20px;
  border-top: 1px solid var(--rule); }
h3, h4 { font-size: 1.05rem; line-height: 1.4; margin: 20px 0 8px; }
section section h3 { font-size: 1.15rem; margin: 40px 0 4px; }
p { max-width: 46rem; margin: 0 0 12px; }
a { color: var(--link); }
nav { font-size: .875rem; margin: 0 0 8px; }
nav a { margin-right: 14px; display: inline-block; }
.headline { font-size: 1.2rem; font-weight: 600; line-height: 1.4; }
.aid, .note { color: var(--muted); }
.note { font-size: .875rem; }
figure { margin: 0 0 8px; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
.chart { display: block; padding-bottom: 4px; }
figcaption { font-size: .875rem; color: var(--muted); max-width: 46rem; margin-top: 8px; }
.files { font-size: .875rem; margin: 6px 0 0; }
.files button { font: inherit; color: var(--link); background: none; border: 0; padding: 0;
  margin-right: 14px; text-decoration: underline; cursor: pointer; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 6px 14px 6px 0;
  border-bottom: 1px solid #eaecef; }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; white-space: nowrap; }
.figures td { white-space: nowrap; }
.words td { overflow-wrap: anywhere; }
@media (max-width: 600px) { main { padding: 20px 14px 40px; } h1 { font-size: 1.5rem; }
  figure::before { content: "Scroll sideways for the whole chart."; font-size: .8125rem;
    color: var(--muted); }
  tbody th { white-space: normal; min-width: 8rem; } }
@media print {
  main { max-width: none; padding: 0; } nav, .files { display: none; }
  figure, tr { break-inside: avoid; } h2, h3, h4 { break-after: avoid; }
  .scroll { overflow: visible; } .chart svg { max-width: 100%; height: auto; }
}
"""

_SCRIPT = """
const specs = JSON.parse(document.getElementById("specs").textContent);
const options = {actions: false, renderer: "svg", mode: "vega-lite"};
async function draw() {
  for (const [name, spec] of Object.entries(specs)) {
    const {title, ...untitled} = spec;
    try {
      await vegaEmbed("#" + name + "-chart", untitled, options);
    } catch (error) {
      console.error(name, error);
      document.getElementById(name + "-chart").textContent = "This chart cannot be drawn here.";
    }
  }
  document.body.dataset.drawn = "yes";
}
async function save(name, type) {
  const {view} = await vegaEmbed(document.createElement("div"), specs[name], options);
  const link = document.createElement("a");
  link.href = await view.toImageURL(type, 2);
  link.download = name + "." + type;
  link.click();
  view.finalize();
}
document.addEventListener("click", event => {
  const {save: name, type} = event.target.dataset;
  if (name) save(name, type);
});
draw();
"""


@dataclass(frozen=True)
class Section:
    """A section of several charts.

    Attributes:
        name: its anchor.
        heading: what it is about.
        opening: HTML before the charts.
        exhibits: the charts with their words, in their order.
        tables: what is stored beside the page with the charts' own tables, by file name.
    """

    name: str
    heading: str
    opening: str
    exhibits: tuple[Exhibit, ...]
    tables: Mapping[str, pd.DataFrame]


def text(words: str) -> str:
    """Escape words for HTML."""
    return html.escape(words, quote=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    """Write a table of text; the first cell of a row is its heading.

    Args:
        header: may be empty.
        rows: cells.
        kind: "figures", which are kept on one line, or "words", which are not.
    """
    head = "".join(f'<th scope="col">{text(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if header else ""
    content = f'<table class="{kind}">{top}<tbody>{body}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{content}</div>'


def section_tag(anchor: str, heading: str, body: str, level: int = 2) -> str:
    """Write a section with its heading, which is of this level."""
    return f'<section id="{text(anchor)}"><h{level}>{text(heading)}</h{level}>{body}</section>'


def exhibit_html(exhibit: Exhibit, spec: Mapping[str, Any], level: int = 2) -> str:
    """Write a chart's section: how to read it, what it shows, the chart, what it is, its files."""
    title = f"<h{level + 1}>{text(' '.join(spec['title']['text']))}</h{level + 1}>"
    name = text(exhibit.name)
    return section_tag(
        exhibit.name,
        exhibit.heading,
        f'<p class="aid">{text(exhibit.aid)}</p>{title}'
        f'<figure><div class="scroll" tabindex="0"><div class="chart" id="{name}-chart"></div>'
        f"</div><figcaption>{text(exhibit.caption)}</figcaption></figure>"
        f'<p class="files"><button type="button" data-save="{name}" data-type="png">PNG</button>'
        f'<button type="button" data-save="{name}" data-type="svg">SVG</button>'
        f'<a href="tables/{name}.parquet">{name}.parquet</a></p>',
        level,
    )


def section_html(section: Section, specs: Mapping[str, Any]) -> str:
    """Write a section that holds the sections of several charts.

    Args:
        section: what it holds.
        specs: each chart's specification by its name.
    """
    charts = "".join(exhibit_html(item, specs[item.name], 3) for item in section.exhibits)
    return section_tag(section.name, section.heading, section.opening + charts)


def specification(exhibit: Exhibit) -> dict[str, Any]:
    """Give a chart's Vega-Lite specification in the package's theme, its data inside."""
    with themed():
        spec: dict[str, Any] = exhibit.chart.to_dict()
    spec["description"] = " ".join(spec["title"]["text"])
    return spec


@functools.cache
def _library() -> str:
    """Bundle the charts' library, which takes seconds."""
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version))


def page(title: str, opening: str, sections: Sequence[str], specs: Mapping[str, Any]) -> str:
    """Write the whole page.

    Args:
        title: of the page.
        opening: HTML after the title.
        sections: HTML, in their order.
        specs: each chart's specification by its name.
    """
    # Escaping every "<" keeps data from ending the script that holds it.
    data = json.dumps(specs, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{text(title)}</title><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{text(title)}</h1>{opening}"
        "<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>"
        f"{''.join(sections)}</main>\n"
        f'<script type="application/json" id="specs">{data}</script>\n'
        f"<script>{_library()}</script>\n"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )
