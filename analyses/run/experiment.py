"""The whole protocol: find experts, steer, measure, each step saved as it ends."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

import pandas as pd

from steer_plugin.analyses.measures.correlations import correlations
from steer_plugin.analyses.measures.mixed_retrieval import CORPUS
from steer_plugin.analyses.measures.projection import check_method
from steer_plugin.analyses.run.base_experts import check_given, made_of
from steer_plugin.analyses.run.checkpoints import Checkpoints, Say
from steer_plugin.analyses.run.inputs import RunData, finding_concepts
from steer_plugin.analyses.run.manifest import ran_with, run_provenance
from steer_plugin.analyses.run.passes import Passes
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.comparisons import compare_experts, with_false_discoveries
from steer_plugin.analyses.run.stages.condition_embeddings import (
    ConditionEmbeddings,
    chosen_layers,
    embed_conditions,
    embedding_wants,
    project_conditions,
)
from steer_plugin.analyses.run.stages.conditions import (
    BEFORE,
    Comparison,
    Planner,
    Rival,
    check_plans,
    most_conditions,
    most_rivals,
    plan_comparisons,
    plan_rivals,
)
from steer_plugin.analyses.run.stages.expert_tables import (
    find_all,
    finding_wants,
    judge_units,
    judging_finder,
    measure_luck,
    method_block,
)
from steer_plugin.analyses.run.stages.finder import Finder
from steer_plugin.analyses.run.stages.independent_sets import (
    bitext_texts,
    bitext_wants,
    bitexts_of,
    compare_bitexts,
)
from steer_plugin.analyses.run.stages.rivals import compare_rival
from steer_plugin.analyses.run.stages.writer import Writer, check_unsteered, curve, writer_of
from steer_plugin.corpora.named_corpora import need_parallel
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import AnalysisError
from steer_plugin.experts.summaries import experts_by_layer, overlap, score_curve
from steer_plugin.methods.catalogue import suited_methods
from steer_plugin.models.adapter import Adapter
from steer_plugin.registry import with_origins
from steer_plugin.settings.budget import MEMORY
from steer_plugin.settings.parts import CONTROLS, MEASURES

Tables = dict[str, pd.DataFrame]


def run_experiment(
    adapter: Adapter,
    data: RunData,
    settings: RunSettings,
    folder: Path,
    *,
    say: Say,
    memory: int = MEMORY,
) -> Results:
    """Take every step that is not taken yet, and put the tables together.

    Each step's result lies in `folder` with all that it depends on. A step is skipped where such a
    result is there, and taken again where it depends on something else; one that was broken off
    goes on at the batch.

    Args:
        adapter: the model of the settings.
        data: the sentences of the settings; see `inputs.read_data`.
        settings: what to do.
        folder: where results go.
        say: told what is being done, a line a step.
        memory: bytes of working memory for the responses of units.

    Raises:
        SelectionError: a k is too large, or a control cannot be drawn.
        InterventionError: value and operation do not go together.
        SiteError: the model lacks the site.
        ScoreError: a response is NaN or infinite, or the score is not defined at the site.
        AnalysisError, CorpusError: the language of generations cannot be identified, or something
            cannot be measured: unsteered, or under a plan, which is then named.
        ModelError: a layer does not exist, or the model cannot write or score what is asked for.
        ArtifactError: the folder cannot be written.
    """
    steps = Checkpoints(folder, say, memory, ran_with(settings, adapter.info))
    judging = need_parallel(data.judge, "`run`")
    layers = chosen_layers(adapter, settings)
    block = method_block(adapter, settings)
    for method in settings.projections:
        check_method(method)
    check_given(data.experts, adapter, say)
    check_plans(settings, adapter.space, finding_concepts(data, settings))
    writer = writer_of(adapter, data, settings, steps)
    check_unsteered(writer, settings.targets)
    passes = Passes(adapter, steps)
    finder = Finder(passes, data.find, settings, "experts", data.experts)
    judge = judging_finder(passes, data, settings)
    embedding = partial(embedding_wants, passes, judging, layers)
    passes.want(
        [
            *finding_wants(finder),
            judge.want,
            *embedding([BEFORE]),
            *bitext_wants(passes, data.bitexts, settings.targets, [BEFORE]),
        ]
    )
    texts = judging.labelled()[0]
    passes.foresee(most_conditions(settings), texts)
    for target in settings.targets:
        beside = map(bitext_texts, bitexts_of([target], data.bitexts))
        passes.foresee(1 + len(settings.control_seeds), texts, *beside)
    run_experts = find_all(finder)
    # Plans and tables of experts come before the long steps, so that an impossible k ends the run.
    planner = Planner(run_experts, settings, {})
    comparisons = plan_comparisons(planner)
    rivals = plan_rivals(planner, block)
    conditions = list(planner.known.values())
    passes.want(embedding(conditions))
    for headline in filter(attrgetter("headline"), comparisons):
        passes.want(
            bitext_wants(
                passes, data.bitexts, [headline.target], [headline.experts, *headline.matched]
            )
        )
    passes.forget_foreseen()
    generation_comparisons = _plan_generation(planner)
    if writer is not None:
        for target, at_every_k in generation_comparisons.items():
            for comparison in at_every_k:
                writer.expect([comparison.experts, comparison.matched[0]], target)
        _expect_rivals(writer, rivals)
    steps.progress.expect(
        "comparing",
        {_comparison_step(comparison): len(comparison.conditions) for comparison in comparisons},
    )
    by_layer = [experts_by_layer(run_experts.experts, k, settings.choice) for k in settings.top_k]
    shared = [overlap(run_experts.experts, k, settings.choice) for k in settings.top_k]
    null, stability = measure_luck(finder, run_experts.experts)
    finder.finish()
    judged = judge_units(judge)
    embedded = embed_conditions(passes, judging, layers, conditions)
    say("Comparing alignment and retrieval before and after")
    tables = _comparison_tables(comparisons, embedded, settings, steps)
    within, bitexts = _bitext_tables(passes, data, comparisons)
    passes.close()
    return Results(
        layers=pd.concat(by_layer, ignore_index=True),
        curve=score_curve(run_experts.experts, judged),
        overlap=pd.concat(shared, ignore_index=True),
        alignment=tables["alignment"],
        retrieval=tables["retrieval"],
        geometry=tables["geometry"],
        controls=tables.get("controls", pd.DataFrame()),
        draws=tables.get("draws", pd.DataFrame()),
        projection=project_conditions(comparisons, embedded, settings),
        correlations=correlations(
            tables["retrieval"],
            tables["alignment"],
            seen=settings.seen,
        ),
        null=null,
        stability=stability,
        mixed=pd.concat([within, tables["mixed"].assign(dataset=CORPUS)], ignore_index=True),
        bitexts=bitexts,
        generation=_generation_table(generation_comparisons, writer, settings),
        methods=_methods_table(rivals, embedded, writer, data, settings, steps),
        # Last, as it tells what every step ran with.
        provenance=run_provenance(
            adapter, data, settings, layers, block, writer, run_experts.experts, steps
        ),
    )


def compare_methods(
    adapter: Adapter,
    data: RunData,
    settings: RunSettings,
    folder: Path,
    *,
    say: Say,
    memory: int = MEMORY,
) -> pd.DataFrame:
    """Take the steps that put the methods of a run on the same axes; see `rivals.compare_rival`.

    Where the settings name no method, all that suit the choice of units are compared. Steps are
    shared with `run_experiment`; what the methods do not need, such as further controls, is left
    out. Of a corpus of labels, the methods are put on the axes of what is written alone.

    Raises:
        As `run_experiment` and `check_axes`.
    """
    check_axes(data, settings)
    settings = replace(
        settings,
        methods=settings.methods or made_of(data.experts, suited_methods(settings.choice)),
        controls=(),
        permutations=0,
        stability_resamples=0,
    )
    steps = Checkpoints(folder, say, memory, ran_with(settings, adapter.info))
    layers = chosen_layers(adapter, settings)
    block = method_block(adapter, settings)
    check_given(data.experts, adapter, say)
    check_plans(settings, adapter.space, finding_concepts(data, settings))
    writer = writer_of(adapter, data, settings, steps)
    check_unsteered(writer, settings.targets)
    passes = Passes(adapter, steps)
    finder = Finder(passes, data.find, settings, "experts", data.experts)
    passes.want(finding_wants(finder))
    if isinstance(data.judge, ParallelCorpus):
        passes.want(embedding_wants(passes, data.judge, layers, [BEFORE]))
        passes.foresee(most_rivals(settings), data.judge.labelled()[0])
    planner = Planner(find_all(finder), settings, {})
    # The names of conditions that a run has as well are the run's.
    plan_comparisons(planner)
    rivals = plan_rivals(planner, block)
    if writer is not None:
        _expect_rivals(writer, rivals)
    finder.finish()
    conditions = {
        condition: None for rival in rivals for condition in (rival.steered, rival.control)
    }
    embedded = None
    if isinstance(data.judge, ParallelCorpus):
        passes.want(embedding_wants(passes, data.judge, layers, list(conditions)))
        passes.forget_foreseen()
        embedded = embed_conditions(passes, data.judge, layers, list(conditions))
    passes.close()
    return _methods_table(rivals, embedded, writer, data, settings, steps)


def check_axes(data: RunData, settings: RunSettings) -> None:
    """Refuse a comparison of methods that would have no axis.

    Raises:
        AnalysisError: a corpus of labels is given and nothing is generated.
    """
    if settings.generation is None and not isinstance(data.judge, ParallelCorpus):
        raise AnalysisError(
            f"{', '.join(data.judge.concepts)} are labels, and what steering does to them is seen "
            "in what is written; say in [generation] how much to write"
        )


def _comparison_tables(
    comparisons: Iterable[Comparison],
    embedded: ConditionEmbeddings,
    settings: RunSettings,
    steps: Checkpoints,
) -> Tables:
    frames: dict[str, list[pd.DataFrame]] = {}
    for comparison in comparisons:
        name = _comparison_step(comparison)
        origin = {
            "embeddings": [
                embedded.origin(condition) for condition in (BEFORE, *comparison.conditions)
            ],
            "controls": list(settings.controls),
            **({"measures": list(settings.measures)} if settings.measures else {}),
            **with_origins(
                {},
                **{name: (CONTROLS, name) for name in settings.controls},
                **{name: (MEASURES, name) for name in settings.measures},
            ),
            "headline": comparison.headline,
        }
        comparison_tables = steps.tables(
            name, origin, partial(_compare, comparison, embedded, settings, steps)
        )
        steps.progress.drop("comparing", name)
        for table, rows in comparison_tables.items():
            frames.setdefault(table, []).append(rows)
    return with_false_discoveries(
        {table: pd.concat(parts, ignore_index=True) for table, parts in frames.items()}
    )


def _compare(
    comparison: Comparison, embedded: ConditionEmbeddings, settings: RunSettings, steps: Checkpoints
) -> Tables:
    amount = len(comparison.conditions)
    with steps.progress.doing("comparing", _comparison_step(comparison), amount):
        return compare_experts(comparison, embedded, settings)


def _comparison_step(comparison: Comparison) -> str:
    return f"comparisons/{comparison.target}-k{comparison.top_k}"


def _expect_rivals(writer: Writer, rivals: Iterable[Rival]) -> None:
    for rival in rivals:
        writer.expect([rival.steered, rival.control], rival.target)


def _resampling(settings: RunSettings) -> dict[str, int]:
    return {"resamples": settings.resamples, "bootstrap_seed": settings.bootstrap_seed}


def _plan_generation(planner: Planner) -> dict[str, list[Comparison]]:
    """Plan, for each target, what writes: the experts and their control at every k."""
    settings = planner.settings
    if settings.generation is None:
        return {}
    ks = settings.generation.top_k or settings.top_k
    return {target: [planner.comparison(target, k) for k in ks] for target in settings.targets}


def _generation_table(
    generation_comparisons: Mapping[str, list[Comparison]],
    writer: Writer | None,
    settings: RunSettings,
) -> pd.DataFrame:
    if writer is None:
        return pd.DataFrame()
    curves = [
        curve(writer, target, comparisons, settings)
        for target, comparisons in generation_comparisons.items()
    ]
    return pd.concat(curves, ignore_index=True)


def _methods_table(
    rivals: Iterable[Rival],
    embedded: ConditionEmbeddings | None,
    writer: Writer | None,
    data: RunData,
    settings: RunSettings,
    steps: Checkpoints,
) -> pd.DataFrame:
    frames = []
    for rival in rivals:
        conditions = (BEFORE, rival.steered, rival.control)
        origin = {
            "embeddings": [
                embedded.origin(condition) for condition in conditions if embedded is not None
            ],
            "generation": None if writer is None else asdict(writer.generation),
            "documents": None if writer is None else writer.documents_hash(rival.target),
            **_resampling(settings),
            # No language identifier hangs on the texts that find.
            **({} if embedded is not None else {"identifier": data.find.hash}),
        }
        name = f"methods/{rival.target}-{rival.method}"
        compare = partial(compare_rival, rival, embedded, writer, settings)
        frames.append(steps.table(name, origin, compare))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _bitext_tables(
    passes: Passes, data: RunData, comparisons: Iterable[Comparison]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tabulate the bitexts within one language, and those between two."""
    headline = [comparison for comparison in comparisons if comparison.headline]
    parts = [compare_bitexts(passes, data.bitexts, comparison) for comparison in headline]
    figures = pd.concat(parts, ignore_index=True)
    if figures.empty:
        return figures, figures
    within = figures["query"] == figures["candidates"]
    return figures[within], figures[~within].reset_index(drop=True)
