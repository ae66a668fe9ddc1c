"""Shards of a corpus come together to the table that one process makes alone, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steer_plugin import ParallelCorpus, ProbeSettings, find_experts
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ArtifactError, ScoreError
from steer_plugin.experts.shards import Shard, merge_shards, read_shard
from steer_plugin.settings.parts import SCORES

from support import saved_models
from support.same_answers import assert_same
from support.tiny_models import Tiny


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ParallelCorpus:
    return ParallelCorpus.read(
        saved_models.save_corpus(tmp_path_factory.mktemp("corpus") / "all.tsv")
    )


@pytest.fixture
def adapter(tiny_model: Callable[[str], Tiny]) -> BridgeAdapter:
    model = tiny_model("llama")
    return BridgeAdapter(
        model.bridge, tokenizer=model.tokenizer, batch_tokens=40, revision="random"
    )


DEFAULT = ProbeSettings()


def read_all(
    adapter: BridgeAdapter,
    corpus: ParallelCorpus,
    folder: Path,
    of: int,
    settings: ProbeSettings = DEFAULT,
) -> list[Path]:
    folders = [folder / str(number) for number in range(1, of + 1)]
    for number, place in enumerate(folders, 1):
        read_shard(adapter, corpus, place, Shard(number, of), settings)
    return folders


@pytest.mark.parametrize("of", [1, 2, 3, 500])
def test_shards_together_are_the_whole_to_the_last_bit(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path, of: int
) -> None:
    if of > len(adapter.batches(corpus.labelled()[0])):
        of = len(adapter.batches(corpus.labelled()[0])) + 1
    folders = read_all(adapter, corpus, tmp_path, of)
    assert_same(merge_shards(folders[::-1]), find_experts(adapter, corpus))


@pytest.mark.parametrize("score", SCORES)
def test_every_score_and_setting_goes_with_the_shards(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path, score: Any
) -> None:
    settings = ProbeSettings(score=score, layers=(0, 2), quantiles=(0.5,))
    folders = read_all(adapter, corpus, tmp_path, 2, settings)
    assert_same(merge_shards(folders, memory=2**16), find_experts(adapter, corpus, settings))


def test_each_shard_reads_about_as_much(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path
) -> None:
    folders = read_all(adapter, corpus, tmp_path, 3)
    counts = [len(list(folder.glob("responses/*/*.safetensors"))) for folder in folders]
    assert sum(counts) == len(adapter.batches(corpus.labelled()[0]))
    assert max(counts) - min(counts) <= 1


def test_a_shard_that_lacks_a_batch_is_finished_by_the_same_command(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path
) -> None:
    folders = read_all(adapter, corpus, tmp_path, 2)
    parts = sorted(folders[1].glob("responses/*/*.safetensors"))
    for part in (parts[0], parts[2]):
        part.write_bytes(part.read_bytes()[:-1])

    with pytest.raises(ArtifactError, match=r"of 72 texts are in none of the shards 1/2, 2/2; run"):
        merge_shards(folders)
    read_shard(adapter, corpus, folders[1], Shard(2, 2))

    assert_same(merge_shards(folders), find_experts(adapter, corpus))


def test_shards_of_different_settings_do_not_merge(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path
) -> None:
    first, _ = read_all(adapter, corpus, tmp_path / "max", 2)
    _, second = read_all(adapter, corpus, tmp_path / "mean", 2, ProbeSettings(pooling="mean"))
    _, third = read_all(
        adapter, corpus, tmp_path / "ap", 2, ProbeSettings(score="average_precision")
    )

    for other, name in ((second, "(pass|readings|provenance)"), (third, "score")):
        with pytest.raises(ArtifactError, match=rf"{other} has another {name} than {first}"):
            merge_shards([first, other])


def test_texts_in_two_shards_are_refused_by_name(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path
) -> None:
    one, two = read_all(adapter, corpus, tmp_path, 2)
    (copy,) = read_all(adapter, corpus, tmp_path / "whole", 1)
    for folders, first, second, shares in (
        ([one, two, one], one, one, "1/2 and 1/2"),
        ([one, copy, two], one, copy, "1/2 and 1/1"),
    ):
        message = f"{first} and {second} hold the same texts, as shards {shares}; give each shard"
        with pytest.raises(ArtifactError, match=message):
            merge_shards(folders)


def test_a_folder_without_a_shard_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no saved shard"):
        merge_shards([tmp_path])


@pytest.mark.parametrize(("number", "of"), [(0, 2), (3, 2), (1, 0)])
def test_a_share_that_is_none_is_refused(number: int, of: int) -> None:
    with pytest.raises(ScoreError, match="there is no shard"):
        Shard(number, of)
