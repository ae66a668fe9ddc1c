"""Labelled texts on the command line: found, shown, steered, and refused where none is parallel."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from steer_plugin import ExpertTable, LabelledCorpus
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.cli import run as run_commands
from steer_plugin.responses.probe import probe_units

from support import saved_models
from support.command_line import Steer

COUNTS = {"question": 14, "statement": 9, "casual": 5}
TOP_K = 3


def texts_of(label: str) -> tuple[str, ...]:
    name = "registers" if label in ("formal", "casual") else "questions"
    return LabelledCorpus.bundled(name).sentences[label]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a model, `reviews.csv`, texts of one concept, and others."""
    folder = tmp_path_factory.mktemp("concepts")
    saved_models.save_byte_model(folder / "bytes", 24)
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(
            (text, label) for label, n in COUNTS.items() for text in texts_of(label)[:n]
        )
    (folder / "question.txt").write_text("\n".join(texts_of("question")[:12]), "utf-8")
    (folder / "others.txt").write_text("\n".join(texts_of("casual")[:8]), "utf-8")
    return folder


@pytest.fixture(scope="module")
def adapter(at: Path) -> Any:
    return load_adapter(str(at / "bytes"))


def model(at: Path) -> tuple[str | Path, ...]:
    return ("--model", at / "bytes")


def references(adapter: Any, corpus: LabelledCorpus) -> np.ndarray[Any, Any]:
    """Score the half that finds by scikit-learn, [concept, unit]."""
    finding, _ = corpus.split(seed=0)
    responses, labels = probe_units(adapter, finding).responses, np.array(finding.labels)
    return np.array(
        [
            [roc_auc_score(labels == row, unit) for unit in np.asarray(responses[:]).T]
            for row in range(len(corpus.concepts))
        ]
    )


def test_find_show_and_generate_take_labels_as_they_take_languages(
    at: Path, tmp_path: Path, steer: Steer, adapter: Any
) -> None:
    labels = ("--label", "statement", "--label", "question")
    out = tmp_path / "experts"
    code, printed, err = steer(
        "find", *model(at), "--corpus", at / "reviews.csv", *labels, "--out", out
    )

    assert code == 0, err
    assert printed.split("\n")[1].split()[0] == "statement"
    experts = ExpertTable.load(out)
    assert experts.concepts == ("statement", "question")
    assert experts.provenance["corpus"]["labels"] == {"statement": 4, "question": 7}
    wanted = references(adapter, LabelledCorpus.read(at / "reviews.csv", labels=experts.concepts))
    np.testing.assert_allclose(experts.scores, wanted, rtol=0, atol=1e-6)

    code, printed, err = steer("show", out, "--concept", "question", "--top-k", TOP_K, "--json")
    assert code == 0, err
    shown = pd.DataFrame(json.loads(printed))
    assert shown["concept"].tolist() == ["question"] * TOP_K
    assert shown["auroc"].tolist() == pytest.approx(sorted(wanted[1])[: -TOP_K - 1 : -1])

    steering = ("--experts", out, "--target", "question", "--top-k", TOP_K)
    writing = ("--prompt", "Tea", "--max-new-tokens", 6, "--temperature", 0, "--json")
    code, printed, err = steer("generate", *model(at), *steering, *writing)
    assert code == 0, err
    written = json.loads(printed)
    plan = experts.intervention("question", top_k=TOP_K)
    assert (
        written["after"]["text"]
        == adapter.generate(["Tea"], intervention=plan, max_new_tokens=6, temperature=0.0).texts[0]
    )


def test_find_without_labels_takes_all_of_them_and_one_concept_against_a_background(
    at: Path, tmp_path: Path, steer: Steer, adapter: Any
) -> None:
    code, _, err = steer(
        "find", *model(at), "--corpus", at / "reviews.csv", "--out", tmp_path / "all"
    )
    assert code == 0, err
    assert ExpertTable.load(tmp_path / "all").concepts == tuple(COUNTS)

    one, others = at / "question.txt", at / "others.txt"
    code, _, err = steer(
        "find", *model(at), "--corpus", one, "--against", others, "--out", tmp_path / "one"
    )
    assert code == 0, err
    experts = ExpertTable.load(tmp_path / "one")
    assert experts.concepts == ("question", "background")
    wanted = references(adapter, LabelledCorpus.read(one, against=others))
    np.testing.assert_allclose(experts.scores, wanted, rtol=0, atol=1e-6)


