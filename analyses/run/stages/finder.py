"""What a run reads of units to find experts, and the tables and plans that are made of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.passes import Passes, Want
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.experts.values import LINES
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import provenance
from steer_plugin.registry import with_origins
from steer_plugin.responses.label_shuffles import shuffled_note
from steer_plugin.responses.probe import Probe, ProbePass, probe_readings
from steer_plugin.responses.steered_probes import ProbeUnder
from steer_plugin.responses.unit_chunks import DISK_SHARE
from steer_plugin.settings.parts import CONTROLS, METHODS, POOLINGS, SCORES, SITES
from steer_plugin.settings.probe import ProbeSettings
from steer_plugin.storage.artifacts import Artifact


@dataclass(frozen=True, eq=False)
class Finder:
    """A model, the sentences that it is probed with, and where what is found lies.

    Who makes one finishes it.

    Attributes:
        passes: of the run, to which its want is told.
        corpus: the sentences.
        settings: of the run.
        name: of the step that reads the sentences.
        given: the experts that the run file names; None where they are found.
    """

    passes: Passes
    corpus: Corpus
    settings: RunSettings
    name: str
    given: ExpertTable | None = None

    @property
    def adapter(self) -> Adapter:
        """The model."""
        return self.passes.adapter

    @property
    def steps(self) -> Checkpoints:
        """The steps of the run."""
        return self.passes.steps

    @property
    def want(self) -> Want:
        """What is read of the units."""
        texts, _ = self.corpus.labelled()
        done = any(
            self.steps.seems_done(self.name, "experts", origin)
            for origin in self._enough(self.settings.score, lines=False)
        )
        kept = self.given is not None or (done and not self._reads_more)
        return Want(self.name, texts, probe_readings(self.settings.probe), kept=kept)

    @property
    def _reads_more(self) -> bool:
        """Whether more than the table of experts may be made of the same pass."""
        settings = self.settings
        return bool(
            settings.permutations
            or settings.stability_resamples
            or any(CONTROLS[control].shuffled for control in settings.controls)
            or any(METHODS[name].auroc or METHODS[name].passes for name in settings.methods)
        )

    @cached_property
    def probe(self) -> Probe:
        """Read all responses, in one pass whatever is made of them."""
        texts, _ = self.corpus.labelled()
        concepts = ", ".join(self.corpus.concepts)
        doing = f"Probing units with {len(texts)} texts of {concepts}"
        kept = self.passes.responses(self.name, doing)
        return self.probe_pass(self.settings.probe).probe(
            kept.within(self.steps.memory // DISK_SHARE)
        )

    def probe_pass(self, settings: ProbeSettings) -> ProbePass:
        """Say what a pass over the corpus reads."""
        model = self.steps.model(self.adapter)
        return ProbePass.over(self.adapter, self.corpus, settings, model=model)

    def finish(self) -> None:
        """Forget all responses, in memory and on disk."""
        vars(self).pop("probe", None)
        self.passes.finish(self.name)

    def origin(self, **more: str) -> dict[str, Any]:
        """Say what everything that is made of the pass depends on, and what else this does."""
        record = provenance(
            self.steps.model(self.adapter),
            self.corpus,
            site=self.settings.site,
            pooling=self.settings.pooling,
            **{**told_from(self.settings), **more},
        )
        return with_origins(
            record,
            site=(SITES, self.settings.site),
            pooling=(POOLINGS, self.settings.pooling),
            score=(SCORES, more.get("score", self.settings.score)),
        )

    def experts(self) -> ExpertTable:
        """Give the experts that are steered: those that are given, or the units by the run's score.

        They lie in the folder of the run either way.
        """
        settings = self.settings
        if self.given is None:
            return self.table("experts", settings.score, lines=settings.probe.lines)
        self.given.save(self.steps.folder / "experts")
        return self.given

    def table(
        self,
        name: str,
        score: str,
        shuffled: int | None = None,
        *,
        lines: bool = False,
        source: str | None = None,
    ) -> ExpertTable:
        """Score the units, or read the table that is kept.

        Args:
            name: of the step.
            score: which score.
            shuffled: the seed of labels that say nothing; None for the labels as they are.
            lines: whether it has Linear-AcT's line of each unit.
            source: what each concept is told from; None takes the run's.
        """
        labels = {} if shuffled is None else {"labels": self.shuffled_note(shuffled)}
        source = source or self.settings.source
        told = {} if source is None else {"source": source}
        enough = self._enough(score, lines=lines, **labels, **told)
        if any(self.steps.is_done(name, "experts", origin, Artifact.tensors) for origin in enough):
            self.steps.say(f"Kept {name}")
            return ExpertTable.load(self.steps.folder / name)
        probe = self.probe if shuffled is None else self.probe.shuffled(shuffled)
        table = score_units(probe, score, lines=lines, source=source, memory=self.steps.memory)
        table = replace(table, provenance=self.steps.signed(name, table.provenance))
        table.save(self.steps.folder / name)
        return table

    def shuffled_note(self, seed: int) -> str:
        """Say how the labels of the corpus are shuffled."""
        labels, groups = self.corpus.labelled()[1], self.corpus.groups
        rows = self.corpus.translation_rows()
        numbers = np.arange(len(labels)) if rows is None else rows
        of_rows = None if groups is None else np.array(groups)[numbers]
        return shuffled_note(labels, rows, of_rows, seed)

    def plan(
        self, method: str, target: str, k: int, make: Callable[[ProbeUnder], AnyPlan]
    ) -> AnyPlan:
        """Plan by a method with passes of its own, or read the plan that is kept."""
        settings, steps, name = self.settings, self.steps, f"plans/{target}-{method}"
        origin = self.origin(
            score=settings.score,
            method=method,
            concept=target,
            top_k=str(k),
            choice=str(settings.choice),
            positions=settings.positions,
            bos=str(settings.steer_bos),
            layer=str(settings.method_layer),
        )
        origin = with_origins(origin, method=(METHODS, method))
        if steps.is_done(name, "intervention", origin, lambda artifact: artifact.table("units")):
            steps.say(f"Kept the plan of {method} for {target}")
            return Intervention.load(steps.folder / name)
        steps.say(f"Planning {method} for {target}, layer after layer")

        def probe_under(plan: AnyPlan | None, layer: int) -> Probe:
            return self.probe.of_layer(layer) if plan is None else self._under(plan, layer, name)

        plan = make(probe_under)
        if isinstance(plan, Intervention):
            plan = replace(plan, provenance=steps.signed(name, origin))
            plan.save(steps.folder / name)
        return plan

    def _under(self, plan: AnyPlan, layer: int, name: str) -> Probe:
        """Read the responses of a layer under a plan."""
        settings, step = replace(self.settings.probe, layers=(layer,)), f"{name}-layer{layer}"
        texts, _ = self.corpus.labelled()
        self.passes.want([Want(step, texts, probe_readings(settings), plan)])
        kept = self.passes.responses(step, f"Reading layer {layer} under the maps below it")
        # Read into memory, since the batches go.
        probe = self.probe_pass(settings).probe(kept).of_layer(layer)
        self.passes.finish(step)
        return probe

    def _enough(self, score: str, *, lines: bool, **labels: str) -> list[dict[str, Any]]:
        """Say what a table may depend on that serves; one with lines always does."""
        with_lines = self.origin(score=score, lines=LINES, **labels)
        return [with_lines] if lines else [with_lines, self.origin(score=score, **labels)]


def told_from(settings: RunSettings) -> dict[str, str]:
    """Say what each concept is told from, where it is one other."""
    return {} if settings.source is None else {"source": settings.source}
