"""What is chosen by name and can be anybody's: sites, poolings, scores, operations; ours too.

Each axis has a registry: `SCORES.register("name")` decorates a function, and an installed package
names what it has in its entry points (see `steer_plugin.registry`). What is registered here by
where it is comes with this package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from steer_plugin.errors import (
    AnalysisError,
    CorpusError,
    InterventionError,
    ModelError,
    ScoreError,
    SelectionError,
    SiteError,
)
from steer_plugin.registry import Registry
from steer_plugin.settings.names import FINAL_NORM, HEADS, ROUTER


@dataclass(frozen=True)
class Score:
    """What makes a unit an expert.

    Attributes:
        function: from `steer_plugin.scores.SortedUnits` to a score [unit, concept], higher for more
            expert, finite. Of one that counts tokens, from shares of active tokens, numbers of
            tokens, labels and memory; see `steer_plugin.scores.lape`.
        chance: what a unit that knows nothing scores, or a function of the numbers of texts
            [concept] that gives it for each concept.
        counts_tokens: whether it counts the tokens at which a unit is active.
        below_chance: whether a unit can score below chance: respond to all texts but the concept's.
        all_units: whether it compares units with one another, so that none can wait on disk.
        title: on axes and in sentences; None for the name.
        column: in tables that have typical responses as well; None for the name.
    """

    function: Callable[..., Any]
    chance: float | Callable[..., Any] = 0.0
    counts_tokens: bool = False
    below_chance: bool = True
    all_units: bool = False
    title: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class Pooler:
    """How the tokens of a text become one response.

    Attributes:
        function: from activations [text, token, unit] and which tokens count [text, token], one at
            least a text, to responses [text, unit]. What other tokens hold may be anything, NaN
            too; a NaN at one that counts must come through. It runs where the activations are, on
            an NDIF server as its source: it may name torch and functions of its own module.
        exact: whether a response is the activation of one of the tokens, so that the model's own
            dtype holds it.
    """

    function: Callable[..., Any]
    exact: bool = False


@dataclass(frozen=True)
class Arithmetic:
    """What an operation does to a unit.

    Attributes:
        function: from activations h [..., unit], a value v [unit] and the strength to what
            h becomes, alike in shape and dtype; strength 0 must leave h as it is. It runs where the
            activations are, as that of a `Pooler` does.
        verb: what it does, where a plan is printed; None for the name.
        value: what v is: an `activation`, a `gain`, the unit's `auroc`, or the offset of its
            `line`, whose function is given gain, low and high [unit] too (Linear-AcT).
        usual: the statistic that an activation is where nothing is said.
        whole: whether h becomes v whatever it was, so that strength is 0 or 1.
    """

    function: Callable[..., Any]
    verb: str | None = None
    value: Literal["activation", "gain", "auroc", "line"] = "activation"
    usual: str = "mean"
    whole: bool = False


@dataclass(frozen=True)
class Site:
    """Where in a block activations are read and written, by the name of a TransformerLens hook.

    Attributes:
        help: what its units are.
        hooks: of the bridge, one of which the hook of that name must be the same object as, since a
            bridge may give a site's name to another tensor (the blocks of a mixture of experts call
            their output `mlp.hook_post`); none takes the hook of that name as it is.
        paths: for nnsight and plain models, by `config.model_type`, from the block to a module and
            its side, such as `self_attn.q_proj.output`; needed only where TransformerLens' mapping
            of the architecture does not say where that hook is.
        before: the site that a forward pass reaches next; None where it is the last of its block.
        neurons: whether its units are those of the MLP, which a fused one does not have.
        gated: whether it is there only where the MLP has a gate.
        active_at: the site at which an activation above 0 says that a unit here is active; None
            where units are never silent.
        heads_of: the site whose tensor this is, of which each attention head's values are one unit;
            None where each value is.
        read_only: why a plan cannot change what is there; empty where one can.
    """

    help: str
    hooks: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict, hash=False)
    before: str | None = None
    neurons: bool = False
    gated: bool = False
    active_at: str | None = None
    heads_of: str | None = None
    read_only: str = ""


@dataclass(frozen=True)
class Method:
    """A rival way to steer towards a concept.

    Attributes:
        function: from a `steer_plugin.methods.MethodContext` to a plan.
        title: for charts; None for the name.
        citation: who proposed it.
        lines: whether it takes each unit's line (Linear-AcT), which the experts then come with.
        auroc: whether it takes experts by AUROC, and leaves units below chance as they are.
        vectors: whether it takes steering vectors, and steers all of a block in place of units.
        passes: whether it reads responses under what it has planned so far, in passes of its own; a
            comparison takes it where it is named.
    """

    function: Callable[..., Any]
    title: str | None = None
    citation: str = ""
    lines: bool = False
    auroc: bool = False
    vectors: bool = False
    passes: bool = False


@dataclass(frozen=True)
class Control:
    """What does as much as the experts without what is claimed of them.

    Attributes:
        function: of a `plan`, from a `steer_plugin.analyses.controls.ControlContext` and a seed to
            a plan; of `embeddings`, from those before and after steering, language -> [sentence,
            d_model], to such; of `figures`, from those of a layer before steering to such.
        of: what it makes.
        drawn: whether another seed gives another plan.
        shuffled: whether it takes experts found under shuffled labels, a table a seed.
        check: refuses a run that it cannot be made for, before one starts; see `check_controls`.
        label: beside its lane on the page; None for the name.
        subject: of a sentence, with its verb "to give".
        what: it is, for a caption; `{end}` and `{layers}` stand for what the units of a run are.
    """

    function: Callable[..., Any]
    of: Literal["plan", "embeddings", "figures"] = "plan"
    drawn: bool = True
    shuffled: bool = False
    check: Callable[..., None] | None = None
    label: str | None = None
    subject: str | None = None
    what: str | None = None


@dataclass(frozen=True)
class Measure:
    """What is measured of embeddings.

    Attributes:
        function: from embeddings, language -> [sentence, d_model], and by name the `target` (None
            for none) and the `groups` of sentences (None where each is its own) to
            `steer_plugin.analyses.statistics.Figures`, such as `weighted_means` gives.
        same: whether it looks for translations, and takes by the name `same` which texts are equal.
        usual: whether every run takes it.
        title: of its chart's axis on the page; None for the name of the figure.
        better: "high" or "low", whichever is; "" where neither is.
    """

    function: Callable[..., Any]
    same: bool = False
    usual: bool = False
    title: str | None = None
    better: Literal["high", "low", ""] = ""


@dataclass(frozen=True)
class Reader:
    """Where texts come from by a name, as `--corpus name` or `--corpus name:detail`.

    Attributes:
        function: from what follows the name ("" where nothing does) and the column of groups (None
            for its own) to a corpus, or to anything that `LabelledCorpus.read` or
            `ParallelCorpus.read` takes, such as a mapping from label to texts.
    """

    function: Callable[..., Any]


SITES = Registry("site", Site, SiteError)
SCORES = Registry("score", Score, ScoreError)
POOLINGS = Registry("pooling", Pooler, ModelError)
OPERATIONS = Registry("operation", Arithmetic, InterventionError)
METHODS = Registry("method", Method, InterventionError)
CONTROLS = Registry("control", Control, SelectionError)
MEASURES = Registry("measure", Measure, AnalysisError)
READERS = Registry("corpus reader", Reader, CorpusError)

# ReLU, GELU and SiLU keep the sign of what goes in, and in a gated MLP the neuron's product with
# the linear half has another sign: so a neuron is active where its gate is above 0.
_GATE = "mlp.hook_pre"
SITES.add(
    "mlp.hook_post",
    Site(
        "post-activation MLP neurons, the input of the down projection",
        ("mlp.out.hook_in",),
        neurons=True,
        active_at=_GATE,
    ),
)
SITES.add(
    _GATE,
    Site(
        "pre-activation MLP neurons; the gate where the MLP is gated",
        ("mlp.gate.hook_out", "mlp.in.hook_out"),
        neurons=True,
        active_at=_GATE,
    ),
)
SITES.add(
    "mlp.hook_pre_linear",
    Site(
        "the linear (up) half of a gated MLP, before it meets the gate",
        ("mlp.in.hook_out",),
        neurons=True,
        gated=True,
    ),
)
SITES.add(
    ROUTER,
    Site(
        "what a mixture of experts gives each expert before it chooses some; read, not steered",
        before="hook_mlp_out",
        read_only="a router chooses its experts where it computes its logits, so no part of the "
        "model reads them afterwards",
    ),
)
SITES.add(
    "hook_mlp_out",
    Site(
        "what the MLP adds to the residual stream",
        ("mlp.hook_out", "mlp.out.hook_out", "ln2_post.hook_out"),
    ),
)
SITES.add(
    "attn.hook_z",
    Site(
        "attention head outputs before the output projection, heads side by side",
        ("attn.o.hook_in",),
    ),
)
SITES.add(
    HEADS,
    Site(
        "whole attention heads, by the norm of their outputs before the output projection",
        heads_of="attn.hook_z",
    ),
)
SITES.add(
    "hook_attn_out",
    Site(
        "what attention adds to the residual stream",
        ("attn.hook_out", "attn.o.hook_out", "ln1_post.hook_out"),
    ),
)
SITES.add("hook_resid_post", Site("the residual stream after the block", ("hook_out",)))
SITES.add(FINAL_NORM, Site("the residual stream after the final norm"))

_RANKS = "steer_plugin.scores.rank_scores"
_TOKENS = "steer_plugin.scores.token_scores"
SCORES.add("auroc", f"{_RANKS}:AUROC")
SCORES.add("average_precision", f"{_RANKS}:AVERAGE_PRECISION")
SCORES.add("mean_difference", "steer_plugin.scores.mean_difference:MEAN_DIFFERENCE")
SCORES.add("activation_frequency", f"{_TOKENS}:ACTIVATION_FREQUENCY")
SCORES.add("lape", f"{_TOKENS}:LAPE")

_POOLING = "steer_plugin.activations.pooling"
POOLINGS.add("max", f"{_POOLING}:MAX")
POOLINGS.add("mean", f"{_POOLING}:MEAN")
POOLINGS.add("min", f"{_POOLING}:MIN")
POOLINGS.add("last", f"{_POOLING}:LAST")

_ARITHMETIC = "steer_plugin.interventions.operations"
OPERATIONS.add("set", f"{_ARITHMETIC}:SET")
OPERATIONS.add("add", f"{_ARITHMETIC}:ADD")
OPERATIONS.add("scale", f"{_ARITHMETIC}:SCALE")
OPERATIONS.add("blend", f"{_ARITHMETIC}:BLEND")
OPERATIONS.add("aura", f"{_ARITHMETIC}:AURA")
OPERATIONS.add("affine", f"{_ARITHMETIC}:AFFINE")

_METHODS = "steer_plugin.methods.catalogue"
METHODS.add("set-mean", f"{_METHODS}:SET_MEAN")
METHODS.add("set-median", f"{_METHODS}:SET_MEDIAN")
METHODS.add("blend-mean", f"{_METHODS}:BLEND_MEAN")
METHODS.add("add-mean-difference", f"{_METHODS}:ADD_MEAN_DIFFERENCE")
METHODS.add("linear-act", f"{_METHODS}:LINEAR_ACT")
METHODS.add(
    "linear-act-incremental", "steer_plugin.methods.incremental_transport:LINEAR_ACT_INCREMENTAL"
)
METHODS.add("aura", f"{_METHODS}:AURA")
METHODS.add("zero", f"{_METHODS}:ZERO")
METHODS.add("steer-mean-difference", f"{_METHODS}:STEER_MEAN_DIFFERENCE")
METHODS.add("steer-pca", f"{_METHODS}:STEER_PCA")

_CONTROLS = "steer_plugin.analyses.controls.expert_controls"
_SHIFTS = "steer_plugin.analyses.controls.shifts"
CONTROLS.add("random-in-layers", f"{_CONTROLS}:RANDOM_IN_LAYERS")
CONTROLS.add("random-anywhere", f"{_CONTROLS}:RANDOM_ANYWHERE")
CONTROLS.add("shuffled-values", f"{_CONTROLS}:SHUFFLED_VALUES")
CONTROLS.add("other-experts", f"{_CONTROLS}:OTHER_EXPERTS")
CONTROLS.add("bottom", f"{_CONTROLS}:BOTTOM")
CONTROLS.add("shuffled-labels", f"{_CONTROLS}:SHUFFLED_LABELS")
CONTROLS.add("constant-shift", f"{_SHIFTS}:CONSTANT_SHIFT")
CONTROLS.add("centring", f"{_SHIFTS}:CENTRING")

_MEASURES = "steer_plugin.analyses.measures"
MEASURES.add("alignment", f"{_MEASURES}.alignment:ALIGNMENT")
MEASURES.add("retrieval", f"{_MEASURES}.retrieval:RETRIEVAL")
MEASURES.add("neighbours", f"{_MEASURES}.neighbours:NEIGHBOURS")
MEASURES.add("geometry", f"{_MEASURES}.geometry:GEOMETRY")

_CORPORA = "steer_plugin.corpora.named_corpora"
READERS.add("everyday", f"{_CORPORA}:EVERYDAY")
READERS.add("questions", f"{_CORPORA}:QUESTIONS")
READERS.add("registers", f"{_CORPORA}:REGISTERS")

REGISTRIES: tuple[Registry[Any, Any], ...] = (
    *(SITES, POOLINGS, SCORES, OPERATIONS),
    *(METHODS, CONTROLS, MEASURES, READERS),
)
"""Every axis that anybody can add to."""
