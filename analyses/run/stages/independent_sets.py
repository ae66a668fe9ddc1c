"""Retrieval in independent sets: Tatoeba, BUCC-18, and paraphrases within one language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.analyses.measures.mixed_retrieval import bitext_figures
from steer_plugin.analyses.measures.retrieval import bitext_ranks
from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.stages.comparisons import naming
from steer_plugin.analyses.run.stages.conditions import BEFORE, Comparison, Condition
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.analyses.statistics.figures import Figures
from steer_plugin.corpora.bitext import Bitext
from steer_plugin.models.adapter import Adapter, ModelInfo, Reading
from steer_plugin.models.provenance import versions
from steer_plugin.responses.embeddings import FINAL
from steer_plugin.responses.forward_pass import gather
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


def compare_bitexts(
    adapter: Adapter,
    bitexts: Sequence[Bitext],
    comparison: Comparison,
    steps: Checkpoints,
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
    for bitext in bitexts:
        if not _is_of(bitext, comparison.target):
            continue
        figures: list[Figures] = []
        unsteered: Queries | None = None
        for condition in conditions:
            condition_figures, queries = _measure(adapter, bitext, condition, unsteered, steps)
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
    adapter: Adapter,
    bitext: Bitext,
    condition: Condition,
    unsteered: Queries | None,
    steps: Checkpoints,
) -> tuple[Figures, Queries]:
    """Measure one condition within a language or across two, and give its queries.

    Args:
        adapter: the model.
        bitext: what is embedded.
        condition: how.
        unsteered: the queries of the unsteered model; None for the condition's own.
        steps: of the run.
    """
    sides = _embed(adapter, bitext, condition, steps)
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


def _embed(adapter: Adapter, bitext: Bitext, condition: Condition, steps: Checkpoints) -> Sides:
    """Embed both sides, or read what is kept."""
    languages = f"{bitext.query_language}-{bitext.candidates_language}"
    step = f"bitexts/{condition.name}/{bitext.name}-{languages}"
    origin = origin_of(steps.model(adapter), bitext, condition)
    if not steps.is_done(step, KIND, origin, Artifact.tensors):
        texts = list(dict.fromkeys((*bitext.queries, *bitext.candidates)))
        place = {text: row for row, text in enumerate(texts)}
        name = f"{bitext.name} {languages}"
        steps.say(f"Embedding {len(texts)} sentences of {name}: {condition.name}")
        responses = gather(
            adapter,
            texts,
            [READING],
            intervention=condition.plan,
            progress=condition.name,
            keep=steps.unfinished(step),
        )
        rows = responses[READING].numpy()
        tensors = {
            side: rows[[place[text] for text in getattr(bitext, side)]]
            for side in ("queries", "candidates")
        }
        config = {"provenance": steps.signed(step, origin)}
        write_artifact(steps.folder / step, KIND, config, tensors=tensors)
        steps.finish(step)
    tensors = read_artifact(steps.folder / step, KIND).tensors()
    return Sides(tensors["queries"], tensors["candidates"])
