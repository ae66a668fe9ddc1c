"""A pass over texts that is broken off goes on at the batch where it was."""

import contextlib
import dataclasses
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steer_plugin import Intervention
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ArtifactError, ModelError
from steer_plugin.models.adapter import UNKNOWN, Adapter, Batch, ModelInfo, Reading
from steer_plugin.models.generation import Generation
from steer_plugin.responses import forward_pass
from steer_plugin.responses.forward_pass import gather, gather_on_disk
from steer_plugin.responses.pass_cache import Cache
from steer_plugin.responses.pass_folder import BatchFile, PassFolder
from steer_plugin.settings.names import FINAL_NORM

from support import tiny_models
from support.plans import intervention, plan
from support.tiny_models import Tiny

TEXTS = [" ".join(tiny_models.WORDS[start : start + 3]) for start in range(12)]
NOBODY = 65534
READINGS = (Reading("mlp.hook_post", "max"), Reading(FINAL_NORM, "mean"))


@dataclasses.dataclass
class Breaking:
    """An adapter that breaks off after so many batches, and remembers what it was asked."""

    adapter: BridgeAdapter
    batches: int
    asked: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.identity = self.adapter.identify()

    @property
    def info(self) -> ModelInfo:
        return self.adapter.info

    def identify(self) -> ModelInfo:
        return self.identity

    def space(self, site: str, layers: tuple[int, ...] | None = None) -> UnitSpace:
        return self.adapter.space(site, layers)

    def check_plan(self, intervention: Intervention | None) -> None:
        self.adapter.check_plan(intervention)

    def batches(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.adapter.batches(texts)

    def collect(
        self,
        texts: Sequence[str],
        readings: Sequence[Reading],
        *,
        intervention: Intervention | None = None,
    ) -> Iterator[Batch]:
        for number, batch in enumerate(
            self.adapter.collect(texts, readings, intervention=intervention)
        ):
            if number == self.batches:
                raise ModelError("the server is gone")
            self.asked += [texts[row] for row in batch.rows]
            yield batch

    def generate(self, *_: Any, **__: Any) -> Generation:
        raise NotImplementedError

    def losses(self, *_: Any, **__: Any) -> list[Any]:
        raise NotImplementedError


@pytest.fixture
def adapter(tiny_model: Callable[[str], Tiny]) -> BridgeAdapter:
    model = tiny_model("llama")
    return BridgeAdapter(model.bridge, tokenizer=model.tokenizer, batch_tokens=8, revision="random")


def broken_off(adapter: BridgeAdapter, keep: Path, **settings: Any) -> list[str]:
    breaking = Breaking(adapter, 2)
    assert isinstance(breaking, Adapter)
    with pytest.raises(ModelError, match="the server is gone"):
        gather(breaking, TEXTS, READINGS, keep=keep, **settings)
    return breaking.asked


def asked_again(adapter: BridgeAdapter, keep: Path, **settings: Any) -> list[str]:
    """Ask the same of an adapter that does not break, and see what it is asked for."""
    whole = Breaking(adapter, 1000)
    given = settings.pop("readings", READINGS)

    found = gather(whole, TEXTS, given, keep=keep, **settings)

    wanted = gather(adapter, TEXTS, given, **settings)
    for reading in given:
        assert torch.equal(found[reading], wanted[reading])
    np.testing.assert_array_equal(found.tokens, wanted.tokens)
    return whole.asked


def test_only_what_is_missing_is_asked_for_again(adapter: BridgeAdapter, tmp_path: Path) -> None:
    given = intervention(plan("mlp.hook_post", "set"))

    first = broken_off(adapter, tmp_path, intervention=given)
    again = asked_again(adapter, tmp_path, intervention=given)

    assert len(first) == 4
    assert sorted(first + again) == sorted(TEXTS)
    assert asked_again(adapter, tmp_path, intervention=given) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"intervention": intervention(plan("mlp.hook_post", "set"))},
        {"readings": READINGS[:1]},
        {"readings": (READINGS[1], READINGS[0])},
    ],
)
def test_another_question_finds_nothing(
    adapter: BridgeAdapter, tmp_path: Path, changed: dict[str, Any]
) -> None:
    broken_off(adapter, tmp_path)

    assert len(asked_again(adapter, tmp_path, **changed)) == len(TEXTS)


def test_another_model_finds_nothing(
    adapter: BridgeAdapter, tmp_path: Path, tiny_model: Callable[[str], Tiny]
) -> None:
    broken_off(adapter, tmp_path)
    model = tiny_model("llama")
    other = BridgeAdapter(
        model.bridge, tokenizer=model.tokenizer, batch_tokens=8, revision="another"
    )

    assert len(asked_again(other, tmp_path)) == len(TEXTS)


def test_weights_of_which_nobody_knows_what_they_are_are_not_mistaken_for_others(
    tmp_path: Path, tiny_model: Callable[[str], Tiny]
) -> None:
    model = tiny_model("llama")
    nameless = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, batch_tokens=8)

    assert nameless.info.revision == UNKNOWN
    broken_off(nameless, tmp_path)
    # Here the weights tell; those on a server cannot be looked at.
    assert 0 < len(asked_again(nameless, tmp_path)) < len(TEXTS)
    with pytest.raises(ModelError, match=r"say which these are with adapt\(\.\.\., revision="):
        PassFolder.of(tmp_path, nameless.info, TEXTS, READINGS)


