"""The whole protocol: find experts, steer, measure, each step saved as it ends."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from steer_plugin.analyses.alignment import alignment_figures
from steer_plugin.analyses.controls import random_control
from steer_plugin.analyses.expertise import experts_by_layer, overlap, score_curve
from steer_plugin.analyses.projection import project
from steer_plugin.analyses.results import Results, middle
from steer_plugin.analyses.retrieval import retrieval_figures
from steer_plugin.analyses.statistics import Figures, compare
from steer_plugin.artifacts import CONFIG, Artifact, read_artifact, write_artifact
from steer_plugin.corpus import ParallelCorpus
from steer_plugin.embeddings import FINAL, Embeddings, Layer, embed_layers
from steer_plugin.errors import ArtifactError, CorpusError, ModelError
from steer_plugin.experts import ExpertTable, find_experts
from steer_plugin.interventions import Intervention
from steer_plugin.protocols import Adapter
from steer_plugin.provenance import provenance
from steer_plugin.settings import RunSettings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Condition:
    """One way to run the model over the judging sentences.

    Attributes:
        name: of its folder.
        plan: what is done to the model; None for nothing.
    """

    name: str
    plan: Intervention | None


@dataclass(frozen=True)
class Comparison:
    """Experts for one target at one k, beside their controls.

    Attributes:
        target: the language that is steered towards.
        top_k: how many experts.
        experts: the condition with the experts set.
        controls: the conditions with as many random neurons set, one a seed.
    """

    target: str
    top_k: int
    experts: Condition
    controls: tuple[Condition, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The experts, then the controls."""
        return (self.experts, *self.controls)


@dataclass(frozen=True)
class Embedded:
    """Where the embeddings of one corpus lie, one folder a condition.

    Attributes:
        folder: holds the conditions' folders.
        layers: that are embedded at.
        corpus: that is embedded.
    """

    folder: Path
    layers: tuple[Layer, ...]
    corpus: ParallelCorpus

    def load(self, condition: Condition) -> dict[Layer, Embeddings]:
        """Read one condition's embeddings, its languages in the order of the corpus."""
        tensors = read_artifact(self.folder / condition.name, "embeddings").tensors()
        return {
            layer: {language: tensors[f"{layer}/{language}"] for language in self.corpus.languages}
            for layer in self.layers
        }

    def origin(self, condition: Condition) -> Any:
        """Read what one condition's embeddings depend on."""
        return read_artifact(self.folder / condition.name, "embeddings").config["provenance"]


BEFORE = Condition("before", None)


def run_experiment(
    adapter: Adapter,
    corpus: ParallelCorpus,
    settings: RunSettings,
    folder: Path,
    *,
    say: Say,
) -> Results:
    """Take every step that is not taken yet, and put the tables together.

    Each step's result lies in `folder` with all that it depends on. A step is skipped where such a
    result is there, and taken again where it depends on something else; one that was broken off
    goes on at the batch.

    Args:
        adapter: the model of the settings.
        corpus: the corpus of the settings.
        settings: what to do.
        folder: where results go.
        say: told what is being done, a line a step.

    Raises:
        CorpusError: a target is not in the corpus.
        SelectionError: a k is too large.
        ModelError: a layer does not exist.
        ArtifactError: the folder cannot be written.
    """
    check_targets(corpus, settings.targets)
    layers = _layers(adapter, settings)
    find, judge = corpus.split(seed=settings.split_seed)
    found = _experts(adapter, find, settings, folder / "experts", say)
    # Plans and tables of experts come before the long steps, so that an impossible k ends the run.
    comparisons = list(_comparisons(found, settings))
    by_layer = [experts_by_layer(found, k) for k in settings.top_k]
    shared = [overlap(found, k) for k in settings.top_k]
    judged = _experts(adapter, judge, settings, folder / "experts-judged", say)
    conditions = [BEFORE, *(c for comparison in comparisons for c in comparison.conditions)]
    embedded = Embedded(folder / "embeddings", layers, judge)
    for number, condition in enumerate(conditions, start=1):
        step = f"{condition.name} ({number} of {len(conditions)})"
        _embed(adapter, condition, embedded, step, say)
    say("Comparing alignment and retrieval before and after")
    compared = folder / "comparisons"
    headline = middle(settings.top_k)
    return Results(
        provenance=_describe(adapter, find, judge, settings),
        layers=pd.concat(by_layer, ignore_index=True),
        curve=score_curve(found, judged),
        overlap=pd.concat(shared, ignore_index=True),
        alignment=_compare(
            "alignment", alignment_figures, comparisons, embedded, settings, compared
        ),
        retrieval=_compare(
            "retrieval", retrieval_figures, comparisons, embedded, settings, compared
        ),
        projection=_project([one for one in comparisons if one.top_k == headline], embedded),
    )


