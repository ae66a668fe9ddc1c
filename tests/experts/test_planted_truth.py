"""The whole pipeline on a model whose language units are known, since they were planted."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin import ExpertTable, ParallelCorpus, embed
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.analyses.controls.chance import best_of_units_null, null_frame
from steer_plugin.analyses.run.experiment import run_experiment
from steer_plugin.analyses.run.inputs import split_data
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.experts.table import score_units
from steer_plugin.models.adapter import Adapter
from steer_plugin.responses.probe import Probe, probe_units
from steer_plugin.scores.probe_scores import probe_scores
from steer_plugin.settings.parts import SCORES

from support import planted, saved_models

LAST = str(planted.LAST)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    saved_models.save_corpus(folder / "corpus.tsv", sentences=80)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return planted.plant(folder / "model")


@pytest.fixture(scope="module")
def adapter(folder: Path, model: Any) -> Adapter:
    assert model is not None
    return load_adapter(str(folder / "model"))


@pytest.fixture(scope="module")
def corpus(folder: Path) -> ParallelCorpus:
    return ParallelCorpus.read(folder / "corpus.tsv")


@pytest.fixture(scope="module")
def probe(adapter: Adapter, corpus: ParallelCorpus) -> Probe:
    find, _ = corpus.split(seed=0)
    return probe_units(adapter, find, active=True)


@pytest.fixture(scope="module")
def experts_by(probe: Probe) -> Callable[[str], ExpertTable]:
    return cache(lambda score: score_units(probe, score))


def chosen(table: ExpertTable, language: str, k: int) -> set[tuple[int, int]]:
    layers, indices = table.space.addresses(table.top(language, k))
    return set(zip(layers.tolist(), indices.tolist(), strict=True))


@pytest.mark.parametrize("language", planted.LANGUAGES)
@pytest.mark.parametrize("score", SCORES)
def test_every_score_finds_exactly_the_planted_units(
    score: str, language: str, experts_by: Callable[[str], ExpertTable]
) -> None:
    units = planted.PLANTED[language]

    assert chosen(experts_by(score), language, len(units)) == set(units)


def test_a_planted_unit_tells_its_language_for_certain_and_no_other_unit_beats_chance(
    probe: Probe, experts_by: Callable[[str], ExpertTable]
) -> None:
    null = best_of_units_null(probe, "auroc", permutations=200, seed=0)

    frame = null_frame(experts_by("auroc"), null).set_index("concept")

    for language, units in planted.PLANTED.items():
        assert frame.loc[language, "best"] == 1.0
        assert frame.loc[language, "p"] == 1 / 201
        assert frame.loc[language, "above"] == len(units)


@pytest.mark.usefixtures("unchecked")
def test_shuffled_labels_find_units_beyond_the_bar_no_more_often_than_stated(
    probe: Probe, experts_by: Callable[[str], ExpertTable]
) -> None:
    found = []
    for seed in range(40):
        shuffled = probe.shuffled(1000 + seed)
        null = best_of_units_null(shuffled, "auroc", permutations=60, seed=seed)
        scored = replace(experts_by("auroc"), scores=probe_scores(shuffled, "auroc"))
        found.append(null_frame(scored, null)["above"].to_numpy() > 0)
    rates = np.mean(found, axis=0)

    # Stated: 5% of the time. Of 40 tries more than 7 come with a chance below 1 in 1,000.
    assert (rates * 40 <= 7).all()


@pytest.mark.parametrize("language", planted.LANGUAGES)
def test_setting_the_units_does_what_algebra_says(
    language: str,
    experts_by: Callable[[str], ExpertTable],
    adapter: Adapter,
    corpus: ParallelCorpus,
    model: Any,
) -> None:
    units = planted.PLANTED[language]
    plan = experts_by("auroc").intervention(language, top_k=len(units))
    values = dict(zip(zip(plan.layers, plan.indices, strict=True), plan.values, strict=True))
    _, judge = corpus.split(seed=0)

    for intervention, told in ((None, {}), (plan, values)):
        found = embed(adapter, judge, layer=planted.LAST, intervention=intervention)
        for name, texts in judge.sentences.items():
            for row, text in enumerate(texts[:6]):
                ids = adapter.tokens.tokenizer(text)["input_ids"]  # type: ignore[attr-defined]
                # BOS is steered like every token, and is no part of the mean.
                wanted = planted.algebra(model, ids, told)[1:].mean(0)
                np.testing.assert_allclose(found[name][row], wanted, rtol=1e-4, atol=1e-5)


Run = Callable[..., Results]


@pytest.fixture(scope="module")
def run(
    adapter: Adapter,
    corpus: ParallelCorpus,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    def run(**other: Any) -> Results:
        settings = RunSettings(
            model=str(folder / "model"),
            targets=("deu_Latn",),
            resamples=200,
            layers=(planted.LAST,),
            control_seeds=(0, 1),
            controls=("constant-shift", "centring"),
            **other,
        )
        data = split_data(corpus, settings)
        results = tmp_path_factory.mktemp("results")
        return run_experiment(adapter, data, settings, results, say=lambda _: None)

    return run


@pytest.fixture(scope="module")
def three_set(run: Run) -> Results:
    return run(top_k=(3,))


def whole(controls: pd.DataFrame, measure: str, control: str) -> pd.Series:
    keep = (
        (controls["measure"] == measure)
        & (controls["control"] == control)
        & (controls["centring"] == "raw")
        & (controls["query"] == "all")
        & (controls["layer"] == LAST)
    )
    (row,) = (controls.loc[index] for index in controls[keep].index)
    return row


def test_the_constant_shift_control_catches_a_fake_alignment(run: Run) -> None:
    # What is added to the same units at every token is one vector in every embedding.
    results = run(top_k=(2,), unit_layers=(planted.LAST, planted.LAST), operation="add", value=40.0)

    raw = whole(results.controls, "pair distance", "constant-shift")
    found = whole(results.controls, "top-1", "constant-shift")
    assert raw["change_high"] < -0.1, "the fake alignment shows as a fall in raw distance"
    assert raw["share"] == pytest.approx(1, abs=1e-4), "and a constant shift gives all of it"
    assert abs(raw["advantage"]) < 1e-4
    assert abs(found["advantage"]) < 0.1


def test_the_constant_shift_control_does_not_catch_what_is_more_than_a_shift(
    three_set: Results,
) -> None:
    # Setting leaves tokens of the language nearly as they are and moves those of all others.
    raw = whole(three_set.controls, "pair distance", "constant-shift")
    assert raw["change_high"] < 0
    assert raw["share"] < 0.99


def test_centring_alone_undoes_what_lies_between_languages_as_a_whole(
    three_set: Results,
) -> None:
    found = whole(three_set.controls, "top-1", "centring")
    assert found["control_value"] == pytest.approx(1), "translations differ by their language alone"