def parts_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [cut, lambda _: b"", lambda content: content + b" "])
def test_a_damaged_part_is_asked_for_again(
    adapter: BridgeAdapter, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    first = broken_off(adapter, tmp_path)
    part = parts_in(tmp_path)[0]
    part.write_bytes(damage(part.read_bytes()))

    again = asked_again(adapter, tmp_path)

    assert len(again) == len(TEXTS) - len(first) + 2
    assert asked_again(adapter, tmp_path) == []


def test_one_flipped_byte_anywhere_in_a_part_is_seen(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    gather(adapter, TEXTS[:2], READINGS, keep=tmp_path)
    (part,) = parts_in(tmp_path)
    (folder,) = tmp_path.glob("*/")
    content = part.read_bytes()
    parts = PassFolder.at(folder)
    assert len(parts.whole()) == 1

    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        part.write_bytes(changed)
        assert parts.whole() == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """Give a folder that others than root may reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write into a folder away from everybody, root included."""
    inside = [folder, *folder.rglob("*")]
    for path in inside:
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    os.seteuid(NOBODY if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)
        for path in inside:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_each_batch_that_is_kept_gives_back_what_it_took(
    adapter: BridgeAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[int] = []
    monkeypatch.setattr(forward_pass, "trim_heap", lambda: there.append(len(parts_in(tmp_path))))
    gather(adapter, TEXTS, READINGS, keep=tmp_path)
    assert there == [*range(1, len(parts_in(tmp_path)) + 1)]


def test_a_part_whose_damage_cannot_be_removed_is_not_taken(
    adapter: BridgeAdapter, shared: Path
) -> None:
    gather(adapter, TEXTS, READINGS, keep=shared)
    part = parts_in(shared)[0]
    part.write_bytes(cut(part.read_bytes()))

    with read_only(shared), pytest.raises(ArtifactError, match="Permission denied"):
        gather(adapter, TEXTS, READINGS, keep=shared)
    assert len(asked_again(adapter, shared)) == 2


def test_what_is_whole_is_read_where_nothing_can_be_written(
    adapter: BridgeAdapter, shared: Path
) -> None:
    wanted = gather(adapter, TEXTS, READINGS, keep=shared)

    with read_only(shared):
        found = gather(adapter, TEXTS, READINGS, keep=shared)
        with pytest.raises(ArtifactError, match=r"Permission denied.*; choose another folder"):
            gather(adapter, [*TEXTS, "air"], READINGS, keep=shared)

    for reading in READINGS:
        assert torch.equal(found[reading], wanted[reading])


@pytest.mark.parametrize(("pooling", "dtype"), [("max", torch.bfloat16), ("mean", torch.float32)])
def test_a_16_bit_model_takes_half_the_disk_where_nothing_is_lost(
    tmp_path: Path, shipped: Callable[[str], Any], pooling: Any, dtype: torch.dtype
) -> None:
    model = tiny_models.boot("llama", shipped("llama"))
    model.bridge.to(torch.bfloat16)
    adapter = BridgeAdapter(
        model.bridge, tokenizer=model.tokenizer, batch_tokens=8, revision="random"
    )
    reading = Reading("mlp.hook_post", pooling)

    kept = gather_on_disk(adapter, TEXTS, [reading], keep=tmp_path)[reading]
    found = gather(adapter, TEXTS, [reading], keep=tmp_path)[reading]
    wanted = gather(adapter, TEXTS, [reading])[reading]

    assert kept.dtype == dtype
    assert found.dtype == wanted.dtype == torch.float32
    assert torch.equal(found, wanted)
    assert torch.equal(kept[:, :].float(), wanted)


def test_two_processes_that_ask_for_the_same_run_the_model_once(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    both = [Breaking(adapter, 1000) for _ in range(2)]
    # The first is at its second batch when the second begins.
    begun = threading.Event()
    add = PassFolder.add

    def slowly(parts: PassFolder, batch: Batch) -> BatchFile:
        begun.set()
        time.sleep(0.05)
        return add(parts, batch)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(PassFolder, "add", slowly)
        first = pool.submit(gather, both[0], TEXTS, READINGS, keep=tmp_path)
        assert begun.wait(60)
        second = pool.submit(gather, both[1], TEXTS, READINGS, keep=tmp_path)
        found = [one.result(120) for one in (first, second)]

    assert sorted(both[0].asked) == sorted(TEXTS)
    assert both[1].asked == []
    for reading in READINGS:
        assert torch.equal(found[0][reading], found[1][reading])


def test_parts_that_another_process_writes_are_not_deleted(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    gather(adapter, TEXTS, READINGS, keep=tmp_path)
    (folder,) = tmp_path.glob("*/")
    parts = PassFolder.at(folder)

    with (
        parts.writing(),
        pytest.raises(ArtifactError, match="is being written by another process"),
    ):
        Cache(tmp_path).remove()
    assert len(parts.whole()) == 6
    Cache(tmp_path).remove([folder.name])
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_left_of_passes_is_deleted_and_nothing_else(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    gather(adapter, TEXTS, READINGS, keep=tmp_path)
    (name,) = (folder.name for folder in tmp_path.glob("*/"))
    other = "0123456789abcdef"
    for left in (f"{name}-{other}", f".{name}-{other}.draft", other, f"{other}-{name}"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "config.json").write_text("{}")
    (tmp_path / f"{other}.lock").touch()
    for foreign in ("notes", f"{name}0", "README.md"):
        (tmp_path / foreign).mkdir()

    Cache(tmp_path).remove([name])
    assert not list(tmp_path.glob(f"*{name}[.-]*"))
    assert (tmp_path / f"{other}-{name}").is_dir()
    assert Cache(tmp_path).remove() == 4
    assert {path.name for path in tmp_path.iterdir()} == {"notes", f"{name}0", "README.md"}


def test_a_part_that_cannot_be_written_is_an_error_of_ours(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")

    with pytest.raises(ArtifactError, match="cannot write"):
        gather(adapter, TEXTS, READINGS, keep=file)
