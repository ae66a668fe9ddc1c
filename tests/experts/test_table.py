import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin import ProbeSettings
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import (
    ArtifactError,
    InterventionError,
    ModelError,
    ScoreError,
    SelectionError,
    SiteError,
)
from steer_plugin.experts.search import find_experts
from steer_plugin.experts.selection import TOP, Choice, check_choice
from steer_plugin.experts.table import ExpertTable, score_units
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.models.adapter import Batch, ModelInfo, Reading
from steer_plugin.models.generation import Generation
from steer_plugin.responses.forward_pass import gather
from steer_plugin.responses.probe import probe_units
from steer_plugin.scores.rank_scores import scores
from steer_plugin.scores.transport import linear_transport
from steer_plugin.settings.names import SELECTIONS

Array = np.ndarray[Any, Any]

SITE = "mlp.hook_post"
WIDTHS = (5, 4, 6)
LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn")


class InMemoryAdapter:
    """A model whose responses are given: one row a text."""

    def __init__(self, corpus: ParallelCorpus, responses: Array) -> None:
        texts, _ = corpus.labelled()
        self.responses = dict(zip(texts, torch.from_numpy(responses), strict=True))
        self.passes = 0

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("planted", "1", "memory 0", len(WIDTHS), 8, "float32", bos=False)

    def identify(self) -> ModelInfo:
        return self.info

    def space(self, site: str, layers: tuple[int, ...] | None = None) -> UnitSpace:
        if site not in {SITE, "hook_mlp_out"}:
            raise SiteError(f"no {site}")
        chosen = tuple(range(len(WIDTHS))) if layers is None else layers
        return UnitSpace(site, chosen, tuple(WIDTHS[layer] for layer in chosen))

    def check_plan(self, intervention: Intervention | None) -> None:
        pass

    def batches(self, texts: Sequence[str]) -> list[Array]:
        # Batches of a length-sorted pass come in another order than the texts.
        return np.array_split(np.random.default_rng(0).permutation(len(texts)), 7)

    def collect(
        self,
        texts: Sequence[str],
        readings: Sequence[Reading],
        *,
        intervention: Intervention | None = None,
    ) -> Iterator[Batch]:
        self.passes += 1
        everything = UnitSpace(SITE, tuple(range(len(WIDTHS))), WIDTHS)
        for rows in self.batches(texts):
            matrix = torch.stack([self.responses[texts[row]] for row in rows])
            if intervention is not None:
                matrix = matrix + float(intervention.strength)
            yield Batch(
                rows,
                {
                    reading: torch.cat(
                        [
                            matrix[:, everything.layer_slice(layer)]
                            for layer in self.space(reading.site, reading.layers).layers
                        ],
                        dim=1,
                    )
                    for reading in readings
                },
                np.array([len(texts[row]) for row in rows]),
            )

    def generate(
        self,
        prompts: Sequence[str],
        *,
        intervention: Intervention | None = None,
        max_new_tokens: int = 32,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        **_: Any,
    ) -> Generation:
        raise NotImplementedError

    def losses(
        self,
        texts: Sequence[str],
        *,
        intervention: Intervention | None = None,
        context: int | None = None,
        stride: int | None = None,
    ) -> list[Array]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def corpus() -> ParallelCorpus:
    return ParallelCorpus.read(
        {language: [f"{language} {number}" for number in range(30)] for language in LANGUAGES}
    )


PLANTED = {"deu_Latn": ("L0N3", "L2N1"), "eng_Latn": ("L1N0",), "fra_Latn": ("L2N5", "L2N0")}


@pytest.fixture(scope="module")
def as_planted(corpus: ParallelCorpus) -> Array:
    """Give noise in which each language's planted units answer to it, the first one loudest."""
    space = UnitSpace(SITE, (0, 1, 2), WIDTHS)
    names = [space.label(unit) for unit in range(len(space))]
    _, labels = corpus.labelled()
    matrix = np.random.default_rng(0).normal(size=(len(labels), len(space)))
    for row, language in enumerate(corpus.languages):
        for place, name in enumerate(PLANTED[language]):
            matrix[labels == row, names.index(name)] += 9 if place == 0 else 2
    return matrix.astype(np.float32)


