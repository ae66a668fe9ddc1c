"""All measures of a condition, against the products that none can do without; the mix of two.

What a whole comparison takes at size: see `comparison_memory.py`.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from contest import Row, medians, times_as_long, times_faster

from steer_plugin.analyses.measures import translation_search
from steer_plugin.analyses.measures.alignment import alignment_figures
from steer_plugin.analyses.measures.every_measure import all_figures
from steer_plugin.analyses.measures.geometry import geometry_figures
from steer_plugin.analyses.measures.mixed_retrieval import mixed_figures
from steer_plugin.analyses.measures.neighbours import neighbour_figures
from steer_plugin.analyses.measures.retrieval import CENTRINGS, retrieval_figures
from steer_plugin.analyses.measures.unit_vectors import Centring

LANGUAGES, SENTENCES, DIMENSIONS = 6, 506, 1_024
FEW = 50
REPEATS = 3
TARGET = "l01"


def rows() -> list[Row]:
    """Measure random embeddings whose meaning is shared by languages."""
    generator = np.random.default_rng(0)
    shape = SENTENCES, DIMENSIONS
    meaning = generator.standard_normal(shape, dtype=np.float32)
    embeddings = {
        f"l{place:02}": meaning + 2 * generator.standard_normal(shape, dtype=np.float32)
        for place in range(LANGUAGES)
    }

    def products() -> None:
        wide = {name: each.astype(np.float64) for name, each in embeddings.items()}
        for first, second in combinations(wide, 2):
            wide[first] @ wide[second].T
        for each in wide.values():
            each @ each.T
            each.T @ each
        # By both centrings, of the effective rank.
        for _ in range(2):
            np.linalg.eigh(wide[TARGET].T @ wide[TARGET])

    apart: list[Callable[..., object]] = [
        alignment_figures,
        geometry_figures,
        retrieval_figures,
        neighbour_figures,
    ]
    steered = {name: each + 1 for name, each in embeddings.items()}

    def mixed(*centrings: Centring) -> None:
        mixed_figures(embeddings, steered, target=TARGET, centrings=centrings)

    few = {name: each[:FEW] for name, each in embeddings.items()}

    def searched(at_once: int) -> None:
        whole, translation_search.AT_ONCE = translation_search.AT_ONCE, at_once
        try:
            all_figures(few, target=TARGET)
        finally:
            translation_search.AT_ONCE = whole

    seconds = medians(
        {
            "few": lambda: searched(translation_search.AT_ONCE),
            "few apart": lambda: searched(1),
            "mixed": lambda: mixed(*CENTRINGS),
            "mixed apart": lambda: [mixed(centring) for centring in CENTRINGS],
            "all": lambda: all_figures(embeddings, target=TARGET),
            "apart": lambda: [measure(embeddings, target=TARGET) for measure in apart],
            "products": products,
        },
        repeats=REPEATS,
    )
    what = f"all measures of {LANGUAGES} languages, {SENTENCES:,} sentences x {DIMENSIONS:,}"
    return [
        times_as_long(
            what, "the products in float64 alone", seconds["all"], seconds["products"], ""
        ),
        # Apart, two of the four still share the products of all centrings.
        times_faster(what, "one after another", seconds["all"], seconds["apart"], ">= 1.1"),
        times_faster(
            f"mixed retrieval by {len(CENTRINGS)} centrings, the same sizes",
            "one after another",
            seconds["mixed"],
            seconds["mixed apart"],
            ">= 1.3",
        ),
        times_faster(
            f"all measures of {LANGUAGES} languages, {FEW} sentences, all pairs at once",
            "one after another",
            seconds["few"],
            seconds["few apart"],
            ">= 1.2",
        ),
    ]
