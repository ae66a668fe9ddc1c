"""One pass over a corpus, from which every score of every unit follows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.activations.sites import (
    UnitSpace,
    active_site,
    of_heads,
    tensor_site,
    values_per_head,
)
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.errors import ScoreError
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Adapter, ModelInfo, Reading
from steer_plugin.models.provenance import provenance
from steer_plugin.registry import with_origins
from steer_plugin.responses.disk_matrix import DiskMatrix
from steer_plugin.responses.forward_pass import KeptResponses, Responses, gather, gather_on_disk
from steer_plugin.responses.label_shuffles import shuffled_labels, shuffled_note
from steer_plugin.responses.unit_chunks import DISK_SHARE
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.parts import POOLINGS, SITES
from steer_plugin.settings.probe import ProbeSettings


@dataclass(frozen=True, eq=False)
class Probe:
    """Responses of units to texts of every concept. Made by `probe_units`.

    Attributes:
        responses: one row a text, finite.
        active: the share of each text's tokens at which each unit is active, in [0, 1]; None where
            it was not asked for. See `steer_plugin.activations.sites.active_site`.
        tokens: how many tokens each text has.
        labels: the concept of each row, as an index into `concepts`.
        concepts: names of the concepts, such as FLORES language codes.
        sentences: which parallel sentence each row is; each stands once in every concept. None
            where the concepts have texts of their own, any number of them.
        space: which units these are.
        provenance: model, corpus and settings that the responses come from.
        texts: what each row is the response to; None where that is not known.
        ids: of each row in its corpus; the same for translations of each other.
        values: where units are heads, the means over each text's tokens of all their values, head
            after head; else None.
        groups: of each row the number of its group, such as a document or author; None where
            nothing is known of groups.

    Raises:
        ScoreError: rows, units or sentences do not fit together.
    """

    responses: Float[Tensor, "row unit"] | DiskMatrix
    active: Float[Tensor, "row unit"] | DiskMatrix | None
    tokens: Int[np.ndarray, " row"]
    labels: Int[np.ndarray, " row"]
    concepts: tuple[str, ...]
    sentences: Int[np.ndarray, " row"] | None
    space: UnitSpace
    provenance: Mapping[str, Any]
    texts: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    values: Float[Tensor, "row value"] | DiskMatrix | None = None
    groups: Int[np.ndarray, " row"] | None = None

    def __post_init__(self) -> None:
        """Check that every concept has its rows, and that there is one column a unit."""
        rows, concepts = len(self.labels), len(self.concepts)
        wanted = (rows, len(self.space))
        matrices = (self.responses, self.active)
        shapes = [tuple(matrix.shape) for matrix in matrices if matrix is not None]
        if any(shape != wanted for shape in shapes) or len(self.tokens) != rows:
            raise ScoreError(
                f"responses of shape {' and '.join(map(str, shapes))} and {len(self.tokens)} token "
                f"counts were given for {rows} labels and {len(self.space)} units at "
                f"{self.space.site}; give one row a label and one column a unit"
            )
        known = set(self.labels.tolist()) == set(range(concepts))
        if self.sentences is None:
            if not known:
                raise ScoreError(
                    f"labels {sorted(set(self.labels.tolist()))} were given for {concepts} "
                    "concepts; give each concept at least one text, by its number from 0"
                )
            return
        pairs = np.unique(np.stack([self.sentences, self.labels]), axis=1)
        names, times = np.unique(pairs[0], return_counts=True)
        if not known or len(pairs.T) != rows or (times != concepts).any():
            raise ScoreError(
                f"{rows} rows are not each of {len(names)} sentences once in each of {concepts} "
                "concepts; a probe needs parallel sentences"
            )

    def frame(self, units: Sequence[str] | None = None) -> pd.DataFrame:
        """Give the responses as a table, one row a text and one column a unit.

        Args:
            units: labels such as "L12N345"; None for all, in the order of `space`.

        Returns:
            `concept`, `id`, `text` (these two where they are known), `tokens`, then a column for
            each unit by its label, in float32 or wider.

        Raises:
            SiteError: there is no such unit.
        """
        about: dict[str, Any] = {"concept": [self.concepts[label] for label in self.labels]}
        about |= {} if self.ids is None else {"id": self.ids}
        about |= {} if self.texts is None else {"text": self.texts}
        about["tokens"] = self.tokens
        if units is None:
            labels = self.space.labels(np.arange(len(self.space)))
            responses = self.responses[:, :]
        else:
            labels, numbers = list(units), map(self.space.parse, units)
            columns = [self.responses[:, number : number + 1] for number in numbers]
            responses = torch.cat(columns, 1) if columns else torch.empty(len(self.labels), 0)
        # NumPy has no bfloat16.
        wide = torch.promote_types(responses.dtype, torch.float32)
        numbers_of = pd.DataFrame(responses.to(wide).cpu().numpy(), columns=labels)
        return pd.concat([pd.DataFrame(about), numbers_of], axis=1)

    def of_layer(self, layer: int) -> "Probe":
        """Give the responses of one layer's units, in memory.

        Raises:
            SiteError: the space has no such layer.
        """
        units, count = self.space.layer_slice(layer), len(self.space)
        values = None
        if self.values is not None:
            each = self.values.shape[1] // count
            values = self.values[:, each * units.start : each * units.stop]
        return replace(
            self,
            responses=self.responses[:, units],
            active=None if self.active is None else self.active[:, units],
            values=values,
            space=UnitSpace(self.space.site, (layer,), (units.stop - units.start,)),
        )

    def shuffled(self, seed: int) -> "Probe":
        """Give the same responses under labels that say nothing.

        Within each parallel sentence, the labels are permuted among its translations, each sentence
        on its own. So every concept keeps the same sentences, and what is tested is only whether a
        unit tells the concepts of one sentence apart (a permutation within blocks: Good 2005,
        "Permutation, parametric, and bootstrap tests of hypotheses", chapter 5). Where texts are
        not parallel, the labels of all are permuted; every concept keeps its number of texts.
        Where each group of these has one label, texts of a group are alike for other reasons, too,
        and no more exchangeable than their groups are: so the labels of whole groups are permuted,
        and every concept keeps its number of groups (Winkler et al. 2015, "Multi-level block
        permutation", doi:10.1016/j.neuroimage.2015.05.092).

        Args:
            seed: of the permutations, 0 or more.
        """
        rows = (self.labels, self.sentences, self.groups)
        provenance = {**self.provenance, "labels": shuffled_note(*rows, seed)}
        return replace(self, labels=shuffled_labels(*rows, seed), provenance=provenance)

    def against(self, concept: str, source: str) -> "Probe":
        """Give the texts of two concepts alone: one to tell, and the one that it is told from.

        Args:
            concept: one of `concepts`.
            source: another one.

        Raises:
            ScoreError: one of them is not probed, or they are the same.
        """
        check_source(self.concepts, source)
        check_source(self.concepts, concept)
        if concept == source:
            raise ScoreError(f"{source!r} cannot be told from itself; give another concept")
        pair = (concept, source)
        numbers = [self.concepts.index(name) for name in pair]
        rows = np.flatnonzero(np.isin(self.labels, numbers))
        return self._of_texts(
            rows,
            labels=np.where(self.labels[rows] == numbers[0], 0, 1),
            concepts=pair,
            provenance={**self.provenance, "source": source},
        )

    def against_each(self, source: str) -> "Iterator[Probe]":
        """Give, for each concept but the source, the texts of these two; see `against`.

        Raises:
            ScoreError: the source is not probed, or nothing else is.
        """
        check_source(self.concepts, source)
        others = [concept for concept in self.concepts if concept != source]
        if not others:
            raise ScoreError(f"only {source!r} was given; give what is told from it as well")
        return (self.against(concept, source) for concept in others)

    def resampled(self, seed: int) -> "Probe":
        """Draw as many parallel sentences with replacement, alike in all concepts.

        Each draw counts as a sentence of its own, numbered from 0. Where texts are not parallel,
        each concept's are drawn on their own.

        Args:
            seed: of the draw, 0 or more.
        """
        generator = np.random.default_rng(seed)
        sentences = None
        if self.sentences is None:
            of_concepts = [
                np.flatnonzero(self.labels == concept) for concept in range(len(self.concepts))
            ]
            chosen = np.concatenate(
                [generator.choice(rows, size=len(rows)) for rows in of_concepts]
            )
        else:
            names, sentence = np.unique(self.sentences, return_inverse=True)
            # One row a sentence, its translations beside one another.
            rows = np.argsort(sentence, kind="stable").reshape(len(names), -1)
            draws = generator.integers(len(names), size=len(names))
            chosen = rows[draws].T.ravel()
            sentences = np.tile(np.arange(len(names)), len(self.concepts))
        return self._of_texts(
            chosen,
            sentences=sentences,
            provenance={**self.provenance, "sentences": f"resampled, seed {seed}"},
        )

    def _of_texts(self, rows: Int[np.ndarray, " row"], **changes: Any) -> "Probe":
        """Take some of the texts, in the order of their rows, with other fields changed."""
        index = torch.from_numpy(rows)
        of_texts = {
            "responses": self.responses[index],
            "active": None if self.active is None else self.active[index],
            "values": None if self.values is None else self.values[index],
            "tokens": self.tokens[rows],
            "labels": self.labels[rows],
            "sentences": None if self.sentences is None else self.sentences[rows],
            "groups": None if self.groups is None else self.groups[rows],
            "texts": None if self.texts is None else tuple(self.texts[row] for row in rows),
            "ids": None if self.ids is None else tuple(self.ids[row] for row in rows),
        }
        return replace(self, **{**of_texts, **changes})


def check_source(concepts: Collection[str], source: str | None) -> None:
    """Refuse a source that is none of the concepts.

    Raises:
        ScoreError: it is none.
    """
    if source is not None and source not in concepts:
        raise ScoreError(f"{source!r} is not in the corpus; it has: {', '.join(concepts)}")


@dataclass(frozen=True, eq=False)
class ProbePass:
    """What one pass over a corpus reads, and what the responses will mean.

    Attributes:
        readings: the responses and, where they are wanted, the shares of active tokens.
        labels: the concept of each text of `Corpus.labelled`, as an index into `concepts`.
        concepts: names of the concepts.
        sentences: which parallel sentence each text is; None where none is parallel.
        space: which units respond.
        provenance: model, corpus and settings.
        texts: of the corpus; None where only their responses are known.
        ids: of each text.
        groups: of each text; None where nothing is known of groups.
    """

    readings: tuple[Reading, ...]
    labels: Int[np.ndarray, " text"]
    concepts: tuple[str, ...]
    sentences: Int[np.ndarray, " text"] | None
    space: UnitSpace
    provenance: Mapping[str, Any]
    texts: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    groups: Int[np.ndarray, " text"] | None = None

    @classmethod
    def over(
        cls,
        adapter: Adapter,
        corpus: Corpus,
        settings: ProbeSettings,
        *,
        active: bool = False,
        model: ModelInfo | None = None,
    ) -> "ProbePass":
        """Say what is read, and of which model if that was just asked; see `probe_units`."""
        check_source(corpus.concepts, settings.source)
        space = adapter.space(settings.site, settings.layers)
        if of_heads(settings.site):
            values_per_head(space, adapter.space(tensor_site(settings.site), settings.layers))
        texts, labels = corpus.labelled()
        rows = corpus.translation_rows()
        numbers = np.arange(len(texts)) if rows is None else rows
        about = {"site": settings.site, "pooling": settings.pooling}
        return cls(
            readings=probe_readings(settings, active=active),
            labels=labels,
            concepts=corpus.concepts,
            sentences=rows,
            texts=tuple(texts),
            ids=tuple(corpus.ids[number] for number in numbers),
            groups=None if corpus.groups is None else np.array(corpus.groups)[numbers],
            space=space,
            provenance=with_origins(
                provenance(model or adapter.identify(), corpus, **about),
                site=(SITES, settings.site),
                pooling=(POOLINGS, settings.pooling),
            ),
        )

    @property
    def model(self) -> ModelInfo:
        """Which model answers."""
        return ModelInfo(**self.provenance["model"])

    def probe(self, responses: Responses | KeptResponses) -> Probe:
        """Put the responses to it together with what they mean."""
        first, *more = (responses[reading] for reading in self.readings)
        # None of a head's values is ever silent.
        further = "values" if of_heads(self.space.site) else "active"
        return Probe(
            responses=first,
            **{"active": None, **dict(zip([further], more, strict=False))},
            tokens=responses.tokens,
            labels=self.labels,
            concepts=self.concepts,
            sentences=self.sentences,
            space=self.space,
            provenance=self.provenance,
            texts=self.texts,
            ids=self.ids,
            groups=self.groups,
        )


def probe_readings(settings: ProbeSettings, *, active: bool = False) -> tuple[Reading, ...]:
    """Say what a probe reads of each text; arguments and errors are those of `probe_units`."""
    readings = [Reading(settings.site, settings.pooling, settings.layers)]
    if active or settings.counts_tokens:
        readings.append(Reading(active_site(settings.site), "active", settings.layers))
    if of_heads(settings.site):
        readings.append(Reading(tensor_site(settings.site), "mean", settings.layers))
    return tuple(readings)


def probe_units(
    adapter: Adapter,
    corpus: Corpus,
    settings: ProbeSettings = ProbeSettings(),
    *,
    active: bool = False,
    intervention: AnyPlan | None = None,
    budget: Budget = Budget(),
    progress: str | None = None,
) -> Probe:
    """Read the responses of every unit to every text of a corpus, in one pass.

    Args:
        adapter: the model.
        corpus: each language or label is a concept.
        settings: site, pooling and layers.
        active: whether the same pass also counts the tokens at which each unit is active, for
            scores that need it besides the one of `settings`: those that count tokens.
        intervention: what is done to the model meanwhile; what is read is what it leaves.
        budget: responses that would take more than an eighth of its memory stay on disk, where they
            are kept in its cache (see `steer_plugin.responses.forward_pass.gather`); without a
            cache all are held in memory.
        progress: what to call the work in a bar on stderr; None shows none.

    Raises:
        SiteError: the model lacks the site.
        ModelError: the model answered with NaN or infinity.
        ScoreError: units at the site are never silent.
        ArtifactError: a batch cannot be kept.
    """
    planned = ProbePass.over(adapter, corpus, settings, active=active)
    texts, _ = corpus.labelled()
    given: dict[str, Any] = {"intervention": intervention, "progress": progress}
    if intervention is not None:
        under = {**planned.provenance, "intervention": intervention.hash}
        planned = replace(planned, provenance=under)
    if budget.cache is None:
        return planned.probe(gather(adapter, texts, planned.readings, **given))
    given |= {"keep": budget.cache, "model": planned.model}
    kept = gather_on_disk(adapter, texts, planned.readings, **given)
    return planned.probe(kept.within(budget.memory // DISK_SHARE))
