"""The whole protocol: find experts, steer, measure, each step saved as it ends."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pandas as pd

from steer_plugin.analyses.compared import compare_experts, with_false_discoveries
from steer_plugin.analyses.conditions import (
    BEFORE,
    Comparison,
    Planner,
    Rival,
    plan_comparisons,
    plan_rivals,
)
from steer_plugin.analyses.correlations import correlations
from steer_plugin.analyses.embedded import Embedded, chosen_layers, embed_conditions
from steer_plugin.analyses.expertise import experts_by_layer, overlap, score_curve
from steer_plugin.analyses.found import find_all, judge_units, method_block
from steer_plugin.analyses.independent import compare_bitexts
from steer_plugin.analyses.language_id import identified_code
from steer_plugin.analyses.mixed import CORPUS
from steer_plugin.analyses.projection import check_method, described, project
from steer_plugin.analyses.results import Results
from steer_plugin.analyses.rivals import compare_rival
from steer_plugin.analyses.run_data import RunData
from steer_plugin.analyses.steps import Say, Steps
from steer_plugin.analyses.written import Writer, curve
from steer_plugin.embeddings import FINAL
from steer_plugin.methods import METHODS
from steer_plugin.protocols import Adapter
from steer_plugin.provenance import provenance
from steer_plugin.settings import RunSettings

Tables = dict[str, pd.DataFrame]


def run_experiment(
    adapter: Adapter, data: RunData, settings: RunSettings, folder: Path, *, say: Say
) -> Results:
    """Take every step that is not taken yet, and put the tables together.

    Each step's result lies in `folder` with all that it depends on. A step is skipped where such a
    result is there, and taken again where it depends on something else; one that was broken off
    goes on at the batch.

    Args:
        adapter: the model of the settings.
        data: the sentences of the settings; see `run_data.read_data`.
        settings: what to do.
        folder: where results go.
        say: told what is being done, a line a step.

    Raises:
        SelectionError: a k is too large.
        AnalysisError, CorpusError: the language of generations cannot be identified.
        ModelError: a layer does not exist.
        ArtifactError: the folder cannot be written.
    """
    steps = Steps(folder, say)
    layers = chosen_layers(adapter, settings)
    block = method_block(adapter, settings)
    for method in settings.projections:
        check_method(method)
    writer = _writer(adapter, data, settings, steps)
    found = find_all(adapter, data, settings, steps)
    # Plans and tables of experts come before the long steps, so that an impossible k ends the run.
    planner = Planner(found, settings, {})
    comparisons = plan_comparisons(planner)
    rivals = plan_rivals(planner, block)
    conditions = list(planner.known.values())
    written = _plan_written(planner)
    by_layer = [experts_by_layer(found.experts, k) for k in settings.top_k]
    shared = [overlap(found.experts, k) for k in settings.top_k]
    judged = judge_units(adapter, data, settings, steps)
    embedded = embed_conditions(adapter, data.judge, layers, conditions, steps)
    say("Comparing alignment and retrieval before and after")
    tables = _compared(comparisons, embedded, settings, steps)
    within, bitexts = _independent(adapter, data, comparisons, settings, steps)
    return Results(
        provenance=_describe(adapter, data, settings, layers),
        layers=pd.concat(by_layer, ignore_index=True),
        curve=score_curve(found.experts, judged),
        overlap=pd.concat(shared, ignore_index=True),
        alignment=tables["alignment"],
        retrieval=tables["retrieval"],
        geometry=tables["geometry"],
        controls=tables.get("controls", pd.DataFrame()),
        projection=_project(comparisons, embedded, settings),
        correlations=correlations(
            tables["retrieval"],
            tables["alignment"],
            seen=settings.seen,
            count=settings.resamples,
            seed=settings.bootstrap_seed,
        ),
        null=found.null,
        stability=found.stability,
        mixed=pd.concat([within, tables["mixed"].assign(dataset=CORPUS)], ignore_index=True),
        bitexts=bitexts,
        generation=_curves(written, writer, settings),
        methods=_methods(rivals, embedded, writer, settings, steps),
    )


def compare_methods(
    adapter: Adapter, data: RunData, settings: RunSettings, folder: Path, *, say: Say
) -> pd.DataFrame:
    """Take the steps that put the methods of a run on the same axes; see `rivals.compare_rival`.

    Where the settings name no method, all are compared. Steps are shared with `run_experiment`.

    Raises:
        SelectionError: a k is too large.
        AnalysisError, CorpusError: the language of generations cannot be identified.
        ModelError: a layer does not exist.
        ArtifactError: the folder cannot be written.
    """
    settings = replace(settings, methods=settings.methods or tuple(METHODS))
    steps = Steps(folder, say)
    layers = chosen_layers(adapter, settings)
    block = method_block(adapter, settings)
    writer = _writer(adapter, data, settings, steps)
    planner = Planner(find_all(adapter, data, settings, steps), settings, {})
    # The names of conditions that a run has as well are the run's.
    plan_comparisons(planner)
    rivals = plan_rivals(planner, block)
    wanted = {one: None for rival in rivals for one in (rival.steered, rival.control)}
    embedded = embed_conditions(adapter, data.judge, layers, list(wanted), steps)
    return _methods(rivals, embedded, writer, settings, steps)


def _compared(
    comparisons: Iterable[Comparison], embedded: Embedded, settings: RunSettings, steps: Steps
) -> Tables:
    frames: dict[str, list[pd.DataFrame]] = {}
    for comparison in comparisons:
        name = f"comparisons/{comparison.target}-k{comparison.top_k}"
        origin = {
            "embeddings": [embedded.origin(one) for one in (BEFORE, *comparison.conditions)],
            "controls": list(settings.controls),
            **_resampling(settings),
        }
        found = steps.tables(name, origin, partial(compare_experts, comparison, embedded, settings))
        for table, rows in found.items():
            frames.setdefault(table, []).append(rows)
    return with_false_discoveries(
        {table: pd.concat(parts, ignore_index=True) for table, parts in frames.items()}
    )


def _resampling(settings: RunSettings) -> dict[str, int]:
    return {"resamples": settings.resamples, "bootstrap_seed": settings.bootstrap_seed}


def _writer(adapter: Adapter, data: RunData, settings: RunSettings, steps: Steps) -> Writer | None:
    if settings.generation is None:
        return None
    # What is written in them is identified hours later.
    for target in settings.targets:
        identified_code(target)
    return Writer(adapter, data, settings.generation, steps)


def _plan_written(planner: Planner) -> dict[str, list[Comparison]]:
    """Plan, for each target, what writes: the experts and their control at every k."""
    settings = planner.settings
    if settings.generation is None:
        return {}
    ks = settings.generation.top_k or settings.top_k
    return {target: [planner.comparison(target, k) for k in ks] for target in settings.targets}


def _curves(
    written: Mapping[str, list[Comparison]], writer: Writer | None, settings: RunSettings
) -> pd.DataFrame:
    if writer is None:
        return pd.DataFrame()
    curves = [
        curve(writer, target, comparisons, settings) for target, comparisons in written.items()
    ]
    return pd.concat(curves, ignore_index=True)


def _methods(
    rivals: Iterable[Rival],
    embedded: Embedded,
    writer: Writer | None,
    settings: RunSettings,
    steps: Steps,
) -> pd.DataFrame:
    frames = []
    for rival in rivals:
        conditions = (BEFORE, rival.steered, rival.control)
        origin = {
            "embeddings": [embedded.origin(one) for one in conditions],
            "generation": None if writer is None else asdict(writer.generation),
            **_resampling(settings),
        }
        name = f"methods/{rival.target}-{rival.method}"
        compare = partial(compare_rival, rival, embedded, writer, settings)
        frames.append(steps.table(name, origin, compare))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _independent(
    adapter: Adapter,
    data: RunData,
    comparisons: Iterable[Comparison],
    settings: RunSettings,
    steps: Steps,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tabulate the bitexts within one language, and those between two."""
    headline = [one for one in comparisons if one.headline]
    parts = [compare_bitexts(adapter, data.bitexts, one, settings, steps) for one in headline]
    found = pd.concat(parts, ignore_index=True)
    if found.empty:
        return found, found
    within = found["query"] == found["candidates"]
    return found[within], found[~within].reset_index(drop=True)


