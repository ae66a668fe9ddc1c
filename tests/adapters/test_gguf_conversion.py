"""A `.gguf` file is converted once, and what is loaded from then on is the same to the last bit."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from steer_plugin import Budget, ModelSettings
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.shared import gguf_conversion
from steer_plugin.cli.main import run_command
from steer_plugin.models.adapter import Adapter

from support import command_line, saved_models

HOSTS = ("transformer_lens", "nnsight")
CONVERTED = "is converted, once, into"
NOT_KEPT = "is not kept converted and loads as slowly again: "
LOAD = """
import sys
from steer_plugin.adapters.loader import load_adapter
load_adapter(sys.argv[1], say=print)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with all that a conversion must not lose: divisors of rotary frequencies too."""
    divisors = torch.tensor([1.0, 1.1, 3.0, 8.0])
    return saved_models.save_gguf(
        tmp_path_factory.mktemp("gguf") / "tiny.gguf", changed={"rope_freqs.weight": divisors}
    )


@pytest.fixture
def cache() -> Path:
    return Path(os.environ["STEER_PLUGIN_CACHE"])


def models_in(cache: Path) -> list[Path]:
    return sorted(path for path in cache.glob("model-*") if path.is_dir())


def load(file: Path, **settings: Any) -> tuple[Adapter, list[str]]:
    """Load a model, and give what was told meanwhile."""
    told: list[str] = []
    budget = settings.pop("budget", None)
    adapter = load_adapter(ModelSettings(str(file), **settings), budget=budget, say=told.append)
    return adapter, told


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("host", HOSTS)
def test_what_is_kept_is_what_the_file_gives_and_is_converted_once(
    host: str, dtype: str, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"host": host, "dtype": dtype}
    plain, lines = load(file, budget=Budget(), **settings)
    assert lines == [
        f"tiny.gguf {NOT_KEPT}no folder for it is given; set STEER_PLUGIN_CACHE to one"
    ]
    assert models_in(cache) == []

    first, lines = load(file, **settings)
    (kept,) = models_in(cache)
    assert [CONVERTED in line for line in lines] == [True]
    assert f"into {kept} (" in lines[0]

    def read_again(*_: Any, **__: Any) -> None:
        raise AssertionError("the file is read again")

    monkeypatch.setattr(gguf_conversion.GGUFLoader, "_read", read_again)
    second, lines = load(file, **settings)
    assert lines == []
    # Name, revision, weights, rotary frequencies, configuration, tokenizer, and answers.
    assert first.identify() == second.identify() == plain.identify()
    assert (
        second.generate(["air"], max_new_tokens=4, temperature=0).texts
        == plain.generate(["air"], max_new_tokens=4, temperature=0).texts
    )


def test_a_file_is_parsed_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    parse = gguf.GGUFReader.__init__

    def counted(self: gguf.GGUFReader, path: str, *options: Any) -> None:
        parsed.append(Path(path))
        parse(self, path, *options)

    monkeypatch.setattr(gguf.GGUFReader, "__init__", counted)
    reader = gguf.GGUFReader
    load(file)
    assert parsed == [file]
    assert gguf.GGUFReader is reader


def test_a_copy_under_another_name_is_not_converted_again(
    file: Path, cache: Path, tmp_path: Path
) -> None:
    load(file)
    copy = Path(shutil.copy(file, tmp_path / "copy.gguf"))

    kept, lines = load(copy)

    assert lines == []
    assert len(models_in(cache)) == 1
    assert kept.info.name == "copy.gguf"
    assert kept.identify() == load(copy, budget=Budget())[0].identify()


@pytest.mark.parametrize(
    "changed", [{"dtype": "bfloat16"}, {"versions": {"transformers": "5.15.0"}}, {"file": True}]
)
def test_other_weights_dtypes_and_versions_are_conversions_of_their_own(
    changed: dict[str, Any],
    file: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load(file)
    if "versions" in changed:
        monkeypatch.setattr(gguf_conversion, "versions", lambda _: changed["versions"])
    if "file" in changed:
        file = saved_models.save_gguf(tmp_path / "tiny.gguf")

    _, lines = load(file, dtype=changed.get("dtype", "float32"))

    assert len(lines) == 1
    assert len(models_in(cache)) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_kept_model_that_was_changed_is_named_and_made_anew(
    name: str,
    damage: Callable[[Path], None],
    file: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = load(file)[0].identify()
    assert run_command(["cache", "verify"]) == 0
    (kept,) = models_in(cache)
    damage(kept / name)
    capsys.readouterr()

    assert run_command(["cache", "verify"]) == 1
    out, err = capsys.readouterr()
    assert out == f"{kept / name}\n"
    assert "1 damaged; whoever reads them next makes them anew" in err

    again, lines = load(file)
    assert [CONVERTED in line for line in lines] == [True]
    assert again.identify() == wanted
    assert run_command(["cache", "verify"]) == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {}, "files": 3}'])
def test_a_kept_model_that_does_not_say_what_it_is_is_made_anew(
    content: str, file: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(file)
    (kept,) = models_in(cache)
    (kept / "about.json").write_text(content)
    capsys.readouterr()

    assert run_command(["cache", "verify", kept.name]) == 1
    assert capsys.readouterr().out == f"{kept / 'about.json'}\n"
    assert len(load(file)[1]) == 1
    assert run_command(["cache", "verify", kept.name]) == 0


def test_kept_models_are_listed_and_deleted(
    file: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(file)
    load(file, dtype="bfloat16")
    kept = models_in(cache)
    capsys.readouterr()

    assert run_command(["cache", "ls", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [path.name for path in kept]
    assert {row["model"] for row in rows} == {"tiny.gguf"}
    assert sorted(row["reads"].partition(",")[0] for row in rows) == [
        "bfloat16 weights",
        "float32 weights",
    ]
    assert [row["bytes"] for row in rows] == [
        sum(path.stat().st_size for path in folder.iterdir()) for folder in kept
    ]
    # One that does not say what it is can be deleted by its name.
    (kept[0] / "about.json").write_text("{")
    assert run_command(["cache", "rm", kept[0].name]) == 0
    assert models_in(cache) == kept[1:]
    assert run_command(["cache", "rm", "--all"]) == 0
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("disk", [None, 1000])
def test_where_a_model_cannot_be_kept_it_is_loaded_and_one_line_says_so(
    disk: int | None, file: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    if disk is None:
        cache.write_text("a file is no folder")
    wanted = load(file)[0].identify()

    adapter, lines = load(file, budget=Budget(cache=cache, disk=disk))

    assert len(lines) == 1
    assert lines[0].startswith(f"tiny.gguf {NOT_KEPT}")
    reason = f"cannot write {cache}/model-" if disk is None else f"kB in {cache}, and there is room"
    assert reason in lines[0]
    assert "\n" not in lines[0]
    assert adapter.identify() == wanted
    assert not cache.is_dir() or models_in(cache) == []


def test_a_disk_that_fills_up_leaves_no_half_of_a_model(file: Path, cache: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        adapter, lines = load(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [line.partition("/")[0] for line in lines[1:]] == [f"tiny.gguf {NOT_KEPT}cannot write "]
    assert list(cache.glob("*model-*/*")) == []
    assert adapter.identify() == load(file)[0].identify()


def test_what_does_not_come_back_as_it_was_is_not_kept(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = gguf_conversion._save
    wanted = load(file, budget=Budget())[0].identify()

    def save_another(model: Any, tokenizer: Any, rest: dict[str, Any], folder: Path) -> None:
        with torch.no_grad():
            model.model.norm.weight[0] += 1e-6
        save(model, tokenizer, rest, folder)

    monkeypatch.setattr(gguf_conversion, "_save", save_another)
    adapter, lines = load(file)

    assert lines[1:] == [
        f"tiny.gguf {NOT_KEPT}transformers does not load what it saves of this model"
    ]
    assert models_in(cache) == []
    assert adapter.identify() == wanted


def test_of_two_processes_one_converts_and_the_other_waits(file: Path, cache: Path) -> None:
    started = [command_line.start(file, code=LOAD) for _ in range(2)]

    ended = [process.finish() for process in started]

    assert [process.code for process in ended] == [0, 0]
    assert sum(CONVERTED in process.out for process in ended) == 1
    assert NOT_KEPT not in "".join(process.out for process in ended)
    assert len(models_in(cache)) == 1
