"""The judging sentences as the model embeds them, condition by condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.conditions import BEFORE, Condition
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import provenance
from steer_plugin.responses.embeddings import FINAL, Embeddings, Layer, embed_layers
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


def embed_conditions(
    adapter: Adapter,
    corpus: ParallelCorpus,
    layers: tuple[Layer, ...],
    conditions: Sequence[Condition],
    steps: Checkpoints,
) -> ConditionEmbeddings:
    """Embed a corpus in each condition that is not there yet, all layers in one pass.

    Raises:
        ArtifactError: a result cannot be written.
    """
    every = (BEFORE, *conditions)
    for number, condition in enumerate(every, start=1):
        _embed(adapter, corpus, layers, condition, steps, f"{number} of {len(every)}")
    return ConditionEmbeddings(steps, layers, corpus)


def _step(condition: Condition) -> str:
    return f"{KIND}/{condition.name}"


def _embed(
    adapter: Adapter,
    corpus: ParallelCorpus,
    layers: tuple[Layer, ...],
    condition: Condition,
    steps: Checkpoints,
    count: str,
) -> None:
    step = _step(condition)
    plan = "none" if condition.plan is None else condition.plan.hash
    origin = provenance(steps.model(adapter), corpus, layers=str(layers), intervention=plan)
    if steps.is_done(step, KIND, origin, Artifact.tensors):
        steps.say(f"Kept {condition.name} ({count})")
        return
    steps.say(
        f"Embedding {len(corpus)} sentences in {len(corpus.languages)} languages: "
        f"{condition.name} ({count})"
    )
    embeddings = embed_layers(
        adapter,
        corpus,
        layers=layers,
        intervention=condition.plan,
        progress=condition.name,
        keep=steps.unfinished(step),
    )
    tensors = {
        f"{layer}/{language}": rows
        for layer, languages in embeddings.items()
        for language, rows in languages.items()
    }
    config = {"provenance": steps.signed(step, origin)}
    write_artifact(steps.folder / step, KIND, config, tensors=tensors)
    steps.finish(step)
