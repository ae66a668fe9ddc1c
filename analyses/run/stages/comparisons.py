"""What steering does to the measures of every layer, beside its controls."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pandas as pd

from steer_plugin.analyses.controls.shifts import centred, constant_shift
from steer_plugin.analyses.measures.cosines import Same
from steer_plugin.analyses.measures.every_measure import all_figures
from steer_plugin.analyses.measures.mixed_retrieval import mixed_figures
from steer_plugin.analyses.run.results import layer_phrase
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.condition_embeddings import ConditionEmbeddings
from steer_plugin.analyses.run.stages.conditions import BEFORE, MATCHED, Comparison, Condition
from steer_plugin.analyses.statistics.bootstrap import compare, compare_controls
from steer_plugin.analyses.statistics.false_discoveries import control_false_discoveries
from steer_plugin.analyses.statistics.figure_rows import is_pair
from steer_plugin.analyses.statistics.figures import Figures, joined
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import FINAL, Embeddings, Layer

CONTROLLED = ("pair distance", "matched distance", "gap", "top-1", "MEXA", "CKA")
"""The measures that every control of a run file is put beside."""

TABLES = {
    "alignment": ("alignment",),
    "retrieval": ("retrieval",),
    "geometry": ("neighbours", "geometry"),
}
"""What each table of the results is made of."""

TableFigures = dict[str, Figures]


@contextmanager
def naming(condition: Condition, layer: Layer, remedy: str) -> Iterator[None]:
    """Say of which condition and layer something cannot be measured.

    Args:
        condition: what the block measures.
        layer: where.
        remedy: what to do where it is a steered condition that cannot be measured.

    Raises:
        AnalysisError: the block raised one.
    """
    try:
        yield
    except AnalysisError as error:
        more = "" if condition == BEFORE else f"; or {remedy}"
        where = layer_phrase(str(layer))
        raise AnalysisError(f"{condition.name} {where}: {error}{more}") from error


def compare_experts(
    comparison: Comparison, embedded: ConditionEmbeddings, settings: RunSettings
) -> dict[str, pd.DataFrame]:
    """Tabulate all measures at every layer: before, with experts, and with matched controls.

    Returns:
        `alignment`, `retrieval`, `geometry` and `mixed`, each row with `target`, `top_k` and
        `layer`; of a comparison that has further controls, `controls` too.

    Raises:
        AnalysisError: a condition cannot be measured, such as one that makes all embeddings alike.
    """
    same = embedded.corpus.same
    frames: dict[str, list[pd.DataFrame]] = {}
    for layer in embedded.layers:
        embeddings = {
            condition: embedded.load(condition, layer)
            for condition in (BEFORE, *comparison.conditions)
        }
        measured: dict[Condition, TableFigures] = {}
        for condition, rows in embeddings.items():
            with naming(condition, layer, "lower its k, or leave the target out"):
                measured[condition] = _measure(rows, comparison.target, same)
        tables = _beside_matched(measured, comparison, settings)
        if layer == FINAL:
            tables["mixed"] = _mixed(embeddings, comparison, settings, same)
        others = _others(embeddings, measured, comparison, settings, same)
        if others:
            tables["controls"] = _beside_all(measured, others, comparison, settings)
        for name, frame in tables.items():
            keys = {"target": comparison.target, "top_k": comparison.top_k, "layer": str(layer)}
            frames.setdefault(name, []).append(_labelled(frame, keys))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}


def _measure(embeddings: Embeddings, target: str, same: Same) -> TableFigures:
    figures = all_figures(embeddings, target=target, same=same)
    return {table: joined([figures[name] for name in names]) for table, names in TABLES.items()}


def _labelled(frame: pd.DataFrame, keys: Mapping[str, object]) -> pd.DataFrame:
    return pd.DataFrame([dict(keys)] * len(frame)).join(frame)


def _beside_matched(
    measured: Mapping[Condition, TableFigures], comparison: Comparison, settings: RunSettings
) -> dict[str, pd.DataFrame]:
    return {
        table: compare(
            measured[BEFORE][table],
            measured[comparison.experts][table],
            [measured[condition][table] for condition in comparison.matched],
            count=settings.resamples,
            seed=settings.bootstrap_seed,
        )
        for table in TABLES
    }


def _others(
    embeddings: Mapping[Condition, Embeddings],
    measured: Mapping[Condition, TableFigures],
    comparison: Comparison,
    settings: RunSettings,
    same: Same,
) -> dict[str, list[TableFigures]]:
    """Measure the controls that a comparison has besides the matched one."""
    others = {
        name: [measured[condition] for condition in draws]
        for name, draws in comparison.controls.items()
        if name != MATCHED
    }
    if not comparison.headline:
        return others
    before, after = embeddings[BEFORE], embeddings[comparison.experts]
    if "constant-shift" in settings.controls:
        shifted = constant_shift(before, fit=(before, after))
        others["constant-shift"] = [_measure(shifted, comparison.target, same)]
    if "centring" in settings.controls:
        others["centring"] = [_measure(centred(before, fit=before), comparison.target, same)]
    return others


def _beside_all(
    measured: Mapping[Condition, TableFigures],
    others: Mapping[str, Sequence[TableFigures]],
    comparison: Comparison,
    settings: RunSettings,
) -> pd.DataFrame:
    """Put the means over pairs of the chosen measures beside every control."""
    named = {MATCHED: [measured[condition] for condition in comparison.matched], **others}
    controls = {name: [_controlled(figures) for figures in draws] for name, draws in named.items()}
    return compare_controls(
        _controlled(measured[BEFORE]),
        _controlled(measured[comparison.experts]),
        controls,
        count=settings.resamples,
        seed=settings.bootstrap_seed,
    )


def _controlled(measured: TableFigures) -> Figures:
    figures = joined([measured[table] for table in TABLES])
    keep = (figures.index["measure"].isin(CONTROLLED) & ~is_pair(figures.index)).to_numpy()
    index = figures.index[keep].reset_index(drop=True)
    return Figures(index, figures.sentences, lambda weights: figures.evaluate(weights)[:, keep])


def _mixed(
    embeddings: Mapping[Condition, Embeddings],
    comparison: Comparison,
    settings: RunSettings,
    same: Same,
) -> pd.DataFrame:
    """Let the unsteered model ask, and search what each condition embeds."""

    def figures_of(condition: Condition) -> Figures:
        return mixed_figures(
            embeddings[BEFORE], embeddings[condition], target=comparison.target, same=same
        )

    return compare(
        figures_of(BEFORE),
        figures_of(comparison.experts),
        [figures_of(condition) for condition in comparison.matched],
        count=settings.resamples,
        seed=settings.bootstrap_seed,
    )


def with_false_discoveries(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Add the q-values of single pairs of languages to the tables that have such."""
    return {
        name: control_false_discoveries(table) if name in ("alignment", "retrieval") else table
        for name, table in tables.items()
    }
