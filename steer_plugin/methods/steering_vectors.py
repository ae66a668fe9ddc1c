"""Directions in the residual stream that lead towards a concept."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import InterventionError, ScoreError, SelectionError
from steer_plugin.interventions.columns import Column
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.positions import Positions
from steer_plugin.responses.probe import Probe
from steer_plugin.storage.artifacts import CONFIG, read_artifact, readable, write_artifact

VECTOR_SITE = "hook_resid_post"
VectorName = Literal["mean_difference", "pca"]
VECTORS: tuple[VectorName, ...] = get_args(VectorName)

Rows = Int[np.ndarray, " row"]
Block = Float[np.ndarray, "row d_model"]
# A mean, rows, and how many times their second moment the rows' products are.
Differences = tuple[Float[np.ndarray, " d_model"], Block, int]

# A mean that is this much shorter than the differences themselves is what rounding left of zero.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class SteeringVectors:
    """One direction for each concept and block, found in several ways.

    Attributes:
        concepts: names of the concepts, such as FLORES language codes.
        space: the units of `hook_resid_post`, block after block.
        vectors: by name, float32; see `find_vectors`.
        provenance: model, corpus and settings that they come from.
    """

    concepts: tuple[str, ...]
    space: UnitSpace
    vectors: Mapping[VectorName, Float[np.ndarray, "concept unit"]]
    provenance: Mapping[str, Any]

    def intervention(
        self,
        concept: str,
        *,
        layer: int | Sequence[int],
        method: VectorName = "mean_difference",
        strength: float = 1.0,
        positions: Positions = "all",
        bos: bool = True,
    ) -> Intervention:
        """Plan to add a concept's vectors to the residual stream after one block, or several.

        Contrastive activation addition: Rimsky et al. 2024 (arXiv 2312.06681), section 3.

        Args:
            concept: one of `concepts`.
            layer: the block, or blocks, each of which has a vector of its own.
            method: the name of one of `vectors`.
            strength: how many times the vector is added.
            positions: which tokens are touched; see `Intervention`.
            bos: whether the BOS token is steered as well.

        Raises:
            SelectionError: there is no such concept.
            SiteError: there is no such block.
            InterventionError: there is no such method, or no block or one twice was given.
        """
        try:
            several: Any = [layer] if np.ndim(layer) == 0 else layer
            blocks = [operator.index(block) for block in several]
        except TypeError as error:
            raise InterventionError(
                f"layer={layer!r} is no block; give its number, or a list of several"
            ) from error
        if not blocks:
            raise InterventionError("no blocks were given; give at least one as layer")
        if concept not in self.concepts:
            raise SelectionError(
                f"{concept!r} has no steering vector; these have: {', '.join(self.concepts)}"
            )
        if method not in self.vectors:
            raise InterventionError(
                f"{method!r} is no kind of steering vector here; choose one of: "
                f"{', '.join(self.vectors)}"
            )
        units = [np.arange(len(self.space))[self.space.layer_slice(block)] for block in blocks]
        layers, indices = self.space.addresses(np.concatenate(units))
        vectors = self.vectors[method][self.concepts.index(concept)]
        return Intervention(
            site=self.space.site,
            layers=Column(layers),
            indices=Column(indices),
            values=Column(vectors[np.concatenate(units)]),
            operation="add",
            strength=strength,
            positions=positions,
            bos=bos,
            provenance={
                **self.provenance,
                "concept": concept,
                "layer": blocks if len(blocks) > 1 else blocks[0],
                "value": method,
            },
        )

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `tensors.safetensors` into `folder`, whole or not at all.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        config = {
            "concepts": self.concepts,
            "layers": self.space.layers,
            "widths": self.space.widths,
            "provenance": dict(self.provenance),
        }
        tensors: dict[str, np.ndarray] = {str(name): rows for name, rows in self.vectors.items()}
        write_artifact(folder, "vectors", config, tensors=tensors)

    @classmethod
    def load(cls, folder: str | Path) -> "SteeringVectors":
        """Read what `save` wrote.

        Raises:
            ArtifactError: the folder holds no steering vectors, or damaged ones.
        """
        artifact = read_artifact(folder, "vectors")
        config, tensors = artifact.config, artifact.tensors()
        with readable(Path(folder) / CONFIG):
            return cls(
                concepts=tuple(config["concepts"]),
                space=UnitSpace(VECTOR_SITE, tuple(config["layers"]), tuple(config["widths"])),
                vectors={name: tensors[name] for name in VECTORS},
                provenance=config["provenance"],
            )


def find_vectors(probe: Probe, *, source: str | None = None) -> SteeringVectors:
    """Find each concept's direction in each block.

    - `mean_difference`: mu+ - mu-, the mean over the concept's sentences minus that over all others
      (Marks and Tegmark 2023, "The geometry of truth", arXiv 2310.06824; Rimsky et al. 2024, arXiv
      2312.06681, section 3).
    - `pca`: the first principal component of the matched differences, each the concept's sentence
      minus the mean of its translations (Zou et al. 2023, "Representation engineering", arXiv
      2310.01405, section 3.1). The component is about zero: there each pair is taken in random
      order, which takes the mean of the differences to zero and leaves their second moments as they
      are. Its sign and length are those of the mean difference's projection on it. Where texts are
      not parallel, the differences are those of every text of the concept to every other text.

    Args:
        probe: the responses at `hook_resid_post`; mean pooled, as embeddings are.
        source: the concept that each other one is led away from; it has no vector. None takes all
            others together.

    Returns:
        Vectors in float32; the arithmetic is in float64.

    Raises:
        ScoreError: the probe is at another site, of one concept, or without the source; a response
            is NaN or infinite; the differences of a concept in a block lead nowhere.
    """
    if source is not None:
        of_pairs = [find_vectors(pair) for pair in probe.against_each(source)]
        return replace(
            of_pairs[0],
            concepts=tuple(pair.concepts[0] for pair in of_pairs),
            vectors={
                name: np.stack([pair.vectors[name][0] for pair in of_pairs]) for name in VECTORS
            },
        )
    concepts, space = probe.concepts, probe.space
    if space.site != VECTOR_SITE:
        raise ScoreError(
            f"steering vectors are for {VECTOR_SITE}, the probe is at {space.site}; probe "
            f"{VECTOR_SITE}"
        )
    if len(concepts) < 2:
        raise ScoreError("only one concept was given; a steering vector tells it from others")
    by_layer: dict[VectorName, list[np.ndarray]] = {name: [] for name in VECTORS}
    for layer in space.layers:
        block = probe.responses[:, space.layer_slice(layer)].double().numpy()
        if not np.isfinite(block).all():
            raise ScoreError(
                f"a response at {space.site} in layer {layer} is NaN or infinite; check the "
                "model's weights and dtype"
            )
        differences = (
            _all_pairs(probe.labels, block)
            if probe.sentences is None
            else _matched(probe.labels, probe.sentences, block)
        )
        vectors = [
            _directions(*means_and_rows, f"{concept} in layer {layer}")
            for concept, means_and_rows in zip(concepts, differences, strict=True)
        ]
        for name, each in zip(VECTORS, zip(*vectors, strict=True), strict=True):
            by_layer[name].append(np.stack(each))
    return SteeringVectors(
        concepts=concepts,
        space=space,
        vectors={
            name: np.concatenate(parts, 1, dtype=np.float32, casting="same_kind")
            for name, parts in by_layer.items()
        },
        provenance=probe.provenance,
    )


def _matched(labels: Rows, sentences: Rows, block: Block) -> Iterator[Differences]:
    """Give each concept's sentences minus the mean of their translations."""
    concepts = len(np.unique(labels))
    # A probe has each sentence once in each concept.
    rows = np.lexsort((sentences, labels)).reshape(concepts, -1)
    # From here on relative to the first concept: equal responses differ by zero exactly.
    cube = block[rows] - block[rows[0]]
    total = cube.sum(0)
    for responses in cube:
        differences = responses - (total - responses) / (concepts - 1)
        yield differences.mean(0), differences, len(differences)


