"""What a report holds, in its order."""

import altair as alt

from steer_plugin.analyses.report.figure import Figure, Section
from steer_plugin.analyses.report.first_screen import glance
from steer_plugin.analyses.report.sections.alignment import alignment_section
from steer_plugin.analyses.report.sections.controls import controls_section
from steer_plugin.analyses.report.sections.experts import experts_section
from steer_plugin.analyses.report.sections.generation import generation_section
from steer_plugin.analyses.report.sections.layers import layers_section
from steer_plugin.analyses.report.sections.methods import methods_section
from steer_plugin.analyses.report.sections.paper import paper_section
from steer_plugin.analyses.report.sections.retrieval import retrieval_section
from steer_plugin.analyses.report.sections.space import space_section
from steer_plugin.analyses.run.results import Results

_SECTIONS = (
    experts_section,
    retrieval_section,
    alignment_section,
    layers_section,
    space_section,
    controls_section,
    methods_section,
    generation_section,
    paper_section,
)


def sections(results: Results) -> list[Section]:
    """Give the sections that the results have figures or tables for."""
    made = [make(results) for make in _SECTIONS]
    return [section for section in made if section.items]


def figures(results: Results) -> list[Figure]:
    """Give every figure that the results have, the first screen's first."""
    return [glance(results), *(figure for part in sections(results) for figure in part.figures)]


def charts(results: Results) -> dict[str, alt.ConcatChart]:
    """Give every chart for a notebook, by name, in the report's order."""
    return {figure.name: figure.chart() for figure in figures(results)}
