"""The command line where a terminal lacks characters, a user a home, a folder its own name."""

import io
import json
import os
import pwd
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_plugin import ExpertTable
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.adapters import loader
from steer_plugin.cli import generate as generate_command
from steer_plugin.cli.main import main, run_command
from steer_plugin.cli.model import load_model
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import ModelInfo
from steer_plugin.models.generation import Generation
from steer_plugin.settings.model import ModelSettings

from support import saved_models

JAPANESE = "日本語 café 🎌"


@pytest.fixture
def experts(tmp_path: Path) -> Path:
    """Save a table whose first four units are as good as each other for German."""
    scores = np.array([[1, 1, 1, 1, 0.8, 0.7], [0.9, 0.8, 0.7, 0.6, 0.6, 0.6]], np.float64)
    table = ExpertTable(
        concepts=("deu_Latn", JAPANESE),
        space=UnitSpace("mlp.hook_post", (0, 1), (3, 3)),
        score="auroc",
        scores=scores,
        chance=(0.5, 0.5),
        statistics={"mean": scores},
        provenance={},
    )
    table.save(tmp_path / "experts")
    return tmp_path / "experts"


class Writer:
    """A model that writes Japanese, with the units of the experts."""

    info = ModelInfo("x", "unknown", "a test", n_layers=2, d_model=4, dtype="float32", bos=True)

    def space(self, site: str, layers: tuple[int, ...]) -> UnitSpace:
        return UnitSpace(site, layers, (3,) * len(layers))

    def check_plan(self, intervention: AnyPlan | None) -> None:
        pass

    def generate(self, prompts: Sequence[str], **_: Any) -> Generation:
        return Generation((JAPANESE,) * len(prompts), *[((),) * len(prompts)] * 3)


Printed = Callable[..., tuple[int | str | None, str]]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Run a command whose stdout has an encoding; give its exit code and what it printed there."""

    def run(encoding: str, *arguments: str | Path) -> tuple[int | str | None, str]:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "argv", ["steer-plugin", *map(str, arguments)])
        monkeypatch.setattr(generate_command, "load_model", lambda _: Writer())
        with pytest.raises(SystemExit) as end:
            main()
        stdout.flush()
        # Click writes UTF-8 where stdout is said to have ASCII alone.
        return end.value.code, stdout.buffer.getvalue().decode(  # type: ignore[attr-defined]
            "utf-8" if encoding == "ascii" else encoding
        )

    return run


@pytest.mark.parametrize(("file", "offline"), [("config.json", "1"), ("adapter_config.json", None)])
def test_a_hub_is_asked_for_no_folder_but_for_the_base_of_adapters(
    file: str, offline: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(loader, "load_adapter", lambda *_, **__: Writer())
    (tmp_path / file).write_text('{"base_model_name_or_path": "nobody/nothing"}')
    load_model(ModelSettings(str(tmp_path)))
    assert os.environ.get("HF_HUB_OFFLINE") == offline


ENCODINGS = ["cp1252", "latin-1", "ascii", "shift_jis", "utf-8"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_terminal_that_lacks_characters_loses_none(
    encoding: str, experts: Path, printed: Printed
) -> None:
    steering = ("--experts", experts, "--target", "deu_Latn", "--top-k", "4")
    asked = ("generate", "--model", "x", *steering, "--prompt", JAPANESE)
    text_prints: tuple[tuple[str | Path, ...], ...] = (asked, ("show", experts, "--top-k", "2"))
    for command in text_prints:
        code, out = printed(encoding, *command)
        assert code == 0
        for character in JAPANESE:
            assert character in out or ascii(character)[1:-1] in out
    code, out = printed(encoding, *asked, "--json")
    line = json.loads(out)
    texts = [line["prompt"], line["before"]["text"], line["after"]["text"]]
    assert (code, texts) == (0, [JAPANESE] * 3)
    code, out = printed(encoding, "show", experts, "--json", "--top-k", "1")
    assert [row["concept"] for row in json.loads(out)] == ["deu_Latn", JAPANESE]


@pytest.mark.usefixtures("_homeless")
def test_without_a_home_only_what_needs_a_cache_is_refused(
    experts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = (
        "Error: no folder for responses can be named, since HOME is not set; set "
        "STEER_PLUGIN_CACHE to one, or give --cache\n"
    )
    for command in (
        ["cache", "ls"],
        ["cache", "verify"],
        ["cache", "rm", "--all"],
        ["find", "--model", "x", "--out", str(tmp_path / "out")],
    ):
        assert run_command(command) == 1
        assert capsys.readouterr() == ("", refused)
    assert run_command(["cache", "ls", "--cache", str(tmp_path)]) == 0
    assert run_command(["show", str(experts), "--top-k", "1"]) == 0
    # A shard needs no cache: the next thing that it lacks is a model.
    missing = str(tmp_path / "no-model")
    shard = ["find", "--shard", "1/2", "--out", str(tmp_path / "out"), "--model", missing]
    assert run_command(shard) == 1
    assert "no model folder" in capsys.readouterr().err


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: object) -> None:
        raise KeyError

    for name in [name for name in os.environ if name == "HOME" or name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("STEER_PLUGIN_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("_homeless")
@pytest.mark.parametrize(
    "options",
    [
        ("--corpus", "~/corpus.tsv"),
        ("--model", "~/model", "--shard", "1/2"),
        ("--model", "demo", "--shard", "1/2"),
    ],
)
def test_a_path_in_no_home_is_one_line(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["find", "--model", "x", "--out", str(tmp_path / "out"), *options]) == 1
    err = capsys.readouterr().err.splitlines()
    assert "home folder" in err[-1]
    assert err[-1].startswith("Error: ")


@pytest.mark.usefixtures("_homeless")
def test_a_library_that_needs_a_home_is_told_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As nnsight does while it is imported, to look for its own settings."""
    folder = saved_models.save_model(tmp_path / "model")
    monkeypatch.setattr(loader, "_load", lambda *_: Path("~/.config/nnsight").expanduser())
    asked = ["find", "--shard", "1/2", "--host", "nnsight", "--model", str(folder)]
    assert run_command([*asked, "--out", str(tmp_path / "out")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    assert line.endswith("Could not determine home directory.; set HOME to a folder of yours")


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (("find", "--model", "some/model"), "some/model"),
        (("find", "--model", "some/model"), "./some/model/results"),
        (("find", "--model", "here"), "here"),
        (("run", "sundar2025-small.toml", "--model", "some/model"), "some/model"),
    ],
)
def test_results_never_take_the_name_of_the_model(
    command: tuple[str, ...],
    out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert run_command([*command, "--out", out]) == 2
    err = capsys.readouterr().err
    assert f"a folder {Path(out)} would be taken for the model" in err
    assert not (tmp_path / "some").exists()


def test_show_and_a_plan_say_how_many_tie_at_the_edge(
    experts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ExpertTable.load(experts)
    line = "deu_Latn: 2 more units score as the last of the 2 does; lower layers and indices go"
    for view in ("units", "layers", "overlap"):
        assert run_command(["show", str(experts), "--top-k", "2", "--view", view]) == 0
        assert capsys.readouterr().err.splitlines() == [f"{line} first"]
    assert run_command(["show", str(experts), "--top-k", "4"]) == 0
    assert capsys.readouterr().err.startswith(
        f"{JAPANESE}: 2 more units score as the last of the 4"
    )
    tied = [
        table.intervention("deu_Latn", top_k=k).provenance["tied_at_edge"] for k in (0, 1, 2, 4, 6)
    ]
    assert tied == [0, 3, 2, 0, 0]
