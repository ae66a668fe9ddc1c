"""What a run does, tabulates and says where other units are chosen than the k best of all."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steer_plugin import ExpertTable, Intervention, ParallelCorpus, ProbeSettings
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.analyses.controls.chance import stability
from steer_plugin.analyses.report.contents import exhibits
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.words import unit_choice
from steer_plugin.analyses.report.words.summary import finding
from steer_plugin.analyses.run.experiment import run_experiment
from steer_plugin.analyses.run.inputs import RunData, split_data
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.run.settings import GenerationSettings, RunSettings
from steer_plugin.errors import SelectionError
from steer_plugin.experts.selection import TOP, Choice
from steer_plugin.models.adapter import Adapter
from steer_plugin.responses.probe import probe_units

from support import frames, saved_models

TARGET, KS = "deu_Latn", (2, 4)
CHOICES = (
    Choice("bottom"),
    Choice("top+bottom"),
    Choice(per_layer=True),
    Choice(layers=(1, 2)),
    Choice("top+bottom", per_layer=True, layers=(0, 1)),
)


@dataclass(frozen=True)
class Run:
    """What one whole run gave, and from what."""

    choice: Choice
    results: Results
    folder: Path
    experts: ExpertTable
    data: RunData

    @cached_property
    def exhibits(self) -> dict[str, Exhibit]:
        return {exhibit.name: exhibit for exhibit in exhibits(self.results)}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return load_adapter(str(saved_models.save_model(tmp_path_factory.mktemp("model") / "llama")))


@pytest.fixture(scope="module", params=CHOICES, ids=str)
def run(
    request: pytest.FixtureRequest, adapter: Adapter, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    folder = tmp_path_factory.mktemp("run")
    choice: Choice = request.param
    settings = RunSettings(
        model="llama",
        targets=(TARGET,),
        top_k=KS,
        resamples=10,
        selection=choice.selection,
        per_layer=choice.per_layer,
        unit_layers=choice.layers,
        controls=("other-experts", "shuffled-labels", "shuffled-values", "centring")
        if choice.selection == "bottom"
        else ("bottom", "shuffled-labels", "constant-shift"),
        methods=("set-mean", "zero"),
        permutations=3,
        stability_resamples=3,
        generation=GenerationSettings(
            sentences=2, seeds=(0, 1), max_new_tokens=3, context=32, stride=16
        ),
    )
    corpus = ParallelCorpus.read(saved_models.save_corpus(folder / "corpus.tsv"))
    data = split_data(corpus, settings)
    results = run_experiment(adapter, data, settings, folder, say=lambda _: None)
    return Run(choice, results, folder, ExpertTable.load(folder / "experts"), data)


def units(experts: ExpertTable, concept: str, k: int, choice: Choice) -> list[int]:
    """Choose units one by one, as the words of the settings say it."""
    scores = experts.scores[experts.concepts.index(concept)]
    layers = [layer for layer, _ in places(experts)]
    first, last = choice.layers or (0, 99)
    inside = [unit for unit, layer in enumerate(layers) if first <= layer <= last]
    groups = [inside]
    if choice.per_layer:
        groups = [[u for u in inside if layers[u] == layer] for layer in sorted(set(layers))]
    best = {"top": k, "bottom": 0, "top+bottom": k - k // 2}[choice.selection]
    found: list[int] = []
    for group in groups:
        ascending = sorted(group, key=lambda unit: (scores[unit], unit))
        descending = sorted(group, key=lambda unit: (-scores[unit], unit))
        found += [*descending[:best], *ascending[: k - best]] if group else []
    return found


def places(experts: ExpertTable) -> list[tuple[int, int]]:
    """Give each unit's layer and index."""
    widths = zip(experts.space.layers, experts.space.widths, strict=True)
    return [(layer, index) for layer, width in widths for index in range(width)]


def plan(experts: ExpertTable, k: int, choice: Choice, value: str = "mean") -> Intervention:
    which = units(experts, TARGET, k, choice)
    layers, indices = zip(*(places(experts)[unit] for unit in which), strict=True)
    row = experts.concepts.index(TARGET)
    means = [float(experts.statistics["mean"][row, unit]) for unit in which]
    values = tuple(means) if value == "mean" else (0.0,) * len(means)
    return Intervention("mlp.hook_post", layers, indices, values)