def _project(
    comparisons: Iterable[Comparison], embedded: Embedded, settings: RunSettings
) -> pd.DataFrame:
    before = embedded.load(BEFORE)[FINAL]
    frames = []
    for comparison in comparisons:
        if not comparison.headline:
            continue
        conditions = {
            "before": before,
            "experts": embedded.load(comparison.experts)[FINAL],
            "control": embedded.load(comparison.matched[0])[FINAL],
        }
        for method in settings.projections:
            plane = project(
                before,
                conditions,
                embedded.corpus.ids,
                method=method,
                seed=settings.bootstrap_seed,
            )
            frames.append(
                plane.assign(target=comparison.target, top_k=comparison.top_k, method=method)
            )
    return pd.concat(frames, ignore_index=True)


def _describe(
    adapter: Adapter, data: RunData, settings: RunSettings, layers: Iterable[object]
) -> dict[str, str]:
    info = adapter.info
    origin = provenance(info, data.judge)
    return {
        "model": info.name,
        "revision": info.revision,
        "host": info.host,
        "dtype": info.dtype,
        "device": "the server's" if settings.host == "ndif" else settings.device,
        "bos": "put before each text" if info.bos else "none",
        "site": settings.site,
        "pooling": settings.pooling,
        "score": settings.score,
        "selection": _selection(settings),
        "operation": settings.operation,
        "value": str(settings.value),
        "strength": str(settings.strength),
        "positions": settings.positions + ("" if settings.steer_bos else ", BOS left alone"),
        "corpus": settings.corpus,
        "judge_corpus": settings.judge_corpus or settings.corpus,
        "languages": ", ".join(data.judge.languages),
        "find_languages": ", ".join(data.find.languages),
        "seen": ", ".join(settings.seen or ()),
        "split_seed": str(settings.split_seed),
        "find_sentences": str(len(data.find)),
        "find_hash": data.find.hash,
        "judge_sentences": str(len(data.judge)),
        "judge_hash": data.judge.hash,
        "control_seeds": ", ".join(map(str, settings.control_seeds)),
        "controls": ", ".join(settings.controls),
        "methods": ", ".join(settings.methods),
        "resamples": str(settings.resamples),
        "bootstrap_seed": str(settings.bootstrap_seed),
        "layers": ", ".join(map(str, layers)),
        "bitexts": "; ".join(
            f"{one.name} {one.query_language}-{one.candidates_language} {one.hash[:12]}"
            for one in data.bitexts
        ),
        **_generation(settings),
        "projection": "; ".join(
            [
                *(described(one, seed=settings.bootstrap_seed) for one in settings.projections),
                f"the random neurons of seed {settings.control_seeds[0]}",
            ]
        ),
        **{f"version of {package}": found for package, found in origin["versions"].items()},
    }


def _selection(settings: RunSettings) -> str:
    parts = [settings.selection, "in each layer" if settings.per_layer else "over all layers"]
    if settings.unit_layers is not None:
        parts.append("of blocks {} to {}".format(*settings.unit_layers))
    return " ".join(parts)


def _generation(settings: RunSettings) -> Mapping[str, str]:
    if settings.generation is None:
        return {"generation": "none"}
    how = asdict(settings.generation)
    return {f"generation {name}": str(value) for name, value in how.items()}
