"""What a run plans: refused at once where no table of experts could make it possible."""

from collections.abc import Callable
from pathlib import Path

import pytest

from steer_plugin import ParallelCorpus
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.analyses.run.experiment import compare_methods, run_experiment
from steer_plugin.analyses.run.inputs import split_data
from steer_plugin.analyses.run.settings import GenerationSettings, RunSettings
from steer_plugin.analyses.run.stages.conditions import check_plans
from steer_plugin.errors import InterventionError, SelectionError, SteerError
from steer_plugin.models.adapter import Adapter

from support import saved_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conditions")
    saved_models.save_corpus(folder / "corpus.tsv")
    saved_models.save_model(folder / "llama")
    return folder


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Adapter:
    return load_adapter(str(folder / "llama"))


def settings_of(**other: object) -> RunSettings:
    given = {"model": "llama", "targets": ("deu_Latn",), "top_k": (6,), **other}
    return RunSettings(**given)  # type: ignore[arg-type]


WRONG: list[tuple[dict[str, object], type[SteerError], str]] = [
    ({"top_k": (6, 73)}, SelectionError, "top_k=73, but the model has 72 units"),
    (
        {"top_k": (25,), "per_layer": True},
        SelectionError,
        "top_k=25, but layer 0 has 24 units",
    ),
    (
        {"generation": GenerationSettings(top_k=(2, 73))},
        SelectionError,
        "top_k=73, but the model has 72 units",
    ),
    ({"unit_layers": (0, 3)}, SelectionError, r"layers=0\.\.3 is no range of the layers"),
    (
        {"score": "lape", "selection": "top+bottom"},
        SelectionError,
        "no unit scores below chance by lape",
    ),
    ({"operation": "scale"}, InterventionError, "'scale' multiplies by a gain, but value is"),
    (
        {"operation": "aura", "value": "median"},
        InterventionError,
        "'aura' scales by each unit's AUROC, but value is 'median'",
    ),
    (
        {"operation": "aura", "score": "average_precision"},
        InterventionError,
        "the table holds average_precision",
    ),
    (
        {"operation": "aura", "selection": "top+bottom"},
        InterventionError,
        r"selection='top\+bottom', but 'aura' dampens units above chance .* take 'top', or anoth",
    ),
    (
        {"methods": ("zero", "aura"), "selection": "bottom"},
        InterventionError,
        "selection='bottom', but 'aura' leaves units below chance .* leave 'aura' out of methods",
    ),
    ({"operation": "affine", "value": "median"}, InterventionError, "'affine' moves each unit"),
    (
        {"value": "mode"},
        InterventionError,
        "'mode' is not a value in the expert table; choose one of mean, mean_difference, .*q95, ",
    ),
    ({"strength": 0.5}, InterventionError, "'set' writes the value itself and takes strength 1"),
]
WITH_CONTROLS: list[tuple[dict[str, object], type[SteerError], str]] = [
    (
        {"score": "lape", "controls": ("bottom",)},
        SelectionError,
        "by lape; leave the control 'bottom' out",
    ),
    (
        {"selection": "bottom", "controls": ("bottom",)},
        SelectionError,
        "leave the control 'bottom' out",
    ),
    (
        {"operation": "aura", "controls": ("bottom",)},
        SelectionError,
        "'aura' leaves units below chance as they are; leave the control 'bottom' out",
    ),
    (
        {"value": "zero", "controls": ("shuffled-values",)},
        SelectionError,
        "all 6 units have the same value",
    ),
    (
        {"value": 1.5, "per_layer": True, "controls": ("shuffled-values",)},
        SelectionError,
        "all 18 units have the same value",
    ),
]
CASES = [
    *((run_experiment, *case) for case in WRONG + WITH_CONTROLS),
    *((compare_methods, *case) for case in WRONG),
]


@pytest.mark.parametrize(("carry_out", "other", "error", "message"), CASES)
def test_a_plan_that_no_table_can_make_is_refused_before_a_step_is_taken(
    carry_out: Callable[..., object],
    other: dict[str, object],
    error: type[SteerError],
    message: str,
    folder: Path,
    adapter: Adapter,
    tmp_path: Path,
) -> None:
    settings = settings_of(**other)
    data = split_data(ParallelCorpus.read(folder / "corpus.tsv"), settings)

    with pytest.raises(error, match=message):
        carry_out(adapter, data, settings, tmp_path, say=lambda _: None)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("carry_out", [run_experiment, compare_methods])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"top_k": (6, 60)}, "top_k=60, but only .* score above chance .* for deu_Latn"),
        (
            {
                "generation": GenerationSettings(
                    top_k=(60,), sentences=2, max_new_tokens=3, stride=16, context=32
                )
            },
            "top_k=60, but only .* score above chance .* for deu_Latn",
        ),
    ],
    ids=str,
)
def test_too_few_experts_are_told_when_units_are_scored(
    carry_out: Callable[..., object],
    other: dict[str, object],
    message: str,
    folder: Path,
    adapter: Adapter,
    tmp_path: Path,
) -> None:
    settings = settings_of(
        permutations=3, methods=("aura", "steer-pca"), score="average_precision", **other
    )
    data = split_data(ParallelCorpus.read(folder / "corpus.tsv"), settings)

    with pytest.raises(SelectionError, match=message):
        carry_out(adapter, data, settings, tmp_path, say=lambda _: None)

    assert (tmp_path / "experts").exists()
    for later in ("experts-auroc", "null", "vectors", "embeddings"):
        assert not (tmp_path / later).exists()


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"top_k": (72,)},
        {"operation": "scale", "value": 2.0},
        {"operation": "aura"},
        {"operation": "affine"},
        {"operation": "blend", "strength": 0.5, "value": "q05"},
        {"selection": "bottom", "controls": ("shuffled-values", "random-anywhere")},
        {"selection": "top+bottom", "methods": ("zero", "linear-act")},
        {"score": "lape", "controls": ("shuffled-values", "other-experts")},
    ],
    ids=str,
)
def test_what_a_table_may_make_possible_is_let_through(
    other: dict[str, object], adapter: Adapter
) -> None:
    check_plans(settings_of(**other), adapter.space, ("deu_Latn", "eng_Latn"))
