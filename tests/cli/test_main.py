"""The command line: what it prints where, its exit codes, and what it says of bad input."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
import torch

from steer_plugin import (
    ExpertTable,
    Intervention,
    ParallelCorpus,
    Plan,
    ProbeSettings,
    embed,
    find_experts,
)
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.shared.batch_adapter import BatchAdapter
from steer_plugin.analyses.controls.random_units import random_control
from steer_plugin.analyses.measures.alignment import alignment, alignment_figures
from steer_plugin.analyses.measures.retrieval import retrieval, retrieval_figures
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS, compare
from steer_plugin.cli import generate as generate_command
from steer_plugin.cli import measure
from steer_plugin.cli.main import run_command, steer_plugin
from steer_plugin.experts.summaries import experts_by_layer, overlap

from support import saved_models
from support.command_line import COMMAND, LIMIT

COMMANDS = (
    "align",
    "cache",
    "compare",
    "completion",
    "demo",
    "find",
    "generate",
    "measure",
    "merge",
    "parts",
    "plan",
    "report",
    "retrieve",
    "run",
    "show",
)
SLOW = ("torch", "numpy", "pandas", "altair", "transformers", "transformer_lens", "pydantic")
Steer = Callable[..., tuple[int, str, str]]


@pytest.fixture
def steer(capfd: pytest.CaptureFixture[str]) -> Steer:
    """Run a command in this process; give its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run_command([str(argument) for argument in arguments])
        told = capfd.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a model, a corpus, and experts that were found on it."""
    folder = tmp_path_factory.mktemp("cli")
    saved_models.save_model(folder / "llama")
    saved_models.save_model(folder / "gpt2", "gpt2")
    saved_models.save_model(folder / "nan", weight=float("nan"))
    saved_models.save_gguf(folder / "tiny.gguf")
    saved_models.save_corpus(folder / "corpus.tsv")
    finding, _ = ParallelCorpus.read(folder / "corpus.tsv").split(seed=0)
    find_experts(load_adapter(str(folder / "llama")), finding).save(folder / "experts")
    return folder


def options(at: Path) -> tuple[str | Path, ...]:
    return ("--model", at / "llama", "--corpus", at / "corpus.tsv")


def assert_prints(out: str, wanted: pd.DataFrame) -> None:
    """Compare JSON on stdout, and nothing else there, with a frame."""
    found = pd.DataFrame(json.loads(out))
    assert list(found.columns) == list(wanted.columns)
    pd.testing.assert_frame_equal(
        found, wanted.reset_index(drop=True), check_dtype=False, rtol=1e-12, atol=1e-14
    )


# Help


def test_help_is_quick_and_imports_nothing_slow() -> None:
    script = f"""
import resource, sys
from steer_plugin.cli.main import run_command
for arguments in ([], *([name] for name in {COMMANDS!r})):
    assert run_command([*arguments, "--help"]) == 0
used = resource.getrusage(resource.RUSAGE_SELF)
print([name for name in {SLOW!r} if name in sys.modules], used.ru_utime + used.ru_stime)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )

    *_, last = done.stdout.splitlines()
    loaded, seconds = last.rsplit(" ", 1)
    assert loaded == "[]"
    assert float(seconds) < 0.5


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_each_of_its_options(name: str, steer: Steer) -> None:
    code, out, err = steer(name, "--help")

    command = steer_plugin.commands[name]
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: steer-plugin {name} ")
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.opts[0] in out
            assert option.help


def test_the_commands_are_listed_each_on_one_whole_line(steer: Steer) -> None:
    _, out, _ = steer("--help")

    listed = out.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert not [line for line in listed if line.endswith("...")]


def test_the_module_and_the_script_are_the_same_command() -> None:
    script = str(Path(sys.executable).parent / "steer-plugin")
    for command in ((script,), COMMAND):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"steer-plugin, version {version('steer-plugin')}\n"


# Data