@pytest.fixture
def responses(as_planted: Array) -> Array:
    """Give responses that a test may change."""
    return as_planted.copy()


@pytest.fixture(scope="module")
def experts(corpus: ParallelCorpus, as_planted: Array) -> ExpertTable:
    return find_experts(InMemoryAdapter(corpus, as_planted), corpus, ProbeSettings(lines=True))


def table(
    rows: Sequence[Sequence[float]],
    *,
    layers: tuple[int, ...] = (2, 5),
    widths: tuple[int, ...] = (3, 3),
) -> ExpertTable:
    matrix = np.array(rows, dtype=np.float64)
    units = np.arange(matrix.size, dtype=np.float32).reshape(matrix.shape)
    return ExpertTable(
        concepts=tuple(f"concept {row}" for row in range(len(matrix))),
        space=UnitSpace(SITE, layers, widths),
        score="auroc",
        scores=matrix,
        chance=(0.5,) * len(matrix),
        statistics={"mean": units, "median": units + 100, "q05": units - 100},
        provenance={"model": {"name": "made up"}},
    )


TIED = [[0.7, 0.9, 0.4, 0.9, 0.7, 0.9]]


def test_planted_experts_are_found(experts: ExpertTable) -> None:
    for language, names in PLANTED.items():
        units = experts.top(language, len(names))
        assert [experts.space.label(unit) for unit in units.tolist()] == list(names)
        assert experts.scores[experts.row(language), units[0]] == 1


def test_scores_and_values_belong_to_the_sentences_of_each_language(
    experts: ExpertTable, corpus: ParallelCorpus, responses: Array
) -> None:
    _, labels = corpus.labelled()
    np.testing.assert_array_equal(experts.scores, scores(responses, labels)["auroc"])
    own = [responses[labels == row].astype(np.float64) for row in range(3)]
    rest = [responses[labels != row].astype(np.float64) for row in range(3)]
    wanted = {
        "mean": [rows.mean(0) for rows in own],
        "off_mean": [rows.mean(0) for rows in rest],
        "mean_difference": [o.mean(0) - r.mean(0) for o, r in zip(own, rest, strict=True)],
        "median": [np.median(rows, axis=0) for rows in own],
        **{
            f"q{level:02d}": [np.percentile(rows, level, axis=0) for rows in own]
            for level in (5, 25, 75, 95)
        },
        **{
            f"act_{name}": [
                getattr(linear_transport(r, o), name) for o, r in zip(own, rest, strict=True)
            ]
            for name in ("gain", "offset", "low", "high")
        },
    }
    assert experts.statistics.keys() == wanted.keys()
    for name, values in wanted.items():
        assert experts.statistics[name].dtype == np.float32
        np.testing.assert_allclose(experts.statistics[name], values, rtol=1e-5, atol=1e-6)


def test_a_mean_of_large_responses_keeps_its_small_digits(corpus: ParallelCorpus) -> None:
    responses = np.full((90, sum(WIDTHS)), 2.0**24, dtype=np.float32)
    responses[:, 0] = np.arange(90) + 2.0**23
    found = find_experts(InMemoryAdapter(corpus, responses), corpus)
    assert (found.statistics["mean"][:, 0] - 2.0**23).tolist() == [14, 44, 74]
    assert (found.statistics["mean"][:, 1] == 2.0**24).all()


def test_quantiles_that_are_close_keep_their_own_names(
    corpus: ParallelCorpus, responses: Array
) -> None:
    levels = (0.0, 0.005, 0.02, 0.024, 0.29, 0.999, 1.0)
    found = find_experts(
        InMemoryAdapter(corpus, responses), corpus, ProbeSettings(quantiles=levels)
    )
    names = ("q00", "q0.5", "q02", "q2.4", "q29", "q99.9", "q100")
    for level, name in zip(levels, names, strict=True):
        wanted = np.quantile(responses[:30], level, axis=0)
        np.testing.assert_allclose(found.statistics[name][0], wanted, rtol=1e-5, atol=1e-6)


