"""The judging sentences of a condition, layer by layer, and what is told of those that collapse."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.comparisons import compare_experts
from steer_plugin.analyses.run.stages.condition_embeddings import ConditionEmbeddings
from steer_plugin.analyses.run.stages.conditions import (
    BEFORE,
    MATCHED,
    Comparison,
    Condition,
    Rival,
)
from steer_plugin.analyses.run.stages.rivals import compare_rival
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import AnalysisError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.responses.embeddings import Embeddings, Layer
from steer_plugin.storage.artifacts import write_artifact

LANGUAGES = ("eng_Latn", "deu_Latn")
LAYERS: tuple[Layer, ...] = (0, "final")
SENTENCES, WIDTH = 12, 5
SETTINGS = RunSettings(model="m", targets=("deu_Latn",), top_k=(3,), resamples=10)


def condition(name: str) -> Condition:
    return Condition(name, Intervention("mlp.hook_post", (0,), (len(name),), (1.0,)))


EXPERTS, RANDOM = condition("experts"), condition("random-0")
COMPARISON = Comparison("deu_Latn", 3, True, EXPERTS, {MATCHED: (RANDOM,)})
RIVAL = Rival("zero", "deu_Latn", 3, -1, EXPERTS, RANDOM)


def corpus() -> ParallelCorpus:
    """Give sentences of which every second German one is the one before it again."""
    english = [f"sentence {number}" for number in range(SENTENCES)]
    german = [f"Satz {number - number % 2}" for number in range(SENTENCES)]
    return ParallelCorpus.read({"eng_Latn": english, "deu_Latn": german})


def rows(condition: Condition, layer: Layer) -> Embeddings:
    """Give a language's embeddings; those of equal texts are equal."""
    generator = np.random.default_rng([len(condition.name), LAYERS.index(layer)])
    english, noise = generator.normal(size=(2, SENTENCES, WIDTH))
    german = english + 0.3 * noise
    german[1::2] = german[::2]
    return {"eng_Latn": english, "deu_Latn": german}


def embedded(folder: Path, *collapsed: tuple[Condition, Layer]) -> ConditionEmbeddings:
    for one in (BEFORE, EXPERTS, RANDOM):
        tensors = {
            f"{layer}/{language}": np.ones_like(found) if (one, layer) in collapsed else found
            for layer in LAYERS
            for language, found in rows(one, layer).items()
        }
        write_artifact(
            folder / "embeddings" / one.name, "embeddings", {"provenance": {}}, tensors=tensors
        )
    return ConditionEmbeddings(Checkpoints(folder, lambda _: None), LAYERS, corpus())


def test_one_layer_is_read_at_a_time(tmp_path: Path) -> None:
    found = embedded(tmp_path).load(EXPERTS, "final")

    wanted = rows(EXPERTS, "final")
    assert list(found) == list(LANGUAGES)
    for language, vectors in wanted.items():
        np.testing.assert_array_equal(found[language], vectors)


def test_no_more_is_in_memory_where_more_layers_are_compared(tmp_path: Path) -> None:
    shape = (SENTENCES, 20_000)
    peaks = []
    for depth in (2, 8):
        layers: tuple[Layer, ...] = (*range(depth - 1), "final")
        for number, one in enumerate((BEFORE, EXPERTS, RANDOM)):
            tensors = {
                f"{layer}/{language}": np.random.default_rng(number).normal(size=shape)
                for layer in layers
                for language in LANGUAGES
            }
            folder = tmp_path / "embeddings" / one.name
            write_artifact(folder, "embeddings", {"provenance": {}}, tensors=tensors)
            del tensors
        steps = Checkpoints(tmp_path, lambda _: None)
        tracemalloc.start()
        compare_experts(COMPARISON, ConditionEmbeddings(steps, layers, corpus()), SETTINGS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    of_a_layer = 3 * len(LANGUAGES) * 8 * shape[0] * shape[1]
    assert peaks[0] > of_a_layer
    assert peaks[1] - peaks[0] < of_a_layer / 2


def test_a_rival_is_judged_by_the_same_rule_on_equal_texts_as_the_run(tmp_path: Path) -> None:
    found = compare_rival(RIVAL, embedded(tmp_path), None, SETTINGS)

    top_1 = found[found["axis"] == "retrieval"].iloc[0]
    for column, one in (("pre", BEFORE), ("post", EXPERTS), ("control", RANDOM)):
        with_and_without = (
            retrieval_figures(rows(one, "final"), target=None, centrings=("raw",), same=same)
            .frame()
            .query("measure == 'top-1' and query == 'all'")["value"]
            .iloc[0]
            for same in (corpus().same, None)
        )
        as_right, strict = with_and_without
        assert top_1[column] == pytest.approx(as_right)
        assert as_right > strict


@pytest.mark.parametrize("layer", LAYERS)
def test_a_condition_whose_embeddings_are_all_alike_is_named_with_its_layer(
    layer: Layer, tmp_path: Path
) -> None:
    where = "after the final norm" if layer == "final" else "after block 0"

    with pytest.raises(AnalysisError, match=rf"^experts {where}: .*; or lower its k, or leave"):
        compare_experts(COMPARISON, embedded(tmp_path, (EXPERTS, layer)), SETTINGS)
    with pytest.raises(AnalysisError, match=rf"^before {where}: (?!.*lower its k)"):
        compare_experts(COMPARISON, embedded(tmp_path, (BEFORE, layer)), SETTINGS)


def test_a_method_whose_embeddings_are_all_alike_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        AnalysisError, match=r"^experts after the final norm: .*leave 'zero' out of the run f"
    ):
        compare_rival(RIVAL, embedded(tmp_path, (EXPERTS, "final")), None, SETTINGS)
