"""A run file that asks for everything: every table is there, and a killed run loses nothing."""

import json
import math
import random
import re
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steer_plugin import ExpertTable, embed
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.analyses import retrieval
from steer_plugin.analyses.controls.random_units import matched_control
from steer_plugin.analyses.generation.texts import STRETCH
from steer_plugin.analyses.report.numbers import unseen
from steer_plugin.analyses.report.output_folder import write_report
from steer_plugin.analyses.report.sections import hosts
from steer_plugin.analyses.run.checkpoints import Say
from steer_plugin.analyses.run.experiment import compare_methods, run_experiment
from steer_plugin.analyses.run.files import read_settings
from steer_plugin.analyses.run.inputs import read_data
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.run.settings import GenerationSettings, RunSettings
from steer_plugin.cli.main import run_command
from steer_plugin.corpora.documents import documents_hash
from steer_plugin.errors import CorpusError
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.parts import CONTROLS, METHODS

from support import saved_models, tiny_models
from support.counted_passes import Passed, counted_passes
from support.kills import Kill

MEASURES = {
    "alignment": {
        "pair distance",
        "matched distance",
        "medoid distance",
        "centroid distance",
        "gap",
    },
    "retrieval": {"top-1", "MRR", "top-1 CSLS", "top-1 margin"},
    "geometry": {
        "MEXA",
        "hubness",
        "antihubs",
        "CKA",
        "silhouette",
        "mean random cosine",
        "effective rank",
    },
    "mixed": {"top-1", "MRR", "mixed top-1", "mixed MRR"},
    "bitexts": {"top-1", "MRR"},
}
PLAN = "eng-off-deu-on"
COMPARED = {
    *("experts", "experts-attn.hook_z", "vectors", "plans", "embeddings", "texts", "losses"),
    "methods",
}
LAYERS = [*map(str, range(tiny_models.N_LAYERS)), "final"]
# A line that is told in each kind of step.
MOMENTS = (
    "Reading the residual stream",
    "Scoring units under",
    "Embedding .*: deu_Latn-k6-shuffled-labels-1 ",
    f"Embedding .*: plan-{PLAN} ",
    "Embedding .* sentences of tatoeba",
    "Writing 4 texts .*: deu_Latn-k6-experts",
    "Scoring documents in deu_Latn: deu_Latn-linear-act",
    f"Writing 4 texts .*: plan-{PLAN}-control-0",
)