def test_average_precision_has_the_base_rate_as_chance(
    corpus: ParallelCorpus, responses: Array
) -> None:
    responses[:, 2] = 0
    found = find_experts(
        InMemoryAdapter(corpus, responses), corpus, ProbeSettings(score="average_precision")
    )
    assert found.chance == (1 / 3,) * 3
    assert (found.scores[:, 2] == found.chance[0]).all()
    assert found.space.label(int(found.top("eng_Latn", 1)[0])) == "L1N0"


def test_some_layers_can_be_searched_alone(corpus: ParallelCorpus, responses: Array) -> None:
    found = find_experts(InMemoryAdapter(corpus, responses), corpus, ProbeSettings(layers=(0, 2)))
    assert found.space == UnitSpace(SITE, (0, 2), (5, 6))
    assert found.space.label(int(found.top("fra_Latn", 1)[0])) == "L2N5"


def test_a_table_says_where_it_comes_from(
    experts: ExpertTable, corpus: ParallelCorpus, responses: Array
) -> None:
    adapter = InMemoryAdapter(corpus, responses)
    assert experts.provenance["model"] == asdict(adapter.info)
    assert experts.provenance["corpus"] == {
        "hash": corpus.hash,
        "languages": list(LANGUAGES),
        "sentences": 30,
    }
    assert experts.provenance["site"] == SITE
    assert experts.provenance["pooling"] == "max"
    assert experts.provenance["score"] == "auroc"
    assert experts.provenance["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_response_that_is_not_finite_is_named_by_layer_and_unit(
    corpus: ParallelCorpus, responses: Array, bad: float
) -> None:
    responses[34, 7] = bad
    message = rf"unit L1N2 at mlp.hook_post responds with {bad} to 'eng_Latn 4'"
    with pytest.raises(ModelError, match=message):
        find_experts(InMemoryAdapter(corpus, responses), corpus)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score": "f1"}, "'f1' is not a score; choose one of: auroc, average_precision"),
        ({"quantiles": (0.5, 50)}, r"quantiles are \(0.5, 50\); give numbers from 0 to 1"),
        ({"score": "lape", "site": "hook_mlp_out"}, "units at hook_mlp_out have none; take mlp.h"),
    ],
)
def test_settings_that_cannot_be_met_are_refused_before_the_model_runs(
    corpus: ParallelCorpus, responses: Array, settings: dict[str, Any], message: str
) -> None:
    adapter = InMemoryAdapter(corpus, responses)
    with pytest.raises(ScoreError, match=message):
        find_experts(adapter, corpus, ProbeSettings(**settings))
    assert adapter.passes == 0


@pytest.mark.usefixtures("unchecked")
def test_a_share_of_tokens_is_no_response_to_set_a_unit_to(
    corpus: ParallelCorpus, responses: Array
) -> None:
    adapter = InMemoryAdapter(corpus, responses)
    with pytest.raises(ModelError, match=r"'active' is not a pooling; .* max, mean, min, last$"):
        find_experts(adapter, corpus, ProbeSettings(pooling="active"))
    assert adapter.passes == 0


def test_responses_come_back_in_the_order_of_the_texts(
    corpus: ParallelCorpus, responses: Array
) -> None:
    texts, _ = corpus.labelled()
    reading = Reading(SITE, "max")
    gathered = gather(InMemoryAdapter(corpus, responses), texts[::-1], [reading])
    np.testing.assert_array_equal(gathered[reading].numpy(), responses[::-1])
    assert gathered.tokens.tolist() == [len(text) for text in texts[::-1]]


def test_several_readings_ride_one_pass_and_the_intervention_goes_with_them(
    corpus: ParallelCorpus, responses: Array
) -> None:
    adapter = InMemoryAdapter(corpus, responses)
    readings = [Reading(SITE, "max"), Reading(SITE, "mean", (1,))]
    plan = Intervention(SITE, (0,), (0,), (0.0,), operation="add", strength=0.5)
    gathered = gather(adapter, corpus.labelled()[0], readings, intervention=plan)
    assert adapter.passes == 1
    np.testing.assert_array_equal(gathered[readings[0]].numpy(), responses + np.float32(0.5))
    np.testing.assert_array_equal(gathered[readings[1]].numpy(), gathered[readings[0]][:, 5:9])


