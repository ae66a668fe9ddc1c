"""What each condition writes and how well it predicts the target language, step by step."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import pandas as pd

from steer_plugin.analyses.generation.concept_id import fit_concepts
from steer_plugin.analyses.generation.language_id import (
    Identifier,
    identified_code,
    language_probabilities,
)
from steer_plugin.analyses.generation.pareto import recommend
from steer_plugin.analyses.generation.texts import (
    generate_texts,
    score_documents,
    texts_by_seed,
    texts_frame,
)
from steer_plugin.analyses.generation.tradeoff import UNSTEERED, Outcome, tradeoff
from steer_plugin.analyses.run.checkpoints import TABLES, Checkpoints
from steer_plugin.analyses.run.inputs import RunData
from steer_plugin.analyses.run.settings import GenerationSettings, RunSettings
from steer_plugin.analyses.run.stages.conditions import BEFORE, Comparison, Condition
from steer_plugin.corpora.documents import documents_hash
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import versions

EXPERTS, CONTROL = "experts", "control"
FEWEST_SEEDS = 4
"""Of fewer, half of the seeds cannot choose a k and the other half judge it."""

TOO_FEW_SEEDS = (
    f"fewer than {FEWEST_SEEDS} seeds cannot both choose a k and judge it; give more seeds"
)


@dataclass(frozen=True, eq=False)
class Writer:
    """A model that writes, and where its texts and losses are kept.

    Attributes:
        adapter: the model.
        data: of the run; its documents, or judging sentences, are what losses are of.
        generation: how it writes.
        steps: of the run.
        identify: gives the probability that a text is of a target.
        judged: what it tells apart, "language" or "concept".
    """

    adapter: Adapter
    data: RunData
    generation: GenerationSettings
    steps: Checkpoints
    identify: Identifier = language_probabilities
    judged: str = "language"

    def documents(self, target: str) -> tuple[str, ...]:
        """Give the texts whose perplexity is measured."""
        documents = self.data.documents.get(target)
        return documents or ("\n".join(self.data.judge.sentences[target]),)

    def documents_hash(self, target: str) -> str:
        """Name the content of these texts."""
        return documents_hash(self.documents(target))

    def outcome(self, condition: Condition, name: str, top_k: int, target: str) -> Outcome:
        """Give what a condition writes and what documents in the target language cost it.

        Args:
            condition: the model, steered or not.
            name: what the frame calls it.
            top_k: how many units are steered.
            target: the language of the documents.
        """
        written, scored = self._steps(condition, target)
        texts = self.steps.table(*written, partial(self._write, condition))
        losses = self.steps.table(*scored, partial(self._score, condition, target))
        return Outcome(name, top_k, texts_by_seed(texts), losses)

    def expect(self, conditions: Iterable[Condition], target: str) -> None:
        """Count on the outcomes of conditions that are not kept yet, for the time that is left."""
        for condition in conditions:
            written, scored = self._steps(condition, target)
            if not self.steps.seems_done(written[0], TABLES, written[1]):
                self.steps.progress.expect("writing", {condition.name: 1})
            if not self.steps.seems_done(scored[0], TABLES, scored[1]):
                self.steps.progress.expect("scoring", {(condition.name, target): 1})

    def _steps(
        self, condition: Condition, target: str
    ) -> tuple[tuple[str, dict[str, object]], tuple[str, dict[str, object]]]:
        """Name the steps of what is written and scored, each with all that it depends on."""
        return (
            (f"texts/{condition.name}", self._origin(condition)),
            (
                f"losses/{condition.name}-on-{target}",
                self._origin(condition, documents=self.documents_hash(target)),
            ),
        )

    def _origin(self, condition: Condition, **more: object) -> dict[str, object]:
        return {
            "model": asdict(self.steps.model(self.adapter)),
            "intervention": "none" if condition.plan is None else condition.plan.hash,
            "generation": {
                **asdict(self.generation),
                # Nothing hangs on these; of documents it is the content that counts.
                **dict.fromkeys(("top_k", "tolerance", "documents")),
            },
            **more,
            "versions": versions(),
        }

    def _write(self, condition: Condition) -> pd.DataFrame:
        generation = self.generation
        count = f"{generation.sentences} texts for each of {len(generation.seeds)} seeds"
        progress = self.steps.progress
        self.steps.say(f"Writing {count}: {condition.name}{progress.note()}")
        with progress.doing("writing", condition.name, 1):
            texts = generate_texts(
                self.adapter,
                condition.plan,
                sentences=generation.sentences,
                seeds=generation.seeds,
                max_new_tokens=generation.max_new_tokens,
                temperature=generation.temperature,
                top_p=generation.top_p,
                progress=condition.name,
            )
        return texts_frame(texts)

    def _score(self, condition: Condition, target: str) -> pd.DataFrame:
        progress = self.steps.progress
        self.steps.say(f"Scoring documents in {target}: {condition.name}{progress.note()}")
        generation = self.generation
        with progress.doing("scoring", (condition.name, target), 1):
            return score_documents(
                self.adapter,
                self.documents(target),
                condition.plan,
                context=generation.context,
                stride=generation.stride,
            )


def check_unsteered(writer: Writer | None, targets: Iterable[str]) -> None:
    """Write, score and judge with the model as it is, so that what cannot be done is told early.

    What is written and scored is kept.

    Args:
        writer: writes and scores; None where the run generates nothing.
        targets: the languages that are steered towards.

    Raises:
        AnalysisError: there are too few texts or too little text for an interval, or a loss is not
            finite.
        ModelError: the model has no BOS token, cannot write so many tokens, or a document or the
            window of the perplexity does not fit.
    """
    if writer is None:
        return
    for target in targets:
        before = writer.outcome(BEFORE, UNSTEERED, 0, target)
        tradeoff(target, before, [], identify=writer.identify, count=1)


def curve(
    writer: Writer, target: str, comparisons: Sequence[Comparison], settings: RunSettings
) -> pd.DataFrame:
    """Put language probability and perplexity beside k, and recommend one (PAPER steps 7, 9, 10).

    The control is the first draw of random units of the same layers. A k is chosen on one half of
    the seeds, and the figures, with their front, are those of the other half: chosen and judged on
    the same texts, the best of ten k would gain 38% too much. Both halves have the same documents,
    so the cost of the chosen k is not independent of the choice. Of fewer than `FEWEST_SEEDS` seeds
    nothing is recommended.

    Args:
        writer: writes and scores.
        target: the language that is steered towards.
        comparisons: of that target, one a k.
        settings: of the run.

    Returns:
        The frame of `tradeoff.tradeoff`, with `on_front`, `recommended` and `reason` of
        `pareto.recommend` in the rows of the unsteered model and the experts.
    """
    before = writer.outcome(BEFORE, UNSTEERED, 0, target)
    steered = []
    for comparison in comparisons:
        steered.append(writer.outcome(comparison.experts, EXPERTS, comparison.top_k, target))
        steered.append(writer.outcome(comparison.matched[0], CONTROL, comparison.top_k, target))
    measured = partial(
        tradeoff,
        target,
        identify=writer.identify,
        count=settings.resamples,
        seed=settings.bootstrap_seed,
    )
    if len(before.texts) < FEWEST_SEEDS:
        frame = measured(before, steered)
        choice = frame.loc[frame["condition"] != CONTROL, ["top_k"]].assign(
            recommended=False, reason=TOO_FEW_SEEDS
        )
    else:
        choosing, judging = zip(*(outcome.halves() for outcome in (before, *steered)), strict=True)
        frame = measured(judging[0], judging[1:])
        choice = recommend(
            measured(choosing[0], choosing[1:]), tolerance=writer.generation.tolerance
        )
    front = recommend(frame, tolerance=writer.generation.tolerance)
    recommendation = choice[["top_k", "recommended", "reason"]].assign(
        on_front=front["on_front"].to_numpy()
    )
    of_experts = frame["condition"] != CONTROL
    verdicts = frame[of_experts].merge(recommendation, on="top_k", validate="one_to_one")
    others = frame[~of_experts].assign(on_front=False, recommended=False, reason="a control")
    return pd.concat([verdicts, others], ignore_index=True)


def writer_of(
    adapter: Adapter, data: RunData, settings: RunSettings, steps: Checkpoints
) -> Writer | None:
    """Make what writes in a run, where anything is to be written.

    Raises:
        AnalysisError, CorpusError: what is written cannot be identified.
    """
    if settings.generation is None:
        return None
    if not isinstance(data.judge, ParallelCorpus):
        return _concept_writer(adapter, data, settings.generation, steps)
    # What is written in them is identified hours later.
    for target in settings.targets:
        identified_code(target)
    return Writer(adapter, data, settings.generation, steps)


def _concept_writer(
    adapter: Adapter, data: RunData, generation: GenerationSettings, steps: Checkpoints
) -> Writer:
    """Judge what is written by a classifier of the texts that find, and say how well it does."""
    identify = fit_concepts(data.find)
    for concept, score in identify.auroc(data.held_out).items():
        steps.say(
            f"What is written is judged by naive Bayes on the texts that find; on others it tells "
            f"{concept} with AUROC {score:.3f}"
        )
    return Writer(adapter, data, generation, steps, identify, "concept")
