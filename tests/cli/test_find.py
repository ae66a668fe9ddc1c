"""`find`, `merge` and `cache` as a user meets them."""

import json
import os
import re
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from steer_plugin import (
    ExpertTable,
    ModelSettings,
    ParallelCorpus,
    ProbeSettings,
    find_experts,
)
from steer_plugin.adapters.loader import load_adapter

from support import command_line, saved_models
from support.command_line import Steer
from support.same_answers import assert_same


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("at")
    saved_models.save_model(folder / "llama")
    saved_models.save_corpus(folder / "corpus.tsv")
    return folder


@pytest.fixture
def cache() -> Path:
    return Path(os.environ["STEER_PLUGIN_CACHE"])


def asked(at: Path) -> list[Any]:
    return ["find", "--model", at / "llama", "--corpus", at / "corpus.tsv", "--batch-tokens", 64]


def parts_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_saved(one: Path, other: Path) -> None:
    assert_same(ExpertTable.load(one), ExpertTable.load(other))


def test_a_command_that_is_refused_leaves_no_folder(at: Path, tmp_path: Path, steer: Steer) -> None:
    """Of those that make the folder before the long work."""
    shutil.copytree(at / "llama", tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    find = ["find", "--model", tmp_path / "broken", "--corpus", at / "corpus.tsv"]
    (tmp_path / "kept").mkdir()

    for arguments in (find, [*find, "--shard", "1/2"], ["merge", tmp_path / "no-shard"]):
        code, _, err = steer(*arguments, "--out", tmp_path / "made" / "out")
        assert (code, "Error: " in err) == (1, True)
        assert not (tmp_path / "made").exists()
    # A folder that was there before stays.
    assert steer(*find, "--out", tmp_path / "kept")[0] == 1
    assert (tmp_path / "kept").is_dir()


def test_the_plan_is_told_before_the_work_and_what_it_kept_serves_again(
    at: Path, tmp_path: Path, cache: Path, steer: Steer
) -> None:
    code, _, err = steer(*asked(at), "--out", tmp_path / "one")

    assert code == 0, err
    plan, work = err.index("Plan: 36 texts pass through the model once"), err.index("find:")
    assert plan < work
    assert "10.4 kB of responses on disk, 72 units of them in memory at a time" in err
    assert f"{cache}" in err
    written = {path: path.stat().st_mtime_ns for path in parts_in(cache)}
    code, _, err = steer(*asked(at), "--out", tmp_path / "two")
    assert code == 0, err
    assert "find:   0%" not in err
    assert {path: path.stat().st_mtime_ns for path in parts_in(cache)} == written
    assert_same_saved(tmp_path / "two", tmp_path / "one")


def test_each_language_is_told_from_the_source_alone(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    source = ("--source", "eng_Latn")
    assert steer(*asked(at), *source, "--out", tmp_path / "one")[0] == 0
    for number in (1, 2):
        shard = ("--shard", f"{number}/2", "--out", tmp_path / f"shard-{number}")
        assert steer(*asked(at), *source, *shard)[0] == 0
    shards = [tmp_path / f"shard-{number}" for number in (1, 2)]
    assert steer("merge", *shards, "--out", tmp_path / "merged")[0] == 0

    table = ExpertTable.load(tmp_path / "one")
    finding, _ = ParallelCorpus.read(at / "corpus.tsv").split(seed=0)
    adapter = load_adapter(ModelSettings(str(at / "llama"), batch_tokens=64))
    wanted = find_experts(adapter, finding, ProbeSettings(source="eng_Latn"))
    assert "eng_Latn" not in table.concepts
    assert_same(table, wanted)
    assert_same_saved(tmp_path / "merged", tmp_path / "one")
    code, _, err = steer(*asked(at), "--source", "tha_Thai", "--out", tmp_path / "two")
    assert code == 1
    assert "'tha_Thai' is not in the corpus; it has: " in err.splitlines()[-1]


def test_a_flipped_byte_is_found_by_verify_and_mended_by_find(
    at: Path, tmp_path: Path, cache: Path, steer: Steer
) -> None:
    steer(*asked(at), "--out", tmp_path / "one")
    assert steer("cache", "verify")[:2] == (0, "")
    part = parts_in(cache)[1]
    content = bytearray(part.read_bytes())
    content[-3] ^= 16
    part.write_bytes(content)

    code, out, err = steer("cache", "verify")
    assert (code, out) == (1, f"{part}\n")
    assert "1 damaged" in err

    assert steer(*asked(at), "--out", tmp_path / "two")[0] == 0
    assert_same_saved(tmp_path / "two", tmp_path / "one")
    assert steer("cache", "verify")[0] == 0


def test_the_cache_is_listed_and_deleted_by_name(
    at: Path, tmp_path: Path, cache: Path, steer: Steer
) -> None:
    assert steer("cache", "ls") == (0, "", f"{cache} keeps nothing\n")
    assert json.loads(steer("cache", "ls", "--json")[1]) == []
    for pooling in ("max", "mean"):
        steer(*asked(at), "--pooling", pooling, "--out", tmp_path / pooling)

    rows = json.loads(steer("cache", "ls", "--json")[1])
    reads = {row["reads"]: row for row in rows}
    row = reads["max of mlp.hook_post"]
    assert row["model"] == "llama"
    assert row["texts"] == "36 of 36"
    assert row["bytes"] == sum(path.stat().st_size for path in parts_in(cache / row["name"]))
    printed = steer("cache", "ls")[1]
    assert all(row["name"] in printed for row in rows)

    code, _, err = steer("cache", "rm", row["name"])
    assert code == 0
    assert re.fullmatch(r"Deleted [0-9.]+ kB\n", err)
    (left,) = json.loads(steer("cache", "ls", "--json")[1])
    assert left["reads"] == "mean of mlp.hook_post"
    assert steer("cache", "rm", "--all")[0] == 0
    assert list(cache.iterdir()) == []
    code, _, err = steer("cache", "rm", row["name"])
    assert code == 1
    assert f"keeps nothing called {row['name']}; it is empty" in err


def test_shards_of_several_commands_merge_to_what_one_command_finds(
    at: Path, tmp_path: Path, steer: Steer
) -> None:
    assert steer(*asked(at), "--out", tmp_path / "alone")[0] == 0
    for number in (1, 2, 3):
        code, out, err = steer(
            *asked(at), "--shard", f"{number}/3", "--out", tmp_path / f"{number}"
        )
        assert (code, out) == (0, ""), err
    folders = [tmp_path / str(number) for number in (1, 2, 3)]

    code, _, err = steer("merge", *folders[:2], "--out", tmp_path / "two")
    assert code == 1
    assert "texts are in none of the shards 1/3, 2/3" in err
    code, out, err = steer("merge", *folders, "--out", tmp_path / "all", "--memory", "1MiB")
    assert code == 0, err
    assert "deu_Latn" in out
    assert_same_saved(tmp_path / "all", tmp_path / "alone")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3/2"], "'3/2' is no share; give one such as 1/4"),
        (["--shard", "half"], "'half' is no share"),
        (["--shard", "1/2", "--disk", "1GB"], "--disk does nothing for a shard"),
        (["--memory", "much"], "'much' is no size; give one such as 4GB"),
        (["--memory", "0"], "'0' is no size"),
        (["--disk", "-1GB"], "is no size"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    at: Path, tmp_path: Path, steer: Steer, options: list[str], message: str
) -> None:
    code, _, err = steer(*asked(at), *options, "--out", tmp_path / "new")
    assert code == 2
    assert message in " ".join(err.split())


@pytest.mark.parametrize("names", [[], ["--all", "0123456789abcdef"]])
def test_rm_wants_names_or_all(steer: Steer, names: list[str]) -> None:
    code, _, err = steer("cache", "rm", *names)
    assert code == 2
    assert "give the names of what to delete, or --all" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "1kB"], "1 kB of memory were given, but the scores and statistics of"),
        (["--disk", "1kB"], "take 3.46 kB, there is room for 1 kB; free some"),
    ],
)
def test_too_little_room_is_told_before_the_model_runs(
    at: Path, tmp_path: Path, cache: Path, steer: Steer, options: list[str], message: str
) -> None:
    code, _, err = steer(*asked(at), *options, "--out", tmp_path / "new")
    assert code == 1
    assert message in err
    assert "find:" not in err
    assert not cache.exists()


