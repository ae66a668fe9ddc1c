"""How well each unit of a model tells each concept, and what it is then set to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from steer_plugin.artifacts import CONFIG, read_artifact, readable, write_artifact
from steer_plugin.corpus import ParallelCorpus
from steer_plugin.errors import InterventionError, SelectionError
from steer_plugin.interventions import Intervention, Operation, Positions
from steer_plugin.pooling import SentencePooling
from steer_plugin.probing import Probe, probe_units
from steer_plugin.protocols import Adapter
from steer_plugin.scores import TOKEN_SCORES, ScoreName, chance_levels, check_score
from steer_plugin.selection import Selection, select_units
from steer_plugin.sites import UnitSpace
from steer_plugin.typical_responses import QUANTILES, check_quantiles, typical_responses
from steer_plugin.unit_chunks import MEMORY

# Linear-AcT as statistics of an expert table hold it: the fields of an `affine` plan.
LINE = {"values": "act_offset", "gains": "act_gain", "lows": "act_low", "highs": "act_high"}
# The score's column beside the statistic of its name, which is the mean difference in activations.
D_PRIME = "d_prime"


@dataclass(frozen=True, eq=False)
class ExpertTable:
    """Each unit's score and typical responses for each concept.

    Attributes:
        concepts: names of the concepts, such as FLORES language codes.
        space: which units these are.
        score: which score it is.
        scores: float64; higher is more expert.
        chance: what a unit that knows nothing scores for each concept; see
            `steer_plugin.scores.chance_levels`.
        statistics: what the units typically respond with, by name, float32; see
            `steer_plugin.typical_responses.typical_responses`.
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
        self,
        concept: str,
        k: int,
        *,
        selection: Selection = "top",
        per_layer: bool = False,
        layers: tuple[int, int] | None = None,
    ) -> Int[np.ndarray, " k"]:
        """Select k experts for a concept by score.

        Units are in total order of (score, layer, index), so ties are settled the same way every
        time. Only units better than chance are experts (Sundar et al. 2025, section 3: AUROC above
        0.5), and only units worse than chance are negative ones.

        Args:
            concept: one of `concepts`.
            k: how many; 0 selects none.
            selection: `top`, the best, best first; `bottom`, the worst, worst first: units that
                are quiet for the concept; `top+bottom`, half of k from each end, an odd one from
                the top, the best before the worst (Kojima et al. 2024, section 3).
            per_layer: k from each layer, layer after layer, instead of k from all of them.
            layers: first and last block to select from; None for all.

        Returns:
            Unit numbers in `space`.

        Raises:
            SelectionError: an unknown concept, selection or layer, an end that the score does not
                have, or fewer than k units to choose from.
        """
        row = self.row(concept)
        if self.score == "lape" and "bottom" in selection:
            raise SelectionError(
                f"selection={selection!r}, but no unit scores below chance by lape: its entropy "
                "tells which concepts a unit is active in, not which it is silent in; take 'top', "
                "or another score"
            )
        return select_units(
            self.scores[row],
            self.chance[row],
            self.space,
            k,
            concept=concept,
            selection=selection,
            per_layer=per_layer,
            layers=layers,
        )

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
        selection: Selection = "top",
        per_layer: bool = False,
        layers: tuple[int, int] | None = None,
    ) -> Intervention:
        """Plan what to do to the experts for a concept.

        The default is the intervention of Sundar et al. 2025, section 3: set each expert to its
        mean response to the concept's sentences.

        Args:
            concept: one of `concepts`.
            top_k: how many experts; see `top`.
            operation: see `steer_plugin.interventions.steer`.
            value: the name of a response in `statistics`, `zero`, or a number for all units.
                `scale` takes a number, its gain; `aura` uses each unit's AUROC and `affine` each
                unit's line (Linear-AcT), and both take the default.
            strength: 0 leaves the model as it is, 1 is the whole operation.
            positions: `all`, `prompt` or `generated` tokens.
            bos: whether the BOS token is steered as well.
            selection: which experts; see `top`, as for the next two.
            per_layer: choose top_k in each layer.
            layers: first and last block to choose from.

        Raises:
            SelectionError: see `top`.
            InterventionError: the value does not suit the operation.
        """
        units = self.top(concept, top_k, selection=selection, per_layer=per_layer, layers=layers)
        where, indices = self.space.addresses(units)
        values = self._values(concept, units, operation, value)
        return Intervention(
            site=self.space.site,
            layers=tuple(where.tolist()),
            indices=tuple(indices.tolist()),
            **{name: tuple(numbers.tolist()) for name, numbers in values.items()},
            operation=operation,
            strength=strength,
            positions=positions,
            bos=bos,
            provenance={
                **self.provenance,
                "concept": concept,
                "selection": f"{selection} {top_k} by {self.score}"
                + (" in each layer" if per_layer else "")
                + (f" of layers {layers[0]} to {layers[1]}" if layers else ""),
                "value": {"aura": "auroc", "affine": "linear transport"}.get(operation, value),
            },
        )

    def _values(
        self, concept: str, units: Int[np.ndarray, " k"], operation: Operation, value: str | float
    ) -> dict[str, Float[np.ndarray, " k"]]:
        """Give the fields of a plan that say what is done to each unit."""
        row = self.row(concept)
        if operation == "aura":
            if self.score != "auroc" or value != "mean":
                raise InterventionError(
                    f"'aura' scales by each unit's AUROC, but value is {value!r} and the table "
                    f"holds {self.score}; leave value out and find experts by auroc"
                )
            return {"values": self.scores[row, units]}
        if operation == "affine":
            if value != "mean":
                raise InterventionError(
                    f"'affine' moves each unit along its own line, but value is {value!r}; leave "
                    "value out"
                )
            if not set(LINE.values()) <= set(self.statistics):
                raise InterventionError(
                    "'affine' moves each unit along its own line, and the expert table has none; "
                    "find the experts anew"
                )
            return {field: self.statistics[name][row, units] for field, name in LINE.items()}
        if isinstance(value, str) and operation == "scale":
            raise InterventionError(
                f"'scale' multiplies by a gain, but value is {value!r}; give a number, such as 2.0"
            )
        if not isinstance(value, str) or value == "zero":
            return {"values": np.full(len(units), 0.0 if value == "zero" else float(value))}
        choices = [name for name in self.statistics if name not in LINE.values()]
        if value not in choices:
            raise InterventionError(
                f"{value!r} is not a value in the expert table; choose one of "
                f"{', '.join([*choices, 'zero'])}, or a number"
            )
        return {"values": self.statistics[value][row, units]}

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
                D_PRIME if self.score == "mean_difference" else self.score: self.scores[row, units],
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


