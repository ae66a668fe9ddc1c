"""What the figures of a run depend on, as its results record it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from steer_plugin.analyses.measures.projection import described
from steer_plugin.analyses.run.base_experts import found_on_record
from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.inputs import RunData
from steer_plugin.analyses.run.settings import PlanSettings, RunSettings, StepSettings
from steer_plugin.analyses.run.stages.expert_tables import tied_lines
from steer_plugin.analyses.run.stages.writer import Writer
from steer_plugin.experts.table import ExpertTable
from steer_plugin.models.adapter import Adapter, ModelInfo
from steer_plugin.models.provenance import provenance
from steer_plugin.registry import Registry, whose
from steer_plugin.responses.embeddings import Layer
from steer_plugin.settings.parts import (
    CONTROLS,
    MEASURES,
    METHODS,
    OPERATIONS,
    POOLINGS,
    SCORES,
    SITES,
)


def run_provenance(
    adapter: Adapter,
    data: RunData,
    settings: RunSettings,
    layers: Iterable[Layer],
    block: int,
    writer: Writer | None,
    experts: ExpertTable,
    steps: Checkpoints,
) -> dict[str, str]:
    """Say what the figures depend on: every setting, as it was resolved, and what it led to.

    Args:
        adapter: the model.
        data: the sentences.
        settings: of the run.
        layers: whose embeddings are judged.
        block: where steering vectors are added.
        writer: what writes and scores texts; None where nothing is generated.
        experts: that are steered.
        steps: of the run, all taken.

    Returns:
        Name to value, as `Results.provenance` holds it.
    """
    info = steps.model(adapter)
    origin = provenance(info, data.judge)
    recorded = {
        "model": info.name,
        "revision": info.revision,
        "host": info.host,
        "dtype": info.dtype,
        "fingerprint": info.fingerprint,
        **_ran_with(steps),
        "bos": "put before each text" if info.bos else "none",
        "chat": "by the model's template" if info.chat else "none",
        **found_on_record(data.experts),
        "site": settings.site,
        "pooling": settings.pooling,
        "score": settings.score,
        "selection": str(settings.choice),
        "ties at k": "; ".join(tied_lines(experts, settings)) or "none",
        "operation": settings.operation,
        "value": str(settings.written_value),
        "strength": str(settings.strength),
        "positions": settings.positions + ("" if settings.steer_bos else ", BOS left alone"),
        "corpus": settings.corpus,
        "judge_corpus": settings.judge_corpus or settings.corpus,
        "languages": ", ".join(data.judge.concepts),
        "find_languages": ", ".join(data.find.concepts),
        # Nothing where the file does not say; see `report.numbers.unseen`.
        "seen": "" if settings.seen is None else ", ".join(settings.seen) or "none",
        "split_seed": str(settings.split_seed),
        "find_sentences": str(len(data.find)),
        "find_hash": data.find.hash,
        "judge_sentences": str(len(data.judge)),
        "judge_groups": (
            "not known" if data.judge.groups is None else str(len(set(data.judge.groups)))
        ),
        "judge_hash": data.judge.hash,
        "control_seeds": ", ".join(map(str, settings.control_seeds)),
        "controls": ", ".join(settings.controls),
        "methods": ", ".join(settings.methods),
        "plans": "; ".join(map(_plan, settings.plans)),
        "resamples": str(settings.resamples),
        "bootstrap_seed": str(settings.bootstrap_seed),
        "layers": ", ".join(map(str, layers)),
        "method_layer": str(block),
        "bitexts": "; ".join(
            f"{bitext.name} {bitext.query_language}-{bitext.candidates_language} {bitext.hash[:12]}"
            for bitext in data.bitexts
        ),
        **_generation(settings, writer),
        "projection": "; ".join(
            [
                *(
                    described(method, seed=settings.bootstrap_seed)
                    for method in settings.projections
                ),
                f"the random neurons of seed {settings.control_seeds[0]}",
            ]
        ),
    }
    remaining = {
        name: _setting(value)
        for name, value in asdict(settings).items()
        if name not in recorded and name != "generation"
    }
    packages = {f"version of {name}": version for name, version in origin["versions"].items()}
    return {**recorded, **remaining, **_own_parts(settings), **packages}


def _own_parts(settings: RunSettings) -> dict[str, str]:
    """Say whose the parts are that are not ours; nothing where all are."""
    used: list[tuple[Registry[Any, Any], Sequence[str]]] = [
        (SITES, (settings.site, *(step.site for step in settings.steps if step.site))),
        (POOLINGS, (settings.pooling,)),
        (SCORES, (settings.score,)),
        (OPERATIONS, (settings.operation, *(step.operation for step in settings.steps))),
        (METHODS, settings.methods),
        (CONTROLS, settings.controls),
        (MEASURES, settings.measures),
    ]
    theirs = [
        f"{registry.noun} {name} of {whose(origin)}"
        for registry, names in used
        for name in dict.fromkeys(names)
        if (origin := registry.origin(name)) is not None
    ]
    return {"parts": "; ".join(theirs)} if theirs else {}


def ran_with(settings: RunSettings, info: ModelInfo) -> dict[str, str]:
    """Say what steps run with by these settings that no figure should depend on."""
    return {
        "device": info.device or "the server's",
        "batch_tokens": str(settings.batch_tokens),
        "ndif_url": _setting(settings.ndif_url),
    }


def _ran_with(steps: Checkpoints) -> dict[str, str]:
    """Give what the steps ran with, and which with what where they differ."""
    recorded = {}
    for name in steps.ran_with:
        kinds: dict[str, dict[str, None]] = {}
        for step, each in steps.taken.items():
            kinds.setdefault(each.get(name, "not recorded"), {})[step.partition("/")[0]] = None
        recorded[name] = (
            next(iter(kinds))
            if len(kinds) == 1
            else "; ".join(f"{value} ({', '.join(of)})" for value, of in kinds.items())
        )
    return recorded


def _plan(plan: PlanSettings) -> str:
    return f"{plan.name} (for {plan.target}): {', then '.join(map(_step, plan.steps))}"


def _step(step: StepSettings) -> str:
    """Say what a step does, and what of it is not as it is by default."""
    named = ("name", "concept", "top_k", "operation", "value")
    other = [
        f"{part.name} {_setting(getattr(step, part.name))}"
        for part in fields(step)
        if part.name not in named and getattr(step, part.name) != part.default
    ]
    parts = [
        f"{step.operation} {step.top_k} experts for {step.concept}, value {step.written_value}",
        *other,
    ]
    return f"{step.name} ({', '.join(parts)})"


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "not given" if value is None else str(value)


def _generation(settings: RunSettings, writer: Writer | None) -> Mapping[str, str]:
    if writer is None:
        return {"generation": "none"}
    recorded = {name: _setting(value) for name, value in asdict(writer.generation).items()}
    recorded["documents_hash"] = ", ".join(
        f"{target} {writer.documents_hash(target)[:12]}" for target in settings.targets
    )
    return {f"generation {name}": value for name, value in recorded.items()}
