"""The whole protocol from one file: saved step by step, and taken up where it stopped."""

import json
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from steer_plugin import (
    ExpertTable,
    ModelSettings,
    ParallelCorpus,
    embed,
    embed_layers,
    find_experts,
)
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.transformer_lens import BridgeAdapter
from steer_plugin.analyses.controls.random_units import random_control
from steer_plugin.analyses.measures.alignment import alignment_figures
from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.run.experiment import compare_methods, run_experiment
from steer_plugin.analyses.run.files import read_settings
from steer_plugin.analyses.run.inputs import read_data, split_data
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.run.settings import GenerationSettings, RunSettings
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.cli.main import run_command
from steer_plugin.errors import AnalysisError, CorpusError, ModelError, SelectionError
from steer_plugin.experts.summaries import experts_by_layer, overlap, score_curve
from steer_plugin.models.adapter import Adapter

from support import saved_models
from support.command_line import start
from support.kills import kill_at_every_write
from support.runs import FinishedRun, write_settings

STEPS = (
    "experts",
    "experts-judged",
    "embeddings/before",
    "embeddings/deu_Latn-k6-experts",
    "embeddings/deu_Latn-k6-random-0",
)


@dataclass(frozen=True)
class Interrupted:
    """A run that Ctrl-C ended, that was then killed, and that was carried to its end.

    Attributes:
        file: the run file.
        results: at the end.
        code: what Ctrl-C ended it with.
        err: what it told until then.
        kept: which steps it kept, each of the three times.
        written: when each step was written, after each of the three times.
    """

    file: Path
    results: Results
    code: int
    err: str
    kept: list[list[str]]
    written: list[dict[str, int]]


@pytest.fixture(scope="module")
def source(finished_run: FinishedRun) -> Path:
    return finished_run.source


def written(folder: Path) -> dict[str, int]:
    """When each step's result was written."""
    return {
        step: (folder / step / "config.json").stat().st_mtime_ns
        for step in STEPS
        if (folder / step / "config.json").exists()
    }


def kept(told: str) -> list[str]:
    """Which steps a run said it kept."""
    lines = [line for line in told.split("\n") if line.startswith("Kept ")]
    return [line.split()[1] for line in lines]


def names(steps: Iterable[str]) -> list[str]:
    """What a run calls its steps."""
    return [step.rsplit("/", 1)[-1] for step in steps]


def assert_same(found: Results, wanted: Results) -> None:
    assert found.provenance == wanted.provenance
    for name, table in wanted.tables().items():
        pd.testing.assert_frame_equal(found.tables()[name], table, check_exact=True)


# Interrupted and taken up


def carry_out(file: Path, out: Path) -> tuple[Results, list[str]]:
    """Do what the command does, but for the report; give the results, and which steps it kept."""
    settings = read_settings(file)
    adapter = load_adapter(ModelSettings(settings.model, batch_tokens=settings.batch_tokens))
    lines: list[str] = []
    results = run_experiment(adapter, read_data(settings), settings, out, say=lines.append)
    return results, kept("\n".join(lines))


@pytest.fixture(scope="module")
def interrupted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    out = folder / "out"
    # Enough batches for a signal to come in the middle of a step.
    corpus = saved_models.save_corpus(folder / "corpus.tsv", sentences=60)
    file = write_settings(folder / "run.toml", source, str(corpus), "batch_tokens = 1")
    codes, told, times = [], [], []
    for step, sign in (
        ("deu_Latn-k6-experts", signal.SIGINT),
        ("deu_Latn-k6-random-0", signal.SIGKILL),
    ):
        process = start("run", file, "--out", out)
        process.until(rf"{step}: +\d+%.* [1-9]\d*/90 ")
        code, printed, err = process.stop(sign)
        assert printed == ""
        codes.append(code)
        told.append(err)
        times.append(written(out))
    assert codes[1] == -signal.SIGKILL
    results, still = carry_out(file, out)
    return Interrupted(
        file, results, codes[0], told[0], [*map(kept, told), still], [*times, written(out)]
    )


