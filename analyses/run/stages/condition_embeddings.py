"""The judging sentences as the model embeds them, condition by condition."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steer_plugin.analyses.measures.projection import project
from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.passes import Passes, Want
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.conditions import BEFORE, Comparison, Condition
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import provenance
from steer_plugin.responses.embeddings import FINAL, Embeddings, Layer, by_layer, layer_reading
from steer_plugin.storage.artifacts import Artifact, read_artifact, write_artifact

KIND = "embeddings"


@dataclass(frozen=True)
class ConditionEmbeddings:
    """Where the embeddings of one corpus lie, one step a condition.

    Attributes:
        steps: of the run.
        layers: that are embedded at.
        corpus: that is embedded.
    """

    steps: Checkpoints
    layers: tuple[Layer, ...]
    corpus: ParallelCorpus

    def load(self, condition: Condition, layer: Layer) -> Embeddings:
        """Read one condition's embeddings at a layer, languages in the order of the corpus."""
        artifact = read_artifact(self.steps.folder / _step(condition), KIND)
        names = {f"{layer}/{language}": language for language in self.corpus.languages}
        return {names[name]: rows for name, rows in artifact.some_tensors(names).items()}

    def origin(self, condition: Condition) -> Any:
        """Read what one condition's embeddings depend on."""
        return self.steps.origin(_step(condition), KIND)


def chosen_layers(adapter: Adapter, settings: RunSettings) -> tuple[Layer, ...]:
    """Give the layers that a run embeds at, the final norm last.

    Raises:
        ModelError: a layer does not exist.
    """
    depth = adapter.info.n_layers
    if settings.layers is None:
        blocks: tuple[int, ...] = (depth // 3, 2 * depth // 3)
    elif settings.layers == "all":
        blocks = tuple(range(depth))
    else:
        blocks = settings.layers
    if max(blocks, default=0) >= depth:
        raise ModelError(f"layer {max(blocks)} does not exist; give 0..{depth - 1}")
    return (*sorted(set(blocks)), FINAL)


def embedding_wants(
    passes: Passes,
    corpus: ParallelCorpus,
    layers: tuple[Layer, ...],
    conditions: Sequence[Condition],
) -> list[Want]:
    """Say what `embed_conditions` reads, all layers in one pass.

    Raises:
        ModelError: there is no such layer.
    """
    texts, _ = corpus.labelled()
    readings = tuple(layer_reading(passes.adapter, layer) for layer in layers)
    return [
        Want(
            _step(condition),
            texts,
            readings,
            condition.plan,
            passes.steps.seems_done(
                _step(condition), KIND, _origin(passes, corpus, layers, condition)
            ),
        )
        for condition in conditions
    ]


def embed_conditions(
    passes: Passes,
    corpus: ParallelCorpus,
    layers: tuple[Layer, ...],
    conditions: Sequence[Condition],
) -> ConditionEmbeddings:
    """Embed a corpus in each condition that is not there yet, the unsteered model's before.

    Args:
        passes: of the run, to which the wants of all are told.
        corpus: the judging sentences.
        layers: to embed at.
        conditions: besides the unsteered model.

    Raises:
        ArtifactError: a result cannot be written.
    """
    for condition in (BEFORE, *conditions):
        _embed(passes, corpus, layers, condition)
    return ConditionEmbeddings(passes.steps, layers, corpus)


def _step(condition: Condition) -> str:
    return f"{KIND}/{condition.name}"


def _origin(
    passes: Passes, corpus: ParallelCorpus, layers: tuple[Layer, ...], condition: Condition
) -> dict[str, Any]:
    plan = "none" if condition.plan is None else condition.plan.hash
    model = passes.steps.model(passes.adapter)
    return provenance(model, corpus, layers=str(layers), intervention=plan)


def _embed(
    passes: Passes, corpus: ParallelCorpus, layers: tuple[Layer, ...], condition: Condition
) -> None:
    steps, step = passes.steps, _step(condition)
    origin = _origin(passes, corpus, layers, condition)
    if steps.is_done(step, KIND, origin, Artifact.tensors):
        steps.say(f"Kept {condition.name}")
    else:
        responses = passes.responses(
            step,
            f"Embedding {len(corpus)} sentences in {len(corpus.languages)} languages: "
            f"{condition.name}",
        ).in_memory()
        readings = {layer: layer_reading(passes.adapter, layer) for layer in layers}
        tensors = {
            f"{layer}/{language}": rows
            for layer, languages in by_layer(responses, corpus, readings).items()
            for language, rows in languages.items()
        }
        config = {"provenance": steps.signed(step, origin)}
        write_artifact(steps.folder / step, KIND, config, tensors=tensors)
    passes.finish(step)


def project_conditions(
    comparisons: Iterable[Comparison], embedded: ConditionEmbeddings, settings: RunSettings
) -> pd.DataFrame:
    """Map the judging sentences before, with experts and with their control, at the headline k."""
    before = embedded.load(BEFORE, FINAL)
    corpus = embedded.corpus
    texts = {
        (language, name): sentence
        for language, sentences in corpus.sentences.items()
        for name, sentence in zip(corpus.ids, sentences, strict=True)
    }
    frames = []
    for comparison in comparisons:
        if not comparison.headline:
            continue
        conditions = {
            "before": before,
            "experts": embedded.load(comparison.experts, FINAL),
            "control": embedded.load(comparison.matched[0], FINAL),
        }
        for method in settings.projections:
            plane = project(
                before,
                conditions,
                corpus.ids,
                method=method,
                seed=settings.bootstrap_seed,
            )
            text = [texts[row] for row in zip(plane["language"], plane["id"], strict=True)]
            frames.append(
                plane.assign(
                    target=comparison.target, top_k=comparison.top_k, method=method, text=text
                )
            )
    return pd.concat(frames, ignore_index=True)