def check_targets(corpus: ParallelCorpus, targets: Sequence[str]) -> None:
    """Refuse a target that is none of the corpus's languages.

    Raises:
        CorpusError: there is such a target.
    """
    for target in targets:
        if target not in corpus.languages:
            raise CorpusError(
                f"target {target!r} is not in the corpus; it has: {', '.join(corpus.languages)}"
            )


def _comparisons(found: ExpertTable, settings: RunSettings) -> Iterator[Comparison]:
    for target in settings.targets:
        for k in settings.top_k:
            plan = found.intervention(
                target,
                top_k=k,
                operation=settings.operation,
                value=settings.value,
                strength=settings.strength,
                positions=settings.positions,
                bos=settings.steer_bos,
            )
            name = f"{target}-k{k}"
            controls = tuple(
                Condition(f"{name}-random-{seed}", random_control(plan, found.space, seed=seed))
                for seed in settings.control_seeds
            )
            yield Comparison(target, k, Condition(f"{name}-experts", plan), controls)


def _layers(adapter: Adapter, settings: RunSettings) -> tuple[Layer, ...]:
    depth = adapter.info.n_layers
    thirds = (depth // 3, 2 * depth // 3)
    blocks = thirds if settings.layers is None else settings.layers
    if max(blocks, default=0) >= depth:
        raise ModelError(f"layer {max(blocks)} does not exist; give 0..{depth - 1}")
    return (*sorted(set(blocks)), FINAL)


def _experts(
    adapter: Adapter, corpus: ParallelCorpus, settings: RunSettings, folder: Path, say: Say
) -> ExpertTable:
    origin = provenance(
        adapter.info, corpus, site=settings.site, pooling=settings.pooling, score=settings.score
    )
    if _is_done(folder, "experts", origin, Artifact.tensors):
        say(f"Kept {folder.name}")
        return ExpertTable.load(folder)
    say(f"Scoring units on {len(corpus)} sentences in {len(corpus.languages)} languages")
    table = find_experts(
        adapter,
        corpus,
        site=settings.site,
        pooling=settings.pooling,
        score=settings.score,
        progress=folder.name,
        keep=_unfinished(folder),
    )
    table.save(folder)
    shutil.rmtree(_unfinished(folder), ignore_errors=True)
    return table


def _unfinished(folder: Path) -> Path:
    """Name the folder for the batches of a step that is not done."""
    return folder.with_name(f".{folder.name}.unfinished")


def _embed(adapter: Adapter, condition: Condition, embedded: Embedded, step: str, say: Say) -> None:
    folder, corpus = embedded.folder / condition.name, embedded.corpus
    plan = "none" if condition.plan is None else condition.plan.hash
    origin = provenance(adapter.info, corpus, layers=str(embedded.layers), intervention=plan)
    if _is_done(folder, "embeddings", origin, Artifact.tensors):
        say(f"Kept {step}")
        return
    say(f"Embedding {len(corpus)} sentences in {len(corpus.languages)} languages: {step}")
    found = embed_layers(
        adapter,
        corpus,
        layers=embedded.layers,
        intervention=condition.plan,
        progress=condition.name,
        keep=_unfinished(folder),
    )
    tensors = {
        f"{layer}/{language}": rows
        for layer, languages in found.items()
        for language, rows in languages.items()
    }
    write_artifact(folder, "embeddings", {"provenance": origin}, tensors=tensors)
    shutil.rmtree(_unfinished(folder), ignore_errors=True)


def _is_done(
    folder: Path, kind: str, origin: dict[str, Any], read: Callable[[Artifact], object]
) -> bool:
    """Say whether a result is there that depends on just this and can be read."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        artifact = read_artifact(folder, kind)
        read(artifact)
    except ArtifactError:
        return False
    return bool(artifact.config.get("provenance") == json.loads(json.dumps(origin)))


def _compare(
    name: str,
    measure: Callable[..., Figures],
    comparisons: list[Comparison],
    embedded: Embedded,
    settings: RunSettings,
    folder: Path,
) -> pd.DataFrame:
    frames = []
    for comparison in comparisons:
        place = folder / f"{comparison.target}-k{comparison.top_k}-{name}"
        origin = {
            "embeddings": [embedded.origin(one) for one in (BEFORE, *comparison.conditions)],
            "resamples": settings.resamples,
            "bootstrap_seed": settings.bootstrap_seed,
        }
        if not _is_done(place, "comparison", origin, lambda artifact: artifact.table("figures")):
            figures = _figures(measure, comparison, embedded, settings)
            write_artifact(place, "comparison", {"provenance": origin}, tables={"figures": figures})
        frames.append(read_artifact(place, "comparison").table("figures"))
    return pd.concat(frames, ignore_index=True)


def _figures(
    measure: Callable[..., Figures],
    comparison: Comparison,
    embedded: Embedded,
    settings: RunSettings,
) -> pd.DataFrame:
    conditions = [embedded.load(one) for one in (BEFORE, *comparison.conditions)]
    frames = []
    for layer in embedded.layers:
        pre, post, *controls = (
            measure(embeddings[layer], target=comparison.target) for embeddings in conditions
        )
        frame = compare(pre, post, controls, count=settings.resamples, seed=settings.bootstrap_seed)
        keys = {"target": comparison.target, "top_k": comparison.top_k, "layer": str(layer)}
        frames.append(pd.DataFrame([keys] * len(frame)).join(frame))
    return pd.concat(frames, ignore_index=True)


def _project(comparisons: list[Comparison], embedded: Embedded) -> pd.DataFrame:
    before = embedded.load(BEFORE)[FINAL]
    frames = []
    for comparison in comparisons:
        conditions = {
            "before": before,
            "experts": embedded.load(comparison.experts)[FINAL],
            "control": embedded.load(comparison.controls[0])[FINAL],
        }
        plane = project(before, conditions, embedded.corpus.ids)
        frames.append(plane.assign(target=comparison.target, top_k=comparison.top_k))
    return pd.concat(frames, ignore_index=True)


def _describe(
    adapter: Adapter, find: ParallelCorpus, judge: ParallelCorpus, settings: RunSettings
) -> dict[str, str]:
    info = adapter.info
    origin = provenance(info, judge)
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
        "operation": settings.operation,
        "value": str(settings.value),
        "strength": str(settings.strength),
        "positions": settings.positions + ("" if settings.steer_bos else ", BOS left alone"),
        "corpus": settings.corpus,
        "languages": ", ".join(judge.languages),
        "split_seed": str(settings.split_seed),
        "find_sentences": str(len(find)),
        "find_hash": find.hash,
        "judge_sentences": str(len(judge)),
        "judge_hash": judge.hash,
        "control_seeds": ", ".join(map(str, settings.control_seeds)),
        "resamples": str(settings.resamples),
        "bootstrap_seed": str(settings.bootstrap_seed),
        "layers": ", ".join(map(str, _layers(adapter, settings))),
        "projection": "first two principal components of the embeddings before; the random "
        f"neurons of seed {settings.control_seeds[0]}",
        **{f"version of {package}": found for package, found in origin["versions"].items()},
    }