def test_ctrl_c_ends_with_130_and_one_line(interrupted: Interrupted) -> None:
    assert interrupted.code == 130
    assert interrupted.err.rstrip().split("\n")[-1] == (
        "Interrupted. What was finished is kept; `find`, `run`, `compare` and `demo` go on from "
        "there."
    )
    assert "Traceback" not in interrupted.err


def test_each_step_is_saved_as_it_ends(interrupted: Interrupted) -> None:
    times = interrupted.written

    # A slow machine may hear of the signal one step late.
    first, second, third = (len(done) for done in times)
    assert 3 <= first <= 4 <= second <= third == 5
    assert [list(done) for done in times] == [list(STEPS[: len(done)]) for done in times]
    assert interrupted.kept == [[], *(names(done) for done in times[:2])]


def test_what_is_there_is_not_done_again(interrupted: Interrupted) -> None:
    after_first, after_second, after_third = interrupted.written

    assert after_first.items() <= after_second.items() <= after_third.items()


def test_an_interrupted_run_ends_with_the_results_of_an_undisturbed_one(
    interrupted: Interrupted, tmp_path: Path
) -> None:
    undisturbed, _ = carry_out(interrupted.file, tmp_path)

    assert_same(interrupted.results, undisturbed)


@pytest.mark.usefixtures("unchecked")
def test_a_run_that_is_killed_at_every_write_ends_with_the_same_results(
    source: Path, adapter: Adapter, corpus: ParallelCorpus, tmp_path: Path
) -> None:
    settings = settings_of(source, layers=())
    data = split_data(corpus, settings)

    ended: dict[str, Results] = {}

    def run(name: str) -> None:
        before = written(tmp_path / name)
        ended[name] = run_experiment(adapter, data, settings, tmp_path / name, say=lambda _: None)
        assert before.items() <= written(tmp_path / name).items()

    kills = kill_at_every_write(partial(run, "killed"), tmp_path / "killed")
    run("undisturbed")

    assert kills > 40
    assert_same(ended["killed"], ended["undisturbed"])


def test_stdout_is_the_path_of_the_report(finished_run: FinishedRun) -> None:
    report = finished_run.folder / "report.html"

    assert finished_run.printed == f"{report}\n"
    assert report.is_file()


# What a run measures


def settings_of(source: Path, **other: object) -> RunSettings:
    default = RunSettings(
        model=str(source / "llama"), targets=("deu_Latn",), top_k=(6,), resamples=20
    )
    return replace(default, **other)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def adapter(source: Path) -> Adapter:
    return load_adapter(str(source / "llama"))


@pytest.fixture(scope="module")
def corpus(source: Path) -> ParallelCorpus:
    return ParallelCorpus.read(source / "corpus.tsv")


Again = Callable[..., tuple[Results, list[str]]]


@pytest.fixture
def again(
    finished_run: FinishedRun, adapter: Adapter, corpus: ParallelCorpus, tmp_path: Path
) -> Again:
    """Give a function that runs in a finished run's folder again, with other settings.

    It gives the results, and which steps it kept.
    """
    shutil.copytree(finished_run.folder, tmp_path, dirs_exist_ok=True)

    def run(
        model: Adapter = adapter, sentences: ParallelCorpus = corpus, **other: object
    ) -> tuple[Results, list[str]]:
        lines: list[str] = []
        settings = settings_of(finished_run.source, **other)
        data = split_data(sentences, settings)
        results = run_experiment(model, data, settings, tmp_path, say=lines.append)
        return results, kept("\n".join(lines))

    return run


ALL = names(STEPS)


