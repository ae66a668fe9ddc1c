import contextlib
import json
import os
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.errors import ArtifactError
from steer_plugin.storage.artifacts import (
    FORMAT_VERSION,
    one_line,
    read_artifact,
    whole_file,
    whole_folder,
    write_artifact,
)

ROOM = 200_000
NOBODY = 65534


def save(folder: Path, number: int, size: int = 10) -> None:
    write_artifact(
        folder,
        "numbers",
        {"number": number},
        tensors={"all": np.full(size, number, dtype=np.float64)},
        tables={"rows": pd.DataFrame({"number": np.arange(size) + number})},
    )


def number(folder: Path) -> int:
    """Read the whole of a result; every part of it says the same."""
    artifact = read_artifact(folder, "numbers")
    found = int(artifact.config["number"])
    assert set(artifact.tensors()["all"].tolist()) == {float(found)}
    assert artifact.table("rows")["number"].tolist()[0] == found
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    config = {"name": "Übung 練習", "share": 0.1, "k": [1, 2], "none": None}
    tensors: dict[str, np.ndarray] = {
        "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
        "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "empty": np.zeros((0, 4)),
        "number": np.array(7, dtype=np.int64),
    }
    frame = pd.DataFrame({"text": ["a", "日本"], "value": [0.25, None], "count": [1, 2]})
    write_artifact(tmp_path / "new" / "one", "mixed", config, tensors=tensors, tables={"t": frame})
    artifact = read_artifact(tmp_path / "new" / "one", "mixed")
    assert artifact.config == config
    assert artifact.folder == tmp_path / "new" / "one"
    loaded = artifact.tensors()
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    pd.testing.assert_frame_equal(artifact.table("t"), frame)


def test_the_config_names_kind_version_and_package(tmp_path: Path) -> None:
    save(tmp_path / "one", 1)
    header = json.loads((tmp_path / "one" / "config.json").read_text(encoding="utf-8"))
    assert header["kind"] == "numbers"
    assert header["format_version"] == FORMAT_VERSION == 1
    assert header["steer_plugin"][0].isdigit()
    assert names(tmp_path / "one") == ["config.json", "rows.parquet", "tensors.safetensors"]


def test_a_new_result_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    save(tmp_path / "one", 1)
    (tmp_path / "one" / "left over").touch()
    save(tmp_path / "one", 2)
    assert number(tmp_path / "one") == 2
    assert names(tmp_path / "one") == ["config.json", "rows.parquet", "tensors.safetensors"]
    assert names(tmp_path) == ["one"]


def test_results_are_readable_to_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(tmp_path / "one", 1)
        with whole_file(tmp_path / "two") as draft:
            draft.write_text("two", encoding="utf-8")
    finally:
        os.umask(before)
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "two").stat().st_mode & 0o777 == 0o640


def fill_half_a_folder(folder: Path, error: BaseException) -> None:
    with whole_folder(folder) as draft:
        (draft / "half").write_text("half", encoding="utf-8")
        raise error


def fill_half_a_file(path: Path, error: BaseException) -> None:
    with whole_file(path) as draft:
        draft.write_text("half", encoding="utf-8")
        raise error


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
@pytest.mark.parametrize("was_there", [False, True])
def test_a_folder_that_fails_halfway_leaves_what_stood_there(
    tmp_path: Path, error: BaseException, was_there: bool
) -> None:
    if was_there:
        save(tmp_path / "one", 1)
    with pytest.raises(type(error)):
        fill_half_a_folder(tmp_path / "one", error)
    assert names(tmp_path) == (["one"] if was_there else [])
    if was_there:
        assert number(tmp_path / "one") == 1


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
@pytest.mark.parametrize("was_there", [False, True])
def test_a_file_that_fails_halfway_leaves_what_stood_there(
    tmp_path: Path, error: BaseException, was_there: bool
) -> None:
    if was_there:
        (tmp_path / "one").write_text("whole", encoding="utf-8")
    with pytest.raises(type(error)):
        fill_half_a_file(tmp_path / "one", error)
    assert names(tmp_path) == (["one"] if was_there else [])
    if was_there:
        assert (tmp_path / "one").read_text(encoding="utf-8") == "whole"