class ForgetfulAdapter(InMemoryAdapter):
    def collect(
        self,
        texts: Sequence[str],
        readings: Sequence[Reading],
        *,
        intervention: Intervention | None = None,
    ) -> Iterator[Batch]:
        for batch in super().collect(texts, readings, intervention=intervention):
            if 17 not in batch.rows:
                yield batch


def test_a_text_without_a_response_is_an_error(corpus: ParallelCorpus, responses: Array) -> None:
    with pytest.raises(ModelError, match="memory 0 gave no response to text"):
        gather(ForgetfulAdapter(corpus, responses), corpus.labelled()[0], [Reading(SITE, "max")])


def test_no_texts_are_an_error(corpus: ParallelCorpus, responses: Array) -> None:
    with pytest.raises(ModelError, match="no texts were given"):
        gather(InMemoryAdapter(corpus, responses), [], [Reading(SITE, "max")])


def test_ties_are_settled_by_layer_and_index() -> None:
    assert table(TIED).top("concept 0", 5).tolist() == [1, 3, 5, 0, 4]
    assert table(TIED).top("concept 0", 2).tolist() == [1, 3]


def test_top_is_a_prefix_of_a_longer_top(experts: ExpertTable) -> None:
    longest = experts.top("deu_Latn", 6)
    for k in range(6):
        np.testing.assert_array_equal(experts.top("deu_Latn", k), longest[:k])


def test_per_layer_takes_k_from_each_layer() -> None:
    assert table(TIED).top("concept 0", 2, Choice(per_layer=True)).tolist() == [1, 0, 3, 5]


ENDS = [[0.1, 0.6, 0.3, 0.1, 0.5, 0.9]]


@pytest.mark.parametrize(
    ("k", "choice", "wanted"),
    [
        (3, Choice("bottom"), [0, 3, 2]),
        (1, Choice("bottom", per_layer=True), [0, 3]),
        (4, Choice("top+bottom"), [5, 1, 0, 3]),
        (3, Choice("top+bottom"), [5, 1, 0]),
        (1, Choice("top+bottom"), [5]),
        (2, Choice("top+bottom", per_layer=True), [1, 0, 5, 3]),
        (1, Choice(layers=(2, 2)), [1]),
        (2, Choice(layers=(2, 5)), [5, 1]),
        (1, Choice(layers=(3, 5)), [5]),
        (1, Choice("bottom", layers=(5, 5)), [3]),
        (2, Choice("top+bottom", per_layer=True, layers=(5, 5)), [5, 3]),
    ],
    ids=str,
)
def test_units_are_selected_from_either_end_and_any_range_of_layers(
    k: int, choice: Choice, wanted: list[int]
) -> None:
    found = table(ENDS)
    assert found.top("concept 0", k, choice).tolist() == wanted
    assert choice.count(found.space, k) == len(wanted)


@pytest.mark.parametrize(
    ("k", "choice", "wanted"),
    [
        (6, TOP, [5, 1]),
        (6, Choice("top+bottom"), [5, 1, 0, 3, 2]),
        (4, Choice("bottom", layers=(2, 2), per_layer=True), None),
        (3, Choice("bottom", per_layer=True), [0, 2, 3]),
    ],
    ids=str,
)
def test_fewer_are_given_where_fewer_will_do_but_never_from_fewer_units_than_k(
    k: int, choice: Choice, wanted: list[int] | None
) -> None:
    if wanted is None:
        with pytest.raises(SelectionError, match="but layer 2 has 3 units"):
            table(ENDS).top("concept 0", k, choice, at_most=True)
    else:
        assert table(ENDS).top("concept 0", k, choice, at_most=True).tolist() == wanted


@given(
    st.builds(
        Choice,
        st.sampled_from(SELECTIONS),
        st.booleans(),
        st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)),
    )
)
def test_a_choice_is_read_as_it_is_printed(choice: Choice) -> None:
    assert Choice.parse(str(choice)) == choice


def test_a_choice_is_printed_in_words() -> None:
    assert str(TOP) == "top over all layers"
    assert str(Choice("bottom", True, (0, 5))) == "bottom in each layer of blocks 0 to 5"
    assert Choice.parse("top+bottom") == Choice("top+bottom")
    for text in ("", "best over all layers", "top over all layers of blocks 0", "top, in layers"):
        with pytest.raises(SelectionError, match="is no choice of units, such as 'top over all la"):
            Choice.parse(text)