def _all_pairs(labels: Rows, block: Block) -> Iterator[Differences]:
    """Give, for each concept, rows with the second moment of all pairs of its texts and others.

    The mean of (x - y)(x - y)' over all pairs is cov(x) + cov(y) + (mean x - mean y)(...)'.
    """
    block = block - block[0]
    for concept in np.unique(labels):
        responses, others = block[labels == concept], block[labels != concept]
        mean = responses.mean(0) - others.mean(0)
        spread = [(rows - rows.mean(0)) / np.sqrt(len(rows)) for rows in (responses, others)]
        yield mean, np.concatenate([*spread, mean[None]]), 1


def _directions(
    mean: Float[np.ndarray, " d_model"], differences: Block, count: int, where: str
) -> tuple[Float[np.ndarray, " d_model"], Float[np.ndarray, " d_model"]]:
    """Give the mean of the differences, and its projection on their first component.

    Args:
        mean: of the differences.
        differences: rows whose products add up to `count` times the differences' second moment.
        count: see `differences`.
        where: for messages.
    """
    component = _first_component(differences)
    length = float(mean @ component)
    if abs(length) <= ROUNDING * np.linalg.norm(differences) / np.sqrt(count):
        raise ScoreError(
            f"the differences of {where} are zero on average along their main direction, so there "
            "is no vector; check that the concept's sentences are not those of the others"
        )
    return mean, length * component


def _first_component(
    differences: Float[np.ndarray, "sentence d_model"],
) -> Float[np.ndarray, " d_model"]:
    """Give the unit vector that holds most of the second moment about zero."""
    sentences, width = differences.shape
    if sentences < width:
        _, left = np.linalg.eigh(differences @ differences.T)
        component = differences.T @ left[:, -1]
    else:
        _, right = np.linalg.eigh(differences.T @ differences)
        component = right[:, -1]
    norm = np.linalg.norm(component)
    return np.asarray(component / norm if norm > 0 else component)