def test_a_run_measures_what_the_python_api_measures(
    again: Again, adapter: Adapter, corpus: ParallelCorpus
) -> None:
    targets, ks, seeds = ("fra_Latn", "deu_Latn"), (4, 6), (1, 3)
    results, _ = again(
        targets=targets, top_k=ks, control_seeds=seeds, layers=(2,), bootstrap_seed=7, split_seed=2
    )

    find, judge = corpus.split(seed=2)
    found, judged = find_experts(adapter, find), find_experts(adapter, judge)
    pd.testing.assert_frame_equal(results.curve, score_curve(found, judged))
    for name, tabulate in (("layers", experts_by_layer), ("overlap", overlap)):
        wanted = pd.concat([tabulate(found, k) for k in ks], ignore_index=True)
        pd.testing.assert_frame_equal(results.tables()[name], wanted)
    for name, figures in (("alignment", alignment_figures), ("retrieval", retrieval_figures)):
        frames = []
        for target in targets:
            for k in ks:
                plan = found.intervention(target, top_k=k)
                controls = [random_control(plan, found.space, seed=seed) for seed in seeds]
                embedded = [
                    embed_layers(adapter, judge, layers=[2, "final"], intervention=act)
                    for act in (None, plan, *controls)
                ]
                for layer in (2, "final"):
                    before, after, *random = (
                        figures(condition[layer], target=target) for condition in embedded
                    )
                    frame = compare(before, after, random)
                    frames.append(frame.assign(target=target, top_k=k, layer=str(layer)))
        wanted = pd.concat(frames, ignore_index=True)
        pd.testing.assert_frame_equal(results.tables()[name][wanted.columns], wanted)


def test_layers_are_by_default_those_at_one_and_two_thirds_and_the_last(again: Again) -> None:
    results, _ = again()

    assert list(dict.fromkeys(results.retrieval["layer"])) == ["1", "2", "final"]


@pytest.mark.parametrize("ks", [(6,), (2, 6), (8, 2, 6)])
def test_the_picture_of_the_space_is_of_the_k_that_is_reported(
    ks: tuple[int, ...], again: Again, adapter: Adapter, corpus: ParallelCorpus
) -> None:
    results, _ = again(top_k=ks)

    assert set(results.projection["top_k"]) == set(results.headline().values())
    conditions = list(dict.fromkeys(results.projection["condition"]))
    assert conditions == ["before", "experts", "control"]
    _, judge = corpus.split(seed=0)
    assert len(results.projection) == 3 * len(judge) * len(judge.languages)
    assert list(dict.fromkeys(results.projection["language"])) == list(embed(adapter, judge))


def test_results_say_what_they_depend_on(again: Again, corpus: ParallelCorpus) -> None:
    results, _ = again(control_seeds=(4, 5), operation="blend", strength=0.5, value="median")

    find, judge = corpus.split(seed=0)
    told = results.provenance
    assert told["model"] == "llama"
    assert told["revision"].startswith("sha256:")
    assert (told["dtype"], told["bos"]) == ("float32", "put before each text")
    assert (told["site"], told["pooling"], told["score"]) == ("mlp.hook_post", "max", "auroc")
    assert (told["operation"], told["value"], told["strength"]) == ("blend", "median", "0.5")
    assert (told["find_hash"], told["judge_hash"]) == (find.hash, judge.hash)
    assert (told["find_sentences"], told["judge_sentences"]) == ("12", "12")
    assert (told["split_seed"], told["control_seeds"]) == ("0", "4, 5")
    assert told["languages"] == "eng_Latn, deu_Latn, fra_Latn"
    assert told["version of torch"]


def test_results_say_what_each_step_ran_with(again: Again) -> None:
    results, _ = again(controls=("centring",), batch_tokens=8)

    told = results.provenance
    assert told["batch_tokens"] == "2048 (experts, experts-judged, embeddings); 8 (comparisons)"
    assert told["device"] == "cpu"
    results, _ = again(controls=("centring",), batch_tokens=64)
    assert results.provenance["batch_tokens"] == told["batch_tokens"]


