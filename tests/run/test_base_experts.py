"""A run file that names the experts of a base model for its chat model."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import transformers

from steer_plugin import ExpertTable
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.analyses.run.results import Results
from steer_plugin.cli.main import run_command

from support import saved_models, tiny_models
from support.command_line import Steer
from support.runs import write_settings

CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ '<' + message['role'] + '> ' "
    "+ message['content'] + ' ' }}{% endfor %}"
)


def save_chat(folder: Path, *, width: int | None = None, layers: int | None = None) -> None:
    """Save a chat model as large as the base model, or of another shape, with other weights."""
    saved_models.save_model(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.intermediate_size = width or config.intermediate_size
    config.num_hidden_layers = layers or config.num_hidden_layers
    transformers.set_seed(7)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with `llama` and its experts, a chat model of it, and two of other shapes."""
    folder = tmp_path_factory.mktemp("given")
    saved_models.save_model(folder / "llama")
    saved_models.save_corpus(folder / "corpus.tsv")
    save_chat(folder / "chat")
    save_chat(folder / "wide", width=40)
    save_chat(folder / "deep", layers=tiny_models.N_LAYERS + 1)
    find = ("find", "--model", folder / "llama", "--corpus", folder / "corpus.tsv", "--cache")
    for name, more in {"experts": (), "mean": ("--pooling", "mean"), "seed": SEED}.items():
        given = (*find, folder / "cache", "--out", folder / name, *more)
        assert run_command(list(map(str, given))) == 0
    return folder


SEED = ("--split-seed", "1")


def chat_file(at: Path, tmp_path: Path, *more: str) -> Path:
    lines = ("chat = true", f'experts = "{at / "experts"}"', *more)
    file = write_settings(tmp_path / "chat.toml", at, "corpus.tsv", *lines)
    file.write_text(file.read_text().replace(str(at / "llama"), str(at / "chat")))
    return file


def test_a_chat_model_is_steered_at_the_experts_of_its_base_and_both_are_named(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    file, out = chat_file(at, tmp_path), tmp_path / "out"
    code, _, err = steer("run", file, "--out", out)
    base, chat = "llama", "chat"

    assert code == 0, err
    assert f"Note: the experts' model has name {base}, this one {chat}" in err
    assert "Note: the experts' model has chat False, this one True" in err
    results = Results.load(out / "results")
    told = results.provenance
    assert (told["model"], told["found_on"], told["chat"]) == (
        chat,
        base,
        "by the model's template",
    )
    assert told["experts"] == str(at / "experts")
    given = ExpertTable.load(at / "experts")
    assert ExpertTable.load(out / "experts").provenance == given.provenance
    best = given.frame("deu_Latn", 6)
    curve = results.curve[results.curve["concept"] == "deu_Latn"].head(6)
    assert (
        curve[["layer", "index"]].to_numpy().tolist()
        == best[["layer", "index"]].to_numpy().tolist()
    )
    # What is scored again is so in the chat model.
    own = tmp_path / "own.toml"
    own.write_text(
        "\n".join(line for line in file.read_text().split("\n") if "experts" not in line)
    )
    assert steer("run", own, "--out", tmp_path / "own")[0] == 0
    judged = (ExpertTable.load(folder / "experts-judged") for folder in (out, tmp_path / "own"))
    assert len({table.scores.tobytes() for table in judged}) == 1
    without = Results.load(tmp_path / "own" / "results")
    assert "found_on" not in without.provenance
    # The model as it is, is the same one.
    for table in (results.retrieval, without.retrieval):
        assert set(table["target"]) == {"deu_Latn"}
    pd.testing.assert_series_equal(results.retrieval["pre"], without.retrieval["pre"])
    assert (results.retrieval["post"] != without.retrieval["post"]).any()
    (page,) = out.glob("*.html")
    assert f"experts found on {base}, put on {chat}" in page.read_text()
    assert f"They were ranked in {base}, and scored again in {chat}." in page.read_text()
    code, _, err = steer("run", file, "--out", out)
    assert code == 0
    assert "Probing" not in err


def test_the_methods_of_given_experts_are_compared(at: Path, tmp_path: Path, steer: Steer) -> None:
    code, out, err = steer("compare", chat_file(at, tmp_path), "--out", tmp_path / "o", "--json")

    assert code == 0, err
    assert {row["method"] for row in json.loads(out)} == {
        *("set-mean", "set-median", "blend-mean", "add-mean-difference", "aura", "zero")
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model={at}/wide", "of llama (3 blocks of 24 units at mlp.hook_post, d_model 16), "),
        ("model={at}/deep", "and deep has other units (4 blocks of 24 units at mlp.hook_post"),
        ("experts={at}/mean", "have pooling mean, and the run max; change the run file, or find"),
        ("experts={at}/seed", "were not found on the "),
        ("source=eng_Latn", "have source none, and the run eng_Latn"),
        ("operation=affine", "have lines none, and the run linear transport"),
        ("permutations=3", "experts: Input should be left out beside permutations, for which the"),
        ("methods=['steer-pca']", "should be left out beside the method steer-pca, for which"),
        ("controls=['shuffled-labels']", "beside the control shuffled-labels, for which the run"),
        ("experts={at}/nothing", "nothing holds no saved experts"),
    ],
)
def test_experts_that_do_not_suit_the_run_are_refused_in_one_line(
    change: str, message: str, at: Path, tmp_path: Path, steer: Steer
) -> None:
    file = chat_file(at, tmp_path)

    code, out, err = steer("run", file, "--out", tmp_path / "o", "--set", change.format(at=at))

    assert (code, out) == (1, "")
    *_, error = err.strip().splitlines()
    assert error.startswith("Error: ")
    assert message.format(at=at) in error


def test_a_run_takes_no_experts_of_some_blocks_alone(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    table = ExpertTable.load(at / "experts")
    units = table.space.layer_slice(0)
    some = dataclasses.replace(
        table,
        space=UnitSpace(table.space.site, (0,), table.space.widths[:1]),
        scores=table.scores[:, units],
        statistics={name: rows[:, units] for name, rows in table.statistics.items()},
    )
    some.save(tmp_path / "some")
    file = chat_file(at, tmp_path)

    code, _, err = steer(
        "run", file, "--out", tmp_path / "o", "--set", f"experts={tmp_path / 'some'}"
    )

    assert code == 1
    assert "Error: the experts are of 1 of 3 blocks, and a run takes all; give " in err


def test_the_command_line_refuses_experts_of_a_model_with_other_units(
    at: Path, steer: Steer
) -> None:
    steering = ("--experts", at / "experts", "--target", "deu_Latn", "--top-k", 3)
    for command in (("generate",), ("retrieve", "--corpus", at / "corpus.tsv")):
        code, out, err = steer(*command, "--model", at / "wide", *steering)
        assert (code, out) == (1, "")
        assert "and wide has other units (3 blocks of 40 units at mlp.hook_post" in err
