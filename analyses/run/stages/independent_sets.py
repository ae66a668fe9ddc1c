"""Retrieval in independent sets: Tatoeba, BUCC-18, and paraphrases within one language."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.analyses.measures.mixed_retrieval import bitext_figures
from steer_plugin.analyses.measures.retrieval import bitext_ranks
from steer_plugin.analyses.run.passes import Passes, Want
from steer_plugin.analyses.run.stages.comparisons import naming
from steer_plugin.analyses.run.stages.conditions import BEFORE, Comparison, Condition
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.analyses.statistics.figures import Figures
from steer_plugin.corpora.bitext import Bitext
from steer_plugin.models.adapter import ModelInfo, Reading
from steer_plugin.models.provenance import versions
from steer_plugin.responses.embeddings import FINAL
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.storage.artifacts import Artifact, read_artifact, write_artifact

KIND = "bitext"
READING = Reading(FINAL_NORM, "mean")
ENGLISH = "eng_Latn"

Queries = Float[np.ndarray, "query d_model"]


@dataclass(frozen=True, eq=False)
class Sides:
    """One bitext as a condition embeds it, after the final norm.

    Attributes:
        queries: one row a query.
        candidates: one row a candidate.
    """

    queries: Queries
    candidates: Float[np.ndarray, "candidate d_model"]


def bitext_wants(
    passes: Passes,
    bitexts: Sequence[Bitext],
    targets: Iterable[str],
    conditions: Sequence[Condition],
) -> list[Want]:
    """Say what `compare_bitexts` reads of the bitexts that are of any target."""
    model = passes.steps.model(passes.adapter)
    wants = []
    for bitext in bitexts_of(targets, bitexts):
        texts = bitext_texts(bitext)
        for condition in conditions:
            step = _step(bitext, condition)
            done = passes.steps.seems_done(step, KIND, origin_of(model, bitext, condition))
            wants.append(Want(step, texts, (READING,), condition.plan, done))
    return wants


def bitexts_of(targets: Iterable[str], bitexts: Iterable[Bitext]) -> list[Bitext]:
    """Choose the bitexts that are of any target."""
    wanted = tuple(targets)
    return [bitext for bitext in bitexts if any(_is_of(bitext, target) for target in wanted)]


def bitext_texts(bitext: Bitext) -> tuple[str, ...]:
    """List what is embedded of a bitext: queries, then candidates."""
    return (*bitext.queries, *bitext.candidates)


def compare_bitexts(
    passes: Passes, bitexts: Sequence[Bitext], comparison: Comparison
) -> pd.DataFrame:
    """Measure retrieval in the bitexts that are of the target (PAPER steps 15 and 16).

    Within one language the queries of the unsteered model are also sought among the candidates of
    the steered one. English, which is a language of every pair, is no target across languages.
    One condition's embeddings of one bitext are in memory at a time.

    Returns:
        One row a bitext and measure: `dataset`, `target`, `top_k`, `layer`, then as
        `comparison.compare` gives it; no rows where none is of the target.

    Raises:
        AnalysisError: a condition cannot be measured, such as one that makes all embeddings alike.
    """
    frames = []
    conditions = (BEFORE, comparison.experts, *comparison.matched)
    for bitext in bitexts_of([comparison.target], bitexts):
        figures: list[Figures] = []
        unsteered: Queries | None = None
        for condition in conditions:
            condition_figures, queries = _measure(passes, bitext, condition, unsteered)
            figures.append(condition_figures)
            if _within(bitext) and condition == BEFORE:
                unsteered = queries
        before, after, *controls = figures
        frame = compare(before, after, controls)
        keys = {
            "dataset": bitext.name,
            "target": comparison.target,
            "top_k": comparison.top_k,
            "layer": FINAL,
        }
        frames.append(pd.DataFrame([keys] * len(frame)).join(frame))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _within(bitext: Bitext) -> bool:
    return bitext.query_language == bitext.candidates_language


def _is_of(bitext: Bitext, target: str) -> bool:
    languages = (bitext.query_language, bitext.candidates_language)
    return target in languages and (_within(bitext) or target != ENGLISH)


def _measure(
    passes: Passes, bitext: Bitext, condition: Condition, unsteered: Queries | None
) -> tuple[Figures, Queries]:
    """Measure one condition within a language or across two, and give its queries.

    Args:
        passes: of the run.
        bitext: what is embedded.
        condition: how.
        unsteered: the queries of the unsteered model; None for the condition's own.
    """
    sides = _embed(passes, bitext, condition)
    gold, same = np.array(bitext.gold), bitext.same
    with naming(condition, FINAL, "lower its k, or leave the target out"):
        ranks = bitext_ranks(sides.queries, sides.candidates, gold, same)
        mixed = (
            ranks if unsteered is None else bitext_ranks(unsteered, sides.candidates, gold, same)
        )
    figures = bitext_figures(
        ranks,
        query=bitext.query_language,
        candidates=bitext.candidates_language,
        mixed=mixed if _within(bitext) else None,
    )
    return figures, sides.queries


def origin_of(model: ModelInfo, bitext: Bitext, condition: Condition) -> Mapping[str, object]:
    """Say what the embeddings of a bitext depend on."""
    return {
        "model": vars(model),
        "bitext": bitext.hash,
        "intervention": "none" if condition.plan is None else condition.plan.hash,
        "versions": versions(),
    }


def _step(bitext: Bitext, condition: Condition) -> str:
    languages = f"{bitext.query_language}-{bitext.candidates_language}"
    return f"bitexts/{condition.name}/{bitext.name}-{languages}"


def _embed(passes: Passes, bitext: Bitext, condition: Condition) -> Sides:
    """Embed both sides, or read what is kept."""
    steps, step = passes.steps, _step(bitext, condition)
    origin = origin_of(steps.model(passes.adapter), bitext, condition)
    if not steps.is_done(step, KIND, origin, Artifact.tensors):
        sides = (bitext.queries, bitext.candidates)
        languages = f"{bitext.query_language}-{bitext.candidates_language}"
        responses = passes.responses(
            step,
            f"Embedding {sum(map(len, sides))} sentences of {bitext.name} {languages}: "
            f"{condition.name}",
        )
        rows = responses.in_memory()[READING].numpy()
        queries, candidates = np.split(rows, [len(bitext.queries)])
        config = {"provenance": steps.signed(step, origin)}
        tensors = {"queries": queries, "candidates": candidates}
        write_artifact(steps.folder / step, KIND, config, tensors=tensors)
    passes.finish(step)
    tensors = read_artifact(steps.folder / step, KIND).tensors()
    return Sides(tensors["queries"], tensors["candidates"])