def test_ctrl_c_between_the_two_renames_brings_the_old_result_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "one", 1)
    replace = Path.replace
    target = tmp_path / "one"

    def interrupted(self: Path, other: Path) -> Path:
        if Path(other) == target and not target.exists() and ".old." not in str(self):
            raise KeyboardInterrupt
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(target, 2)
    assert number(target) == 1
    assert names(tmp_path) == ["one"]


def test_writers_at_the_same_time_leave_one_whole_result(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def write(first: int) -> None:
        try:
            for step in range(15):
                save(tmp_path / "one", first + step)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(100 * writer,)) for writer in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert number(tmp_path / "one") % 100 == 14
    assert names(tmp_path) == ["one"]


def test_an_open_file_stays_as_it_was_when_its_name_goes_to_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")
    with path.open(encoding="utf-8") as reader:
        with whole_file(path) as draft:
            assert draft.suffix == ".html"
            draft.write_text("new", encoding="utf-8")
            assert path.read_text(encoding="utf-8") == "old"
        assert reader.read() == "old"
    assert path.read_text(encoding="utf-8") == "new"


@contextlib.contextmanager
def limited_file_size() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(mount_point: Path) -> Iterator[None]:
    """Put a disk of its own under the folder, where this process may; else limit its files."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(mount_point)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        with limited_file_size():
            yield
        return
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


@pytest.fixture(params=["full disk", "limited files"])
def cramped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Give a folder that holds one small result, and in which 200 kB do not fit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder) if request.param == "full disk" else limited_file_size():
        save(folder / "one", 1)
        yield folder


def write_large_tensors(folder: Path) -> None:
    write_artifact(folder, "numbers", {}, tensors={"all": np.zeros(ROOM)})


def write_large_table(folder: Path) -> None:
    noise = np.random.default_rng(0).normal(size=ROOM)
    write_artifact(folder, "numbers", {}, tables={"rows": pd.DataFrame({"noise": noise})})


def write_large_config(folder: Path) -> None:
    write_artifact(folder, "numbers", {"text": "x" * ROOM})


def write_large_file(path: Path) -> None:
    with whole_file(path) as draft:
        draft.write_bytes(b"x" * (2 * ROOM))


@pytest.mark.parametrize("write", [write_large_tensors, write_large_table, write_large_config])
@pytest.mark.parametrize("name", ["one", "two"])
def test_a_folder_that_does_not_fit_the_disk_is_one_line_and_leaves_what_is_there(
    cramped: Path, write: Callable[[Path], None], name: str
) -> None:
    with pytest.raises(
        ArtifactError, match=rf"^cannot write {cramped / name}: .*free some space"
    ) as e:
        write(cramped / name)
    assert "\n" not in str(e.value)
    assert number(cramped / "one") == 1
    assert names(cramped) == ["one"]
    save(cramped / "two", 2)
    assert number(cramped / "two") == 2


def test_a_file_that_does_not_fit_the_disk_is_one_line_and_leaves_what_is_there(
    cramped: Path,
) -> None:
    (cramped / "page.html").write_text("whole", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"^cannot write .*page\.html: .*free some space") as e:
        write_large_file(cramped / "page.html")
    assert "\n" not in str(e.value)
    assert (cramped / "page.html").read_text(encoding="utf-8") == "whole"
    assert names(cramped) == ["one", "page.html"]


@contextlib.contextmanager
def no_privileges() -> Iterator[None]:
    """Step down from root, who may write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def write_a_file(path: Path) -> None:
    with whole_file(path) as draft:
        draft.write_text("text", encoding="utf-8")


@pytest.mark.parametrize("write", [lambda path: save(path, 2), write_a_file])
@pytest.mark.parametrize("name", ["one", "two", "deeper/three"])
def test_a_folder_that_may_not_be_written_in_is_one_line(
    tmp_path: Path, write: Callable[[Path], None], name: str
) -> None:
    save(tmp_path / "one", 1)
    tmp_path.chmod(0o555)
    try:
        with no_privileges(), pytest.raises(ArtifactError, match=r"^cannot write ") as caught:
            write(tmp_path / name)
    finally:
        tmp_path.chmod(0o755)
    assert "\n" not in str(caught.value)
    assert number(tmp_path / "one") == 1
    assert names(tmp_path) == ["one"]


