"""Independent sets: which are of a target, and what is in memory of them at a time."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.passes import Passes
from steer_plugin.analyses.run.stages.conditions import BEFORE, MATCHED, Comparison, Condition
from steer_plugin.analyses.run.stages.independent_sets import (
    KIND,
    bitext_wants,
    compare_bitexts,
    origin_of,
)
from steer_plugin.corpora.bitext import Bitext
from steer_plugin.errors import AnalysisError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.storage.artifacts import write_artifact

from support.tiny_models import Tiny

QUERIES, CANDIDATES, WIDTH = 8, 20_000, 32
SIDES = 4 * WIDTH * (QUERIES + CANDIDATES)


@pytest.fixture(scope="module")
def adapter(tiny_model: Callable[[str], Tiny]) -> BridgeAdapter:
    model = tiny_model("llama")
    return BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True)


def comparison(controls: int, target: str = "deu_Latn") -> Comparison:
    experts, *random = (
        Condition(f"condition-{unit}", Intervention("mlp.hook_post", (0,), (unit,), (1.0,)))
        for unit in range(controls + 1)
    )
    return Comparison(target, 3, True, experts, {MATCHED: tuple(random)})


def bitext(query: str, candidates: str, size: int = CANDIDATES) -> Bitext:
    texts = tuple(map(str, range(size)))
    return Bitext("set", query, candidates, texts[:QUERIES], texts, tuple(range(QUERIES)))


def embedded(
    folder: Path,
    adapter: BridgeAdapter,
    one: Bitext,
    conditions: tuple[Condition, ...],
    collapsed: Condition | None = None,
) -> Checkpoints:
    """Keep embeddings that a bitext has under conditions, as a run would have."""
    for number, condition in enumerate(conditions):
        rows = np.random.default_rng(number).normal(size=(len(one.candidates), WIDTH))
        candidates = np.zeros_like(rows) if condition == collapsed else rows
        tensors = {"queries": rows[:QUERIES], "candidates": candidates}
        write_artifact(
            folder / f"bitexts/{condition.name}/set-{one.query_language}-{one.candidates_language}",
            KIND,
            {"provenance": origin_of(adapter.identify(), one, condition)},
            tensors={side: found.astype(np.float32) for side, found in tensors.items()},
        )
    return Checkpoints(folder, lambda _: None)


def wanting(adapter: BridgeAdapter, steps: Checkpoints, one: Bitext, beside: Comparison) -> Passes:
    """Tell what the comparison reads, as a run does."""
    passes = Passes(adapter, steps)
    conditions = [BEFORE, *beside.conditions]
    passes.want(bitext_wants(passes, [one], [beside.target], conditions))
    return passes


def test_no_more_is_in_memory_where_more_conditions_are_compared(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    one = bitext("deu_Latn", "eng_Latn")
    peaks = []
    for controls in (1, 6):
        beside = comparison(controls)
        steps = embedded(tmp_path, adapter, one, (BEFORE, *beside.conditions))
        tracemalloc.start()
        compare_bitexts(wanting(adapter, steps, one, beside), [one], beside)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[0] > SIDES
    assert peaks[1] - peaks[0] < SIDES / 2


@pytest.mark.parametrize(
    ("target", "languages", "there"),
    [
        ("deu_Latn", ("deu_Latn", "eng_Latn"), True),
        ("deu_Latn", ("eng_Latn", "deu_Latn"), True),
        ("eng_Latn", ("deu_Latn", "eng_Latn"), False),
        ("eng_Latn", ("eng_Latn", "deu_Latn"), False),
        ("eng_Latn", ("eng_Latn", "eng_Latn"), True),
        ("fra_Latn", ("deu_Latn", "eng_Latn"), False),
    ],
)
def test_english_is_in_every_pair_and_so_no_target_of_any(
    target: str, languages: tuple[str, str], there: bool, adapter: BridgeAdapter, tmp_path: Path
) -> None:
    one, beside = bitext(*languages, size=50), comparison(1, target)
    steps = embedded(tmp_path, adapter, one, (BEFORE, *beside.conditions))

    found = compare_bitexts(wanting(adapter, steps, one, beside), [one], beside)

    assert (not found.empty) == there


def test_within_a_language_the_unsteered_queries_look_among_steered_candidates(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    one, beside = bitext("deu_Latn", "deu_Latn", size=50), comparison(1)
    steps = embedded(tmp_path, adapter, one, (BEFORE, *beside.conditions))

    found = compare_bitexts(wanting(adapter, steps, one, beside), [one], beside).set_index(
        "measure"
    )

    # Each condition finds its own, and none another's, which is drawn apart from it.
    assert list(found.loc["top-1", ["pre", "post", "control"]]) == [1, 1, 1]
    assert found.loc["mixed top-1", "pre"] == 1
    assert max(found.loc["mixed top-1", ["post", "control"]]) < 0.5


def test_a_condition_that_cannot_be_measured_is_named(
    adapter: BridgeAdapter, tmp_path: Path
) -> None:
    one, beside = bitext("deu_Latn", "eng_Latn", size=50), comparison(1)
    conditions = (BEFORE, *beside.conditions)
    steps = embedded(tmp_path, adapter, one, conditions, collapsed=beside.experts)

    with pytest.raises(AnalysisError, match=r"^condition-0 after the final norm: .*lower its k"):
        compare_bitexts(wanting(adapter, steps, one, beside), [one], beside)
