"""Rival interventions on the same axes: what each gains, and what it costs."""

import pandas as pd

from steer_plugin.analyses.generation.tradeoff import UNSTEERED, tradeoff
from steer_plugin.analyses.measures.alignment import alignment_figures
from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.run.results import VALUES
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.comparisons import naming
from steer_plugin.analyses.run.stages.condition_embeddings import ConditionEmbeddings
from steer_plugin.analyses.run.stages.conditions import BEFORE, Condition, Rival
from steer_plugin.analyses.run.stages.writer import CONTROL, Writer
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.analyses.statistics.figures import WHOLE, Figures, joined
from steer_plugin.responses.embeddings import FINAL

AXES = {"top-1": "retrieval", "matched distance": "centred distance"}
"""What the figures of embeddings are called as axes."""

CHANGES = {"probability": "gain", "perplexity": "cost"}
"""What the changes of the figures of texts are called."""

METHOD = "method"
NO_ROWS = pd.DataFrame(columns=["axis", *VALUES, "sentences"])


def compare_rival(
    rival: Rival,
    embedded: ConditionEmbeddings | None,
    writer: Writer | None,
    settings: RunSettings,
) -> pd.DataFrame:
    """Put one method, or plan, on every axis, for one target, beside its control.

    - `retrieval`: top-1 over all pairs of languages, raw embeddings after the final norm, equal
      texts counted as the translation, as in `Results.retrieval`;
    - `centred distance`: cosine distance between translations, each language's mean removed. (That
      over all pairs is 1 by construction once the means are gone.)
    - `language probability`: of the target language, of texts from BOS alone; where the targets are
      labels, `concept probability`;
    - `perplexity`: of documents in the target language, or of the target's texts. Its changes are
      ratios: 1 is no change.

    Args:
        rival: the method and its control.
        embedded: the judging sentences, in the conditions of the rival; None where they are no
            translations of each other, so that the first two axes are left out.
        writer: writes and scores; None where the run generates nothing.
        settings: of the run.

    Returns:
        One row an axis: `method`, `target`, `top_k`, `block`, `axis`, then `results.VALUES` and
        `sentences`: how many sentences, texts, and documents or stretches of one the figure is
        over. The control is its first draw, which tells nothing of others: the ends of `advantage`
        are NaN. On the last two axes a difference between method and control is not made.

    Raises:
        AnalysisError: a condition cannot be measured, such as one that makes all embeddings alike.
    """
    parts = [_of_embeddings(rival, embedded), _of_texts(rival, writer, settings)]
    # Beside a table without rows, and so without types, what is NaN would be saved as nothing.
    frame = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    keys = {
        METHOD: rival.method,
        "target": rival.target,
        "top_k": rival.top_k,
        "block": rival.block,
    }
    return pd.DataFrame([keys] * len(frame)).join(frame[["axis", *VALUES, "sentences"]])


def _of_embeddings(rival: Rival, embedded: ConditionEmbeddings | None) -> pd.DataFrame:
    if embedded is None:
        return NO_ROWS
    same, groups = embedded.corpus.same, embedded.corpus.groups

    def figures_of(condition: Condition) -> Figures:
        rows = embedded.load(condition, FINAL)
        with naming(condition, FINAL, f"leave {rival.method!r} out of the run file"):
            return joined(
                [
                    retrieval_figures(
                        rows, target=None, centrings=("raw",), same=same, groups=groups
                    ),
                    alignment_figures(rows, target=None, centrings=("language",), groups=groups),
                ]
            )

    frame = compare(figures_of(BEFORE), figures_of(rival.steered), [figures_of(rival.control)])
    whole = (frame["query"] == WHOLE[0]) & (frame["candidates"] == WHOLE[1])
    frame = frame[whole & frame["measure"].isin(AXES)]
    return frame.assign(axis=frame["measure"].map(AXES))


def _of_texts(rival: Rival, writer: Writer | None, settings: RunSettings) -> pd.DataFrame:
    if writer is None:
        return NO_ROWS
    before, steered, control = (
        writer.outcome(condition, name, k, rival.target)
        for condition, name, k in (
            (BEFORE, UNSTEERED, 0),
            (rival.steered, METHOD, rival.top_k),
            (rival.control, CONTROL, rival.top_k),
        )
    )
    figures = tradeoff(
        rival.target,
        before,
        [steered, control],
        identify=writer.identify,
        count=settings.resamples,
        seed=settings.bootstrap_seed,
    ).set_index("condition")
    method = figures.loc[METHOD]
    sentence_counts = {
        "probability": method["seeds"] * method["sentences"],
        "perplexity": method["resampled_units"],
    }
    rows = []
    for figure, change in CHANGES.items():
        axis = f"{writer.judged} {figure}" if figure == "probability" else figure
        row = {name: float("nan") for name in VALUES} | {
            "axis": axis,
            "pre": figures.loc[UNSTEERED, figure],
            "post": figures.loc[METHOD, figure],
            "n_controls": 1,
            "sentences": sentence_counts[figure],
        }
        row |= dict.fromkeys(
            ("control", "control_min", "control_max"), figures.loc[CONTROL, figure]
        )
        for end in ("", "_low", "_high"):
            row[f"change{end}"] = figures.loc[METHOD, f"{change}{end}"]
            row[f"control_change{end}"] = figures.loc[CONTROL, f"{change}{end}"]
        rows.append(row)
    return pd.DataFrame(rows)
