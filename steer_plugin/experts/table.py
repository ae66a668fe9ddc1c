"""How well each unit of a model tells each concept, and what it is then set to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from steer_plugin.activations.sites import UnitSpace, of_heads
from steer_plugin.errors import InterventionError, SelectionError
from steer_plugin.experts.selection import TOP, Choice, count_tied, select_units
from steer_plugin.experts.values import (
    LINE,
    LINES,
    WRITTEN,
    check_end,
    check_value,
    usual_value,
)
from steer_plugin.interventions.columns import Column
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.positions import Positions
from steer_plugin.registry import with_origins
from steer_plugin.responses.probe import Probe
from steer_plugin.responses.unit_chunks import MEMORY
from steer_plugin.scores.probe_scores import chance_levels, scores_and_typical_responses
from steer_plugin.scores.typical_responses import typical_responses
from steer_plugin.settings.names import Operation
from steer_plugin.settings.parts import OPERATIONS, SCORES, SITES
from steer_plugin.settings.probe import QUANTILES
from steer_plugin.storage.artifacts import CONFIG, read_artifact, readable, write_artifact


@dataclass(frozen=True, eq=False)
class ExpertTable:
    """Each unit's score and typical responses for each concept.

    Attributes:
        concepts: names of the concepts, such as FLORES language codes.
        space: which units these are.
        score: which score it is.
        scores: float64; higher is more expert.
        chance: what a unit that knows nothing scores for each concept; see
            `steer_plugin.scores.probe_scores.chance_levels`.
        statistics: what the units typically respond with, by name, float32; see
            `steer_plugin.scores.typical_responses.typical_responses`.
        provenance: model, corpus and settings that the table comes from.
        values: where units are heads, by the same names what their values typically are, head after
            head, float32, which are what plans write; else empty.
    """

    concepts: tuple[str, ...]
    space: UnitSpace
    score: str
    scores: Float[np.ndarray, "concept unit"]
    chance: tuple[float, ...]
    statistics: Mapping[str, Float[np.ndarray, "concept unit"]]
    provenance: Mapping[str, Any]
    values: Mapping[str, Float[np.ndarray, "concept value"]] = field(default_factory=dict)

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
        choice: Choice = TOP,
        *,
        at_most: bool = False,
    ) -> Int[np.ndarray, " chosen"]:
        """Select k experts for a concept by score.

        Units are in total order of (score, layer, index), so ties are settled the same way every
        time. Only units better than chance are experts (Sundar et al. 2025, section 3: AUROC above
        0.5), and only units worse than chance are negative ones.

        Args:
            concept: one of `concepts`.
            k: how many; 0 selects none.
            choice: from which end, and from which layers.
            at_most: whether fewer are selected where fewer are experts.

        Returns:
            Unit numbers in `space`.

        Raises:
            SelectionError: an unknown concept or layer, an end that the score does not have, or
                fewer than k units to choose from.
        """
        row = self.row(concept)
        check_end(self.score, choice)
        return select_units(
            self.scores[row],
            self.chance[row],
            self.space,
            k,
            choice,
            concept=concept,
            at_most=at_most,
        )

    def count_tied(self, concept: str, k: int, choice: Choice = TOP) -> int:
        """Count the units that `top` leaves out though they score just as the last one it takes.

        Raises:
            SelectionError: see `top`.
        """
        row = self.row(concept)
        return count_tied(self.scores[row], self.chance[row], self.space, k, choice)

    def intervention(
        self,
        concept: str,
        *,
        top_k: int,
        operation: Operation = "set",
        value: str | float | None = None,
        strength: float = 1.0,
        positions: Positions = "all",
        bos: bool = True,
        choice: Choice = TOP,
    ) -> Intervention:
        """Plan what to do to the experts for a concept.

        The default is the intervention of Sundar et al. 2025, section 3: set each expert to its
        mean response to the concept's sentences.

        Args:
            concept: one of `concepts`.
            top_k: how many experts; see `top`.
            operation: see `steer_plugin.interventions.operations.steer`.
            value: the name of a response in `statistics`, `zero`, or a number for all units; None
                for the `usual_value` of the operation.
                `scale` takes a number, its gain; `aura` uses each unit's AUROC and `affine` each
                unit's line (Linear-AcT), and both take the default.
            strength: 0 leaves the model as it is, 1 is the whole operation.
            positions: which tokens are touched; see `Intervention`.
            bos: whether the BOS token is steered as well.
            choice: which experts; see `top`.

        Raises:
            InterventionError: the value or the choice does not suit the operation.
            SelectionError: see `top`.
        """
        value = usual_value(operation) if value is None else value
        check_value(operation, value, self.score, self.statistics, choice)
        units = self.top(concept, top_k, choice)
        where, indices = self.space.addresses(units)
        values = self._values(concept, units, operation, value)
        return Intervention(
            site=self.space.site,
            layers=Column(where),
            indices=Column(indices),
            **{name: Column(numbers) for name, numbers in values.items()},
            operation=operation,
            strength=strength,
            positions=positions,
            bos=bos,
            provenance={
                **self.provenance,
                "concept": concept,
                "selection": f"{top_k} by {self.score}, {choice}",
                "tied_at_edge": self.count_tied(concept, top_k, choice),
                "value": WRITTEN.get(OPERATIONS[operation].value, value),
            },
        )

    def _values(
        self, concept: str, units: Int[np.ndarray, " k"], operation: Operation, value: str | float
    ) -> dict[str, Float[np.ndarray, "k *value"]]:
        """Give the fields of a plan that say what is done to each unit."""
        row = self.row(concept)
        kind = OPERATIONS[operation].value
        if kind == "auroc":
            return {"values": self.scores[row, units]}
        if kind == "line":
            return {column: self._written(name, row, units) for column, name in LINE.items()}
        if not isinstance(value, str) or value == "zero":
            return {"values": np.full(len(units), 0.0 if value == "zero" else float(value))}
        return {"values": self._written(value, row, units)}

    def _written(
        self, name: str, row: int, units: Int[np.ndarray, " k"]
    ) -> Float[np.ndarray, "k *value"]:
        """Give what is written to units by the name of a statistic: of heads, to their values."""
        if not of_heads(self.space.site):
            return np.asarray(self.statistics[name][row, units])
        if name not in self.values:
            raise InterventionError(
                f"the expert table has no {name!r} of the values of its heads; find the experts "
                "anew, or give a number"
            )
        return np.asarray(self.values[name][row].reshape(len(self.space), -1)[units])

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
                "unit": self.space.labels(units),
                "layer": layers,
                "index": indices,
                SCORES[self.score].column or self.score: self.scores[row, units],
                **{name: values[row, units] for name, values in self.statistics.items()},
            }
        )

    def beside(self, other: "ExpertTable") -> "ExpertTable":
        """Put the units of later layers beside these.

        Raises:
            SelectionError: they are not of the same concepts, score and statistics.
        """
        same = [
            getattr(self, name) == getattr(other, name) for name in ("concepts", "score", "chance")
        ]
        if not all(same) or self.statistics.keys() != other.statistics.keys():
            raise SelectionError("only tables of the same concepts, score and statistics join")
        mine, more = self.space, other.space
        return replace(
            self,
            space=UnitSpace(mine.site, mine.layers + more.layers, mine.widths + more.widths),
            scores=np.concatenate([self.scores, other.scores], axis=1),
            statistics={
                name: np.concatenate([values, other.statistics[name]], axis=1)
                for name, values in self.statistics.items()
            },
            values={
                name: np.concatenate([values, other.values[name]], axis=1)
                for name, values in self.values.items()
            },
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
        tensors |= {f"values.{name}": values for name, values in self.values.items()}
        write_artifact(folder, "experts", config, tensors={"scores": self.scores, **tensors})

    @classmethod
    def load(cls, folder: str | Path) -> "ExpertTable":
        """Read what `save` wrote.

        Raises:
            ArtifactError: the folder holds no expert table, or a damaged one.
            ScoreError: its score is somebody's own, and not registered here.
            SiteError: its site is.
        """
        artifact = read_artifact(folder, "experts")
        config, tensors = artifact.config, artifact.tensors()
        named = sorted(tensors.items(), key=lambda item: item[0])
        with readable(Path(folder) / CONFIG):
            parts = config["provenance"].get("parts", {})
            SCORES.check(config["score"], parts.get("score"))
            SITES.check(config["site"], parts.get("site"))
            return cls(
                concepts=tuple(config["concepts"]),
                space=UnitSpace(config["site"], tuple(config["layers"]), tuple(config["widths"])),
                score=config["score"],
                scores=tensors["scores"],
                chance=tuple(config["chance"]),
                provenance=config["provenance"],
                **{
                    kind: {
                        name.removeprefix(prefix): numbers
                        for name, numbers in named
                        if name.startswith(prefix)
                    }
                    for kind, prefix in (("statistics", "statistic."), ("values", "values."))
                },
            )


def score_units(
    probe: Probe,
    score: str,
    *,
    quantiles: tuple[float, ...] = QUANTILES,
    lines: bool = False,
    source: str | None = None,
    memory: int = MEMORY,
) -> ExpertTable:
    """Score every unit of a probe as a detector of each concept against the others, or one of them.

    Args:
        probe: the responses; see `steer_plugin.responses.probe.probe_units`.
        score: one of `steer_plugin.settings.parts.SCORES`.
        quantiles: which quantiles of the positives' responses to keep, each in [0, 1].
        lines: whether to keep Linear-AcT's line of each unit too, which the operation `affine`
            takes and which is most of the work.
        source: the concept whose texts are the negatives of each other one; it has no row in the
            table. None takes those of all others.
        memory: bytes of working memory for the scores.

    Raises:
        ScoreError: there is no such score, quantile or source, or the probe did not read what it
            needs.
    """
    if source is not None:
        pairs = probe.against_each(source)
        return _first_rows(
            [
                score_units(pair, score, quantiles=quantiles, lines=lines, memory=memory)
                for pair in pairs
            ]
        )
    scores, statistics = scores_and_typical_responses(
        probe, score, quantiles, lines=lines, memory=memory
    )
    return ExpertTable(
        concepts=probe.concepts,
        space=probe.space,
        score=score,
        scores=scores,
        chance=tuple(chance_levels(score, probe.labels).tolist()),
        statistics=statistics,
        provenance={
            **with_origins(probe.provenance, score=(SCORES, score)),
            "score": score,
            **({"lines": LINES} if lines else {}),
        },
        values={}
        if probe.values is None
        else typical_responses(probe.values, probe.labels, quantiles, lines=lines, memory=memory),
    )


def _first_rows(tables: Sequence[ExpertTable]) -> ExpertTable:
    """Make one table of the first row of each of several."""
    first = tables[0]
    return replace(
        first,
        concepts=tuple(table.concepts[0] for table in tables),
        scores=np.stack([table.scores[0] for table in tables]),
        chance=tuple(table.chance[0] for table in tables),
        statistics={
            name: np.stack([table.statistics[name][0] for table in tables])
            for name in first.statistics
        },
        values={
            name: np.stack([table.values[name][0] for table in tables]) for name in first.values
        },
    )