def test_shuffled_labels_are_said_in_the_table_and_score_no_better_than_chance_can(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    asked = ("find", *model(at), "--corpus", at / "reviews.csv")
    tables = []
    for name, more in {"0": (0,), "1": (1,), "again": (1,)}.items():
        code, _, err = steer(*asked, "--shuffle-labels", *more, "--out", tmp_path / name)
        assert code == 0, err
        tables.append(ExpertTable.load(tmp_path / name))
    assert [table.provenance["labels"] for table in tables] == [
        f"shuffled, seed {seed}" for seed in (0, 1, 1)
    ]
    assert (tables[0].scores != tables[1].scores).any()
    np.testing.assert_array_equal(tables[1].scores, tables[2].scores)


@pytest.mark.parametrize(("command", "what"), [("retrieve", "retrieval"), ("align", "alignment")])
def test_what_is_over_translations_is_refused_as_a_usage_error(
    command: str, what: str, at: Path, steer: Steer
) -> None:
    code, out, err = steer(command, "--model", "no such model", "--corpus", at / "reviews.csv")

    assert (code, out) == (2, "")
    *_, error = err.strip().splitlines()
    assert error.startswith(f"Error: {what} is over translations of the same sentences, and quest")


def run_file(at: Path, *more: str) -> Path:
    lines = [
        f'model = "{at / "bytes"}"',
        f'corpus = "{at / "reviews.csv"}"',
        'languages = ["question", "statement"]',
        'targets = ["question"]',
        f"top_k = [{TOP_K}]",
        'methods = ["set-mean", "steer-pca"]',
        "resamples = 20",
        *more,
    ]
    path = at / "run.toml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


GENERATION = (
    "[generation]\nsentences = 3\nseeds = [0, 1]\nmax_new_tokens = 4\ncontext = 32\nstride = 16"
)


def test_compare_puts_methods_on_the_axes_of_what_is_written(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    code, out, err = steer("compare", run_file(at, GENERATION), "--out", tmp_path, "--json")

    assert code == 0, err
    frame = pd.DataFrame(json.loads(out))
    assert list(zip(frame["method"], frame["axis"], strict=True)) == [
        (method, axis)
        for method in ("set-mean", "steer-pca")
        for axis in ("concept probability", "perplexity")
    ]
    assert frame[["pre", "post", "control"]].notna().all(axis=None)
    assert "judged by naive Bayes on the texts that find; on others it tells question with" in err


@pytest.mark.parametrize(
    ("command", "more", "message"),
    [
        ("run", (GENERATION,), "`run` is over translations of the same sentences"),
        (
            "compare",
            (),
            "question, statement are labels, and what steering does to them is seen in",
        ),
    ],
)
def test_what_labels_cannot_be_is_told_before_the_model_is_loaded(
    command: str, more: tuple[str, ...], message: str, at: Path, tmp_path: Path, steer: Steer
) -> None:
    code, out, err = steer(command, run_file(at, *more), "--out", tmp_path)

    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_the_demo_loads_the_model_once_and_prints_two_tables_for_each_pair_of_concepts(
    adapter: Any, tmp_path: Path, steer: Steer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(settings: Any) -> Any:
        loaded.append(settings.model)
        return adapter

    read = run_commands.RunFile.read

    def few(file: run_commands.RunFile) -> Any:
        changes = ("top_k=[3]", "sentences=20", "permutations=3", "generation.sentences=2")
        small = ("generation.seeds=[0,1]", "generation.max_new_tokens=3", "resamples=10")
        return read(run_commands.RunFile(file.file, file.variant, None, (*changes, *small)))

    monkeypatch.setattr(run_commands, "load_model", load)
    monkeypatch.setattr(run_commands.RunFile, "read", few)
    code, out, err = steer("demo", "--concept", "--out", tmp_path)

    assert code == 0, err
    assert loaded == ["demo"]
    tables = [line.split() for line in out.splitlines() if line.split()[0] in ("concept", "method")]
    assert [columns[0] for columns in tables] == ["concept", "method"] * 2
    for label in ("question", "statement", "formal", "casual"):
        assert sum(label in line.split() for line in out.splitlines()) >= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["concepts", "concepts-registers"]
