"""Experts are the same whatever memory and disk there is; what was read is not read again."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from steer_plugin import Budget, ExpertTable, ParallelCorpus, ProbeSettings, find_experts
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ArtifactError, ScoreError, SelectionError
from steer_plugin.experts.search_plan import SearchPlan, plan_search
from steer_plugin.models.adapter import ModelInfo
from steer_plugin.settings.parts import SCORES

from support import saved_models
from support.kills import Kill
from support.same_answers import assert_same
from support.tiny_models import N_LAYERS, Tiny

D_MLP = 24
TEXTS = 72
MODEL = ModelInfo("made up", "1", "none", 4, 8, "float32", bos=False)
SPACE = UnitSpace("mlp.hook_post", (0, 1, 2, 3), (10, 20, 10, 10))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ParallelCorpus:
    return ParallelCorpus.read(
        saved_models.save_corpus(tmp_path_factory.mktemp("corpus") / "all.tsv")
    )


@pytest.fixture
def adapter(tiny_model: Callable[[str], Tiny]) -> BridgeAdapter:
    model = tiny_model("llama")
    return BridgeAdapter(
        model.bridge, tokenizer=model.tokenizer, batch_tokens=64, revision="random"
    )


@pytest.fixture
def passes(adapter: BridgeAdapter, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Count the forward passes of the model itself, once it is known which it is."""
    identity = adapter.identify()
    monkeypatch.setattr(adapter, "identify", lambda: identity)
    for site in ("mlp.hook_post", "mlp.hook_pre"):
        adapter.space(site)
    seen: list[None] = []
    transformer: Any = adapter.bridge.original_model
    handle = transformer.model.embed_tokens.register_forward_hook(lambda *_: seen.append(None))
    yield seen
    handle.remove()