# What a change of settings does again


@pytest.mark.parametrize(
    ("other", "still"),
    [
        ({}, ALL),
        ({"resamples": 30, "bootstrap_seed": 1, "batch_tokens": 8}, ALL),
        ({"split_seed": 1}, []),
        ({"site": "mlp.hook_pre"}, ["before"]),
        ({"pooling": "mean"}, ["before"]),
        ({"layers": (0,)}, ALL[:2]),
        ({"value": "median"}, ALL[:3]),
        ({"steer_bos": False}, ALL[:3]),
        ({"control_seeds": (0, 1)}, ALL),
        ({"control_seeds": (1,)}, ALL[:4]),
        ({"top_k": (3, 6)}, ALL),
        ({"targets": ("fra_Latn",)}, ALL[:3]),
    ],
    ids=str,
)
def test_a_changed_setting_does_again_what_depends_on_it(
    other: dict[str, object], still: list[str], again: Again
) -> None:
    results, steps = again(**other)

    assert steps == still
    fresh, _ = again(**other)
    assert_same(results, fresh)


def test_another_bos_policy_or_other_weights_do_everything_again(
    again: Again, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = saved_models.save_model(tmp_path_factory.mktemp("other") / "llama", weight=0.5)

    assert again(load_adapter(ModelSettings(str(source / "llama"), bos=False)))[1] == []
    assert again(load_adapter(ModelSettings(str(source / "llama"), dtype="bfloat16")))[1] == []
    assert again(load_adapter(str(other)))[1] == []
    assert again(load_adapter(str(other)))[1] == ALL


def test_weights_changed_in_place_do_everything_again_under_the_same_name(
    again: Again, source: Path
) -> None:
    adapter = load_adapter(str(source / "llama"))
    assert again(adapter)[1] == ALL
    assert isinstance(adapter, BridgeAdapter)
    weights = dict(adapter.bridge.named_parameters())
    next(weight for name, weight in weights.items() if "down_proj" in name).data[:, 5] = 0

    assert again(adapter)[1] == []


def test_other_sentences_do_everything_again(again: Again, corpus: ParallelCorpus) -> None:
    assert again(sentences=corpus.take(20))[1] == []
    assert again(sentences=corpus.select(["deu_Latn", "eng_Latn"]))[1] == []


@pytest.mark.parametrize("step", [STEPS[0], STEPS[3]])
@pytest.mark.parametrize("damage", ["cut", "no tensors", "no config", "other", "empty", "old"])
def test_a_damaged_step_is_done_again_and_only_that(
    damage: str, step: str, again: Again, tmp_path: Path
) -> None:
    folder = tmp_path / step
    wanted, _ = again()
    tensors, config = folder / "tensors.safetensors", folder / "config.json"
    match damage:
        case "cut":
            tensors.write_bytes(tensors.read_bytes()[:-100])
        case "no tensors":
            tensors.unlink()
        case "no config":
            config.write_text(config.read_text()[:50])
        case "other":
            content = json.loads(config.read_text())
            del content["content"]["provenance"]
            config.write_text(json.dumps(content))
        case "empty":
            shutil.rmtree(folder)
            folder.mkdir()
        case "old":
            content = json.loads(config.read_text())
            content["content"]["provenance"]["versions"]["torch"] = "1.0"
            config.write_text(json.dumps(content))

    found, steps = again()

    assert steps == [name for name in ALL if name != folder.name]
    assert_same(found, wanted)
    assert again()[1] == ALL


def test_another_headline_compares_again_what_only_it_has(again: Again) -> None:
    first, _ = again(top_k=(2, 6), controls=("centring",))
    second, _ = again(controls=("centring",))

    assert set(first.controls["top_k"]) == {2}
    assert set(second.controls["top_k"]) == {6}
    assert "centring" in set(second.controls["control"])


# What is drawn and tabulated


def test_draws_that_are_the_same_are_one_draw(again: Again) -> None:
    results, _ = again(controls=("other-experts",), control_seeds=(0, 1, 2, 3))

    seeds = results.controls.groupby("control")["n_seeds"].unique().map(list).to_dict()
    assert seeds == {"random-in-layers": [4], "other-experts": [2]}


def test_a_language_that_nobody_steers_may_have_fewer_experts(again: Again) -> None:
    results, _ = again(top_k=(31,))

    assert results.layers.groupby("concept")["experts"].sum().to_dict() == {
        "eng_Latn": 30,
        "deu_Latn": 31,
        "fra_Latn": 31,
    }
    own = results.overlap.query("concept == other").set_index("concept")["shared"]
    assert own.to_dict() == {"eng_Latn": 30, "deu_Latn": 31, "fra_Latn": 31}


# What cannot be done


def test_what_cannot_be_done_is_refused_before_the_long_steps(
    source: Path, adapter: Adapter, corpus: ParallelCorpus, tmp_path: Path
) -> None:
    def refused(
        error: type[Exception], message: str, of: ParallelCorpus = corpus, **other: object
    ) -> None:
        settings = settings_of(source, **other)

        def run() -> None:
            data = split_data(of, settings)
            run_experiment(adapter, data, settings, tmp_path, say=lambda _: None)

        with pytest.raises(error, match=message):
            run()
        assert not (tmp_path / "embeddings").exists()

    refused(CorpusError, "target 'tha_Thai' is not in the corpus", targets=("tha_Thai",))
    cebuano = replace(corpus, languages=("ceb_Latn", *corpus.languages[1:]))
    refused(
        AnalysisError,
        "py3langid does not know Cebuano",
        of=cebuano,
        targets=("ceb_Latn",),
        generation=GenerationSettings(),
    )
    refused(ModelError, r"layer 3 does not exist; give 0\.\.2", layers=(1, 3))
    refused(SelectionError, "top_k=73, but the model has 72 units", top_k=(73,))
    assert not (tmp_path / "experts").exists()
    refused(SelectionError, "score above chance .* for deu_Latn", top_k=(72,))
    refused(SelectionError, "needed for a random control", top_k=(34,))
    assert ExpertTable.load(tmp_path / "experts").concepts == corpus.languages


@pytest.mark.parametrize(
    ("generation", "error", "message"),
    [
        ({"context": 32, "stride": 32}, ModelError, "stride 32 and context 32"),
        ({"context": 4096}, ModelError, "context 4096 is more than the"),
        ({"max_new_tokens": 4096}, ModelError, "4096"),
        ({"sentences": 1, "seeds": (0,)}, AnalysisError, "at least two in all; write more"),
        ({"documents": "one.jsonl"}, AnalysisError, "one document of one stretch"),
    ],
    ids=str,
)
@pytest.mark.parametrize("doing", [run_experiment, compare_methods])
def test_what_cannot_be_written_or_scored_is_refused_before_the_units_are_probed(
    doing: Callable[..., object],
    generation: dict[str, object],
    error: type[Exception],
    message: str,
    source: Path,
    adapter: Adapter,
    tmp_path: Path,
) -> None:
    row = {"language": "deu_Latn", "text": "air ant"}
    (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    how = {"sentences": 2, "max_new_tokens": 3, "context": 32, "stride": 16, **generation}
    if "documents" in how:
        how["documents"] = str(tmp_path / str(how["documents"]))
    settings = settings_of(
        source,
        corpus=str(source / "corpus.tsv"),
        generation=GenerationSettings(**how),  # type: ignore[arg-type]
    )

    with pytest.raises(error, match=message):
        doing(adapter, read_data(settings), settings, tmp_path / "out", say=lambda _: None)

    assert not (tmp_path / "out" / "experts").exists()


def test_fewer_sentences_than_any_measure_takes_are_refused_when_they_are_read(
    source: Path, corpus: ParallelCorpus
) -> None:
    settings = settings_of(source)

    with pytest.raises(CorpusError, match="3 sentences are left to judge on, 4 are the fewest"):
        split_data(corpus.take(6), settings)
    assert len(split_data(corpus.take(8), settings).judge) == 4


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_model_is_loaded(
    source: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    file = write_settings(tmp_path / "run.toml", source, "corpus.tsv", 'projections = ["umap"]')

    code = run_command(["run", str(file), "--out", str(tmp_path / "out")])

    told = capfd.readouterr()
    assert code == 1
    assert "needs umap-learn" in told.err
    assert "Loading" not in told.err


def finished(out: Path) -> dict[Path, bytes]:
    """Read all that is not the batches of a step that was broken off."""
    return {
        path: path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and ".unfinished/" not in str(path)
    }


def test_a_run_that_fails_leaves_earlier_results_as_they_are(
    finished_run: FinishedRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, file, out = finished_run.source, tmp_path / "run.toml", tmp_path / "out"
    shutil.copytree(finished_run.folder, out)
    before = finished(out)

    def fails(message: str, *more: str, corpus: str = "corpus.tsv") -> None:
        write_settings(file, source, corpus, *more)
        capfd.readouterr()
        assert run_command(["run", str(file), "--out", str(out)]) == 1
        told = capfd.readouterr()
        assert told.out == ""
        error = told.err.splitlines()[-1]
        assert error.startswith("Error: ")
        assert message in error
        assert finished(out) == before

    fails("is not TOML", "= 3")
    fails("'colour' is no setting", "colour = 3")
    fails("missing.tsv", corpus="missing.tsv")
    fails("has no tha_Thai", 'languages = ["deu_Latn", "tha_Thai"]')
    fails("layer 9 does not exist", "layers = [9]")
    fails("'max' is not a value", 'value = "max"')

    # A file stands where a folder should be.
    blocked = out / "embeddings" / "deu_Latn-k6-random-5"
    blocked.write_bytes(b"")
    before[blocked] = b""
    fails(f"cannot write {blocked}: ", "control_seeds = [5]")


def test_a_full_disk_ends_a_run_and_the_next_one_goes_on(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Batches small enough to be kept one by one.
    file = write_settings(tmp_path / "run.toml", source, "long.tsv", "batch_tokens = 16")
    out = tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    # Room for the experts, not for the embeddings.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        code = run_command(["run", str(file), "--out", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    told = capfd.readouterr()
    assert (code, told.out) == (1, "")
    error = told.err.splitlines()[-1]
    assert error.startswith(f"Error: cannot write {out / 'embeddings' / 'before'}: ")
    assert "free some space" in error
    assert sorted(path.name for path in out.iterdir()) == [
        ".passes.unfinished",
        "embeddings",
        "experts",
        "experts-judged",
    ]
    assert carry_out(file, out)[1] == ["experts", "experts-judged"]


# The report again


def test_report_writes_a_runs_report_and_charts_again(
    finished_run: FinishedRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished_run.folder / "results", tmp_path / "results")
    capfd.readouterr()

    code = run_command(["report", str(tmp_path), "--svg", "--png"])

    page = tmp_path / "report.html"
    assert code == 0
    assert capfd.readouterr().out == f"{page}\n"
    assert page.read_bytes() == (finished_run.folder / "report.html").read_bytes()
    pictures = sorted((tmp_path / "charts").iterdir())
    assert {path.suffix for path in pictures} == {".png", ".svg"}
    assert all(path.stat().st_size > 1000 for path in pictures)


def test_results_are_read_as_they_were_saved(again: Again, tmp_path: Path) -> None:
    results, _ = again()
    results.save(tmp_path / "saved")

    assert_same(Results.load(tmp_path / "saved"), results)
