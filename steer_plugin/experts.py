"""How well each unit of a model tells each concept, and what it is then set to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.artifacts import CONFIG, read_artifact, readable, write_artifact
from steer_plugin.corpus import ParallelCorpus
from steer_plugin.errors import InterventionError, ScoreError, SelectionError
from steer_plugin.interventions import Intervention, Operation, Positions
from steer_plugin.pooling import Pooling
from steer_plugin.protocols import Adapter, Reading
from steer_plugin.provenance import provenance
from steer_plugin.responses import gather
from steer_plugin.scores import MEMORY, SCORES, ScoreName, scores
from steer_plugin.sites import UnitSpace

QUANTILES = (0.05, 0.25, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class ExpertTable:
    """Each unit's score and typical responses for each concept.

    Attributes:
        concepts: names of the concepts, such as FLORES language codes.
        space: which units these are.
        score: which score it is.
        scores: float64 in [0, 1].
        chance: what a unit that knows nothing scores for each concept: 0.5 for AUROC, the base
            rate for average precision.
        statistics: responses to the concept's sentences by name, float32: `mean`, `median`,
            quantiles such as `q05`, and `off_mean`, the mean over all other sentences.
        provenance: model, corpus and settings that the table comes from.
    """

    concepts: tuple[str, ...]
    space: UnitSpace
    score: ScoreName
    scores: Float[np.ndarray, "concept unit"]
    chance: tuple[float, ...]
    statistics: Mapping[str, Float[np.ndarray, "concept unit"]]
    provenance: Mapping[str, Any]

    def row(self, concept: str) -> int:
        """Give the row of a concept.

        Raises:
            SelectionError: the table does not know it.
        """
        if concept not in self.concepts:
            raise SelectionError(
                f"{concept!r} is not in the expert table; it has: {', '.join(self.concepts)}"
            )
        return self.concepts.index(concept)

    def top(
        self, concept: str, k: int, *, per_layer: bool = False, lowest: bool = False
    ) -> Int[np.ndarray, " k"]:
        """Select the k best experts for a concept, best first.

        Units are in total order of (score, layer, index), so ties are settled the same way every
        time. Only units better than chance are experts (Sundar et al. 2025, section 3: AUROC above
        0.5), and only units worse than chance are negative ones.

        Args:
            concept: one of `concepts`.
            k: how many; 0 selects none.
            per_layer: k from each layer, layer after layer, instead of k from the whole model.
            lowest: the k worst, worst first: units that are quiet for the concept.

        Returns:
            Unit numbers in `space`.

        Raises:
            SelectionError: an unknown concept, or fewer than k units to choose from.
        """
        row = self.row(concept)
        if k < 0:
            raise SelectionError(f"k is {k}; give 0 or more")
        sign = 1 if lowest else -1
        if not per_layer:
            return self._first(sign, row, k, slice(0, len(self.space)), "the model")
        picks = [
            self._first(sign, row, k, self.space.layer_slice(layer), f"layer {layer}")
            for layer in self.space.layers
        ]
        return np.concatenate(picks)

    def _first(
        self, sign: int, row: int, k: int, units: slice, where: str
    ) -> Int[np.ndarray, " k"]:
        found = self.scores[row, units]
        if k > len(found):
            raise SelectionError(
                f"top_k={k}, but {where} has {len(found)} units at {self.space.site}; take fewer"
            )
        eligible = int((sign * found < sign * self.chance[row]).sum())
        if k > eligible:
            side = "below" if sign > 0 else "above"
            raise SelectionError(
                f"top_k={k}, but only {eligible} units of {where} score {side} chance "
                f"({self.chance[row]:.3g}) for {self.concepts[row]}; take fewer"
            )
        return np.asarray(units.start + np.argsort(sign * found, kind="stable")[:k])

    def intervention(
        self,
        concept: str,
        *,
        top_k: int,
        operation: Operation = "set",
        value: str | float = "mean",
        strength: float = 1.0,
        positions: Positions = "all",
        bos: bool = True,
        per_layer: bool = False,
        lowest: bool = False,
    ) -> Intervention:
        """Plan what to do to the experts for a concept.

        The default is the intervention of Sundar et al. 2025, section 3: set each expert to its
        mean response to the concept's sentences.

        Args:
            concept: one of `concepts`.
            top_k: how many experts; see `top`.
            operation: see `steer_plugin.interventions.steer`.
            value: the name of a statistic in `statistics`, or a number for all units. `scale` takes
                a number, its gain; `aura` uses each unit's AUROC and takes the default.
            strength: 0 leaves the model as it is, 1 is the whole operation.
            positions: `all`, `prompt` or `generated` tokens.
            bos: whether the BOS token is steered as well.
            per_layer: choose top_k in each layer.
            lowest: choose the units that score lowest.

        Raises:
            SelectionError: see `top`.
            InterventionError: the value does not suit the operation.
        """
        units = self.top(concept, top_k, per_layer=per_layer, lowest=lowest)
        layers, indices = self.space.addresses(units)
        return Intervention(
            site=self.space.site,
            layers=tuple(layers.tolist()),
            indices=tuple(indices.tolist()),
            values=tuple(self._values(concept, units, operation, value).tolist()),
            operation=operation,
            strength=strength,
            positions=positions,
            bos=bos,
            provenance={
                **self.provenance,
                "concept": concept,
                "selection": f"{'lowest' if lowest else 'highest'} {top_k} by {self.score}"
                + (" in each layer" if per_layer else ""),
                "value": value if operation != "aura" else "auroc",
            },
        )

    def _values(
        self, concept: str, units: Int[np.ndarray, " k"], operation: Operation, value: str | float
    ) -> Float[np.ndarray, " k"]:
        row = self.row(concept)
        if operation == "aura":
            if self.score != "auroc" or value != "mean":
                raise InterventionError(
                    f"'aura' scales by each unit's AUROC, but value is {value!r} and the table "
                    f"holds {self.score}; leave value out and find experts by auroc"
                )
            return np.asarray(self.scores[row, units])
        if not isinstance(value, str):
            return np.full(len(units), float(value))
        if operation == "scale":
            raise InterventionError(
                f"'scale' multiplies by a gain, but value is {value!r}; give a number, such as 2.0"
            )
        if value not in self.statistics:
            raise InterventionError(
                f"{value!r} is not a value in the expert table; choose one of "
                f"{', '.join(self.statistics)}, or a number"
            )
        return np.asarray(self.statistics[value][row, units], dtype=np.float64)

    def frame(self, concept: str, k: int) -> pd.DataFrame:
        """List the k best experts for a concept, one a row, best first.

        Raises:
            SelectionError: see `top`.
        """
        units, row = self.top(concept, k), self.row(concept)
        layers, indices = self.space.addresses(units)
        return pd.DataFrame(
            {
                "concept": concept,
                "rank": np.arange(1, k + 1),
                "unit": [f"L{a}N{b}" for a, b in zip(layers, indices, strict=True)],
                "layer": layers,
                "index": indices,
                self.score: self.scores[row, units],
                **{name: values[row, units] for name, values in self.statistics.items()},
            }
        )

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `tensors.safetensors` into `folder`, whole or not at all.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        config = {
            "concepts": self.concepts,
            "site": self.space.site,
            "layers": self.space.layers,
            "widths": self.space.widths,
            "score": self.score,
            "chance": self.chance,
            "provenance": dict(self.provenance),
        }
        tensors = {f"statistic.{name}": values for name, values in self.statistics.items()}
        write_artifact(folder, "experts", config, tensors={"scores": self.scores, **tensors})

    @classmethod
    def load(cls, folder: str | Path) -> "ExpertTable":
        """Read what `save` wrote.

        Raises:
            ArtifactError: the folder holds no expert table, or a damaged one.
        """
        artifact = read_artifact(folder, "experts")
        config, tensors = artifact.config, artifact.tensors()
        prefix = "statistic."
        with readable(Path(folder) / CONFIG):
            return cls(
                concepts=tuple(config["concepts"]),
                space=UnitSpace(config["site"], tuple(config["layers"]), tuple(config["widths"])),
                score=config["score"],
                scores=tensors["scores"],
                chance=tuple(config["chance"]),
                statistics={
                    name.removeprefix(prefix): values
                    for name, values in sorted(tensors.items(), key=lambda item: item[0])
                    if name.startswith(prefix)
                },
                provenance=config["provenance"],
            )


def find_experts(
    adapter: Adapter,
    corpus: ParallelCorpus,
    *,
    site: str = "mlp.hook_post",
    pooling: Pooling = "max",
    score: ScoreName = "auroc",
    layers: tuple[int, ...] | None = None,
    quantiles: tuple[float, ...] = QUANTILES,
    memory: int = MEMORY,
    progress: str | None = None,
    keep: Path | None = None,
) -> ExpertTable:
    """Score every unit as a detector of each language of a corpus against the others.

    Args:
        adapter: the model.
        corpus: each language is a concept; its sentences are the positives, all others the
            negatives (Sundar et al. 2025, section 3).
        site: one of `steer_plugin.sites.SITES`.
        pooling: how a sentence's tokens become one response.
        score: `auroc` or `average_precision`.
        layers: the blocks to look at; None for all.
        quantiles: which quantiles of the positives' responses to keep, each in [0, 1].
        memory: bytes of working memory for the scores.
        progress: what to call the work in a bar on stderr; None shows none.
        keep: see `steer_plugin.responses.gather`.

    Raises:
        SiteError: the model lacks the site.
        ScoreError: a response is NaN or infinite, or there is no such score or quantile.
    """
    if score not in SCORES:
        raise ScoreError(f"{score!r} is not a score; choose one of: {', '.join(SCORES)}")
    if not all(0 <= quantile <= 1 for quantile in quantiles):
        raise ScoreError(f"quantiles are {quantiles}; give numbers from 0 to 1")
    space = adapter.space(site, layers)
    texts, labels = corpus.labelled()
    reading = Reading(site, pooling, layers)
    responses = gather(adapter, texts, [reading], progress=progress, keep=keep)[reading]
    _check_finite(responses, space, texts)
    counts = np.bincount(labels)
    return ExpertTable(
        concepts=corpus.languages,
        space=space,
        score=score,
        scores=scores(responses, labels, (score,), memory=memory)[score],
        chance=tuple([0.5] * len(counts) if score == "auroc" else (counts / len(texts)).tolist()),
        statistics=_statistics(responses.numpy(), labels, quantiles),
        provenance=provenance(adapter.info, corpus, site=site, pooling=pooling, score=score),
    )


def _check_finite(
    responses: Float[Tensor, "sentence unit"], space: UnitSpace, texts: list[str]
) -> None:
    finite = responses.isfinite().all(0)
    if not bool(finite.all()):
        unit = int((~finite).nonzero()[0, 0])
        sentence = int((~responses[:, unit].isfinite()).nonzero()[0, 0])
        raise ScoreError(
            f"unit {space.label(unit)} at {space.site} responds with "
            f"{float(responses[sentence, unit])} to {texts[sentence]!r}; check the model's weights "
            "and dtype"
        )


def _statistics(
    responses: Float[np.ndarray, "sentence unit"],
    labels: Int[np.ndarray, " sentence"],
    quantiles: tuple[float, ...],
) -> dict[str, Float[np.ndarray, "concept unit"]]:
    total = responses.sum(0, dtype=np.float64)
    rows: dict[str, list[np.ndarray]] = {}
    for concept in range(int(labels.max()) + 1):
        positives = responses[labels == concept]
        own = positives.sum(0, dtype=np.float64)
        levels = np.quantile(positives, [0.5, *quantiles], axis=0)
        named = {
            "mean": own / len(positives),
            "off_mean": (total - own) / (len(responses) - len(positives)),
            "median": levels[0],
            **{f"q{100 * q:02g}": level for q, level in zip(quantiles, levels[1:], strict=True)},
        }
        for name, values in named.items():
            rows.setdefault(name, []).append(values.astype(np.float32))
    return {name: np.stack(values) for name, values in sorted(rows.items())}