def test_a_disk_that_fills_up_is_told_and_find_goes_on_when_there_is_room(
    at: Path, tmp_path: Path, cache: Path, steer: Steer
) -> None:
    steer(*asked(at), "--out", tmp_path / "wanted")
    sizes = [path.stat().st_size for path in parts_in(cache)]
    shutil.rmtree(cache)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    # Not all parts are so small.
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) - 1, limits[1]))
    try:
        code, printed, err = steer(*asked(at), "--out", tmp_path / "found")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (code, printed) == (1, "")
    assert err.splitlines()[-1].endswith("; free some space or choose another place")
    left = parts_in(cache)
    assert len(left) < len(sizes)
    assert steer("cache", "verify")[0] == 0
    assert steer(*asked(at), "--out", tmp_path / "found")[0] == 0
    assert set(left) < set(parts_in(cache))
    assert_same_saved(tmp_path / "found", tmp_path / "wanted")


def test_find_goes_on_after_a_kill_and_after_ctrl_c_and_earlier_experts_stay(
    at: Path, tmp_path: Path, cache: Path, steer: Steer
) -> None:
    out = tmp_path / "experts"
    assert steer(*asked(at), "--out", out)[0] == 0
    assert steer("cache", "rm", "--all")[0] == 0
    earlier = contents(out)
    corpus = saved_models.save_corpus(tmp_path / "long.tsv", sentences=120)
    find = ("find", "--model", at / "llama", "--corpus", corpus, "--batch-tokens", 1, "--out", out)

    process = command_line.start(*find)
    told = process.until(r"find: +\d+%.* [1-9]\d*/180 ")
    code, _, _ = process.stop(signal.SIGKILL)

    assert told.startswith(f"Loading {at / 'llama'}\nIt runs on cpu in float32\nPlan: ")
    assert (code, contents(out)) == (-signal.SIGKILL, earlier)
    after_kill = parts_in(cache)
    assert after_kill

    process = command_line.start(*find)
    process.until(r"find: +\d+%.* [1-9]\d*/180 ")
    code, printed, err = process.stop(signal.SIGINT)

    assert (code, printed, contents(out)) == (130, "", earlier)
    assert err.splitlines()[-1] == (
        "Interrupted. What was finished is kept; `find`, `run`, `compare` and `demo` go on from "
        "there."
    )
    assert "Traceback" not in err
    after_ctrl_c = parts_in(cache)
    assert set(after_kill) <= set(after_ctrl_c)

    assert steer(*find)[0] == 0
    assert set(after_ctrl_c) <= set(parts_in(cache))
    assert steer("cache", "rm", "--all")[0] == 0
    assert steer(*find[:-1], tmp_path / "undisturbed")[0] == 0
    assert_same_saved(out, tmp_path / "undisturbed")
