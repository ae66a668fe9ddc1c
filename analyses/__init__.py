"""Analyses: embeddings of a model in, tidy frames and a page out; the measures are handed out here.

May import: the core; no host, no adapter.
"""

from steer_plugin.analyses.measures.alignment import alignment, alignment_figures
from steer_plugin.analyses.measures.correlations import correlations
from steer_plugin.analyses.measures.every_measure import all_figures
from steer_plugin.analyses.measures.geometry import geometry_figures
from steer_plugin.analyses.measures.mixed_retrieval import bitext_figures, mixed_figures
from steer_plugin.analyses.measures.nearest_search import nearest
from steer_plugin.analyses.measures.neighbours import neighbour_figures
from steer_plugin.analyses.measures.projection import project
from steer_plugin.analyses.measures.retrieval import retrieval, retrieval_figures

__all__ = [
    "alignment",
    "alignment_figures",
    "all_figures",
    "bitext_figures",
    "correlations",
    "geometry_figures",
    "mixed_figures",
    "nearest",
    "neighbour_figures",
    "project",
    "retrieval",
    "retrieval_figures",
]
