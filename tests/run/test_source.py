"""A run that steers from one language to another, at some of the tokens."""

from pathlib import Path

import numpy as np
import pytest

from steer_plugin import ExpertTable, Intervention, ProbeSettings, find_experts
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.analyses.run.files import read_settings
from steer_plugin.analyses.run.inputs import read_data
from steer_plugin.analyses.run.results import Results
from steer_plugin.cli.main import run_command
from steer_plugin.methods.catalogue import plan_method
from steer_plugin.methods.steering_vectors import SteeringVectors
from steer_plugin.responses.probe import probe_under

from support.runs import FinishedRun, write_settings
from support.same_answers import assert_same

STEP = """
[[plans]]
name = "two"
target = "deu_Latn"
[[plans.steps]]
name = "first"
concept = "{}"
top_k = 3
positions = ":-1"
"""
# English, which the run tells others from, is told from German here.
AGAINST = """
[[plans.steps]]
name = "second"
concept = "eng_Latn"
source = "deu_Latn"
top_k = 2
operation = "scale"
value = 0.0
[[plans.steps]]
name = "third"
concept = "deu_Latn"
source = "fra_Latn"
site = "hook_mlp_out"
top_k = 2
"""
MORE = (
    'source = "eng_Latn"',
    'positions = "-2:"',
    'controls = ["other-experts", "shuffled-labels"]',
    'methods = ["linear-act", "linear-act-incremental", "steer-mean-difference"]',
)


def test_a_run_goes_from_its_source_to_its_targets(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (*MORE, STEP.format("deu_Latn") + AGAINST)
    file = write_settings(tmp_path / "run.toml", finished_run.source, "corpus.tsv", *lines)

    assert run_command(["run", str(file), "--out", str(tmp_path / "out")]) == 0

    settings = read_settings(file)
    data = read_data(settings)
    adapter = load_adapter(settings.model_settings())
    table = ExpertTable.load(tmp_path / "out" / "experts")
    wanted = find_experts(adapter, data.find, settings.probe)
    assert_same(table, type(table)(**{**vars(wanted), "provenance": table.provenance}))
    assert table.provenance["source"] == "eng_Latn"
    vectors = SteeringVectors.load(tmp_path / "out" / "vectors")
    assert "eng_Latn" not in vectors.concepts
    provenance = Results.load(tmp_path / "out" / "results").provenance
    assert (provenance["source"], provenance["positions"]) == ("eng_Latn", "-2:")
    assert "positions :-1" in provenance["plans"]
    assert "source deu_Latn" in provenance["plans"]
    for concept, source, site, name in (
        ("eng_Latn", "deu_Latn", "mlp.hook_post", "experts-from-deu_Latn"),
        ("deu_Latn", "fra_Latn", "hook_mlp_out", "experts-hook_mlp_out-from-fra_Latn"),
    ):
        told = ExpertTable.load(tmp_path / "out" / name)
        alone = find_experts(adapter, data.find, ProbeSettings(site=site, source=source))
        np.testing.assert_array_equal(told.scores, alone.scores)
        assert concept in told.concepts
        assert source not in told.concepts
    pages = [path.read_text() for path in (tmp_path / "out").rglob("*.html")]
    kept = Intervention.load(tmp_path / "out" / "plans" / "deu_Latn-linear-act-incremental")
    by_hand = plan_method(
        *("linear-act-incremental", wanted, None, "deu_Latn"),
        top_k=len(kept),
        layer=0,
        positions="-2:",
        probe_under=probe_under(adapter, data.find, settings.probe),
    )
    assert kept == by_hand
    assert len(set(kept.layers)) > 1
    assert any("detector of its language against eng_Latn." in page for page in pages)

    capsys.readouterr()
    assert run_command(["run", str(file), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert "Probing" not in said
    assert "Kept the plan of linear-act-incremental for deu_Latn" in said


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['source = "tha_Thai"'], "source 'tha_Thai' is not in the corpus; it has: "),
        (
            ['source = "eng_Latn"', 'find_languages = ["deu_Latn", "fra_Latn"]'],
            "source 'eng_Latn' is not read; add it to find_languages, which has: deu_Latn, fra_",
        ),
        (
            [STEP.format("deu_Latn") + 'source = "tha_Thai"'],
            "source 'tha_Thai' of step 'first' of the plan 'two' is not read; choose one of: ",
        ),
        (
            [STEP.format("deu_Latn") + 'source = "deu_Latn"'],
            "step 'first' of the plan 'two' is for 'deu_Latn', whose experts are not found",
        ),
        (
            ['source = "eng_Latn"', STEP.format("eng_Latn")],
            "step 'first' of the plan 'two' is for 'eng_Latn', whose experts are not found",
        ),
    ],
)
def test_a_source_that_does_not_suit_the_run_is_refused(
    lines: list[str],
    message: str,
    finished_run: FinishedRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write_settings(tmp_path / "run.toml", finished_run.source, "corpus.tsv", *lines)

    assert run_command(["run", str(file), "--out", str(tmp_path / "out")]) == 1

    assert message in capsys.readouterr().err
