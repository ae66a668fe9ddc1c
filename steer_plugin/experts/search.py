"""From a model and a corpus to a table of experts, within what memory and disk there is."""

import json
import shutil
from functools import reduce
from pathlib import Path

from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.experts.search_plan import Say, free_disk, plan_finding
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.models.adapter import Adapter
from steer_plugin.responses.batch_files import Parts, short_hash
from steer_plugin.responses.probe import ProbePass, probe_units
from steer_plugin.responses.unit_chunks import MEMORY
from steer_plugin.scores.rank_scores import check_score
from steer_plugin.scores.typical_responses import QUANTILES, check_quantiles
from steer_plugin.settings.names import TOKEN_SCORES, ScoreName, SentencePooling
from steer_plugin.storage.artifacts import CONFIG


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
    disk: int | None = None,
    progress: str | None = None,
    say: Say | None = None,
    keep: Path | None = None,
) -> ExpertTable:
    """Score every unit as a detector of each language of a corpus against the others.

    Several scores from one pass are `steer_plugin.responses.probe.probe_units` and then
    `steer_plugin.experts.table.score_units`.

    Args:
        adapter: the model.
        corpus: each language is a concept; its sentences are the positives, all others the
            negatives (Sundar et al. 2025, section 3).
        site: one of `steer_plugin.settings.names.SITES`.
        pooling: how a sentence's tokens become one response.
        score: one of `steer_plugin.settings.names.SCORES`.
        layers: the blocks to look at; None for all.
        quantiles: which quantiles of the positives' responses to keep, each in [0, 1].
        memory: bytes of working memory, beside the model and the activations of one batch.
        disk: bytes that responses may take in `keep`; None takes what is free. Where all do not
            fit, the texts pass through the model several times, for some layers each.
        progress: what to call the work in a bar on stderr; None shows none.
        say: told, a line each and before the work, how it will be done; None tells nobody.
        keep: folder in which responses are kept, batch by batch, and found again when the same is
            asked for anew; several processes may share it. None holds them in memory, all of them.

    Raises:
        SiteError: the model lacks the site.
        ModelError: there is no such pooling, the model answered with NaN or infinity, or responses
            are to be kept of a model whose revision is not known.
        ScoreError: there is no such score or quantile, the score is not defined at the site, or the
            memory is too small.
        ArtifactError: responses cannot be kept, or the disk is too small.
    """
    check_score(score)
    check_quantiles(quantiles)
    active = score in TOKEN_SCORES

    def table(some: tuple[int, ...] | None) -> ExpertTable:
        probe = probe_units(
            adapter,
            corpus,
            site=site,
            pooling=pooling,
            layers=some,
            active=active,
            memory=memory,
            progress=progress,
            keep=keep,
        )
        return score_units(probe, score, quantiles=quantiles, memory=memory)

    if keep is None:
        return table(layers)

    def parts(some: tuple[int, ...] | None) -> Parts:
        one = ProbePass.over(
            adapter, corpus, site=site, pooling=pooling, layers=some, active=active
        )
        return Parts.of(keep, adapter.info, texts, one.readings)

    texts, _ = corpus.labelled()
    free = free_disk(keep) + parts(layers).size
    plan = plan_finding(
        adapter.info,
        adapter.space(site, layers),
        texts=len(texts),
        concepts=len(corpus.languages),
        quantiles=len(quantiles),
        pooling=pooling,
        score=score,
        memory=memory,
        disk=free if disk is None else min(disk, free),
    )
    if say is not None:
        for line in plan.lines():
            say(line)
    if len(plan.passes) == 1:
        return table(layers)
    scored = short_hash(json.dumps([corpus.hash, score, quantiles]).encode())
    tables, pieces = [], []
    for space in plan.passes:
        kept = parts(space.layers)
        piece = kept.folder.with_name(f"{kept.folder.name}-{scored}")
        if not (piece / CONFIG).is_file():
            table(space.layers).save(piece)
        # The next layers need its room.
        kept.remove()
        tables.append(ExpertTable.load(piece))
        pieces.append(piece)
    for piece in pieces:
        # A piece is there while its config is, so that goes first.
        (piece / CONFIG).unlink(missing_ok=True)
        shutil.rmtree(piece, ignore_errors=True)
    return reduce(ExpertTable.beside, tables)
