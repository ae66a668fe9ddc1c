"""What one run does from end to end, as its TOML file says it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from steer_plugin.analyses.run.setting_types import (
    CHECKED,
    DISTINCT,
    ONE_OR_MORE,
    Blocks,
    Control,
    Count,
    Finite,
    Index,
    Languages,
    Measure,
    Method,
    Name,
    Operation,
    Pooling,
    Score,
    Seeds,
    Site,
    Written,
    beside_targets,
    named_once,
    told_from,
    with_what_is_given,
)
from steer_plugin.experts.selection import Choice
from steer_plugin.experts.values import usual_value
from steer_plugin.settings.model import ModelSettings
from steer_plugin.settings.names import (
    Dtype,
    Host,
    Quantize,
    Selection,
)
from steer_plugin.settings.parts import (
    METHODS,
    OPERATIONS,
)
from steer_plugin.settings.probe import ProbeSettings


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class GenerationSettings:
    """What is generated from the prompt of BOS alone, and how its language and cost are judged.

    The defaults are those of Sundar et al. 2025 (arXiv 2502.15639), PAPER steps 9 and 10, where it
    states them; the number of new tokens is ours.

    Attributes:
        top_k: numbers of units to steer; None takes those of the run.
        sentences: texts a seed.
        seeds: of the sampling.
        max_new_tokens: at most so many tokens a text.
        temperature: of the sampling.
        top_p: sample from the likeliest tokens that together have this probability.
        documents: folder or file of texts by language whose perplexity is measured; None takes
            the judging sentences of the target language as one document.
        context: window of the perplexity in tokens; None takes what the model takes, at most 1,024.
        stride: how far the windows move on; None takes half of `context`.
        tolerance: the recommended k may cost at most so many times the unsteered perplexity.
    """

    top_k: Annotated[tuple[Count, ...], ONE_OR_MORE, DISTINCT] | None = None
    sentences: Count = 256
    seeds: Seeds = (0, 1, 2, 3, 4, 5, 6, 7)
    max_new_tokens: Count = 64
    temperature: Annotated[Finite, Field(ge=0)] = 1.0
    top_p: Annotated[Finite, Field(gt=0, le=1)] = 0.9
    documents: str | None = None
    context: Annotated[int, Field(ge=2)] | None = None
    stride: Count | None = 512
    tolerance: Annotated[Finite, Field(ge=1)] = 1.2


class ExpertSteering:
    """What follows from the settings of a run, and of a step, on how experts are steered."""

    operation: str
    value: str | float | None
    strength: float
    positions: str
    steer_bos: bool
    selection: Selection
    per_layer: bool
    unit_layers: tuple[int, int] | None

    @property
    def written_value(self) -> str | float:
        """The statistic or number that the operation writes."""
        return usual_value(self.operation) if self.value is None else self.value

    @property
    def moves_lines(self) -> bool:
        """Whether each unit is moved along its line (Linear-AcT)."""
        return OPERATIONS[self.operation].value == "line"

    @property
    def choice(self) -> Choice:
        """Which units are steered."""
        return Choice(self.selection, self.per_layer, self.unit_layers)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class StepSettings(ExpertSteering):
    """One step of a plan: what is done to the experts for one language.

    The defaults are those of a run, not what the run file says for its targets.

    Attributes:
        name: of the step, such as "off".
        concept: the language whose experts these are.
        top_k: how many.
        site: where they are; None takes the run's.
        source: the language that `concept` is told from in this step; None takes the run's.
        operation: what is done to them.
        value: statistic, or number, that the operation writes; None takes the mean, and the mean
            difference for "add".
        strength: of the operation.
        positions: which tokens are steered: all, those of the prompt, its last, or a slice of each
            text's tokens, such as "-3:".
        steer_bos: whether the BOS token is steered as well.
        selection: the units that score highest, lowest, or half of each.
        per_layer: whether top_k units are chosen in each layer instead of in all of them.
        unit_layers: first and last block to choose units from; None for all.
    """

    name: Name
    concept: str
    top_k: Count
    site: Site | None = None
    source: str | None = None
    operation: Operation = "set"
    value: str | Finite | None = None
    strength: Finite = 1.0
    positions: Written = "all"
    steer_bos: bool = True
    selection: Selection = "top"
    per_layer: bool = False
    unit_layers: Blocks | None = None


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class PlanSettings:
    """A plan of several steps, whose rows stand beside the target's own experts.

    Attributes:
        name: of the plan; its rows and folders are called so.
        target: one of the run's targets, by which it is judged.
        steps: in order; a later one sees what an earlier one wrote.
    """

    name: Name
    target: str
    steps: Annotated[tuple[StepSettings, ...], ONE_OR_MORE, AfterValidator(named_once)]


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RunSettings(ExpertSteering):
    """The settings of `steer-plugin run`, and the defaults of what a file leaves out.

    Attributes:
        model: hub id, folder, `.gguf` file, or "demo".
        targets: the languages to steer towards.
        top_k: numbers of units to steer, each an intervention of its own.
        corpus: file or folder of a parallel corpus, a set on a hub as "hf:name", or "everyday" for
            the bundled one; in a FLORES-200 folder, with its split: "flores200/dev".
            A corpus of texts and labels, such as the bundled "questions" and "registers", serves
            `compare` alone, and its labels are the targets.
        against: texts that those of `corpus` are told from, as the label "background"; see
            `LabelledCorpus.read`.
        judge_corpus: the same, for the sentences that judge; None, or `corpus` itself, splits that
            in two.
        judge_against: texts that those of `judge_corpus` are told from, where those of `corpus` are
            told from `against`; others than these.
        group: column of the corpus that says which sentences belong together, such as a document:
            they find or judge together. None takes the topics of "everyday" and the documents of
            FLORES.
        languages: which of the corpus's languages are judged; None for all.
        find_languages: the languages whose sentences are positives and negatives when experts are
            found, the targets among them; None takes `languages`.
        seen: the languages that the model saw in pre-training, so that the others are marked; None
            marks none.
        sentences: how many of each corpus's ids to use, from the first; None for all.
        site: where units are read and written; one of `steer_plugin.settings.parts.SITES`.
        pooling: how a sentence's tokens become one response.
        score: what makes an expert.
        selection: the units that score highest, lowest, or half of each.
        per_layer: whether top_k units are chosen in each layer instead of in all of them.
        unit_layers: first and last block to choose units from; None for all.
        operation: what is done to the units; see `steer_plugin.interventions.operations.steer`.
        value: statistic, or number, that the operation writes; None takes the mean, and the mean
            difference for "add".
        strength: of the operation.
        positions: which tokens are steered: all, those of the prompt, its last, or a slice of each
            text's tokens, such as "-3:".
        steer_bos: whether the BOS token is steered as well.
        layers: blocks to embed at beside the final norm, or "all"; None takes those at one and two
            thirds of the depth.
        controls: what stands beside the experts besides random units of the same layers; these
            always do, so naming "random-in-layers" changes nothing.
        control_seeds: one draw each, of every control that is drawn.
        methods: the rival interventions to compare; of `steer_plugin.settings.parts.METHODS`.
        measures: of embeddings, beside those that every run takes; their figures stand in the table
            of alignment.
        plans: plans of several steps, each a table `[[plans]]` with tables `[[plans.steps]]`.
        method_layer: the block where the methods that steer the residual stream do it; None takes
            the one at half the depth.
        permutations: of the labels, for what the best unit scores by chance; 0 leaves it out.
        stability_resamples: of the sentences, for how stable the choice of experts is; 0 leaves it
            out.
        source: the language that each target is told from, so that experts and vectors lead from it
            to the target; None tells each from all others together.
        experts: folder of experts that `find` saved, from the texts that find here; they are
            steered in place of those that the run would find on `model`. Of another model, such as
            the base of a chat model, they are taken where its units are as many in as many blocks.
        tatoeba: folder of Tatoeba in the layout of XTREME, or "hf:name"; None leaves it out.
        bucc: the same for BUCC-18.
        pawsx: the same for PAWS-X; "paraphrases" for the bundled pairs.
        bitext_queries: at most so many queries of each bitext; None for all.
        projections: pictures of the embedding space; "umap" takes the extra [umap].
        generation: what is generated and scored; None leaves it out.
        split_seed: of the split into the half that finds and the half that judges.
        resamples: of the bootstrap.
        bootstrap_seed: of everything that is resampled, permuted or projected; below 2**32.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        chat: whether each text is what the user says, in the tokenizer's chat template.
        dtype: of the model; see `ModelSettings`.
        device: that the model runs on; "auto" for the accelerator there is.
        quantize: what weights are held as, "nf4" or "int8"; None as they come.
        batch_tokens: padded tokens a batch.
        host: what runs the model: TransformerLens or nnsight here, or an NDIF server, which
            decides device and dtype itself.
        ndif_url: of the server; None takes nnsight's own setting.
    """

    model: str
    targets: Annotated[tuple[str, ...], ONE_OR_MORE, DISTINCT]
    top_k: Annotated[tuple[Count, ...], ONE_OR_MORE, DISTINCT]
    corpus: str = "everyday"
    against: str | None = None
    judge_corpus: str | None = None
    judge_against: str | None = None
    group: str | None = None
    languages: Languages | None = None
    find_languages: Languages | None = None
    seen: Annotated[tuple[str, ...], DISTINCT] | None = None
    sentences: Annotated[int, Field(ge=4)] | None = None
    site: Site = ProbeSettings.site
    pooling: Pooling = ProbeSettings.pooling
    score: Score = ProbeSettings.score
    selection: Selection = "top"
    per_layer: bool = False
    unit_layers: Blocks | None = None
    operation: Operation = "set"
    value: str | Finite | None = None
    strength: Finite = 1.0
    positions: Written = "all"
    steer_bos: bool = True
    layers: Annotated[tuple[Index, ...], DISTINCT] | Literal["all"] | None = None
    controls: Annotated[tuple[Control, ...], DISTINCT] = ()
    control_seeds: Seeds = (0,)
    methods: Annotated[tuple[Method, ...], DISTINCT] = ()
    measures: Annotated[tuple[Measure, ...], DISTINCT] = ()
    plans: Annotated[tuple[PlanSettings, ...], AfterValidator(beside_targets)] = ()
    method_layer: Index | None = None
    permutations: Index = 0
    stability_resamples: Index = 0
    source: Annotated[str, AfterValidator(told_from)] | None = None
    experts: Annotated[str, AfterValidator(with_what_is_given)] | None = None
    tatoeba: str | None = None
    bucc: str | None = None
    pawsx: str | None = None
    bitext_queries: Count | None = None
    projections: Annotated[tuple[Literal["pca", "umap"], ...], DISTINCT] = ("pca",)
    generation: GenerationSettings | None = None
    split_seed: Index = 0
    resamples: Count = 1000
    bootstrap_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    bos: bool | None = None
    chat: bool = False
    dtype: Dtype = ModelSettings.dtype
    device: str = ModelSettings.device
    quantize: Quantize | None = ModelSettings.quantize
    batch_tokens: Count = ModelSettings.batch_tokens
    host: Host = ModelSettings.host
    ndif_url: str | None = None

    @property
    def probe(self) -> ProbeSettings:
        """What is read of the units, and what they are scored by."""
        return ProbeSettings(
            site=self.site,
            pooling=self.pooling,
            score=self.score,
            source=self.source,
            lines=self.moves_lines
            or any(METHODS[name].lines for name in self.methods)
            or any(step.moves_lines for step in self.steps),
        )

    def model_settings(
        self, *, threads: int | None = None, ndif_patience_s: float | None = None
    ) -> ModelSettings:
        """Say which model runs where.

        Args:
            threads: of the CPU, which no figure depends on; None leaves them as they are.
            ndif_patience_s: see `ModelSettings`.

        Raises:
            ModelError: two settings do not go together.
        """
        return ModelSettings(
            self.model,
            host=self.host,
            device=self.device,
            dtype=self.dtype,
            quantize=self.quantize,
            bos=self.bos,
            chat=self.chat,
            batch_tokens=self.batch_tokens,
            threads=threads,
            ndif_url=self.ndif_url,
            ndif_patience_s=ndif_patience_s,
        )

    @property
    def steps(self) -> tuple[StepSettings, ...]:
        """The steps of all plans."""
        return tuple(step for plan in self.plans for step in plan.steps)

    @property
    def every_k(self) -> tuple[int, ...]:
        """The numbers of units to steer, those of generation among them."""
        written = None if self.generation is None else self.generation.top_k
        return tuple(dict.fromkeys((*self.top_k, *(written or ()))))