def test_find_saves_and_prints_what_the_python_api_finds(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    out = tmp_path / "experts"
    choices = ("--site", "attn.hook_z", "--pooling", "mean", "--score", "average_precision")
    part = ("--language", "fra_Latn", "--language", "eng_Latn", "--sentences", "20")

    code, printed, _ = steer(
        "find", *options(at), *choices, *part, "--split-seed", "3", "--out", out, "--json"
    )

    corpus = ParallelCorpus.read(at / "corpus.tsv", languages=["fra_Latn", "eng_Latn"]).take(20)
    wanted = find_experts(
        load_adapter(str(at / "llama")),
        corpus.split(seed=3)[0],
        ProbeSettings(site="attn.hook_z", pooling="mean", score="average_precision"),
    )
    assert code == 0
    found = ExpertTable.load(out)
    assert (found.scores == wanted.scores).all()
    assert found.provenance == wanted.provenance
    assert_prints(printed, pd.concat([wanted.frame(concept, 1) for concept in wanted.concepts]))


def test_data_goes_to_stdout_and_progress_to_stderr(at: Path, tmp_path: Path, steer: Steer) -> None:
    code, out, err = steer("find", *options(at), "--out", tmp_path / "experts", "--json")

    assert code == 0
    assert [row["rank"] for row in json.loads(out)] == [1, 1, 1]
    lines = err.strip().split("\n")
    # In a process of its own transformers is told to show no bar; see `test_find`.
    loading, place, *plan, bar, kept, saved = (
        line for line in lines if "Loading weights" not in line
    )
    assert loading == f"Loading {at / 'llama'}"
    assert place == "It runs on cpu in float32"
    assert all(line.startswith("Plan: ") for line in plan)
    assert re.search(r"find: 100%.* 36/36 ", bar)
    assert kept.startswith("Responses are kept in ")
    assert saved == f"Saved {tmp_path / 'experts'}"


@pytest.mark.parametrize("view", ["units", "layers", "overlap"])
def test_show_prints_each_view_of_a_saved_table(view: str, at: Path, steer: Steer) -> None:
    table = ExpertTable.load(at / "experts")
    wanted = {
        "units": lambda: pd.concat([table.frame(concept, 5) for concept in table.concepts]),
        "layers": lambda: experts_by_layer(table, 5),
        "overlap": lambda: overlap(table, 5),
    }[view]()

    code, out, err = steer("show", at / "experts", "--view", view, "--top-k", "5", "--json")
    assert (code, err) == (0, "")
    assert_prints(out, wanted)

    _, out, _ = steer(
        "show", at / "experts", "--view", view, "--top-k", 5, "--concept", "deu_Latn", "--json"
    )
    assert_prints(out, wanted[wanted["concept"] == "deu_Latn"])


def test_without_json_a_table_is_printed_to_be_read(at: Path, steer: Steer) -> None:
    _, out, _ = steer("show", at / "experts", "--top-k", "2", "--concept", "deu_Latn")

    header, first, second = out.splitlines()
    assert header.split()[:6] == ["concept", "rank", "unit", "layer", "index", "auroc"]
    assert first.split()[:2] == ["deu_Latn", "1"]
    assert second.split()[:2] == ["deu_Latn", "2"]


@pytest.mark.parametrize(
    ("command", "figures"), [("align", alignment_figures), ("retrieve", retrieval_figures)]
)
def test_a_measurement_prints_what_the_python_api_measures(
    command: str, figures: Any, at: Path, steer: Steer
) -> None:
    target, seeds = "deu_Latn", (2, 5, 7)
    code, out, err = steer(
        command,
        *options(at),
        *("--experts", at / "experts", "--target", target, "--top-k", "6", "--layer", "1"),
        *("--operation", "blend", "--value", "0.5", "--strength", "0.7", "--keep-bos"),
        *("--control-seed", "2", "--control-seed", "5", "--control-seed", "7", "--json"),
    )

    adapter = load_adapter(str(at / "llama"))
    _, judging = ParallelCorpus.read(at / "corpus.tsv").split(seed=0)
    table = ExpertTable.load(at / "experts")
    plan = table.intervention(
        target, top_k=6, operation="blend", value=0.5, strength=0.7, bos=False
    )
    controls = [random_control(plan, table.space, seed=seed) for seed in seeds]
    before, experts, *random = (
        figures(embed(adapter, judging, layer=1, intervention=act), target=target)
        for act in (None, plan, *controls)
    )
    assert code == 0
    assert "Note" not in err
    assert_prints(out, compare(before, experts, random))


def test_retrieve_takes_a_sentence_of_the_same_text_for_the_translation(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    header, *lines = (at / "corpus.tsv").read_text(encoding="utf-8").splitlines()
    german = header.split("\t").index("deu_Latn")
    rows = [line.split("\t") for line in lines]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        second[german] = first[german]
    file = tmp_path / "repeated.tsv"
    file.write_text("\n".join([header, *map("\t".join, rows)]) + "\n", encoding="utf-8")

    code, out, _ = steer("retrieve", "--model", at / "llama", "--corpus", file, "--json")

    _, judging = ParallelCorpus.read(file).split(seed=0)
    embedded = embed(load_adapter(str(at / "llama")), judging)
    wanted = retrieval(embedded, same=judging.same)
    assert code == 0
    assert_prints(out, wanted)
    assert not wanted["value"].equals(retrieval(embedded)["value"])


def test_without_experts_the_model_is_measured_as_it_is(at: Path, steer: Steer) -> None:
    code, out, _ = steer("align", *options(at), "--json")

    _, judging = ParallelCorpus.read(at / "corpus.tsv").split(seed=0)
    assert code == 0
    assert_prints(out, alignment(embed(load_adapter(str(at / "llama")), judging)))


def test_a_measurement_tells_what_differs_from_where_the_experts_are_from(
    at: Path, steer: Steer
) -> None:
    measure = ("retrieve", *options(at), "--experts", at / "experts", "--target", "deu_Latn")

    code, _, err = steer(*measure, "--top-k", "3", "--no-bos", "--split-seed", "1")

    assert code == 0
    notes = [line for line in err.splitlines() if line.startswith("Note: ")]
    assert notes[0] == "Note: the experts' model has bos True, this one False"
    assert notes[1].startswith("Note: the experts were found on another corpus or split; ")
    assert len(notes) == 2


def test_generate_continues_each_prompt_without_and_with_steering(at: Path, steer: Steer) -> None:
    prompts = ("air ant", "sea")
    arguments = (
        *("generate", "--model", at / "llama", "--experts", at / "experts"),
        *("--target", "deu_Latn", "--top-k", "9", "--value", "q95", "--max-new-tokens", "5"),
        *("--seed", "3", "--top-p", "0.8", "--temperature", "0.7"),
        *(word for prompt in prompts for word in ("--prompt", prompt)),
    )

    code, out, _ = steer(*arguments, "--json")

    adapter = load_adapter(str(at / "llama"))
    plan = ExpertTable.load(at / "experts").intervention("deu_Latn", top_k=9, value="q95")
    sampling = {"max_new_tokens": 5, "temperature": 0.7, "top_p": 0.8, "seed": 3}
    before = adapter.generate(prompts, **sampling)
    after = adapter.generate(prompts, intervention=plan, **sampling)
    assert code == 0
    assert before.texts != after.texts
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["prompt"] for line in lines] == list(prompts)
    for name, generation in (("before", before), ("after", after)):
        assert [line[name] for line in lines] == json.loads(json.dumps(generation.records()))
        assert lines[1][name] == {
            "text": generation.texts[1],
            "ids": list(generation.ids[1]),
            "log_probabilities": list(generation.log_probabilities[1]),
            "finish_reason": generation.finish_reasons[1],
            "provenance": generation.provenance,
        }
        assert len(lines[1][name]["log_probabilities"]) == len(lines[1][name]["ids"]) > 0
    assert lines[1]["after"]["provenance"]["found_on"] == [adapter.info.name]
    texts = zip(prompts, before.texts, after.texts, strict=True)
    wanted = "".join("prompt: {}\nbefore: {}\nafter:  {}\n\n".format(*row) for row in texts)
    # Streamed, a prompt after the other, it is the same.
    assert [steer(*arguments, *how)[1] for how in ((), ("--stream",))] == [wanted] * 2
    assert_same_lines(steer(*arguments, "--stream", "--json")[1], lines)


def assert_same_lines(out: str, wanted: list[dict[str, Any]]) -> None:
    """Say that lines hold the same to the rounding of batches of other sizes."""
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == len(wanted)
    for line, whole in zip(lines, wanted, strict=True):
        for half in ("before", "after"):
            logs = [each[half].pop("log_probabilities") for each in (line, whole)]
            np.testing.assert_allclose(*logs, atol=1e-5)
        assert line == whole


def test_streamed_objects_come_as_each_prompt_is_done(
    at: Path, steer: Steer, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    print_json, continued = generate_command.print_json, BatchAdapter.generate
    monkeypatch.setattr(
        generate_command, "print_json", lambda value: (events.append("line"), print_json(value))
    )

    def generate(self: BatchAdapter, *given: Any, **how: Any) -> Any:
        events.append("model")
        return continued(self, *given, **how)

    monkeypatch.setattr(BatchAdapter, "generate", generate)
    arguments = ("generate", "--model", at / "llama", "--unit", "L0N1=2", "--max-new-tokens", "2")
    prompts = ("--prompt", "air", "--prompt", "sea")
    code, out, _ = steer(*arguments, *prompts, "--json", "--stream")
    assert (code, len(out.splitlines())) == (0, 2)
    assert events == ["model", "model", "line"] * 2


OFF = ("--target", "eng_Latn", "--top-k", "5", "--operation", "scale", "--value", "0")
ON = ("--target", "deu_Latn", "--top-k", "7")


def test_saved_plans_and_experts_steer_one_after_another(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    table = ExpertTable.load(at / "experts")
    off = table.intervention("eng_Latn", top_k=5, operation="scale", value=0.0)
    on = table.intervention("deu_Latn", top_k=7)
    experts, model = ("--experts", at / "experts"), ("--model", at / "llama")

    code, out, _ = steer("plan", *experts, *OFF, "--out", tmp_path / "off")
    assert (code, out) == (0, off.describe() + "\n")
    code, out, _ = steer(
        *("plan", "--plan", tmp_path / "off", *experts, *ON, "--out", tmp_path / "both")
    )
    assert (code, out) == (0, (off + on).describe() + "\n")
    assert Plan.load(tmp_path / "both") == off + on

    adapter = load_adapter(str(at / "llama"))
    wanted = adapter.generate(["sea"], intervention=off + on, max_new_tokens=5, temperature=0).texts
    generate = ("generate", *model, "--prompt", "sea", "--max-new-tokens", "5")
    for given in (("--plan", tmp_path / "both"), ("--plan", tmp_path / "off", *experts, *ON)):
        code, out, _ = steer(*generate, *given, "--temperature", "0", "--json")
        assert code == 0
        assert json.loads(out)["after"]["text"] == wanted[0]

    code, out, _ = steer(
        *("align", *options(at), "--plan", tmp_path / "both", "--target", "deu_Latn", "--json"),
        *(word for seed in "012" for word in ("--control-seed", seed)),
    )
    _, judging = ParallelCorpus.read(at / "corpus.tsv").split(seed=0)
    controls = [random_control(off + on, table.space, seed=seed) for seed in range(3)]
    before, both, *random = (
        alignment_figures(embed(adapter, judging, intervention=act), target="deu_Latn")
        for act in (None, off + on, *controls)
    )
    assert code == 0
    assert_prints(out, compare(before, both, random))


@pytest.mark.parametrize("positions", ["last", "-2:", "generated", "0:3:2"])
def test_tokens_are_chosen_by_name_or_slice_and_saved(
    positions: str, at: Path, tmp_path: Path, steer: Steer
) -> None:
    by_hand = Intervention.of({"L0N3": 9.0}, site="mlp.hook_post", positions=positions)
    adapter = load_adapter(str(at / "llama"))
    settings = {"max_new_tokens": 5, "temperature": 0}
    wanted = adapter.generate(["sea ship owl"], intervention=by_hand, **settings).texts
    unit = ("--unit", "L0N3=9", "--positions", positions)

    code, out, _ = steer("plan", *unit, "--out", tmp_path / "plan")
    assert (code, out) == (0, by_hand.describe() + "\n")
    assert Plan.load(tmp_path / "plan") == Plan((by_hand,))
    for given in (unit, ("--plan", tmp_path / "plan")):
        code, out, _ = steer(
            *("generate", "--model", at / "llama", "--prompt", "sea ship owl", *given),
            *("--max-new-tokens", "5", "--temperature", "0", "--json"),
        )
        assert code == 0
        assert json.loads(out)["after"]["text"] == wanted[0]


def test_units_by_hand_are_steered_after_the_experts(at: Path, steer: Steer) -> None:
    by_hand = Intervention.of({"L1N3": 9.0, "L0N2": -4.5}, site="mlp.hook_pre", operation="add")
    table = ExpertTable.load(at / "experts")
    plan = table.intervention("deu_Latn", top_k=7, operation="add") + by_hand
    wanted = (
        load_adapter(str(at / "llama"))
        .generate(["sea"], intervention=plan, max_new_tokens=5, temperature=0)
        .texts
    )

    code, out, _ = steer(
        *("generate", "--model", at / "llama", "--experts", at / "experts", *ON),
        *("--unit", "L1N3=9", "--unit", "L0N2=-4.5", "--unit-site", "mlp.hook_pre"),
        *("--operation", "add", "--prompt", "sea", "--max-new-tokens", "5"),
        *("--temperature", "0", "--json"),
    )

    assert code == 0
    assert json.loads(out)["after"]["text"] == wanted[0]


def test_a_measurement_draws_as_many_controls_as_it_takes_to_judge() -> None:
    (seeds,) = (option for option in measure.align.params if option.name == "control_seeds")
    assert len(seeds.get_default(click.Context(measure.align))) == FEWEST_DRAWS


def test_a_head_by_hand_needs_no_site(at: Path, steer: Steer, tmp_path: Path) -> None:
    code, out, _ = steer("plan", "--unit", "L1H0=0", "--out", tmp_path / "plan")
    assert (code, out) == (0, "set L1H0=0 at attn.hook_z\n")
    plan = Plan.load(tmp_path / "plan")
    assert plan == Plan((Intervention.of({"L1H0": 0.0}, site="attn.hook_z"),))
    wanted = (
        load_adapter(str(at / "llama"))
        .generate(["sea"], intervention=plan, max_new_tokens=5, temperature=0)
        .texts
    )
    code, out, _ = steer(
        *("generate", "--model", at / "llama", "--unit", "L1H0=0", "--prompt", "sea"),
        *("--max-new-tokens", "5", "--temperature", "0", "--json"),
    )
    assert (code, json.loads(out)["after"]["text"]) == (0, wanted[0])


def test_a_saved_plan_for_generated_tokens_has_no_embeddings_to_measure(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    Intervention("mlp.hook_post", (0,), (1,), (2.0,), positions="generated").save(tmp_path / "plan")

    code, _, err = steer("align", *options(at), "--plan", tmp_path / "plan")

    assert code == 2
    assert "embeddings have no generated tokens" in err


def test_a_gguf_file_and_bfloat16_are_taken_as_models(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    for model, dtype in (("tiny.gguf", "float32"), ("llama", "bfloat16")):
        code, _, err = steer(
            *("find", "--model", at / model, "--corpus", at / "corpus.tsv", "--dtype", dtype),
            *("--out", tmp_path / model),
        )

        assert code == 0, err
        origin = ExpertTable.load(tmp_path / model).provenance["model"]
        assert (origin["name"], origin["dtype"]) == (model, dtype)


def test_the_model_runs_on_as_many_threads_as_asked_for(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    before = torch.get_num_threads()
    try:
        for count in (3, 2):
            steer("find", *options(at), "--threads", count, "--out", tmp_path / str(count))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)


# Bad input

BAD_USAGE = {
    "generated tokens where there are none": (
        "align --model {llama} --corpus {corpus} --unit L0N1=2 --positions generated",
        "embeddings have no generated tokens",
    ),
    "a value beside units by hand": (
        "generate {model} --unit L0N1=2 --value q95",
        "--value is for experts, and there are none; give --experts and --target, or leave it out",
    ),
    "a value for nothing": ("align {model} --value mean", "--value is for experts, and there are"),
    "a number of units by hand": ("generate {model} --unit L0N1=2 --top-k 3", "--top-k is for exp"),
    "a choice of a saved plan's units": ("generate {model} --plan x --per-layer", "--per-layer is"),
    "a site of no units": (
        "generate {model} --plan x --unit-site hook_mlp_out",
        "--unit-site is for units by hand, and there are none; give --unit, or leave it out",
    ),
    "a strength for a saved plan": (
        "generate {model} --plan x --strength 2",
        "--strength is for experts and units by hand, and saved plans have their own; give",
    ),
    "no tokens": (
        "generate {model} --unit L0N1=2 --positions first",
        "'first' is not a choice of positions; choose one of: all, prompt, text, generated, last, ",
    ),
    "a slice that stands still": (
        "generate {model} --unit L0N1=2 --positions 1:4:0",
        "a slice of positions has step 0; give another, such as ::2",
    ),
    "unknown command": ("seek", "No such command 'seek'"),
    "unknown option": ("find --colour red", "No such option '--colour'"),
    "missing option": ("find --out {new}", "Missing option '--model'"),
    "missing file name": ("run", "Missing argument 'FILE'"),
    "unknown choice": ("find --pooling sum", "'sum' is not a pooling; choose one of: max, mean"),
    "no number": ("show {experts} --top-k many", "'many' is not a valid integer"),
    "negative": ("align --top-k -1", "-1 is not in the range x>=0"),
    "no threads": ("find --threads 0", "0 is not in the range x>=1"),
    "file as folder": ("find --out {corpus}", "is a file"),
    "seed twice": ("align --control-seed 1 --control-seed 1", "give each once"),
    "target alone": ("align {model} --target x", "--experts and --target go together"),
    "no plan at all": (
        "generate {model}",
        "nothing says how to steer; give --experts and --target, --plan or --unit",
    ),
    "unit without a value": ("generate {model} --unit L0N1", "'L0N1' is no unit with a value"),
    "unit twice": ("align {model} --unit L0N1=2 --unit L0N1=3", "L0N1 is given twice"),
    "experts alone": ("align {model} --experts x", "--experts and --target go together"),
}
BAD_INPUT = {
    "missing corpus": ("find {model} --corpus {no}.tsv --out {new}", "no.tsv"),
    "missing language": (
        "find {model} {on} --language tha_Thai --out {new}",
        "has no tha_Thai",
    ),
    "too many sentences": (
        "find {model} {on} --sentences 25 --out {new}",
        "cannot take 25 sentences; give a number from 1 to 24",
    ),
    "no model folder": ("find --model {at} {on} --out {new}", "no model folder"),
    "no model": ("find --model {no} {on} --out {new}", "no model folder"),
    "cut gguf": ("find --model {cut} {on} --out {new}", "may be cut short"),
    "no gguf": ("find --model {not} {on} --out {new}", "not a GGUF file|GGUF magic invalid"),
    "missing gguf": ("find --model {no}.gguf {on} --out {new}", "is not there"),
    "unknown device": (
        "find {model} {on} --device abacus --out {new}",
        "cannot load the model",
    ),
    "missing site": (
        "find --model {gpt2} {on} --site mlp.hook_pre_linear --out {new}",
        r"has no mlp\.hook_pre_linear in layer 0",
    ),
    "NaN": (
        "find --model {nan} {on} --out {new}",
        "responds with nan to .*; check the model's weights and dtype",
    ),
    "NaN embedding": ("align --model {nan} {on}", "at ln_final.hook_out responds with nan to"),
    "no experts": ("show {at}", "holds no saved experts: there is no config.json in it"),
    "missing experts": ("show {no}", "holds no saved experts"),
    "other folder": ("find {model} {on} --out {at}", "holds no saved experts"),
    "under a file": ("find {model} {on} --out {corpus}/x", "Not a directory"),
    "unknown concept": (
        "show {experts} --concept tha_Thai",
        "'tha_Thai' is not in the expert table; it has: eng_Latn, deu_Latn, fra_Latn",
    ),
    "more than there are": (
        "show {experts} --top-k 73",
        "top_k=73, but the model has 72 units at mlp.hook_post; take fewer",
    ),
    "more than eligible": (
        "align {model} {on} {experts_for} deu_Latn --top-k 72",
        "units of the model score above chance .* for deu_Latn; take fewer",
    ),
    "too few for a control": (
        "align {model} {on} {experts_for} deu_Latn --top-k 34",
        "are needed for a random control; take a smaller top_k",
    ),
    "unknown target": (
        "retrieve {model} {on} {experts_for} tha_Thai",
        "target 'tha_Thai' is not in the corpus; it has: eng_Latn, deu_Latn, fra_Latn",
    ),
    "unknown target to generate": (
        "generate {model} {experts_for} tha_Thai",
        "'tha_Thai' is not in the expert table",
    ),
    "unknown layer": (
        "align {model} {on} --layer 3",
        r"layer 3 does not exist; give 0\.\.2 or 'final'",
    ),
    "no layer": ("align {model} {on} --layer last", "layer 'last' does not exist"),
    "unknown value": (
        "align {model} {on} {experts_for} deu_Latn --top-k 2 --value max",
        "'max' is not a value in the expert table; choose one of mean, .*or a number",
    ),
    "partial set": (
        "align {model} {on} {experts_for} deu_Latn --top-k 2 --strength 0.5",
        "use operation='blend' to go part of the way",
    ),
    "no unit": ("generate {model} --unit N1=2", "'N1' is no unit; write its layer and index"),
    "missing unit": (
        "generate {model} --unit L1N24=2",
        "unit L1N24 does not exist: mlp.hook_post has 24 units in layer 1",
    ),
    "missing head": (
        "generate {model} --unit L1H2=0",
        "unit L1H2 does not exist: attn.hook_z has 2 heads in layer 1",
    ),
    "a head where there is none": (
        "generate {model} --unit L1H0=0 --unit-site mlp.hook_post",
        "mlp.hook_post has no attention heads; they are at attn.hook_z",
    ),
    "a head beside a neuron": (
        "generate {model} --unit L1H0=0 --unit L1N2=3",
        "L1N2 is no head, and the units at attn.hook_z.heads are heads; write such as L1H2",
    ),
    "affine by hand": ("generate {model} --unit L1N2=2 --operation affine", "0 gains, 0 lows"),
    "no results": ("report {at}", "holds no saved results"),
    "missing run file": ("run {no}.toml", r"cannot read .*no\.toml"),
}


def filled(command: str, at: Path, tmp_path: Path) -> list[str]:
    """Put paths into a command."""
    whole = (at / "tiny.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "not.gguf").write_bytes(b"not a GGUF file" * 99)
    several = {
        "{model}": ["--model", "{llama}"],
        "{on}": ["--corpus", "{corpus}"],
        "{experts_for}": ["--experts", "{experts}", "--target"],
    }
    paths = {
        "at": at,
        "llama": at / "llama",
        "gpt2": at / "gpt2",
        "nan": at / "nan",
        "experts": at / "experts",
        "corpus": at / "corpus.tsv",
        "new": tmp_path / "new",
        "no": tmp_path / "no",
        "cut": tmp_path / "cut.gguf",
        "not": tmp_path / "not.gguf",
    }
    return [
        part.format(**paths)
        for argument in command.split()
        for part in several.get(argument, [argument])
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("case", BAD_USAGE)
def test_bad_usage_ends_with_2_and_one_line_that_says_what_is_wrong(
    case: str, at: Path, tmp_path: Path, steer: Steer
) -> None:
    command, message = BAD_USAGE[case]

    code, out, err = steer(*filled(command, at, tmp_path))

    assert (code, out) == (2, "")
    *usage, error = err.splitlines()
    assert error.startswith("Error: ")
    assert re.search(re.escape(message), error)
    assert not [line for line in usage if not line.startswith(("Usage: ", "Try ")) and line]


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_ends_with_1_and_one_line_that_says_what_to_do(
    case: str, at: Path, tmp_path: Path, steer: Steer
) -> None:
    command, message = BAD_INPUT[case]
    before = contents(at)

    code, out, err = steer(*filled(command, at, tmp_path))

    assert (code, out) == (1, "")
    *progress, error = err.splitlines()
    assert error.startswith("Error: ")
    assert re.search(message, error)
    assert not [line for line in progress if "Error" in line or "Traceback" in line]
    assert contents(at) == before


@pytest.mark.parametrize(
    "command", ["generate {model} --prompt sea --stream", "align {model} {on}"]
)
def test_a_unit_that_the_model_lacks_is_refused_before_a_text_passes(
    command: str, at: Path, tmp_path: Path, steer: Steer
) -> None:
    code, out, err = steer(*filled(f"{command} --unit L1N24=2", at, tmp_path))

    assert (code, out) == (1, "")
    assert "unit L1N24 does not exist" in err
    assert "before" not in err


def test_generation_begins_with_bos_alone_also_where_texts_have_none(
    at: Path, steer: Steer
) -> None:
    asked = (
        *("generate", "--model", at / "llama", "--experts", at / "experts"),
        *("--target", "deu_Latn", "--top-k", "3"),
    )

    code, out, _ = steer(*asked, "--no-bos")

    assert (code, out) == (0, steer(*asked)[1])


def test_finding_again_replaces_the_experts_that_are_there(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    out = tmp_path / "experts"
    for score in ("auroc", "lape"):
        code, *_ = steer("find", *options(at), "--score", score, "--out", out)
        assert code == 0
        assert ExpertTable.load(out).score == score
    assert [path.name for path in tmp_path.iterdir()] == ["experts"]


def test_a_full_disk_is_told_and_earlier_experts_stay(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    out = tmp_path / "experts"
    ExpertTable.load(at / "experts").save(out)
    before = contents(out)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    # A disk without room for one more kilobyte, as far as this process can tell.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        code, printed, err = steer(
            "find", *options(at), "--score", "average_precision", "--out", out
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (code, printed) == (1, "")
    error = err.splitlines()[-1]
    assert error.startswith(f"Error: cannot write {os.environ['STEER_PLUGIN_CACHE']}/")
    assert error.endswith("; free some space or choose another place")
    assert contents(tmp_path) == {f"experts/{name}": data for name, data in before.items()}


def test_a_reader_that_leaves_early_is_no_error_to_read_about(at: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [*COMMAND, "show", str(at / "experts"), "--top-k", "30", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)

    _, err = process.communicate(timeout=LIMIT)

    assert process.returncode == 1
    assert err == b""