def write_pairs(folder: Path) -> None:
    """Write Tatoeba and PAWS-X in their own layouts, in the tiny models' words."""
    chance = random.Random(1)  # noqa: S311 (no secret)
    words = [chance.choices(range(18), k=chance.randint(3, 7)) for _ in range(12)]
    size = len(tiny_models.WORDS) // 3
    texts = {
        language: [
            " ".join(tiny_models.WORDS[start * size + place] for place in line) for line in words
        ]
        for start, language in enumerate(("eng", "deu", "fra"))
    }
    for language in ("deu", "fra"):
        for side in (language, "eng"):
            path = folder / "tatoeba" / f"tatoeba.{language}-eng.{side}"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(texts[side]) + "\n", encoding="utf-8")
    paws = folder / "pawsx" / "de" / "test_2k.tsv"
    paws.parent.mkdir(parents=True)
    rows = [
        f"{number}\t{text}\t{' '.join(reversed(text.split()))}\t{int(number % 3 > 0)}"
        for number, text in enumerate(texts["deu"], start=1)
    ]
    paws.write_text("\n".join(["id\tsentence1\tsentence2\tlabel", *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    saved_models.save_model(folder / "llama")
    saved_models.save_corpus(folder / "find.tsv", sentences=30)
    saved_models.save_corpus(folder / "judge.tsv", sentences=24, seed=1)
    write_pairs(folder)
    return folder


@pytest.fixture(scope="module")
def file(source: Path) -> Path:
    lines = [
        f'model = "{source / "llama"}"',
        f'corpus = "{source / "find.tsv"}"',
        f'judge_corpus = "{source / "judge.tsv"}"',
        'targets = ["deu_Latn"]',
        'seen = ["eng_Latn", "deu_Latn"]',
        "top_k = [3, 6, 9]",
        'layers = "all"',
        "resamples = 40",
        f"controls = {list(CONTROLS)}",
        "control_seeds = [0, 1]",
        f"methods = {list(METHODS)}",
        "permutations = 10",
        "stability_resamples = 4",
        f'tatoeba = "{source / "tatoeba"}"',
        f'pawsx = "{source / "pawsx"}"',
        "[generation]",
        "sentences = 4",
        "seeds = [0, 1]",
        "max_new_tokens = 5",
        "context = 32",
        "stride = 16",
        "[[plans]]",
        f'name = "{PLAN}"',
        'target = "deu_Latn"',
        "[[plans.steps]]",
        'name = "off"',
        'concept = "eng_Latn"',
        "top_k = 5",
        'operation = "scale"',
        "value = 0",
        "[[plans.steps]]",
        'name = "on"',
        'concept = "deu_Latn"',
        "top_k = 3",
        'site = "attn.hook_z"',
    ]
    path = source / "whole.toml"
    path.write_text("\n".join(lines).replace("'", '"') + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def settings(file: Path) -> RunSettings:
    return read_settings(file)


@pytest.fixture(scope="module")
def adapter(source: Path) -> Adapter:
    return load_adapter(str(source / "llama"))


@dataclass(frozen=True)
class Run:
    """What one whole run gave, and where."""

    results: Results
    folder: Path
    passed: Passed
    lines: list[str]


@pytest.fixture(scope="module")
def run(settings: RunSettings, adapter: Adapter, source: Path) -> Run:
    folder = source / "undisturbed"
    data = read_data(settings)
    lines: list[str] = []
    with counted_passes(adapter) as passed:
        results = run_experiment(adapter, data, settings, folder, say=lines.append)
    return Run(results, folder, passed, lines)


def test_no_text_passes_twice_under_the_same_plan(run: Run, settings: RunSettings) -> None:
    data = read_data(settings)
    texts = {text for corpus in (data.find, data.judge) for text in corpus.labelled()[0]}

    assert {text for (text, plan), _ in run.passed.items() if plan is None} > texts
    assert {pair: times for pair, times in run.passed.items() if times > 1} == {}


def test_the_passes_are_planned_before_the_first_and_numbered(run: Run) -> None:
    planned = [line for line in run.lines if " passes over " in line]
    numbers = [
        tuple(map(int, groups))
        for line in run.lines
        for groups in re.findall(r"\(pass(?:es [0-9]+ to)? ([0-9]+) of ([0-9]+)", line)
    ]

    assert re.fullmatch(r"At most \d+ passes over [\d,]+ texts in all", planned[0])
    assert re.fullmatch(r"\d+ passes over [\d,]+ texts in all \(about .*\)", planned[1])
    assert len(planned) == 2
    most, exact = numbers[0][1], numbers[-1][1]
    assert exact <= most
    assert numbers[-1][0] == exact
    assert [number for number, _ in numbers] == sorted({number for number, _ in numbers})
    assert len([line for line in run.lines if "at the speed of the first batch" in line]) == 1


def test_every_table_is_there(run: Run) -> None:
    assert [name for name, table in run.results.tables().items() if table.empty] == []
    for name, measures in MEASURES.items():
        assert set(run.results.tables()[name]["measure"]) == measures, name


def test_hosts_are_compared_by_every_measure_of_alignment_and_retrieval() -> None:
    assert set(hosts.MEASURES) == MEASURES["alignment"] | MEASURES["retrieval"]


def test_every_measure_is_there_for_every_layer(run: Run) -> None:
    for name in ("alignment", "retrieval", "geometry"):
        table = run.results.tables()[name]
        for measure, rows in table.groupby("measure"):
            assert sorted(rows["layer"].unique()) == sorted(LAYERS), measure
            centrings = set(rows["centring"])
            assert centrings == {"raw"} if measure == "CKA" else len(centrings) > 1, measure


def test_every_difference_has_its_interval_its_number_and_its_control(run: Run) -> None:
    for name in ("alignment", "retrieval", "geometry", "mixed", "bitexts"):
        table = run.results.tables()[name]
        assert (table["n_controls"] == 2).all()
        assert (table["sentences"] > 0).all()
        for difference in ("change", "control_change", "advantage"):
            known = table[table[f"{difference}_low"].notna()]
            assert (known[f"{difference}_low"] <= known[f"{difference}_high"]).all()
            # Of two draws nothing is said of a third.
            assert known.empty == (difference == "advantage")


def test_every_control_stands_beside_the_experts_at_the_middle_k(run: Run) -> None:
    controls = run.results.controls

    assert set(controls["control"]) == set(CONTROLS)
    assert set(controls["top_k"]) == {6}
    assert set(controls["layer"]) == set(LAYERS)
    seeds = controls.groupby("control")["n_seeds"].unique().map(list).to_dict()
    once = {"bottom", "constant-shift", "centring"}
    assert {name for name, counts in seeds.items() if counts == [1]} == once
    assert all(counts in ([1], [2]) for counts in seeds.values())


def test_single_pairs_have_false_discovery_rates_and_means_have_none(run: Run) -> None:
    table = run.results.retrieval
    single = table["query"].ne("all") & table["candidates"].ne("others")

    assert table.loc[single, "change_q"].between(0, 1).all()
    assert (table.loc[single, "change_q"] >= table.loc[single, "change_p"] - 1e-12).all()
    assert table.loc[~single, "change_q"].isna().all()


def test_every_method_is_on_every_axis_beside_its_control(run: Run) -> None:
    methods = run.results.methods

    axes = ["retrieval", "centred distance", "language probability", "perplexity"]
    rows = [*METHODS, "experts", PLAN]
    assert list(methods["method"]) == [name for name in rows for _ in axes]
    assert list(methods["axis"]) == axes * len(rows)
    assert methods[["pre", "post", "control", "change", "control_change"]].notna().all(axis=None)
    of_vectors = methods["method"].str.startswith("steer-")
    assert (methods.loc[of_vectors, "top_k"] == 0).all()
    assert (methods.loc[of_vectors, "block"] == tiny_models.N_LAYERS // 2).all()
    of_plan = methods["method"] == PLAN
    assert (methods.loc[of_plan, ["top_k", "block"]] == [8, -1]).all(axis=None)
    others = methods[~of_vectors & ~of_plan]
    assert (others[["top_k", "block"]] == [6, -1]).all(axis=None)
    costs = methods[methods["axis"] == "perplexity"]
    np.testing.assert_allclose(costs["change"], costs["post"] / costs["pre"])
    # 2 seeds of 4 texts; the judging sentences as one document, so its stretches.
    tokens = run.results.generation["tokens"].iloc[0]
    n = methods.groupby("axis")["sentences"].unique()
    assert list(n["retrieval"]) == list(n["centred distance"]) == [24]
    assert list(n["language probability"]) == [2 * 4]
    assert list(n["perplexity"]) == [math.ceil(tokens / STRETCH)]


def test_a_plans_rows_are_those_of_its_steps_in_order_and_its_control_draws_for_each(
    run: Run, settings: RunSettings, adapter: Adapter
) -> None:
    judge = read_data(settings).judge
    off, on = (
        ExpertTable.load(run.folder / name).intervention(concept, **steering)
        for name, concept, steering in (
            ("experts", "eng_Latn", {"top_k": 5, "operation": "scale", "value": 0.0}),
            ("experts-attn.hook_z", "deu_Latn", {"top_k": 3}),
        )
    )
    spaces = [adapter.space(step.site) for step in (off, on)]
    control = matched_control(off + on, *spaces, seed=0)
    row = run.results.methods.query(f"method == '{PLAN}' and axis == 'retrieval'").iloc[0]

    for column, plan in (("post", off + on), ("control", control)):
        figures = retrieval(
            embed(adapter, judge, intervention=plan), target="deu_Latn", same=judge.same
        )
        whole = figures.query("query == 'all' and measure == 'top-1' and centring == 'raw'")
        assert row[column] == pytest.approx(whole["value"].iloc[0])
    assert [step.site for step in control.steps] == ["mlp.hook_post", "attn.hook_z"]
    assert not {*zip(off.layers, off.indices, strict=True)} & {
        *zip(control.steps[0].layers, control.steps[0].indices, strict=True)
    }


def test_the_papers_method_is_the_runs_own_experts(run: Run) -> None:
    # Set to the mean, as the run's settings have it: the same plan, the same figures.
    own = run.results.methods.query("method == 'set-mean' and axis == 'retrieval'").iloc[0]
    retrieval = run.results.retrieval.query(
        "top_k == 6 and layer == 'final' and measure == 'top-1' and centring == 'raw'"
        " and query == 'all'"
    ).iloc[0]

    for name in ("pre", "post", "change", "change_low", "change_high"):
        assert own[name] == pytest.approx(retrieval[name])


def test_generations_are_judged_at_every_k(run: Run) -> None:
    generation = run.results.generation

    assert list(generation["condition"]) == ["before"] + ["experts"] * 3 + ["control"] * 3
    assert list(generation["top_k"]) == [0, 3, 6, 9, 3, 6, 9]
    assert generation["probability"].between(0, 1).all()
    assert (generation["sentences"] == 4).all()
    assert (generation["seeds"] == 2).all()
    # Two seeds cannot both choose a k and judge it.
    assert not generation["recommended"].any()
    assert (
        generation.loc[generation["condition"] == "experts", "reason"].str.contains("seeds").all()
    )


def test_bitexts_are_read_both_ways_and_paraphrases_are_mixed(run: Run) -> None:
    bitexts, mixed = run.results.bitexts, run.results.mixed

    ways = set(zip(bitexts["query"], bitexts["candidates"], strict=True))
    assert ways == {("deu_Latn", "eng_Latn"), ("eng_Latn", "deu_Latn")}
    assert set(bitexts["sentences"]) == {12}
    within = mixed[mixed["dataset"] == "pawsx"]
    assert set(within["query"]) == set(within["candidates"]) == {"deu_Latn"}
    assert set(within["sentences"]) == {8}
    assert set(mixed["dataset"]) == {"pawsx", "corpus"}


def test_the_provenance_holds_every_setting_and_what_it_led_to(
    run: Run, settings: RunSettings
) -> None:
    told = run.results.provenance

    wanted = {part.name for part in fields(RunSettings)} - {"generation"}
    wanted |= {f"generation {part.name}" for part in fields(GenerationSettings)}
    assert wanted - set(told) == set()
    assert (told["permutations"], told["stability_resamples"]) == ("10", "4")
    assert (told["targets"], told["top_k"]) == ("deu_Latn", "3, 6, 9")
    assert (told["bitext_queries"], told["batch_tokens"]) == ("not given", "2048")
    assert told["method_layer"] == str(tiny_models.N_LAYERS // 2)
    documents = ["\n".join(read_data(settings).judge.sentences["deu_Latn"])]
    assert told["generation documents_hash"] == f"deu_Latn {documents_hash(documents)[:12]}"
    assert told["version of py3langid"] == version("py3langid")


@pytest.mark.parametrize(
    ("said", "told", "marked"), [(None, "", []), ((), "none", ["eng_Latn", "deu_Latn", "fra_Latn"])]
)
def test_a_model_that_saw_no_language_is_not_one_of_which_nothing_is_said(
    said: tuple[str, ...] | None,
    told: str,
    marked: list[str],
    settings: RunSettings,
    adapter: Adapter,
    tmp_path: Path,
) -> None:
    plain = replace(
        settings,
        seen=said,
        methods=(),
        plans=(),
        controls=(),
        generation=None,
        tatoeba=None,
        pawsx=None,
        layers=(),
        permutations=0,
        stability_resamples=0,
        top_k=(3,),
    )

    found = run_experiment(adapter, read_data(plain), plain, tmp_path, say=lambda _: None)

    assert found.provenance["seen"] == told
    assert unseen(found, ("eng_Latn", "deu_Latn", "fra_Latn")) == marked


def test_the_report_keeps_every_table_under_its_own_name(run: Run, source: Path) -> None:
    write_report(run.results, source / "report")

    page = (source / "report" / "report.html").read_text(encoding="utf-8")
    assert f"{PLAN} (for deu_Latn): off (scale 5 experts for eng_Latn, value 0.0), then on" in page
    for name, table in run.results.tables().items():
        stored = pd.read_parquet(source / "report" / "tables" / f"{name}.parquet")
        pd.testing.assert_frame_equal(stored, table)


def test_compare_gives_the_runs_methods_and_run_goes_on_from_there(
    run: Run, settings: RunSettings, adapter: Adapter, source: Path
) -> None:
    folder = source / "compared"
    lines: list[str] = []

    found = compare_methods(adapter, read_data(settings), settings, folder, say=lines.append)

    pd.testing.assert_frame_equal(found, run.results.methods)
    embedded = [line for line in lines if line.startswith("Embedding ")]
    assert {path.name for path in folder.iterdir()} == COMPARED
    lines.clear()
    run_experiment(adapter, read_data(settings), settings, folder, say=lines.append)
    again = [line for line in lines if line.startswith("Embedding ")]
    assert len(embedded) + len([line for line in again if "tatoeba" not in line]) > len(embedded)
    assert not {line.rsplit(": ")[-1].split(" (")[0] for line in embedded} & {
        line.rsplit(": ")[-1].split(" (")[0]
        for line in again
        if "tatoeba" not in line and "pawsx" not in line
    }


def test_other_documents_in_the_same_place_are_scored_again_and_nothing_else(
    settings: RunSettings, adapter: Adapter, tmp_path: Path
) -> None:
    place = tmp_path / "documents"
    place.mkdir()
    assert settings.generation is not None
    few = replace(
        settings,
        methods=("zero",),
        plans=(),
        generation=replace(settings.generation, documents=str(place)),
    )

    def compared(seed: int) -> tuple[pd.DataFrame, list[str]]:
        words = random.Random(seed).choices(tiny_models.WORDS, k=60)  # noqa: S311 (no secret)
        (place / "deu_Latn.txt").write_text(" ".join(words), encoding="utf-8")
        lines: list[str] = []
        found = compare_methods(adapter, read_data(few), few, tmp_path / "out", say=lines.append)
        return found.set_index("axis"), [line for line in lines if not line.startswith("Kept")]

    first, _ = compared(0)
    second, again = compared(1)
    _, still = compared(1)

    assert first.loc["perplexity", "pre"] != second.loc["perplexity", "pre"]
    pd.testing.assert_frame_equal(first.drop("perplexity"), second.drop("perplexity"))
    assert {line.split(" in deu_Latn: ")[0] for line in again} == {"Scoring documents"}
    assert len(again) == 3
    assert still == []


def test_compare_prints_records_as_json(
    run: Run, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()

    code = run_command(["compare", str(file), "--out", str(run.folder), "--json"])

    assert code == 0
    records = json.loads(capfd.readouterr().out)
    assert len(records) == len(run.results.methods)
    assert records[0]["method"] == "set-mean"
    assert records[0]["change"] == pytest.approx(run.results.methods["change"].iloc[0])


@pytest.mark.usefixtures("unchecked")
def test_a_run_that_is_killed_at_every_kind_of_step_ends_with_the_same_numbers(
    run: Run, settings: RunSettings, adapter: Adapter, source: Path
) -> None:
    folder, data = source / "killed", read_data(settings)

    def go_on(say: Say) -> Results:
        return run_experiment(adapter, data, settings, folder, say=say)

    for moment in MOMENTS:
        kill = Kill(folder, None)

        def say(line: str, kill: Kill = kill, moment: str = moment) -> None:
            if re.search(moment, line):
                # In the middle of what is written next.
                kill.after = kill.writes + 2

        assert kill.ends(partial(go_on, say))

    found = go_on(lambda _: None)
    for name, table in run.results.tables().items():
        pd.testing.assert_frame_equal(found.tables()[name], table, check_exact=True)


def test_a_seen_language_that_is_not_judged_is_refused(settings: RunSettings) -> None:
    given = {part.name: getattr(settings, part.name) for part in fields(settings)}

    with pytest.raises(CorpusError, match="seen language 'tha_Thai' is not judged"):
        read_data(RunSettings(**{**given, "seen": ("tha_Thai",)}))