def batches_in(folder: Path) -> dict[Path, int]:
    """When each batch was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("kept/*/[0-9]*.safetensors")}


def kept_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


@pytest.mark.parametrize("score", SCORES)
def test_a_kept_pass_is_read_again_by_nobody(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path, passes: list[None], score: Any
) -> None:
    wanted = find_experts(adapter, corpus, ProbeSettings(score=score))
    once = len(passes)

    first = find_experts(adapter, corpus, ProbeSettings(score=score), budget=Budget(cache=tmp_path))
    assert len(passes) == 2 * once
    again = find_experts(adapter, corpus, ProbeSettings(score=score), budget=Budget(cache=tmp_path))

    assert len(passes) == 2 * once
    assert_same(first, wanted)
    assert_same(again, wanted)


def test_another_score_of_the_same_responses_takes_no_pass(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path, passes: list[None]
) -> None:
    find_experts(adapter, corpus, budget=Budget(cache=tmp_path))
    once = len(passes)

    found = find_experts(
        adapter, corpus, ProbeSettings(score="average_precision"), budget=Budget(cache=tmp_path)
    )

    assert len(passes) == once
    assert_same(found, find_experts(adapter, corpus, ProbeSettings(score="average_precision")))


@pytest.mark.parametrize(
    "changed",
    [
        {"pooling": "mean"},
        {"site": "hook_mlp_out"},
        {"layers": (0, 1)},
        {"score": "lape"},
    ],
)
def test_a_changed_setting_finds_nothing_of_another(
    adapter: BridgeAdapter,
    corpus: ParallelCorpus,
    tmp_path: Path,
    passes: list[None],
    changed: dict[str, Any],
) -> None:
    find_experts(adapter, corpus, budget=Budget(cache=tmp_path))
    once = len(passes)

    found = find_experts(adapter, corpus, ProbeSettings(**changed), budget=Budget(cache=tmp_path))

    assert len(passes) > once
    assert_same(found, find_experts(adapter, corpus, ProbeSettings(**changed)))


def test_other_weights_bos_or_sentences_find_nothing_of_another(
    adapter: BridgeAdapter,
    corpus: ParallelCorpus,
    tmp_path: Path,
    tiny_model: Callable[[str], Tiny],
) -> None:
    model = tiny_model("llama")
    others = [
        BridgeAdapter(model.bridge, tokenizer=model.tokenizer, batch_tokens=64, **settings)
        for settings in (
            {"revision": "another"},
            {"revision": "random", "name": "another"},
            {"revision": "random", "bos": not adapter.info.bos},
        )
    ]
    for one in (adapter, *others):
        find_experts(one, corpus, budget=Budget(cache=tmp_path))
    find_experts(adapter, corpus.take(23), budget=Budget(cache=tmp_path))
    assert len(list(tmp_path.glob("*/"))) == 5


@pytest.mark.parametrize("score", [score for score in SCORES if score != "lape"])
def test_where_the_disk_is_short_layers_take_passes_of_their_own(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path, passes: list[None], score: Any
) -> None:
    wanted = find_experts(adapter, corpus, ProbeSettings(score=score))
    once = len(passes)
    told: list[str] = []
    size = 8 if score == "activation_frequency" else 4
    disk = TEXTS * 2 * D_MLP * size

    found = find_experts(
        adapter,
        corpus,
        ProbeSettings(score=score),
        budget=Budget(cache=tmp_path, disk=disk),
        say=told.append,
    )

    assert_same(found, replace(wanted, provenance=found.provenance))
    assert len(passes) == 3 * once
    assert "2 times" in told[0]
    assert told[1].endswith(": 0 to 1, 2 to 2")
    # The room is given back, so that the next layers, or somebody else, may have it.
    assert kept_bytes(tmp_path) == 0


def test_several_passes_that_were_broken_off_go_on_at_the_pass(
    adapter: BridgeAdapter,
    corpus: ParallelCorpus,
    tmp_path: Path,
    passes: list[None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = find_experts(adapter, corpus)
    once = len(passes)
    disk = TEXTS * D_MLP * 4
    save = ExpertTable.save

    def break_off(table: ExpertTable, folder: Path) -> None:
        if table.space.layers == (1,):
            raise KeyboardInterrupt
        save(table, folder)

    with monkeypatch.context() as patch:
        patch.setattr(ExpertTable, "save", break_off)
        with pytest.raises(KeyboardInterrupt):
            find_experts(adapter, corpus, budget=Budget(cache=tmp_path, disk=disk))
    assert len(passes) == 3 * once
    found = find_experts(adapter, corpus, budget=Budget(cache=tmp_path, disk=disk))

    # The first is scored and the second is read, so the third alone is left.
    assert len(passes) == 4 * once
    assert_same(found, replace(wanted, provenance=found.provenance))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("passes", [1, 2])
def test_a_search_that_is_killed_at_any_write_ends_with_the_same_table(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path, passes: int
) -> None:
    few = corpus.take(4)
    of_two_layers = 4 * len(few.languages) * 2 * D_MLP * 4
    disk = None if passes == 1 else of_two_layers

    def search(folder: Path) -> ExpertTable:
        table = find_experts(adapter, few, budget=Budget(cache=folder / "kept", disk=disk))
        table.save(folder / "experts")
        return ExpertTable.load(folder / "experts")

    wanted = search(tmp_path / "undisturbed")
    for writes in count():
        folder = tmp_path / str(writes)
        was_killed = Kill(folder, writes).ends(partial(search, folder))
        before = batches_in(folder)
        assert_same(search(folder), wanted)
        if passes == 1:
            assert before.items() <= batches_in(folder).items()
        if not was_killed:
            break
    assert writes >= 18 * passes


def test_tables_of_different_scores_do_not_join(
    adapter: BridgeAdapter, corpus: ParallelCorpus
) -> None:
    first = find_experts(adapter, corpus, ProbeSettings(layers=(0,)))
    other = find_experts(adapter, corpus, ProbeSettings(layers=(1,), score="average_precision"))
    with pytest.raises(SelectionError, match="only tables of the same"):
        first.beside(other)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("score", SCORES)
def test_the_plan_says_what_disk_and_table_will_take(
    adapter: BridgeAdapter, corpus: ParallelCorpus, tmp_path: Path, score: Any, lines: bool
) -> None:
    settings = ProbeSettings(score=score, quantiles=(0.5,), lines=lines)
    plan = planned(
        space=adapter.space("mlp.hook_post"),
        settings=settings,
        texts=TEXTS,
        concepts=3,
        memory=2**20,
    )
    table = find_experts(adapter, corpus, settings, budget=Budget(cache=tmp_path))

    responses = sum(
        path.stat().st_size - 8 - int.from_bytes(path.read_bytes()[:8], "little")
        for path in tmp_path.rglob("*.safetensors")
    )
    assert plan.disk_bytes <= responses <= plan.disk_bytes + 16 * TEXTS
    arrays = [table.scores, *table.statistics.values()]
    assert plan.table_bytes == sum(array.nbytes for array in arrays)
    assert plan.units_at_a_time == min(N_LAYERS * D_MLP, 2**17 // TEXTS // plan.response_bytes)


def planned(**changed: Any) -> SearchPlan:
    settings: dict[str, Any] = {
        "model": MODEL,
        "space": SPACE,
        "settings": ProbeSettings(),
        "texts": 1000,
        "concepts": 2,
        "memory": 2**28,
        "disk": 2**40,
        **changed,
    }
    return plan_search(**settings)


@pytest.mark.parametrize(
    ("units", "passes"),
    [
        (50, [(0, 1, 2, 3)]),
        (49, [(0, 1, 2), (3,)]),
        (30, [(0, 1), (2, 3)]),
        (29, [(0,), (1,), (2, 3)]),
        (20, [(0,), (1,), (2, 3)]),
    ],
)
def test_as_few_passes_are_planned_as_the_disk_allows(
    units: int, passes: list[tuple[int, ...]]
) -> None:
    plan = planned(disk=1000 * 4 * units)
    assert [one.layers for one in plan.passes] == passes
    assert sum(len(one) for one in plan.passes) == len(SPACE)
    assert plan.disk_bytes <= 1000 * 4 * units


@pytest.mark.parametrize(
    ("dtype", "pooling", "score", "size"),
    [
        ("float32", "max", "auroc", 4),
        ("bfloat16", "max", "auroc", 2),
        ("bfloat16", "mean", "auroc", 4),
        ("float64", "max", "auroc", 8),
        ("float16", "last", "lape", 6),
    ],
)
def test_a_response_is_planned_as_large_as_it_is_kept(
    dtype: str, pooling: Any, score: Any, size: int
) -> None:
    plan = planned(
        model=replace(MODEL, dtype=dtype), settings=ProbeSettings(pooling=pooling, score=score)
    )
    assert plan.response_bytes == size


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"disk": 79_999}, ArtifactError, "layer 1 to 1,000 texts take 80 kB, there is room for 8"),
        (
            {"disk": 350_000, "settings": ProbeSettings(score="lape")},
            ArtifactError,
            "lape compares all units, whose",
        ),
        ({"memory": 100_000}, ScoreError, "100 kB of memory were given, but the scores and"),
    ],
)
def test_too_little_room_is_told_with_what_would_do(
    changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        planned(**changed)
