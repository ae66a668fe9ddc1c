"""Retrieval in independent sets: Tatoeba, BUCC-18, and paraphrases within one language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from steer_plugin.analyses.conditions import BEFORE, Comparison, Condition
from steer_plugin.analyses.mixed import bitext_figures
from steer_plugin.analyses.retrieval import bitext_ranks
from steer_plugin.analyses.statistics import Figures, compare
from steer_plugin.analyses.steps import Steps
from steer_plugin.artifacts import Artifact, read_artifact, write_artifact
from steer_plugin.bitext import Bitext
from steer_plugin.embeddings import FINAL
from steer_plugin.protocols import Adapter, ModelInfo, Reading
from steer_plugin.provenance import versions
from steer_plugin.responses import gather
from steer_plugin.settings import RunSettings
from steer_plugin.sites import FINAL_NORM

KIND = "bitext"
READING = Reading(FINAL_NORM, "mean")


@dataclass(frozen=True, eq=False)
class Sides:
    """One bitext as a condition embeds it, after the final norm.

    Attributes:
        queries: one row a query.
        candidates: one row a candidate.
    """

    queries: Float[np.ndarray, "query d_model"]
    candidates: Float[np.ndarray, "candidate d_model"]


def compare_bitexts(
    adapter: Adapter,
    bitexts: Sequence[Bitext],
    comparison: Comparison,
    settings: RunSettings,
    steps: Steps,
) -> pd.DataFrame:
    """Measure retrieval in the bitexts that the target is a language of (PAPER steps 15 and 16).

    Within one language the queries of the unsteered model are also sought among the candidates of
    the steered one.

    Returns:
        One row a bitext and measure: `dataset`, `target`, `top_k`, `layer`, then as
        `statistics.compare` gives it; no rows where the target is in none of them.
    """
    frames = []
    conditions = (BEFORE, comparison.experts, *comparison.matched)
    for bitext in bitexts:
        if comparison.target not in (bitext.query_language, bitext.candidates_language):
            continue
        sides = {one: _embed(adapter, bitext, one, steps) for one in conditions}
        before, after, *controls = (
            _figures(bitext, sides[one], sides[BEFORE]) for one in conditions
        )
        frame = compare(
            before, after, controls, count=settings.resamples, seed=settings.bootstrap_seed
        )
        keys = {
            "dataset": bitext.name,
            "target": comparison.target,
            "top_k": comparison.top_k,
            "layer": FINAL,
        }
        frames.append(pd.DataFrame([keys] * len(frame)).join(frame))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _figures(bitext: Bitext, sides: Sides, before: Sides) -> Figures:
    gold = np.array(bitext.gold)

    def ranks(queries: Float[np.ndarray, "query d_model"]) -> Float[np.ndarray, " query"]:
        return bitext_ranks(queries, sides.candidates, gold, bitext.same)

    within = bitext.query_language == bitext.candidates_language
    return bitext_figures(
        ranks(sides.queries),
        query=bitext.query_language,
        candidates=bitext.candidates_language,
        mixed=ranks(before.queries) if within else None,
    )


def origin_of(model: ModelInfo, bitext: Bitext, condition: Condition) -> Mapping[str, object]:
    """Say what the embeddings of a bitext depend on."""
    return {
        "model": vars(model),
        "bitext": bitext.hash,
        "intervention": "none" if condition.plan is None else condition.plan.hash,
        "versions": versions(),
    }


def _embed(adapter: Adapter, bitext: Bitext, condition: Condition, steps: Steps) -> Sides:
    """Embed both sides, or read what is kept."""
    languages = f"{bitext.query_language}-{bitext.candidates_language}"
    step = f"bitexts/{condition.name}/{bitext.name}-{languages}"
    origin = origin_of(adapter.info, bitext, condition)
    if not steps.is_done(step, KIND, origin, Artifact.tensors):
        texts = list(dict.fromkeys((*bitext.queries, *bitext.candidates)))
        place = {text: row for row, text in enumerate(texts)}
        name = f"{bitext.name} {languages}"
        steps.say(f"Embedding {len(texts)} sentences of {name}: {condition.name}")
        found = gather(
            adapter,
            texts,
            [READING],
            intervention=condition.plan,
            progress=condition.name,
            keep=steps.unfinished(step),
        )
        rows = found[READING].numpy()
        tensors = {
            side: rows[[place[text] for text in getattr(bitext, side)]]
            for side in ("queries", "candidates")
        }
        write_artifact(steps.folder / step, KIND, {"provenance": origin}, tensors=tensors)
        steps.finish(step)
    tensors = read_artifact(steps.folder / step, KIND).tensors()
    return Sides(tensors["queries"], tensors["candidates"])
