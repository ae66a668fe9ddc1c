"""From a model and a corpus to a table of experts, within what memory and disk there is."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path

from steer_plugin.activations.sites import UnitSpace, of_heads, tensor_site, values_per_head
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.experts.search_plan import Say, SearchPlan, plan_search
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.models.adapter import Adapter, ModelInfo
from steer_plugin.registry import with_origins
from steer_plugin.responses.pass_folder import PassFolder
from steer_plugin.responses.probe import ProbePass, check_source, probe_units
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.parts import SCORES
from steer_plugin.settings.probe import ProbeSettings
from steer_plugin.storage.artifacts import CONFIG
from steer_plugin.storage.disk_space import free_disk
from steer_plugin.storage.kept_folders import short_hash


def find_experts(
    adapter: Adapter,
    corpus: Corpus,
    settings: ProbeSettings = ProbeSettings(),
    *,
    budget: Budget = Budget(),
    shuffled: int | None = None,
    progress: str | None = None,
    say: Say | None = None,
) -> ExpertTable:
    """Score every unit as a detector of each concept of a corpus against the others.

    Several scores from one pass are `steer_plugin.responses.probe.probe_units` and then
    `steer_plugin.experts.table.score_units`.

    Args:
        adapter: the model.
        corpus: each language or label is a concept; its texts are the positives, all others the
            negatives (Sundar et al. 2025, section 3), or those of `settings.source` alone.
        settings: what is read and what it is scored by.
        budget: memory and disk to stay within, and where responses are kept.
        shuffled: the seed of labels that say nothing, as a control (see `Probe.shuffled`); None
            for the corpus's own.
        progress: what to call the work in a bar on stderr; None shows none.
        say: told, a line each and before the work, how it will be done; None tells nobody.

    Raises:
        SiteError: the model lacks the site.
        ModelError: the model answered with NaN or infinity, or responses are to be kept of a model
            whose revision is not known.
        ScoreError: the score is not defined at the site, the source is not in the corpus, or the
            memory is too small.
        ArtifactError: responses cannot be kept, or the disk is too small.
    """
    check_source(corpus.concepts, settings.source)
    search = _Search(adapter, corpus, settings, budget, shuffled, progress)
    if budget.cache is None:
        return search.table(settings.layers)
    plan = search.plan(budget.cache)
    if say is not None:
        for line in plan.lines():
            say(line)
    if len(plan.passes) == 1:
        return search.table(settings.layers)
    return search.table_in_pieces(plan.passes, budget.cache)


@dataclass(frozen=True)
class _Search:
    adapter: Adapter
    corpus: Corpus
    settings: ProbeSettings
    budget: Budget
    shuffled: int | None
    progress: str | None

    @cached_property
    def model(self) -> ModelInfo:
        """Which model is searched."""
        return self.adapter.identify()

    def plan(self, cache: Path) -> SearchPlan:
        """Plan the passes within what the disk has free, counting what is kept of them already."""
        free = free_disk(cache) + self.kept(self.settings.layers, cache).size
        disk = self.budget.disk
        space = self.adapter.space(self.settings.site, self.settings.layers)
        values = self.adapter.space(tensor_site(self.settings.site), self.settings.layers)
        texts, _ = self.corpus.labelled()
        return plan_search(
            self.adapter.info,
            space,
            self.settings,
            values=values_per_head(space, values) if of_heads(space.site) else 0,
            texts=len(texts),
            concepts=len(self.corpus.concepts),
            memory=self.budget.memory,
            disk=free if disk is None else min(disk, free),
        )

    def table(self, layers: tuple[int, ...] | None) -> ExpertTable:
        """Score the units of some layers, in one pass."""
        settings, memory = replace(self.settings, layers=layers), self.budget.memory
        probe = probe_units(
            self.adapter, self.corpus, settings, budget=self.budget, progress=self.progress
        )
        return score_units(
            probe if self.shuffled is None else probe.shuffled(self.shuffled),
            settings.score,
            quantiles=settings.quantiles,
            lines=settings.lines,
            source=settings.source,
            memory=memory,
        )

    def kept(self, layers: tuple[int, ...] | None, cache: Path) -> PassFolder:
        """Give where the responses of some layers are kept."""
        texts, _ = self.corpus.labelled()
        settings = replace(self.settings, layers=layers)
        planned = ProbePass.over(self.adapter, self.corpus, settings, model=self.model)
        return PassFolder.of(cache, planned.model, texts, planned.readings)

    def table_in_pieces(self, passes: Sequence[UnitSpace], cache: Path) -> ExpertTable:
        """Score the units of some layers at a time, and put the tables beside one another."""
        settings = self.settings
        labels: list[int | str] = [] if self.shuffled is None else [self.shuffled]
        labels += [] if settings.source is None else [settings.source]
        theirs = with_origins({}, score=(SCORES, settings.score))
        scored = short_hash(
            json.dumps(
                [self.corpus.hash, settings.score, settings.quantiles, settings.lines, *labels]
                + ([theirs] if theirs else [])
            ).encode()
        )
        tables, pieces = [], []
        for space in passes:
            responses = self.kept(space.layers, cache)
            piece = responses.folder.with_name(f"{responses.folder.name}-{scored}")
            if not (piece / CONFIG).is_file():
                self.table(space.layers).save(piece)
            # The next layers need its room.
            responses.remove()
            tables.append(ExpertTable.load(piece))
            pieces.append(piece)
        for piece in pieces:
            # A piece is there while its config is, so that goes first.
            (piece / CONFIG).unlink(missing_ok=True)
            shutil.rmtree(piece, ignore_errors=True)
        return reduce(ExpertTable.beside, tables)