def steered(folder: Path, name: str) -> str:
    """Read the plan that embeddings were made under."""
    content = json.loads((folder / "embeddings" / name / "config.json").read_text())["content"]
    return str(content["provenance"]["intervention"])


def test_what_is_steered_is_what_is_chosen_and_the_methods_steer_the_same(run: Run) -> None:
    for k in KS:
        assert (
            steered(run.folder, f"{TARGET}-k{k}-experts") == plan(run.experts, k, run.choice).hash
        )
    zero = plan(run.experts, KS[0], run.choice, "zero")
    assert steered(run.folder, f"{TARGET}-zero") == zero.hash
    # Set to the mean is what the run does: no condition of its own.
    assert not (run.folder / "embeddings" / f"{TARGET}-set-mean").exists()
    if run.choice.selection != "bottom":
        lowest = plan(run.experts, KS[0], replace(run.choice, selection="bottom"))
        assert steered(run.folder, f"{TARGET}-k2-bottom-0") == lowest.hash


def test_the_tables_of_experts_are_of_the_units_that_are_chosen(run: Run) -> None:
    layers, shared = run.results.layers, run.results.overlap
    assert sorted(set(layers["concept"])) == sorted(run.experts.concepts)
    chosen_units = {
        (concept, k): units(run.experts, concept, k, run.choice)
        for concept in run.experts.concepts
        for k in KS
    }
    for _, row in layers.iterrows():
        which = chosen_units[row["concept"], row["top_k"]]
        inside = [unit for unit in which if places(run.experts)[unit][0] == row["layer"]]
        assert (row["experts"], row["share"]) == (len(inside), len(inside) / len(which))
    for _, row in shared.iterrows():
        mine = chosen_units[row["concept"], row["top_k"]]
        theirs = chosen_units[row["other"], row["top_k"]]
        assert row["shared"] == len(set(mine) & set(theirs))
        assert row["share"] == row["shared"] / len(mine)


def test_stability_is_that_of_the_choice(run: Run, adapter: Adapter) -> None:
    probe = probe_units(adapter, run.data.find, ProbeSettings(site="mlp.hook_post", pooling="max"))
    wanted = stability(probe, "auroc", KS, run.choice, concepts=[TARGET], resamples=3)
    pd.testing.assert_frame_equal(run.results.stability, wanted)


def test_the_report_says_what_was_chosen(run: Run) -> None:
    words = {
        "bottom over all layers": (
            "Experts are the k units with the lowest AUROC at mlp.hook_post, ranked over all layer",
            "With the bottom 2 German experts steered",
            "among the k lowest-scoring of both languages.",
            "of the k lowest-scoring of all sentences that choose and the k lowest-scoring of a bo",
            "the 2 lowest-scoring units with those chosen",
        ),
        "top+bottom over all layers": (
            "Experts are the k units with the highest and the lowest AUROC at mlp.hook_post, half ",
            "With the top 1 and bottom 1 German experts steered",
            "among the k best and lowest-scoring of both languages.",
            "of the k best and lowest-scoring of all sentences that choose",
            "the 2 best and lowest-scoring units with those chosen",
        ),
        "top in each layer": (
            "Experts are the k units of each layer with the highest AUROC at mlp.hook_post. Figure",
            "With the top 2 German experts of each layer steered",
            "among the k best of both languages, k of each layer.",
            "best of a bootstrap resample of them, k of each layer.",
            "the 2 best units of each layer with those chosen",
        ),
        "top over all layers of blocks 1 to 2": (
            "Experts are the k units of blocks 1 to 2 with the highest AUROC at mlp.hook_post. Fig",
            "With the top 2 German experts of blocks 1 to 2 steered",
            "among the k best of both languages, k of blocks 1 to 2.",
            "best of a bootstrap resample of them, k of blocks 1 to 2.",
            "the 2 best units of blocks 1 to 2 with those chosen",
        ),
        "top+bottom in each layer of blocks 0 to 1": (
            "the k units of each of blocks 0 to 1 with the highest and the lowest AUROC at mlp.hoo",
            "With the top 1 and bottom 1 German experts of each of blocks 0 to 1 steered",
            "among the k best and lowest-scoring of both languages, k of each of blocks 0 to 1.",
            "of a bootstrap resample of them, k of each of blocks 0 to 1.",
            "the 2 best and lowest-scoring units of each of blocks 0 to 1 with those chosen",
        ),
    }
    drawn = run.exhibits
    caption, steered_said, shared, resampled, title = words[run.results.provenance["selection"]]

    assert caption in drawn["experts_by_layer"].caption
    assert steered_said in finding(run.results)
    assert shared in drawn["expert_overlap"].aid
    assert resampled in drawn["expert_stability"].caption
    assert title in title_of(drawn["expert_stability"])
    assert ("score lowest" in finding(run.results)) == (run.choice.selection != "top")
    assert "Fewer than k units" not in drawn["experts_against_chance"].caption
    # A rank among all units is no k of this choice.
    assert "no k is drawn" in drawn["score_curves"].caption
    assert "rule" not in json.dumps(drawn["score_curves"].chart.to_dict())


