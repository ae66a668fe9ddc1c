"""What a run finds on the sentences that find: experts, what chance gives, and steering vectors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from steer_plugin.analyses.controls.chance import best_of_units_null, null_frame, stability
from steer_plugin.analyses.run.inputs import RunData
from steer_plugin.analyses.run.passes import Passes, Want
from steer_plugin.analyses.run.settings import RunSettings, StepSettings
from steer_plugin.analyses.run.stages.finder import Finder, told_from
from steer_plugin.errors import ModelError
from steer_plugin.experts.selection import tied_phrase
from steer_plugin.experts.table import ExpertTable
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.methods.steering_vectors import VECTOR_SITE, SteeringVectors, find_vectors
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import provenance
from steer_plugin.responses.probe import probe_readings
from steer_plugin.responses.steered_probes import ProbeUnder
from steer_plugin.responses.unit_chunks import DISK_SHARE
from steer_plugin.settings.parts import CONTROLS, METHODS
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
        elsewhere: by site and source, the experts that steps of plans steer and that are at another
            site than the run's, or told from another concept.
        finder: reads what methods with passes of their own ask for; None where no method does.
    """

    experts: ExpertTable
    by_auroc: ExpertTable | None
    shuffled: Mapping[int, ExpertTable]
    vectors: SteeringVectors | None
    elsewhere: Mapping[tuple[str, str | None], ExpertTable] = field(default_factory=dict)
    finder: Finder | None = None

    def of(self, step: StepSettings, settings: RunSettings) -> ExpertTable:
        """Give the experts that a step of a plan steers."""
        return self.elsewhere.get(_place(step, settings), self.experts)

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


def finding_wants(finder: Finder) -> list[Want]:
    """Say what `find_all` reads."""
    elsewhere = [there.want for there in _finders_elsewhere(finder)]
    if not _steers_residuals(finder.settings):
        return [finder.want, *elsewhere]
    done = finder.steps.seems_done(VECTORS, VECTORS, _vectors_origin(finder))
    readings = probe_readings(_vectors_probe(finder))
    vectors = Want(VECTORS, finder.want.texts, readings, kept=done)
    return [finder.want, vectors, *elsewhere]


def find_all(finder: Finder) -> RunExperts:
    """Find what the run's interventions are planned from.

    Raises:
        SiteError: the model lacks the site.
        ScoreError: a response is NaN or infinite, or the score is not defined at the site.
        SelectionError: there are fewer experts than the run steers.
    """
    settings = finder.settings
    experts = finder.experts()
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


def _elsewhere(finder: Finder) -> dict[tuple[str, str | None], ExpertTable]:
    """Find experts at each further site, and from each further source, that steps of plans name."""
    run, tables = finder.settings, {}
    further = {there.settings.site: there for there in _finders_elsewhere(finder)}
    at_sites = {run.site: finder, **further}
    for site, source in dict.fromkeys(_place(step, run) for step in run.steps):
        if (site, source) == (run.site, run.source):
            continue
        there = at_sites[site]
        name = there.name if source == run.source else f"{there.name}-from-{source}"
        tables[site, source] = there.table(name, run.score, lines=run.probe.lines, source=source)
    for there in further.values():
        there.finish()
    return tables


def _place(step: StepSettings, settings: RunSettings) -> tuple[str, str | None]:
    """Say where the experts of a step are, and what they are told from."""
    return step.site or settings.site, step.source or settings.source


def _finders_elsewhere(finder: Finder) -> Iterator[Finder]:
    for site in dict.fromkeys(step.site for step in finder.settings.steps):
        if site not in (None, finder.settings.site):
            settings = replace(finder.settings, site=site)
            yield replace(finder, settings=settings, name=f"experts-{site}")


def tied_lines(experts: ExpertTable, settings: RunSettings) -> list[str]:
    """Say, for each target and k, how many units are left out though they score as the last."""
    tied = {
        (target, k): experts.count_tied(target, k, settings.choice)
        for target in settings.targets
        for k in settings.every_k
    }
    return [tied_phrase(target, k, count) for (target, k), count in tied.items() if count]


def judging_finder(passes: Passes, data: RunData, settings: RunSettings) -> Finder:
    """Give what probes with the sentences that did not choose the units."""
    return Finder(passes, data.held_out, settings, "experts-judged")


def judge_units(finder: Finder) -> ExpertTable:
    """Score the same units on the sentences of `judging_finder`."""
    table = finder.table(finder.name, finder.settings.score)
    finder.finish()
    return table


def measure_luck(finder: Finder, experts: ExpertTable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give what the best unit scores by chance, and how the choice hangs on the sentences.

    Returns:
        The tables of `chance.null_frame` and `chance.stability`, each empty
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
        by_group = "group" in finder.shuffled_note(seed)
        origin = finder.origin(
            score=settings.score,
            permutations=str(settings.permutations),
            seed=str(seed),
            **({"labels": "shuffled by group"} if by_group else {}),
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


VECTORS = "vectors"


def _steers_residuals(settings: RunSettings) -> bool:
    return any(METHODS[name].vectors for name in settings.methods)


def _vectors_probe(finder: Finder) -> ProbeSettings:
    block = method_block(finder.adapter, finder.settings)
    return ProbeSettings(site=VECTOR_SITE, pooling="mean", layers=(block,))


def _vectors_origin(finder: Finder) -> dict[str, Any]:
    block = method_block(finder.adapter, finder.settings)
    return provenance(
        finder.steps.model(finder.adapter),
        finder.corpus,
        site=VECTOR_SITE,
        block=str(block),
        **told_from(finder.settings),
    )


def _vectors(finder: Finder) -> SteeringVectors | None:
    settings, steps = finder.settings, finder.steps
    if not _steers_residuals(settings):
        return None
    origin = _vectors_origin(finder)
    if steps.is_done(VECTORS, VECTORS, origin, Artifact.tensors):
        steps.say(f"Kept {VECTORS}")
        vectors = SteeringVectors.load(steps.folder / VECTORS)
    else:
        block = method_block(finder.adapter, settings)
        kept = finder.passes.responses(VECTORS, f"Reading the residual stream after block {block}")
        planned = finder.probe_pass(_vectors_probe(finder))
        probe = planned.probe(kept.within(steps.memory // DISK_SHARE))
        vectors = replace(
            find_vectors(probe, source=settings.source), provenance=steps.signed(VECTORS, origin)
        )
        vectors.save(steps.folder / VECTORS)
    finder.passes.finish(VECTORS)
    return vectors
