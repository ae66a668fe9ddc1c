"""Attention heads of a model that only an NDIF server holds: scored and steered as here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from nnsight.modeling.transformers import TransformersModel

from steer_plugin import (
    Intervention,
    ParallelCorpus,
    ProbeSettings,
    adapt,
    apply_in_trace,
    find_experts,
)
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import FINAL_NORM, HEADS

from support import ndif_fixture, saved_models
from support.ndif_server import NDIFServer
from support.tiny_models import N_LAYERS

TOLERANCE = 1e-5
PROMPTS = ["air", "sea ship fox hill"]
EMBEDDING = Reading(FINAL_NORM, "mean")


def models(folder: Path) -> tuple[Any, Any]:
    """Give the model on the server, and the same weights here, both for nnsight."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    local: Any = TransformersModel(
        str(folder), task="text-generation", tokenizer=tokenizer, dispatch=True
    )
    return ndif_fixture.remote_model(folder), local


@pytest.mark.parametrize("place", [0, 1], ids=["llama", "gpt2"])
def test_heads_on_a_server_are_scored_and_steered_as_in_a_local_trace(
    place: int, ndif: NDIFServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ndif_fixture.connect(ndif, monkeypatch)
    folder = ndif.models[place]
    ndif.ready(folder)
    far, near = models(folder)
    corpus = ParallelCorpus.read(saved_models.save_corpus(tmp_path / "corpus.tsv"))
    adapters: tuple[Adapter, Adapter] = (
        adapt(far, remote=True, ndif_url=ndif.url),
        adapt(near),
    )

    there, here = (find_experts(each, corpus, ProbeSettings(site=HEADS)) for each in adapters)

    assert there.space == here.space
    assert (len(there.space), there.space.label(3)) == (2 * N_LAYERS, "L1H1")
    np.testing.assert_allclose(there.scores, here.scores, rtol=0, atol=TOLERANCE)
    for kind in ("statistics", "values"):
        numbers = [getattr(table, kind) for table in (there, here)]
        assert numbers[0].keys() == numbers[1].keys() != set()
        for name in numbers[0]:
            np.testing.assert_allclose(numbers[0][name], numbers[1][name], rtol=0, atol=TOLERANCE)

    vectors = there.intervention("deu_Latn", top_k=2)
    by_hand = Intervention.of({"L1H1": 0.0, "L2H0": 2.0}, site=HEADS, operation="scale")
    for plan in (vectors, by_hand, vectors + by_hand):
        steered = [
            gather(each, PROMPTS, [EMBEDDING], intervention=plan)[EMBEDDING] for each in adapters
        ]
        np.testing.assert_allclose(*steered, rtol=0, atol=TOLERANCE)
        plain = gather(adapters[1], PROMPTS, [EMBEDDING])[EMBEDDING]
        assert (steered[0] - plain).abs().max() > 10 * TOLERANCE
        with far.trace(PROMPTS[1], remote=True):
            apply_in_trace(far, plan)
            sent = far.output.logits.save()
        with near.trace(PROMPTS[1]):
            apply_in_trace(near, plan)
            logits = near.output.logits.save()
        np.testing.assert_allclose(sent.detach(), logits.detach(), rtol=0, atol=TOLERANCE)
    written = [
        each.generate(PROMPTS, intervention=vectors, max_new_tokens=5, temperature=0)
        for each in adapters
    ]
    assert written[0].ids == written[1].ids
    for logs in zip(*(each.log_probabilities for each in written), strict=True):
        np.testing.assert_allclose(*logs, rtol=0, atol=TOLERANCE)
