"""What a run finds on the sentences that find: experts, what chance gives, and steering vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from steer_plugin.analyses.controls.chance import best_of_units_null, null_frame, stability
from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.inputs import RunData
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.errors import ModelError
from steer_plugin.experts.selection import tied_phrase
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.experts.values import LINES
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.methods.steering_vectors import VECTOR_SITE, SteeringVectors, find_vectors
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import provenance
from steer_plugin.registry import with_origins
from steer_plugin.responses.probe import Probe, ProbeUnder, probe_under, probe_units
from steer_plugin.settings.parts import CONTROLS, METHODS, POOLINGS, SCORES, SITES
from steer_plugin.settings.probe import ProbeSettings
from steer_plugin.storage.artifacts import Artifact


@dataclass(frozen=True, eq=False)
class RunExperts:
    """What interventions are planned from.

    Attributes:
        experts: by the run's score.
        by_auroc: the same units by AUROC, which AurA scales by; None where no method asks for it.
        shuffled: by control seed, a table found under labels that say nothing; empty where no
            control asks for it.
        vectors: directions in the residual stream; None where no method asks for them.
        elsewhere: by site, the experts at another one than the run's that steps of plans steer.
        finder: reads what methods with passes of their own ask for; None where no method does.
    """

    experts: ExpertTable
    by_auroc: ExpertTable | None
    shuffled: Mapping[int, ExpertTable]
    vectors: SteeringVectors | None
    elsewhere: Mapping[str, ExpertTable] = field(default_factory=dict)
    finder: "Finder | None" = None

    def at(self, site: str | None) -> ExpertTable:
        """Give the experts at a site; None for the run's own."""
        if site is None or site == self.experts.space.site:
            return self.experts
        return self.elsewhere[site]

    def plan(
        self, method: str, target: str, k: int, make: Callable[[ProbeUnder], AnyPlan]
    ) -> AnyPlan:
        """Give what a method with passes of its own plans, or the plan that is kept.

        Args:
            method: its name.
            target: that is steered towards.
            k: how many units are steered.
            make: plans it, from what reads responses under a plan.
        """
        assert self.finder is not None  # noqa: S101 (`find_all` sees to it)
        return self.finder.plan(method, target, k, make)


@dataclass(frozen=True, eq=False)
class Finder:
    """A model, the sentences that it is probed with, and where what is found lies.

    Who makes one finishes it.

    Attributes:
        adapter: the model.
        corpus: the sentences.
        settings: of the run.
        steps: of the run.
        name: of the step that keeps the batches of the pass.
    """

    adapter: Adapter
    corpus: Corpus
    settings: RunSettings
    steps: Checkpoints
    name: str

    @cached_property
    def probe(self) -> Probe:
        """Read all responses, in one pass whatever is made of them."""
        texts, _ = self.corpus.labelled()
        self.steps.say(
            f"Probing units with {len(texts)} texts of {', '.join(self.corpus.concepts)}"
        )
        return probe_units(
            self.adapter,
            self.corpus,
            self.settings.probe,
            budget=self.steps.budget(self.name),
            progress=self.name,
        )

    def finish(self) -> None:
        """Forget all responses, in memory and on disk."""
        vars(self).pop("probe", None)
        self.steps.finish(self.name)

    def origin(self, **more: str) -> dict[str, Any]:
        """Say what everything that is made of the pass depends on, and what else this does."""
        record = provenance(
            self.steps.model(self.adapter),
            self.corpus,
            site=self.settings.site,
            pooling=self.settings.pooling,
            **_told_from(self.settings),
            **more,
        )
        return with_origins(
            record,
            site=(SITES, self.settings.site),
            pooling=(POOLINGS, self.settings.pooling),
            score=(SCORES, more.get("score", self.settings.score)),
        )

    def table(
        self, name: str, score: str, shuffled: int | None = None, *, lines: bool = False
    ) -> ExpertTable:
        """Score the units, or read the table that is kept.

        Args:
            name: of the step.
            score: which score.
            shuffled: the seed of labels that say nothing; None for the labels as they are.
            lines: whether it has Linear-AcT's line of each unit.
        """
        labels = {} if shuffled is None else {"labels": f"shuffled, seed {shuffled}"}
        with_lines = self.origin(score=score, lines=LINES, **labels)
        enough = [with_lines] if lines else [with_lines, self.origin(score=score, **labels)]
        if any(self.steps.is_done(name, "experts", origin, Artifact.tensors) for origin in enough):
            self.steps.say(f"Kept {name}")
            return ExpertTable.load(self.steps.folder / name)
        probe = self.probe if shuffled is None else self.probe.shuffled(shuffled)
        table = score_units(
            probe, score, lines=lines, source=self.settings.source, memory=self.steps.memory
        )
        table = replace(table, provenance=self.steps.signed(name, table.provenance))
        table.save(self.steps.folder / name)
        return table

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
        )
        if steps.is_done(name, "intervention", origin, lambda artifact: artifact.table("units")):
            steps.say(f"Kept the plan of {method} for {target}")
            return Intervention.load(steps.folder / name)
        steps.say(f"Planning {method} for {target}, layer after layer")
        reader = probe_under(
            self.adapter,
            self.corpus,
            settings.probe,
            budget=steps.budget(name),
            progress=f"{target}, {method}",
        )
        plan = make(reader)
        if isinstance(plan, Intervention):
            plan = replace(plan, provenance=steps.signed(name, origin))
            plan.save(steps.folder / name)
        steps.finish(name)
        return plan


def _told_from(settings: RunSettings) -> dict[str, str]:
    """Say what each concept is told from, where it is one other."""
    return {} if settings.source is None else {"source": settings.source}