@pytest.mark.usefixtures("unchecked")
def test_a_selection_that_there_is_not_is_refused() -> None:
    with pytest.raises(SelectionError, match="'lowest' is not a selection; choose one of: top, bo"):
        Choice("lowest")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((0, 1), r"layers=0\.\.1 is no range of the layers .* those are 2, 5"),
        ((3, 4), r"layers=3\.\.4 is no range of the layers"),
        ((5, 2), r"layers=5\.\.2 is no range of the layers"),
        ((2, 6), r"layers=2\.\.6 is no range of the layers"),
    ],
)
def test_layers_that_there_are_not_are_refused(layers: tuple[int, int], message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        table(ENDS).top("concept 0", 1, Choice(layers=layers))
    with pytest.raises(SelectionError, match=message):
        check_choice(table(ENDS).space, 1, Choice(layers=layers))


@pytest.mark.parametrize("selection", ["bottom", "top+bottom"])
def test_lape_has_no_other_end(selection: Any) -> None:
    found = replace(table([[0.0, 0.6, 0.0, 0.1, 0.0, 0.9]]), score="lape", chance=(0.0,))
    assert found.top("concept 0", 3).tolist() == [5, 1, 3]
    with pytest.raises(SelectionError, match="no unit scores below chance by lape"):
        found.top("concept 0", 1, Choice(selection))
    with pytest.raises(SelectionError, match=r"only 3 units of the model score above chance \(0\)"):
        found.top("concept 0", 4)


@pytest.mark.parametrize("choice", [TOP, Choice(per_layer=True)])
def test_k_of_zero_selects_nothing(choice: Choice) -> None:
    found = table(TIED)
    assert found.top("concept 0", 0, choice).tolist() == []
    plan = found.intervention("concept 0", top_k=0, choice=choice)
    assert len(plan) == 0
    assert plan.changes_nothing
    assert found.frame("concept 0", 0).empty


@pytest.mark.parametrize(
    ("rows", "k", "choice", "message"),
    [
        (TIED, 7, TOP, "top_k=7, but the model has 6 units at mlp.hook_post; take fewer"),
        (TIED, 4, Choice(per_layer=True), "top_k=4, but layer 2 has 3 units at mlp.hook_post"),
        (TIED, 6, TOP, r"top_k=6, but only 5 units of the model score above chance \(0.5\)"),
        (TIED, 3, Choice(per_layer=True), "only 2 units of layer 2 score above chance"),
        (TIED, 2, Choice("bottom"), "only 1 units of the model score below chance"),
        (
            TIED,
            4,
            Choice("top+bottom"),
            "top_k=4 takes 2 units below chance, but only 1 units of the model score below chance",
        ),
        (
            ENDS,
            5,
            Choice("top+bottom"),
            "top_k=5 takes 3 units above chance, but only 2 units of the model score above",
        ),
        (TIED, 4, Choice(layers=(2, 4)), "but the range of layers 2 to 4 has 3 units at mlp.ho"),
        (TIED, -1, TOP, "k is -1; give 0 or more"),
        ([[0.5] * 6], 1, TOP, "only 0 units of the model score above chance"),
        ([[0.5] * 6], 1, Choice("bottom"), "only 0 units of the model score below"),
    ],
)
def test_more_units_than_there_are_to_choose_from_are_refused(
    rows: list[list[float]], k: int, choice: Choice, message: str
) -> None:
    with pytest.raises(SelectionError, match=message):
        table(rows).top("concept 0", k, choice)


def test_a_concept_that_is_not_there_is_named() -> None:
    with pytest.raises(SelectionError, match="'dan_Latn' is not in the expert table; it has: con"):
        table(TIED).intervention("dan_Latn", top_k=1)


@pytest.mark.parametrize("operation", ["set", "add", "blend"])
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("mean", [7, 9, 11]),
        ("median", [107, 109, 111]),
        ("q05", [-93, -91, -89]),
        (1.5, [1.5] * 3),
        ("zero", [0] * 3),
    ],
)
def test_an_intervention_takes_each_unit_of_the_concept_to_its_own_value(
    operation: Any, value: str | float, wanted: list[float]
) -> None:
    found = table([[0.6] * 6, *TIED])
    plan = found.intervention("concept 1", top_k=3, operation=operation, value=value)
    assert plan.site == SITE
    assert plan.layers == (2, 5, 5)
    assert plan.indices == (1, 0, 2)
    assert list(plan.values) == wanted
    assert plan.operation == operation


