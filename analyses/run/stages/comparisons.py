"""What steering does to the measures of every layer, beside its controls."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd

from steer_plugin.analyses.measures.every_measure import all_figures, figures_by
from steer_plugin.analyses.measures.mixed_retrieval import mixed_figures
from steer_plugin.analyses.run.results import layer_phrase
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.condition_embeddings import ConditionEmbeddings
from steer_plugin.analyses.run.stages.conditions import BEFORE, MATCHED, Comparison, Condition
from steer_plugin.analyses.statistics.comparison import compare, compare_controls
from steer_plugin.analyses.statistics.false_discoveries import control_false_discoveries
from steer_plugin.analyses.statistics.figure_rows import is_key_of_pair
from steer_plugin.analyses.statistics.figures import Figures, joined
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import FINAL, Embeddings, Layer
from steer_plugin.settings.parts import CONTROLS

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

    One condition's embeddings of one layer are in memory at a time, two or three where they are
    mixed or shifted.

    Returns:
        `alignment`, `retrieval`, `geometry`, `draws` and `mixed`, each row with `target`,
        `top_k` and `layer`; of a comparison that has further controls, `controls` too.

    Raises:
        AnalysisError: a condition cannot be measured, such as one that makes all embeddings alike.
    """
    frames: dict[str, list[pd.DataFrame]] = {}
    for layer in embedded.layers:
        figures = _LayerFigures(embedded, layer, comparison, settings.measures)
        tables = _tables(figures, comparison, settings)
        if layer == FINAL:
            tables["mixed"] = _mixed(embedded, comparison)
        for name, frame in tables.items():
            keys = {"target": comparison.target, "top_k": comparison.top_k, "layer": str(layer)}
            frames.setdefault(name, []).append(_labelled(frame, keys))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}


@dataclass(frozen=True)
class _LayerFigures:
    """Measures conditions at one layer.

    Attributes:
        embedded: the judging sentences, in all conditions.
        layer: where.
        comparison: of what.
        measures: further ones, whose figures stand in the table of alignment.
    """

    embedded: ConditionEmbeddings
    layer: Layer
    comparison: Comparison
    measures: tuple[str, ...] = ()

    def of(self, condition: Condition) -> TableFigures:
        """Measure a condition as it is embedded."""
        return self.named(condition, self.embedded.load(condition, self.layer))

    def named(self, condition: Condition, embeddings: Embeddings) -> TableFigures:
        """Measure embeddings, and name the condition where that cannot be done."""
        corpus = self.embedded.corpus
        with naming(condition, self.layer, "lower its k, or leave the target out"):
            figures = all_figures(
                embeddings,
                target=self.comparison.target,
                same=corpus.same,
                groups=corpus.groups,
            )
            by_users = [
                figures_by(
                    name,
                    embeddings,
                    target=self.comparison.target,
                    same=corpus.same,
                    groups=corpus.groups,
                )
                for name in self.measures
            ]
        tables = {table: [figures[name] for name in names] for table, names in TABLES.items()}
        tables["alignment"] += by_users
        return {table: joined(parts) for table, parts in tables.items()}


def _tables(
    figures: _LayerFigures, comparison: Comparison, settings: RunSettings
) -> dict[str, pd.DataFrame]:
    """Tabulate what is measured of a condition by itself; its figures are held no longer."""
    measured = {condition: figures.of(condition) for condition in (BEFORE, *comparison.conditions)}
    tables = {**_beside_matched(measured, comparison), "draws": _draws(measured, comparison)}
    others = _others(figures, measured, comparison, settings)
    if others:
        tables["controls"] = _beside_all(measured, others, comparison)
    return tables


def _labelled(frame: pd.DataFrame, keys: Mapping[str, object]) -> pd.DataFrame:
    return pd.DataFrame([dict(keys)] * len(frame)).join(frame)


def _beside_matched(
    measured: Mapping[Condition, TableFigures], comparison: Comparison
) -> dict[str, pd.DataFrame]:
    return {
        table: compare(
            measured[BEFORE][table],
            measured[comparison.experts][table],
            [measured[condition][table] for condition in comparison.matched],
        )
        for table in TABLES
    }


def _draws(measured: Mapping[Condition, TableFigures], comparison: Comparison) -> pd.DataFrame:
    """Give the chosen measures of every single draw of the matched control."""
    frames = [
        _controlled(measured[condition]).frame().assign(draw=draw)
        for draw, condition in enumerate(comparison.matched)
    ]
    return pd.concat(frames, ignore_index=True)


def _others(
    figures: _LayerFigures,
    measured: Mapping[Condition, TableFigures],
    comparison: Comparison,
    settings: RunSettings,
) -> dict[str, list[Figures]]:
    """Measure the controls that a comparison has besides the matched one."""
    others = {
        name: [_controlled(measured[condition]) for condition in draws]
        for name, draws in comparison.controls.items()
        if name != MATCHED
    }
    if not comparison.headline:
        return others
    for name in settings.controls:
        control = CONTROLS[name]
        if control.of == "embeddings":
            before = figures.embedded.load(BEFORE, figures.layer)
            after = figures.embedded.load(comparison.experts, figures.layer)
            with CONTROLS.calling(name):
                moved = control.function(before, after)
            # It has seen the sentences that judge it, and how it moves with them is not known.
            others[name] = [_controlled(figures.named(BEFORE, moved)).unsure()]
        elif control.of == "figures":
            with CONTROLS.calling(name):
                others[name] = [control.function(_controlled(measured[BEFORE]))]
    return others


def _beside_all(
    measured: Mapping[Condition, TableFigures],
    others: Mapping[str, Sequence[Figures]],
    comparison: Comparison,
) -> pd.DataFrame:
    """Put the means over pairs of the chosen measures beside every control."""
    matched = [_controlled(measured[condition]) for condition in comparison.matched]
    controls = {MATCHED: matched, **others}
    return compare_controls(
        _controlled(measured[BEFORE]),
        _controlled(measured[comparison.experts]),
        controls,
        single={name for name in controls if not _drawn(name)},
    )


def _drawn(name: str) -> bool:
    return CONTROLS[name].drawn and CONTROLS[name].of == "plan"


def _controlled(measured: TableFigures) -> Figures:
    return joined(
        [
            figures.of([key[0] in CONTROLLED and not is_key_of_pair(key) for key in figures.keys])
            for figures in (measured[table] for table in TABLES)
        ]
    )


def _mixed(embedded: ConditionEmbeddings, comparison: Comparison) -> pd.DataFrame:
    """Let the unsteered model ask, and search what each condition embeds."""
    corpus = embedded.corpus
    queries = embedded.load(BEFORE, FINAL)

    def figures_of(condition: Condition) -> Figures:
        return mixed_figures(
            queries,
            embedded.load(condition, FINAL),
            target=comparison.target,
            same=corpus.same,
            groups=corpus.groups,
        )

    return compare(
        figures_of(BEFORE),
        figures_of(comparison.experts),
        [figures_of(condition) for condition in comparison.matched],
    )


def with_false_discoveries(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Add the q-values of single pairs of languages to the tables that have such."""
    return {
        name: control_false_discoveries(table) if name in ("alignment", "retrieval") else table
        for name, table in tables.items()
    }