def test_a_name_that_a_file_has_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("mine", encoding="utf-8")
    for target in (tmp_path / "one", tmp_path / "one" / "deeper"):
        with pytest.raises(ArtifactError, match=r"^cannot write .*one"):
            save(target, 1)
    assert (tmp_path / "one").read_text(encoding="utf-8") == "mine"
    assert names(tmp_path) == ["one"]


def test_a_name_that_a_folder_has_is_refused_for_a_file(tmp_path: Path) -> None:
    save(tmp_path / "one", 1)
    with pytest.raises(ArtifactError, match=r"^cannot write .*one"):
        write_a_file(tmp_path / "one")
    assert number(tmp_path / "one") == 1
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize("name", ["config.json", "tensors.safetensors", "rows.parquet"])
def test_a_truncated_file_is_one_line_that_names_it(
    tmp_path: Path, name: str, share: float
) -> None:
    save(tmp_path / "one", 1, size=100)
    path = tmp_path / "one" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 2))])
    with pytest.raises(ArtifactError, match=rf"^cannot read {path}: .*make it again$") as caught:
        number(tmp_path / "one")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tensors.safetensors", "rows.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save(tmp_path / "one", 1)
    (tmp_path / "one" / name).unlink()
    with pytest.raises(ArtifactError, match=rf"cannot read .*{name}"):
        number(tmp_path / "one")


def test_a_config_that_is_no_text_is_named(tmp_path: Path) -> None:
    save(tmp_path / "one", 1)
    (tmp_path / "one" / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ArtifactError, match=r"cannot read .*config\.json"):
        read_artifact(tmp_path / "one", "numbers")


def changed(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    header = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in {**header, **fields}.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "letters"}, "holds 'letters', not a whole 'numbers'; give another folder"),
        ({"kind": None}, "holds 'something else', not a whole 'numbers'"),
        ({"content": None}, "holds 'numbers', not a whole 'numbers'"),
        ({"content": [1]}, "holds 'numbers', not a whole 'numbers'"),
        ({"format_version": None}, "holds 'numbers', not a whole 'numbers'"),
        ({"format_version": "1"}, "holds 'numbers', not a whole 'numbers'"),
        (
            {"format_version": FORMAT_VERSION + 1},
            "has format version 2, this package reads up to 1; install a newer steer-plugin",
        ),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    save(tmp_path / "one", 1)
    changed(tmp_path / "one", **fields)
    with pytest.raises(ArtifactError, match=rf"config\.json {message}"):
        read_artifact(tmp_path / "one", "numbers")


def test_a_config_that_is_no_object_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "one", 1)
    (tmp_path / "one" / "config.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ArtifactError, match="holds 'something else', not a whole 'numbers'"):
        read_artifact(tmp_path / "one", "numbers")


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_a_result_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=rf"{name} holds no saved numbers"):
        read_artifact(tmp_path / name, "numbers")


def test_a_message_is_put_on_one_line() -> None:
    assert one_line(ValueError("two\n  lines\there")) == "two lines here"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_every_file_of_a_result_can_be_read_by_whoever_may_read_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "result"
    write_artifact(folder, "thing", {}, tensors={"a": np.zeros(2)}, tables={"b": pd.DataFrame()})
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {folder.stat().st_mode & 0o666}


def test_some_tensors_are_read_alone(tmp_path: Path) -> None:
    tensors = {"a": np.arange(3), "b": np.arange(4.0), "c": np.zeros((0, 2))}
    write_artifact(tmp_path / "it", "numbers", {}, tensors=tensors)
    artifact = read_artifact(tmp_path / "it", "numbers")

    found = artifact.some_tensors(["c", "a"])

    assert list(found) == ["c", "a"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, tensors[name])
    with pytest.raises(ArtifactError, match=r"cannot read .*delete its folder and make it again"):
        artifact.some_tensors(["a", "d"])