def score_units(
    probe: Probe,
    score: ScoreName,
    *,
    quantiles: tuple[float, ...] = QUANTILES,
    memory: int = MEMORY,
) -> ExpertTable:
    """Score every unit of a probe as a detector of each concept against the others.

    Args:
        probe: the responses; see `steer_plugin.probing.probe_units`.
        score: one of `steer_plugin.scores.SCORES`.
        quantiles: which quantiles of the positives' responses to keep, each in [0, 1].
        memory: bytes of working memory for the scores.

    Raises:
        ScoreError: there is no such score or quantile, or the probe did not read what it needs.
    """
    return ExpertTable(
        concepts=probe.concepts,
        space=probe.space,
        score=score,
        scores=probe.scores(score, memory=memory),
        chance=tuple(chance_levels(score, probe.labels).tolist()),
        statistics=typical_responses(probe.responses, probe.labels, quantiles, memory=memory),
        provenance={**probe.provenance, "score": score},
    )


def find_experts(
    adapter: Adapter,
    corpus: ParallelCorpus,
    *,
    site: str = "mlp.hook_post",
    pooling: SentencePooling = "max",
    score: ScoreName = "auroc",
    layers: tuple[int, ...] | None = None,
    quantiles: tuple[float, ...] = QUANTILES,
    memory: int = MEMORY,
    progress: str | None = None,
    keep: Path | None = None,
) -> ExpertTable:
    """Score every unit as a detector of each language of a corpus against the others.

    Several scores from one pass are `steer_plugin.probing.probe_units` and then `score_units`.

    Args:
        adapter: the model.
        corpus: each language is a concept; its sentences are the positives, all others the
            negatives (Sundar et al. 2025, section 3).
        site: one of `steer_plugin.sites.SITES`.
        pooling: how a sentence's tokens become one response.
        score: one of `steer_plugin.scores.SCORES`.
        layers: the blocks to look at; None for all.
        quantiles: which quantiles of the positives' responses to keep, each in [0, 1].
        memory: bytes of working memory for the scores.
        progress: what to call the work in a bar on stderr; None shows none.
        keep: see `steer_plugin.responses.gather`.

    Raises:
        SiteError: the model lacks the site.
        ModelError: there is no such pooling.
        ScoreError: a response is NaN or infinite, there is no such score or quantile, or the score
            is not defined at the site.
    """
    check_score(score)
    check_quantiles(quantiles)
    probe = probe_units(
        adapter,
        corpus,
        site=site,
        pooling=pooling,
        layers=layers,
        active=score in TOKEN_SCORES,
        progress=progress,
        keep=keep,
    )
    return score_units(probe, score, quantiles=quantiles, memory=memory)