def find_all(finder: Finder) -> RunExperts:
    """Find what the run's interventions are planned from.

    Raises:
        SiteError: the model lacks the site.
        ScoreError: a response is NaN or infinite, or the score is not defined at the site.
        SelectionError: there are fewer experts than the run steers.
    """
    settings = finder.settings
    experts = finder.table("experts", settings.score, lines=settings.probe.lines)
    # Too few experts end the run here.
    for target in settings.targets:
        for k in settings.every_k:
            experts.top(target, k, settings.choice)
    for line in tied_lines(experts, settings):
        finder.steps.say(line)
    by_auroc = None
    if any(METHODS[name].auroc for name in settings.methods):
        auroc = settings.score == "auroc"
        by_auroc = experts if auroc else finder.table("experts-auroc", "auroc")
    shuffling = any(CONTROLS[name].shuffled for name in settings.controls)
    seeds = settings.control_seeds if shuffling else ()
    shuffled = {
        seed: finder.table(
            f"experts-shuffled-{seed}", settings.score, seed, lines=settings.moves_lines
        )
        for seed in seeds
    }
    return RunExperts(experts, by_auroc, shuffled, _vectors(finder), _elsewhere(finder), finder)


def _elsewhere(finder: Finder) -> dict[str, ExpertTable]:
    """Find experts at each further site that steps of plans name."""
    tables: dict[str, ExpertTable] = {}
    for site in dict.fromkeys(step.site for step in finder.settings.steps):
        if site in (None, finder.settings.site):
            continue
        settings, name = replace(finder.settings, site=site), f"experts-{site}"
        there = replace(finder, settings=settings, name=name)
        tables[site] = there.table(name, settings.score, lines=settings.probe.lines)
        there.finish()
    return tables


def tied_lines(experts: ExpertTable, settings: RunSettings) -> list[str]:
    """Say, for each target and k, how many units are left out though they score as the last."""
    tied = {
        (target, k): experts.count_tied(target, k, settings.choice)
        for target in settings.targets
        for k in settings.every_k
    }
    return [tied_phrase(target, k, count) for (target, k), count in tied.items() if count]


def judge_units(
    adapter: Adapter, data: RunData, settings: RunSettings, steps: Checkpoints
) -> ExpertTable:
    """Score the same units on sentences that did not choose them."""
    finder = Finder(adapter, data.held_out, settings, steps, "experts-judged")
    table = finder.table("experts-judged", settings.score)
    finder.finish()
    return table


def measure_luck(finder: Finder, experts: ExpertTable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give what the best unit scores by chance, and how the choice hangs on the sentences.

    Returns:
        The tables of `chance.null_frame` and `resampled_scores.stability`, each empty
        where the run leaves it out.

    Raises:
        ScoreError: see `find_all`.
    """
    settings, seed = finder.settings, finder.settings.bootstrap_seed

    def chance() -> pd.DataFrame:
        count = settings.permutations
        finder.steps.say(f"Scoring units under {count} permutations of the labels")
        null = best_of_units_null(
            finder.probe,
            settings.score,
            permutations=count,
            seed=seed,
            memory=finder.steps.memory,
        )
        return null_frame(experts, null).assign(score=settings.score)

    def stable() -> pd.DataFrame:
        count = settings.stability_resamples
        finder.steps.say(f"Choosing experts from {count} resamples of the sentences")
        return stability(
            finder.probe,
            settings.score,
            settings.top_k,
            settings.choice,
            concepts=settings.targets,
            resamples=count,
            seed=seed,
            memory=finder.steps.memory,
        )

    null = stability_table = pd.DataFrame()
    if settings.permutations:
        origin = finder.origin(
            score=settings.score, permutations=str(settings.permutations), seed=str(seed)
        )
        null = finder.steps.table("null", origin, chance)
    if settings.stability_resamples:
        origin = finder.origin(
            score=settings.score,
            targets=str(settings.targets),
            top_k=str(settings.top_k),
            choice=str(settings.choice),
            resamples=str(settings.stability_resamples),
            seed=str(seed),
        )
        stability_table = finder.steps.table("stability", origin, stable)
    return null, stability_table


def method_block(adapter: Adapter, settings: RunSettings) -> int:
    """Give the block where methods steer the residual stream.

    Raises:
        ModelError: the model has no such block.
    """
    depth = adapter.info.n_layers
    block = depth // 2 if settings.method_layer is None else settings.method_layer
    if block >= depth:
        raise ModelError(f"method_layer {block} does not exist; give 0..{depth - 1}")
    return block


def _vectors(finder: Finder) -> SteeringVectors | None:
    settings, steps = finder.settings, finder.steps
    if not any(METHODS[name].vectors for name in settings.methods):
        return None
    block = method_block(finder.adapter, settings)
    model = steps.model(finder.adapter)
    origin = provenance(
        model, finder.corpus, site=VECTOR_SITE, block=str(block), **_told_from(settings)
    )
    if steps.is_done("vectors", "vectors", origin, Artifact.tensors):
        steps.say("Kept vectors")
        return SteeringVectors.load(steps.folder / "vectors")
    steps.say(f"Reading the residual stream after block {block}")
    probe = probe_units(
        finder.adapter,
        finder.corpus,
        ProbeSettings(site=VECTOR_SITE, pooling="mean", layers=(block,)),
        budget=steps.budget("vectors"),
        progress="vectors",
    )
    vectors = replace(
        find_vectors(probe, source=settings.source), provenance=steps.signed("vectors", origin)
    )
    vectors.save(steps.folder / "vectors")
    steps.finish("vectors")
    return vectors