def test_where_no_value_is_said_add_adds_the_mean_difference_and_others_take_the_mean() -> None:
    found = table([[0.6] * 6, *TIED])
    difference = found.statistics["mean"] - 3
    found = replace(found, statistics={**found.statistics, "mean_difference": difference})

    def plan(operation: Any, **value: str) -> Any:
        return found.intervention("concept 1", top_k=3, operation=operation, **value)

    assert plan("add") == plan("add", value="mean_difference") != plan("add", value="mean")
    assert plan("add").values == (4.0, 6.0, 8.0)
    assert plan("add").provenance["value"] == "mean_difference"
    for operation in ("set", "blend"):
        assert plan(operation) == plan(operation, value="mean")


def test_scale_takes_a_gain_and_aura_each_units_auroc() -> None:
    rows = [[0.6, 0.9, 0.4, 0.7, 0.8, 0.95]]
    scaled = table(rows).intervention("concept 0", top_k=2, operation="scale", value=2.0)
    assert scaled.values == (2.0, 2.0)
    damped = table(rows).intervention("concept 0", top_k=3, operation="aura")
    assert (damped.indices, damped.values) == ((1, 1, 2), (0.9, 0.8, 0.95))


def test_affine_moves_each_unit_along_its_own_line() -> None:
    units = np.arange(6, dtype=np.float32)[None]
    lines = {"act_gain": units, "act_offset": -units, "act_low": units - 1, "act_high": units + 1}
    plan = replace(table(TIED), statistics=lines).intervention(
        "concept 0", top_k=2, operation="affine"
    )
    assert (plan.layers, plan.indices, plan.gains) == ((2, 5), (1, 0), (1.0, 3.0))
    assert (plan.values, plan.lows, plan.highs) == ((-1.0, -3.0), (0.0, 2.0), (2.0, 4.0))
    assert plan.provenance["value"] == "linear transport"


def test_what_is_done_and_where_goes_into_the_plan() -> None:
    plan = table(TIED).intervention(
        "concept 0",
        top_k=1,
        operation="add",
        value="mean",
        strength=-0.5,
        positions="generated",
        bos=False,
        choice=Choice("bottom"),
    )
    assert (plan.strength, plan.positions, plan.bos) == (-0.5, "generated", False)
    assert plan.provenance == {
        "model": {"name": "made up"},
        "concept": "concept 0",
        "selection": "1 by auroc, bottom over all layers",
        "tied_at_edge": 0,
        "value": "mean",
    }
    each = table(TIED).intervention(
        "concept 0", top_k=1, operation="aura", choice=Choice(per_layer=True, layers=(2, 5))
    )
    assert each.provenance["selection"] == "1 by auroc, top in each layer of blocks 2 to 5"
    assert each.provenance["value"] == "auroc"


@pytest.mark.parametrize(
    ("score", "choice", "message"),
    [
        ("auroc", {"value": "mode"}, "'mode' is not a value in the expert table; choose one of me"),
        ("auroc", {"operation": "scale"}, "'scale' multiplies by a gain, but value is 'mean'"),
        ("auroc", {"operation": "aura", "value": "median"}, "'aura' scales by each unit's AUROC"),
        (
            "auroc",
            {"operation": "aura", "choice": Choice("bottom")},
            "selection='bottom', but 'aura'",
        ),
        ("auroc", {"operation": "affine", "value": "q05"}, "'affine' moves each unit along its ow"),
        ("auroc", {"operation": "affine"}, "its own line, and the expert table has none; find th"),
        ("average_precision", {"operation": "aura"}, "the table holds average_precision"),
    ],
)
def test_a_value_that_does_not_suit_the_operation_is_refused(
    score: Any, choice: dict[str, Any], message: str
) -> None:
    found = replace(table(TIED), score=score)
    with pytest.raises(InterventionError, match=message):
        found.intervention("concept 0", top_k=1, **choice)


