"""A pass over texts that is broken off goes on at the batch where it was."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steer_plugin import ExpertTable, Intervention
from steer_plugin.adapters.bridge import BridgeAdapter
from steer_plugin.errors import ArtifactError, ModelError
from steer_plugin.protocols import Adapter, Batch, ModelInfo, Reading
from steer_plugin.responses import gather
from steer_plugin.sites import FINAL_NORM, UnitSpace

import command
import models
import tiny
from plans import intervention, plan
from tiny import Tiny

TEXTS = [" ".join(tiny.WORDS[start : start + 3]) for start in range(12)]
READINGS = (Reading("mlp.hook_post", "max"), Reading(FINAL_NORM, "mean"))


@dataclasses.dataclass
class Breaking:
    """An adapter that breaks off after so many batches, and remembers what it was asked."""

    adapter: BridgeAdapter
    batches: int
    asked: list[str] = dataclasses.field(default_factory=list)

    @property
    def info(self) -> ModelInfo:
        return self.adapter.info

    def space(self, site: str, layers: tuple[int, ...] | None = None) -> UnitSpace:
        return self.adapter.space(site, layers)

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

    def generate(self, *_: Any, **__: Any) -> list[str]:
        raise NotImplementedError

    def losses(self, *_: Any, **__: Any) -> list[Any]:
        raise NotImplementedError


@pytest.fixture
def adapter(tiny_model: Callable[[str], Tiny]) -> BridgeAdapter:
    model = tiny_model("llama")
    return BridgeAdapter(model.bridge, tokenizer=model.tokenizer, batch_tokens=8)


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


@pytest.mark.parametrize("damage", ["cut", "emptied", "of another shape"])
def test_a_damaged_part_is_asked_for_again(
    adapter: BridgeAdapter, tmp_path: Path, damage: str
) -> None:
    first = broken_off(adapter, tmp_path)
    part = min(tmp_path.rglob("*.safetensors"))
    content = part.read_bytes()
    if damage == "of another shape":
        from safetensors.torch import save_file

        save_file({"rows": torch.tensor([0, 1])}, part)
    else:
        part.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")

    again = asked_again(adapter, tmp_path)

    assert len(again) == len(TEXTS) - len(first) + 2


def test_a_part_that_cannot_be_written_is_an_error_of_ours(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")

    with pytest.raises(ArtifactError, match="cannot write"):
        gather(adapter, TEXTS, READINGS, keep=file)


def test_a_find_that_was_killed_goes_on_and_tidies_up(tmp_path: Path) -> None:
    folder = models.save_model(tmp_path / "llama")
    corpus = models.save_corpus(tmp_path / "corpus.tsv", 900)
    arguments = ["find", "--model", folder, "--corpus", corpus, "--batch-tokens", "12"]

    process = command.start(*arguments, "--out", tmp_path / "experts")
    command.until(process, r"find:  +[2-9]%")
    process.kill()
    command.finish(process)
    assert list(tmp_path.glob(".experts.unfinished/*/*.safetensors"))
    code, _, err = command.finish(command.start(*arguments, "--out", tmp_path / "experts"))

    assert code == 0, err
    assert "| 0/1350" not in err
    assert not list(tmp_path.glob(".experts*"))
    command.finish(command.start(*arguments, "--out", tmp_path / "anew"))
    found, wanted = (ExpertTable.load(tmp_path / name) for name in ("experts", "anew"))
    assert (found.scores == wanted.scores).all()
