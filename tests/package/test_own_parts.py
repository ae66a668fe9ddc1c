"""The package of docs/own-parts.md, installed: its parts through the real command line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from support import command_line, saved_models
from support.command_line import LIMIT, Ended

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
AXES = {
    "score": "contrast",
    "pooling": "median",
    "operation": "clamp",
    "site": "attn.q.hook_out",
    "method": "double",
    "control": "opposite",
    "measure": "norm-ratio",
    "corpus reader": "lines",
}

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a model, a corpus, and the package that is in the tutorial."""
    folder = tmp_path_factory.mktemp("own")
    saved_models.save_model(folder / "llama")
    saved_models.save_corpus(folder / "corpus.tsv")
    text = (ROOT / "docs" / "own-parts.md").read_text(encoding="utf-8")
    blocks: dict[str, list[str]] = {}
    for language, block in BLOCK.findall(text):
        blocks.setdefault(language, []).append(block)
    source = folder / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text("".join(blocks["toml"]))
    (source / "my_parts.py").write_text("\n\n".join(blocks["python"]))
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    where = ("--no-build-isolation", "--target", str(folder / "installed"), str(source))
    subprocess.run([*pip, *where], check=True, capture_output=True, timeout=LIMIT)
    return folder


@pytest.fixture(scope="module")
def run(at: Path) -> Run:
    """Run a command with the package installed, or without."""

    def command(*arguments: object, installed: bool = True) -> Ended:
        before = os.environ.get("PYTHONPATH", "")
        path = f"{at / 'installed'}{os.pathsep}{before}" if installed else before
        env = {**os.environ, "PYTHONPATH": path, "STEER_PLUGIN_CACHE": str(at / "cache")}
        return command_line.run(*arguments, env=env)

    return command


@pytest.fixture(scope="module")
def experts(at: Path, run: Run) -> Path:
    """Find experts by the package's score and pooling."""
    done = run("find", *model(at), "--score", "contrast", "--pooling", "median", "--out", at / "e")
    assert done.code == 0, done.err
    return at / "e"


def model(at: Path) -> tuple[object, ...]:
    return ("--model", at / "llama", "--corpus", at / "corpus.tsv")


def test_every_part_is_listed_with_its_package_and_in_the_help(run: Run) -> None:
    rows = json.loads(run("parts", "--json").out)

    theirs = {row["axis"]: row["name"] for row in rows if row["from"] == "my-parts 1.2"}
    assert theirs == AXES
    assert all(row["what"] for row in rows)
    for command, name in (("find", "contrast"), ("find", "median"), ("plan", "clamp")):
        assert f"|{name}]" in run(command, "--help").out
        assert f"|{name}]" not in run(command, "--help", installed=False).out


def test_a_table_records_whose_score_it_is_by_and_says_what_to_install_where_it_is_gone(
    experts: Path, run: Run
) -> None:
    parts = json.loads((experts / "config.json").read_text())["content"]["provenance"]["parts"]
    assert {axis: (part["package"], part["version"]) for axis, part in parts.items()} == {
        "score": ("my-parts", "1.2"),
        "pooling": ("my-parts", "1.2"),
    }
    shown = run("show", experts, "--top-k", 2, "--json")
    assert "contrast" in json.loads(shown.out)[0]

    gone = run("show", experts, installed=False)

    assert (gone.code, gone.out) == (1, "")
    assert gone.err == (
        "Error: this was made with the score 'contrast' of my-parts 1.2, which is not registered "
        "here; install my-parts or import my_parts\n"
    )


def test_an_operation_and_a_measure_work_from_the_command_line(
    at: Path, experts: Path, run: Run
) -> None:
    steer = ("--experts", experts, "--target", "deu_Latn", "--top-k", 3, "--operation", "clamp")

    planned = run("plan", *steer, "--out", at / "plan")
    assert planned.out.startswith("clamp from below ")
    measured = run("measure", "norm-ratio", *model(at), "--plan", at / "plan", "--json")

    assert measured.code == 0, measured.err
    rows = json.loads(measured.out)
    assert {row["measure"] for row in rows} == {"norm ratio"}
    assert any(row["change"] != 0 for row in rows)
    assert all(row["change_low"] <= row["change"] <= row["change_high"] for row in rows)


def test_a_corpus_reader_and_a_site_work_on_both_hosts(at: Path, run: Run) -> None:
    corpus = pd.read_csv(at / "corpus.tsv", sep="\t")
    notes = [
        f"{language}: {text}"
        for language in ("deu_Latn", "eng_Latn")
        for text in corpus[language][:12]
    ]
    (at / "notes.txt").write_text("\n".join(notes) + "\n", encoding="utf-8")
    tables = []
    for host in ("transformer_lens", "nnsight"):
        find = (
            "find",
            "--model",
            at / "llama",
            "--corpus",
            f"lines:{at / 'notes.txt'}",
            "--host",
            host,
        )
        done = run(*find, "--site", "attn.q.hook_out", "--out", at / host, "--json")
        assert done.code == 0, done.err
        tables.append(pd.DataFrame(json.loads(done.out)))

    assert list(tables[0]["concept"]) == ["deu_Latn", "eng_Latn"]
    pd.testing.assert_frame_equal(*tables, rtol=1e-4)
    gone = run("find", "--model", at / "llama", "--corpus", "lines:gone.txt", "--out", at / "gone")
    assert gone.code == 1
    assert "Error: the corpus reader 'lines' of my_parts failed: FileNotFoundError" in gone.err


def test_a_run_file_takes_all_of_them_and_its_page_names_them(at: Path, run: Run) -> None:
    lines = [
        f'model = "{at / "llama"}"',
        f'corpus = "{at / "corpus.tsv"}"',
        'targets = ["deu_Latn"]',
        "top_k = [4]",
        "resamples = 20",
        'score = "contrast"',
        'pooling = "median"',
        'operation = "clamp"',
        'methods = ["double"]',
        'controls = ["opposite"]',
        'measures = ["norm-ratio"]',
    ]
    file = at / "own.toml"
    file.write_text("\n".join(lines) + "\n")

    done = run("run", file, "--out", at / "run")

    assert done.code == 0, done.err
    results = at / "run" / "results"
    alignment = pd.read_parquet(results / "alignment.parquet")
    assert "norm ratio" in set(alignment["measure"])
    assert "opposite" in set(pd.read_parquet(results / "controls.parquet")["control"])
    assert "double" in set(pd.read_parquet(results / "methods.parquet")["method"])
    page = Path(done.out.strip()).read_text(encoding="utf-8")
    assert "Opposite values" in page
    assert "contrast of medians" in page
    assert "score contrast of my-parts 1.2" in page
    wrong = run("run", file, "--out", at / "wrong", "--set", 'score="contrst"')
    assert wrong.code == 1
    assert "score: Input should be one of auroc, " in wrong.err
