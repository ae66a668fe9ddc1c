"""A large file's hash is computed once, and again when the file may be another."""

import json
import os
from pathlib import Path

import pytest

from steer_plugin.storage import file_hashes
from steer_plugin.storage.file_hashes import MEMORY, FileHashes, sha256


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Take every file for large and settled, and note which are read."""
    paths: list[Path] = []

    def noted(path: Path) -> str:
        paths.append(path)
        return sha256(path)

    monkeypatch.setattr(file_hashes, "LARGE", 0)
    monkeypatch.setattr(file_hashes, "SETTLED_NS", -1)
    monkeypatch.setattr(file_hashes, "sha256", noted)
    return paths


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


def test_a_file_is_read_once_by_all_who_share_a_memory(
    file: Path, tmp_path: Path, read: list[Path]
) -> None:
    for _ in range(3):
        assert FileHashes(tmp_path / "cache").sha256(file) == sha256(file)

    assert read == [file]


def test_other_content_of_the_same_size_and_time_is_another_hash(
    file: Path, tmp_path: Path, read: list[Path]
) -> None:
    hashes = FileHashes(tmp_path / "cache")
    before, times = hashes.sha256(file), file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert hashes.sha256(file) == sha256(file) != before
    assert len(read) == 2


def test_what_was_written_a_moment_ago_is_not_remembered(
    file: Path, tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 10**12)
    hashes = FileHashes(tmp_path / "cache")

    assert hashes.sha256(file) == hashes.sha256(file)
    assert len(read) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": [1, 2, 3]}', "\xff"])
def test_a_damaged_memory_is_made_anew(
    content: str, file: Path, tmp_path: Path, read: list[Path]
) -> None:
    (tmp_path / MEMORY).write_text(content, encoding="latin-1")
    hashes = FileHashes(tmp_path)

    assert hashes.sha256(file) == hashes.sha256(file) == sha256(file)
    assert read == [file]


def test_a_memory_that_cannot_be_written_costs_time_alone(file: Path, read: list[Path]) -> None:
    hashes = FileHashes(file)  # a file is no folder

    assert hashes.sha256(file) == hashes.sha256(file) == sha256(file)
    assert len(read) == 2


@pytest.mark.usefixtures("read")
def test_a_wrong_memory_is_named_and_forgotten(file: Path, tmp_path: Path) -> None:
    hashes = FileHashes(tmp_path / "cache")
    hashes.sha256(file)
    assert hashes.wrong() == []
    memory = tmp_path / "cache" / MEMORY
    (stamp, _), name = json.loads(memory.read_text())[str(file)], str(file)
    memory.write_text(json.dumps({name: [stamp, "0" * 64]}))
    assert hashes.sha256(file) == "0" * 64

    assert hashes.wrong() == [file]
    assert hashes.sha256(file) == sha256(file)