def test_where_k_counts_each_layer_the_report_says_so(run: Run) -> None:
    drawn = run.exhibits
    each = run.choice.per_layer

    for name in ("effect_of_k", "generation_by_k"):
        axis = json.dumps(drawn[name].chart.to_dict())
        assert ("k neurons a layer (log)" in axis) == each
        assert ("k neurons steered (log)" in axis) == (not each)
    for name in ("retrieval_before_after", "control_advantages", "methods_compared"):
        assert ("k = 2 in each layer" in drawn[name].caption) == each
    for name in ("from_targets", "mixed_retrieval"):
        assert ("k = 2 in each layer." in drawn[name].caption) == each
        assert "k = 2" in drawn[name].caption
    assert ("in each layer" in title_of(drawn["expert_overlap"])) == each
    title = title_of(drawn["experts_by_layer"])
    count = 2 if run.choice.layers else 3
    assert title.startswith(
        f"By choice, 2 of a language's experts sit in each of {count} layers"
        if each
        else "Half of a language's 2 experts sit in"
    )


def title_of(figure: Exhibit) -> str:
    title = figure.chart.to_dict()["title"]
    text = title["text"] if isinstance(title, dict) else title
    return text if isinstance(text, str) else " ".join(text)


def test_results_that_do_not_say_how_they_chose_chose_the_best_of_all() -> None:
    results = frames.results(layers=("final",))
    assert unit_choice.choice_of(results) == TOP
    said = replace(results, provenance={**results.provenance, "selection": str(TOP)})
    assert finding(said) == finding(results)
    other = replace(results, provenance={**results.provenance, "selection": "by hand"})
    with pytest.raises(SelectionError, match="'by hand' is no choice of units"):
        unit_choice.choice_of(other)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(layers=(5, 5)), "the top 7 German experts of block 5"),
        (Choice("bottom", True, (5, 5)), "the bottom 7 German experts of block 5"),
        (Choice("top+bottom"), "the top 4 and bottom 3 German experts"),
    ],
    ids=str,
)
def test_one_block_and_odd_halves_are_named_as_they_are(choice: Choice, said: str) -> None:
    assert unit_choice.experts(choice, 7, "German") == said
    assert unit_choice.experts(choice, 7, "German").startswith("the ")


def test_languages_with_fewer_experts_are_named_with_their_number() -> None:
    results = frames.results(layers=("final",))
    assert "Not all languages" not in exhibits(results)[0].caption
    table = results.layers.copy()
    few = (table["concept"] == "fra_Latn") & (table["top_k"] == 300)
    table.loc[few, "experts"] = np.where(table.loc[few, "layer"] == 3, 12, 0)
    caption = exhibits(replace(results, layers=table))[0].caption
    assert "Not all languages have so many: there are 12 of French at k = 300." in caption