def test_an_end_of_a_line_is_no_value_to_set_a_unit_to() -> None:
    units = np.arange(6, dtype=np.float32)[None]
    found = replace(table(TIED), statistics={"act_low": units, "mean": units})
    with pytest.raises(InterventionError, match=r"'act_low' is not a value .* one of mean, zero,"):
        found.intervention("concept 0", top_k=1, value="act_low")


def test_a_frame_lists_the_best_units_with_their_values() -> None:
    frame = table(TIED).frame("concept 0", 3)
    assert list(frame["unit"]) == ["L2N1", "L5N0", "L5N2"]
    assert frame.to_dict("list") == {
        "concept": ["concept 0"] * 3,
        "rank": [1, 2, 3],
        "unit": ["L2N1", "L5N0", "L5N2"],
        "layer": [2, 5, 5],
        "index": [1, 0, 2],
        "auroc": [0.9] * 3,
        "mean": [1, 3, 5],
        "median": [101, 103, 105],
        "q05": [-99, -97, -95],
    }


def test_d_prime_stands_beside_the_mean_difference_in_activations() -> None:
    units = np.arange(6, dtype=np.float32)[None]
    found = replace(table(TIED), score="mean_difference", statistics={"mean_difference": units})
    frame = found.frame("concept 0", 1)
    assert frame[["d_prime", "mean_difference"]].to_dict("list") == {
        "d_prime": [0.9],
        "mean_difference": [1.0],
    }


def assert_same(one: ExpertTable, other: ExpertTable) -> None:
    assert (one.concepts, one.space, one.score, one.chance, one.provenance) == (
        other.concepts,
        other.space,
        other.score,
        other.chance,
        other.provenance,
    )
    assert one.scores.dtype == other.scores.dtype
    np.testing.assert_array_equal(one.scores, other.scores)
    assert set(one.statistics) == set(other.statistics)
    for name, values in one.statistics.items():
        assert values.dtype == other.statistics[name].dtype
        np.testing.assert_array_equal(values, other.statistics[name])


def test_a_saved_table_comes_back_as_it_was(experts: ExpertTable, tmp_path: Path) -> None:
    experts.save(tmp_path / "made" / "experts")
    loaded = ExpertTable.load(tmp_path / "made" / "experts")
    assert_same(loaded, experts)
    assert loaded.intervention("fra_Latn", top_k=2) == experts.intervention("fra_Latn", top_k=2)


@pytest.mark.parametrize("score", ["auroc", "average_precision", "mean_difference"])
def test_a_table_of_a_probe_is_that_of_find_experts(
    score: Any, corpus: ParallelCorpus, responses: Array
) -> None:
    adapter = InMemoryAdapter(corpus, responses)
    settings = ProbeSettings(pooling="mean", score=score, layers=(0, 2), quantiles=(0.1,))
    probe = probe_units(adapter, corpus, settings)
    found = score_units(probe, score, quantiles=(0.1,))
    assert adapter.passes == 1
    assert_same(found, find_experts(adapter, corpus, settings))


def test_a_table_that_cannot_be_saved_leaves_the_earlier_one(
    experts: ExpertTable, tmp_path: Path
) -> None:
    experts.save(tmp_path / "experts")
    with pytest.raises(TypeError):
        replace(experts, provenance={"model": object()}).save(tmp_path / "experts")
    assert_same(ExpertTable.load(tmp_path / "experts"), experts)
    assert [path.name for path in tmp_path.iterdir()] == ["experts"]


@pytest.mark.parametrize("missing", ["concepts", "widths", "provenance"])
def test_a_table_without_one_of_its_parts_is_damaged(
    experts: ExpertTable, tmp_path: Path, missing: str
) -> None:
    experts.save(tmp_path / "experts")
    path = tmp_path / "experts" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["content"][missing]
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ArtifactError, match=f"cannot read .*config.json: '{missing}'"):
        ExpertTable.load(tmp_path / "experts")


def test_what_is_no_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no saved experts"):
        ExpertTable.load(tmp_path)
    Intervention(SITE, (0,), (0,), (0.0,)).save(tmp_path / "plan")
    with pytest.raises(ArtifactError, match="holds 'intervention', not a whole 'experts'"):
        ExpertTable.load(tmp_path / "plan")
