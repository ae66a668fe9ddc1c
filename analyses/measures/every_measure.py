"""All measures of one layer's embeddings, from the same unit vectors and the same products."""

from steer_plugin.analyses.measures import neighbours, retrieval
from steer_plugin.analyses.measures.alignment import alignment_of
from steer_plugin.analyses.measures.cosines import Same
from steer_plugin.analyses.measures.geometry import Scatter, geometry_of
from steer_plugin.analyses.measures.translation_search import add_blocks, searches
from steer_plugin.analyses.measures.unit_vectors import (
    CENTRINGS,
    Centring,
    UnitVectors,
    check_target,
    unit_vectors,
)
from steer_plugin.analyses.statistics.figures import Figures, Groups, Pair, joined
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings
from steer_plugin.settings.parts import MEASURES


def figures_by(
    name: str,
    embeddings: Embeddings,
    *,
    target: str | None,
    same: Same | None = None,
    groups: Groups | None = None,
) -> Figures:
    """Measure embeddings by one of `steer_plugin.settings.parts.MEASURES`.

    Args:
        name: of the measure.
        embeddings: language -> one row a sentence, the same sentences in each.
        target: the language that is steered towards; None for none.
        same: see `all_figures`.
        groups: the same.

    Raises:
        AnalysisError: there is no such measure, it is not defined for these, or somebody's own
            fails or gives something else than figures.
    """
    measure = MEASURES[name]
    more = {"same": same} if measure.same else {}
    with MEASURES.calling(name):
        figures = measure.function(embeddings, target=target, groups=groups, **more)
    if not isinstance(figures, Figures):
        raise AnalysisError(
            f"the measure {name!r} gave an object of type {type(figures).__name__}; give Figures, "
            "such as steer_plugin.analyses.statistics.weighted_means makes"
        )
    return figures


def all_figures(
    embeddings: Embeddings,
    *,
    target: str | None,
    same: Same | None = None,
    groups: Groups | None = None,
) -> dict[str, Figures]:
    """Measure alignment, retrieval, neighbours and geometry in one pass.

    The same cosines give retrieval and neighbours: one product a pair of languages, for both ways
    and both centrings; of more sentences than `translation_search.searches` takes at once, three.

    Args:
        embeddings: language -> one row a sentence, the same sentences in each; at least four.
        target: the language that is steered towards; None leaves its means out.
        same: for each language a number a sentence, equal where texts are equal; see
            `retrieval_figures`.
        groups: a number a sentence, equal where sentences hang together, such as those of one
            document; None where each is one of its own.

    Returns:
        `alignment`, `retrieval`, `neighbours` and `geometry`, each what `alignment_figures`,
        `retrieval_figures`, `neighbour_figures` and `geometry_figures` give.

    Raises:
        AnalysisError: as those do.
    """
    check_target(embeddings, target)
    tables: dict[str, list[Figures]] = {
        name: [] for name in ("alignment", "retrieval", "neighbours", "geometry")
    }
    scatter = Scatter(embeddings)
    searched: dict[Centring, UnitVectors] = {}
    for centring in CENTRINGS:
        units = unit_vectors(embeddings, centring)
        tables["alignment"].append(alignment_of(units, target, groups))
        tables["geometry"].append(geometry_of(units, target, groups, scatter))
        if centring in retrieval.CENTRINGS:
            searched[centring] = units
    outcomes: dict[Pair, retrieval.SearchOutcomes] = {}
    near: dict[Pair, neighbours.Neighbourhood] = {}
    for search in searches([*searched.values()], same, groups):
        add_blocks(outcomes, retrieval.search_outcomes(search))
        add_blocks(near, neighbours.neighbourhoods(search))
    tables["retrieval"] += retrieval.retrieval_of(outcomes, searched, target, groups).values()
    tables["neighbours"] += neighbours.neighbours_of(near, searched, target, groups).values()
    return {name: joined(parts) for name, parts in tables.items()}
